//! How a node's process begins and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::time::{Duration, Instant};

use support::node::Node;

/// More than a node needs to say goodbye to nobody; less than it may take with peers on slow links.
const PROMPT: Duration = Duration::from_secs(2);

#[test]
fn a_node_that_is_asked_to_stop_ends_promptly_though_its_input_stays_open() {
    let mut node = Node::start("");
    let asked = Instant::now();
    assert_eq!(node.stop(), Some(0));
    assert!(asked.elapsed() < PROMPT, "it took {:?}", asked.elapsed());
}

#[test]
fn a_node_that_was_killed_starts_again_as_who_it_was() {
    let mut node = Node::start("");
    let identity = node.json(&["status"])["identity"].clone();
    node.kill();
    node.run();
    assert_eq!(node.json(&["status"])["identity"], identity);
    assert_eq!(node.json(&["id"])["identity"], identity);
}
