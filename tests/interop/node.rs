//! A whole node and what it answers to programs of the reference.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use wend_packet::identity::Identity;

use crate::support::free_port;
use crate::support::node::{self, Node};
use crate::support::reference::{self, Reference};

/// Runs the example with an identity and a configuration of its own; what it printed.
fn run_example(python: &Path, node: &Node, port: u16, caller: &str, command: &str) -> node::Ended {
    let config = node.folder().join(format!("rns-{caller}"));
    std::fs::create_dir_all(&config).unwrap();
    let text = format!(
        "[reticulum]\n  share_instance = No\n[interfaces]\n  [[node]]\n    type = TCPClientInterface\n    enabled = Yes\n    \
         target_host = 127.0.0.1\n    target_port = {port}\n"
    );
    std::fs::write(config.join("config"), text).unwrap();
    let mut example = std::process::Command::new(python);
    example
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/call_from_python.py"))
        .args([&node.destination().to_string(), command, "--identity"])
        .arg(node.folder().join(caller))
        .arg("--config")
        .arg(config)
        .args(["--timeout", "20"]);
    node::finish(example, Duration::from_secs(90))
}

#[test]
fn the_python_example_calls_a_running_node_as_far_as_its_policy_goes() {
    let Some(python) = reference::interpreter() else { return };
    let permitted = Identity::generate(&mut wend_mesh::node::randomness());
    let port = free_port();
    let mut node = Node::new("");
    node.configure(&format!(
        "[node]\nname = \"callee\"\n{}[policy]\n\"node/info\" = [\"{}\"]\n",
        node::tcp_server(port),
        permitted.hash()
    ));
    std::fs::write(node.folder().join("permitted"), permitted.to_private_bytes().as_ref()).unwrap();
    node.run();

    let answer = run_example(&python, &node, port, "permitted", "node/info");
    let info = answer.json();
    assert_eq!(info["name"], "callee", "{info}");
    assert!(answer.stderr.contains(&permitted.hash().to_string()), "it says who called: {}", answer.stderr);

    // A fresh identity that the policy does not name.
    let answer = run_example(&python, &node, port, "stranger", "node/info");
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("error: denied: "), "{answer:?}");
    assert_eq!(answer.stdout, "");
}

#[test]
fn a_node_answers_nobody_who_has_not_said_who_they_are() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let node = Node::start(&format!("{}[policy]\n\"node/ping\" = \"unknown\"\n", node::tcp_server(port)));
    let mut caller = Reference::start(&python, false, &[reference::tcp_client(port)]);
    let to = node.destination().to_string();
    caller.find_path(&to);
    let link = caller.link(&to, "wend", &["node"]);
    let ping = |caller: &mut Reference, id: u8, timeout: u64, attempts: u64| {
        let call = json!([1, {"$hex": hex::encode([id; 16])}, "node/ping", {}, 10, null]);
        caller.try_ask(json!({
            "do": "request", "link": link, "path": "/wend/execute", "data": {"json": call}, "timeout": timeout,
            "attempts": attempts,
        }))
    };
    let silence = ping(&mut caller, 1, 3, 1).unwrap_err();
    assert!(silence.contains("no response"), "{silence}");
    caller.ask(json!({"do": "identify", "link": link}));
    // The reference now and then misses a response that comes at once; the same call again gets the reply that was kept.
    let reply = ping(&mut caller, 2, 5, 4).unwrap()["response"]["json"].clone();
    assert_eq!((&reply[0], &reply[2]), (&json!(1), &json!(0)), "{reply}");
}
