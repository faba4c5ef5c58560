//! A connection that loses one frame in ten: what is repeated until it has arrived, arrives.

use serde_json::json;

use super::{HANDLERS, LARGE, Peer, identity};
use crate::support::endpoint::{Endpoint, Medium};
use crate::support::lossy::Lossy;
use crate::support::reference;
use crate::support::{digest, free_port, pattern};

/// Frames lost of each thousand.
const LOSS_PER_MILLE: u64 = 100;

#[test]
fn large_requests_and_responses_arrive_over_a_connection_that_loses_a_tenth() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let mut peer = Peer::start(&python, &reference::tcp_server(port));
    let lossy = Lossy::start(port, 11);
    let endpoint = Endpoint::with_handlers(&Medium::Client(lossy.port()), &HANDLERS);
    endpoint.wait_up();
    peer.node.wait_up(2);

    endpoint.find_path(peer.address());
    let ours = endpoint.open_link(peer.address());
    endpoint.identify(ours);
    let own = endpoint.destination().to_string();
    peer.node.find_path(&own);
    let theirs = peer.node.link(&own, crate::APP, &crate::ASPECTS);
    let here = endpoint.wait_link();
    peer.node.ask(json!({"do": "identify", "link": theirs}));
    assert_eq!(endpoint.wait_identified(here), identity(&peer.identity));

    lossy.lose(LOSS_PER_MILLE);
    let request = pattern(LARGE);
    assert_eq!(digest(&endpoint.request_bytes(ours, "/echo", &request)), digest(&request));
    let echo = peer.node.ask(json!({
        "do": "request", "link": theirs, "path": "/echo", "data": {"len": LARGE}, "timeout": 60,
    }));
    assert_eq!(echo["response"]["sha256"], digest(&request));
    let (lost, passed) = lossy.counts();
    assert!(lost > 0, "{lost} of {} frames were lost", lost + passed);
}
