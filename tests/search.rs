//! How well whole nodes find skills by meaning: one that published them, and one that has only received their cards.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::free_port;
use support::node::{Node, finish, tcp_client, tcp_server};
use support::skills::{config, meet, sync};

/// nDCG@10 that a node reaches on what it published. docs/embedding.md.
const OWN_MIN: f64 = 0.89;
/// The same on cards it has only received.
const RECEIVED_MIN: f64 = 0.85;
/// How long the score may take to be counted.
const SCORING: Duration = Duration::from_secs(60);

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/catalog").join(file)
}

fn lines(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(data(file)).expect("it is in the repository");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

/// Asks a node every query and has its answers scored. `ids` names entries of the catalog as the data does.
fn score(node: &Node, ids: &BTreeMap<String, String>) -> Value {
    let mut run = String::new();
    for query in lines("queries.jsonl") {
        let text = query["text"].as_str().expect("a query has a text");
        let mut arguments = vec!["search".to_owned(), text.to_owned(), "--local".into(), "--limit".into(), "10".into()];
        for (field, value) in query["filter"].as_object().into_iter().flatten() {
            let flag = match field.as_str() {
                "kind" => "--kind",
                "base_model" => "--base-model",
                "languages" => "--language",
                other => panic!("no flag is known for the filter {other}"),
            };
            arguments.extend([flag.to_owned(), value.as_str().expect("a filter has a text").to_owned()]);
        }
        let reply = node.json(&arguments);
        let by = reply["ranked_by"].as_str().expect("a text");
        assert!(by.starts_with("meaning"), "{by}");
        let hits = reply["hits"].as_array().expect("a list");
        let ranked: Vec<_> = hits.iter().map(|hit| &ids[hit["entry"].as_str().expect("an entry id")]).collect();
        writeln!(run, "{}", json!({"query": query["id"], "ranked": ranked})).expect("a string takes what it is given");
    }
    let file = node.folder().join("run.jsonl");
    fs::write(&file, run).expect("the file can be written");
    let mut command = Command::new("python3");
    command.arg(data("score.py")).arg("--json");
    for (name, path) in [("--corpus", data("adapters.jsonl")), ("--queries", data("queries.jsonl")), ("--run", file)] {
        command.arg(name).arg(path);
    }
    let score = finish(command, SCORING).json();
    assert_eq!((&score["queries"], &score["missing"], &score["filter_violations"]), (&60.into(), &0.into(), &0.into()));
    score
}

#[test]
fn search_finds_what_is_meant_on_a_node_that_published_it_and_on_one_that_received_the_cards() {
    let Some(model) = std::env::var_os("WEND_TEST_MODEL") else {
        eprintln!("SKIPPED: without WEND_TEST_MODEL nodes cannot search by meaning");
        return;
    };
    let (port, arguments) = (free_port(), ["--model", &*model.to_string_lossy(), "--log", "info"].map(str::to_owned));
    let arguments = arguments.each_ref().map(String::as_str);
    let mut publisher = Node::new(&config("publisher", false, 180, &[tcp_server(port)])).with_arguments(&arguments);
    let mut reader = Node::new(&config("reader", false, 180, &[tcp_client(port)])).with_arguments(&arguments);
    publisher.run();
    reader.run();
    let published = publisher.json(&["publish", &data("adapters.jsonl").to_string_lossy()]);
    assert_eq!(published["embedded"], 420, "{}", published["refused"]);
    meet(&publisher, &reader);
    assert_eq!(sync(&reader, &publisher)["received"], 420);

    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let names: BTreeMap<String, String> =
        lines("adapters.jsonl").iter().map(|entry| (text(&entry["name"]), text(&entry["id"]))).collect();
    let entries = published["entries"].as_array().expect("a list");
    let ids =
        entries.iter().map(|entry| (text(&entry["entry"]), names[entry["name"].as_str().unwrap()].clone())).collect();

    for (node, who, least) in [(&publisher, "published", OWN_MIN), (&reader, "received", RECEIVED_MIN)] {
        let score = score(node, &ids);
        let ndcg = score["ndcg10"].as_f64().expect("a number");
        println!("{who}: nDCG@10 {ndcg:.4}, recall@5 {:.4}, MRR {:.4}", score["recall5"], score["mrr"]);
        assert!(ndcg >= least, "{who}: nDCG@10 {ndcg:.4}, at least {least} is asked for");
    }
}
