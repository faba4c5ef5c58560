//! Nodes that have skills to share, and go by words alone unless a model is given: quick, and the same on every machine.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use wend_mesh::control::{Client, ControlError};

use super::node::Node;

/// How long two nodes may take to hear each other: announces leave a second after an interface came up.
const HEAR: Duration = Duration::from_secs(20);

/// A node of this name; it answers whoever it has heard. `interfaces` are `[[interface]]` tables.
pub(crate) fn node(name: &str, sync: bool, expiry_days: u32, interfaces: &[String]) -> Node {
    by_words(Node::new(&config(name, sync, expiry_days, interfaces)))
}

/// The config of such a node.
pub(crate) fn config(name: &str, sync: bool, expiry_days: u32, interfaces: &[String]) -> String {
    let mut config = format!(
        "[node]\nname = \"{name}\"\n[policy]\n\"node/*\" = \"known\"\n\"genome/*\" = \"known\"\n\
         [catalog]\nsync = {sync}\nexpiry_days = {expiry_days}\n"
    );
    config.extend(interfaces.iter().map(String::as_str));
    config
}

/// The same node without a model, whatever this machine has installed.
pub(crate) fn by_words(node: Node) -> Node {
    let none = node.folder().join("no model");
    node.with_arguments(&["--model", &none.to_string_lossy()])
}

/// Waits until each has heard who the other is.
pub(crate) fn meet(one: &Node, other: &Node) {
    for (near, far) in [(one, other), (other, one)] {
        let wanted = far.destination().to_string();
        near.wait_json("the other is heard", &["paths"], HEAR, |reply| {
            let mut paths = reply["paths"].as_array().into_iter().flatten();
            paths.any(|path| path["destination"] == wanted.as_str() && path["name"] != "")
        });
    }
}

/// Writes a file of made-up skills called `label-0`, `label-1`, ...
pub(crate) fn write(folder: &Path, label: &str, count: usize) -> PathBuf {
    let mut lines = String::new();
    for number in 0..count {
        let description = format!("Does the work of {label} for case {number}, with care and in plain words.");
        let line = json!({
            "name": format!("{label}-{number}"), "version": "1.0.0", "kind": "lora", "description": description,
            "tags": ["made-up", label], "languages": ["en"], "license": "MIT",
        });
        writeln!(lines, "{line}").expect("a string takes what it is given");
    }
    let path = folder.join(format!("{label}.jsonl"));
    fs::write(&path, lines).expect("the file can be written");
    path
}

/// Publishes made-up skills on a node; what it replied.
pub(crate) fn publish(node: &Node, label: &str, count: usize) -> Value {
    let path = write(node.folder(), label, count);
    let reply = node.json(&["publish", &path.to_string_lossy()]);
    assert_eq!(reply["added"], count, "{reply}");
    reply
}

/// Has `node` bring its catalog into agreement with another's; what that took.
pub(crate) fn sync(node: &Node, with: &Node) -> Value {
    let reply = node.json(&["catalog", "sync", &with.destination().to_string()]);
    assert_eq!(reply["equal"], true, "{reply}");
    reply
}

/// Entries in the catalog of a node, itself counted.
pub(crate) fn count(node: &Node) -> u64 {
    node.json(&["status"])["catalog_count"].as_u64().expect("a number")
}

/// Runs a command on a node without a program for each, for those who ask much.
pub(crate) fn call<C: wend_commands::Command>(node: &Node, command: &C) -> Result<C::Reply, ControlError> {
    Client::connect(node.home())?.call(command, |_| {})
}
