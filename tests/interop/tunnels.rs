//! Connections that break and come back: what was reached over them is reached over the new one, without being announced
//! again. docs/protocol/1-core.md, section 5.8.

use std::time::Duration;

use serde_json::json;

use super::{HANDLERS, Peer, reference_calls_wend, wend_calls_reference};
use crate::support::endpoint::{Endpoint, Medium};
use crate::support::free_port;
use crate::support::lossy::Lossy;
use crate::support::node::{self, Node};
use crate::support::reference::{self, Reference};

#[test]
fn a_reference_node_restores_the_paths_of_a_wend_client_that_comes_back() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let mut peer = Peer::with(Reference::start(&python, true, &[reference::tcp_server(port)]));
    let way = Lossy::start(port, 1);
    let endpoint = Endpoint::with_handlers(&Medium::Client(way.port()), &HANDLERS);
    endpoint.wait_up();
    peer.node.wait_up(2);
    endpoint.announce(b"");
    let own = endpoint.destination().to_string();
    peer.node.ask(json!({"do": "wait_announce", "destination": own}));

    way.cut();
    peer.node.ask(json!({"do": "wait_no_path", "destination": own, "timeout": 40}));
    way.mend();
    // Nobody asks for it: only the tunnel can bring it back.
    let restored = peer.node.ask(json!({"do": "wait_path", "destination": own, "timeout": 40}));
    assert_eq!(restored["hops"], 1);
    reference_calls_wend(&mut peer, &endpoint, 1);
}

#[test]
fn a_wend_node_restores_the_paths_of_a_reference_client_that_comes_back() {
    let Some(python) = reference::interpreter() else { return };
    let endpoint = Endpoint::start(&Medium::Server);
    let way = Lossy::start(endpoint.port(), 2);
    let mut peer = Peer::start(&python, &reference::tcp_client(way.port()));
    endpoint.wait_up();
    peer.node.wait_up(1);
    peer.node.ask(json!({"do": "announce", "destination": peer.destination}));
    endpoint.wait_announce(peer.address());

    way.cut();
    endpoint.wait_path(peer.address(), false);
    way.mend();
    endpoint.wait_path(peer.address(), true);
    wend_calls_reference(&endpoint, &mut peer, 1);
}

const PATIENCE: Duration = Duration::from_secs(40);
/// Longer than a node gathers what it stores.
const STORED: Duration = Duration::from_secs(8);

#[test]
fn a_wend_node_that_was_killed_restores_the_paths_of_a_reference_client_that_comes_back() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let mut node = Node::start(&format!("[node]\ntransport = true\n{}", node::tcp_server(port)));
    let mut peer = Peer::start(&python, &reference::tcp_client(port));
    peer.node.wait_up(1);
    peer.node.ask(json!({"do": "announce", "destination": peer.destination}));
    let to = peer.destination.clone();
    let known = |reply: &serde_json::Value| {
        reply["paths"].as_array().into_iter().flatten().any(|path| path["destination"] == to.as_str())
    };
    node.wait_json("the path is known", &["paths"], PATIENCE, known);
    // Only what is on disk counts: a killed node writes nothing more.
    std::thread::sleep(STORED);
    node.kill();
    node.run();
    // Nobody announces and nobody asks: only the tunnel can bring it back.
    node.wait_json("the path is back", &["paths"], PATIENCE, known);
    let endpoint = Endpoint::start(&Medium::Client(port));
    endpoint.wait_up();
    wend_calls_reference(&endpoint, &mut peer, 2);
}
