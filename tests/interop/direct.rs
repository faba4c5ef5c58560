//! One Wend endpoint and one reference node, with nothing in between.

use crate::{APP, ASPECTS};
use std::time::Duration;

use serde_json::json;
use wend_packet::identity::{Identity, PublicIdentity};
use wend_packet::stack::RequestError;

use super::{
    HANDLERS, Peer, REF_APP, REF_ASPECTS, SPEED, destination, identity, reference_calls_wend, wend_calls_reference,
};
use crate::support::endpoint::{Endpoint, Medium};
use crate::support::free_port;
use crate::support::line::Line;
use crate::support::node::Node;
use crate::support::reference::{self, Reference};

#[test]
fn an_identity_file_of_the_reference_loads_here() {
    let Some(python) = reference::interpreter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity");
    let mut node = Reference::start(&python, false, &[]);
    let made = node.ask(json!({"do": "identity", "save": file}));

    let loaded = Identity::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(loaded.hash().to_string(), made["identity"]);
    let public = hex::decode(reference::text(&made["public_key"])).unwrap();
    let public = PublicIdentity::from_slice(&public).unwrap();
    assert!(public.verify(b"signed here", &loaded.sign(b"signed here")));
}

#[test]
fn an_identity_file_of_wend_loads_in_the_reference() {
    let Some(python) = reference::interpreter() else { return };
    let node = Node::new("");
    let made = node.home().identity().unwrap();

    let mut reference = Reference::start(&python, false, &[]);
    let loaded = reference.ask(json!({"do": "identity", "load": node.home().identity_file()}));
    assert_eq!(loaded["identity"], made.hash().to_string());
    assert_eq!(loaded["public_key"], hex::encode(made.public().as_bytes()));
}

#[test]
fn each_side_validates_the_others_announce_over_tcp() {
    let Some(python) = reference::interpreter() else { return };
    let endpoint = Endpoint::start(&Medium::Server);
    let mut peer = Peer::start(&python, &reference::tcp_client(endpoint.port()));
    peer.node.wait_up(1);
    endpoint.wait_up();

    peer.node.ask(json!({"do": "announce", "destination": peer.destination, "app_data": hex::encode("from there")}));
    let heard = endpoint.wait_announce(peer.address());
    assert_eq!(heard, (identity(&peer.identity), b"from there".to_vec(), 1));

    endpoint.announce(b"from here");
    let own = endpoint.destination().to_string();
    let heard = peer.node.ask(json!({"do": "wait_announce", "destination": own}));
    assert_eq!(heard["identity"], endpoint.identity().hash().to_string());
    assert_eq!((&heard["app_data"], &heard["hops"]), (&json!(hex::encode("from here")), &json!(1)));
}

#[test]
fn a_link_from_wend_to_the_reference_carries_requests_and_responses_over_tcp() {
    let Some(python) = reference::interpreter() else { return };
    let endpoint = Endpoint::start(&Medium::Server);
    let mut peer = Peer::start(&python, &reference::tcp_client(endpoint.port()));
    endpoint.wait_up();
    wend_calls_reference(&endpoint, &mut peer, 1);
}

#[test]
fn a_link_from_the_reference_to_wend_carries_requests_and_responses_over_tcp() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let mut peer = Peer::start(&python, &reference::tcp_server(port));
    let endpoint = Endpoint::with_handlers(&Medium::Client(port), &HANDLERS);
    endpoint.wait_up();
    // The server, and the connection.
    peer.node.wait_up(2);
    reference_calls_wend(&mut peer, &endpoint, 1);
}

#[test]
fn the_reference_misses_no_response_of_wend_however_many_requests_are_outstanding() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let mut peer = Peer::start(&python, &reference::tcp_server(port));
    let endpoint = Endpoint::with_handlers(&Medium::Client(port), &HANDLERS);
    endpoint.wait_up();
    peer.node.wait_up(2);
    let to = endpoint.destination().to_string();
    assert_eq!(peer.node.find_path(&to), 1);
    let link = peer.node.link(&to, APP, &ASPECTS);
    endpoint.wait_link();
    for window in [1, 8] {
        let burst = json!({"do": "burst", "link": link, "path": "/small", "count": 200, "window": window});
        assert_eq!(peer.node.ask(burst)["answered"], 200, "{window} outstanding");
    }
}

#[test]
fn a_link_from_wend_to_the_reference_carries_requests_and_responses_over_a_serial_line() {
    let Some(python) = reference::interpreter() else { return };
    let line = Line::start();
    let [here, there] = line.ends();
    let mut peer = Peer::start(&python, &reference::serial(there, SPEED));
    let endpoint = Endpoint::start(&Medium::Serial(here.to_owned(), SPEED));
    endpoint.wait_up();
    peer.node.wait_up(1);
    wend_calls_reference(&endpoint, &mut peer, 1);
}

#[test]
fn a_link_from_the_reference_to_wend_carries_requests_and_responses_over_a_serial_line() {
    let Some(python) = reference::interpreter() else { return };
    let line = Line::start();
    let [here, there] = line.ends();
    let mut peer = Peer::start(&python, &reference::serial(there, SPEED));
    let endpoint = Endpoint::with_handlers(&Medium::Serial(here.to_owned(), SPEED), &HANDLERS);
    endpoint.wait_up();
    peer.node.wait_up(1);
    reference_calls_wend(&mut peer, &endpoint, 1);
}

#[test]
fn a_caller_who_waits_too_long_is_told_so_by_wend() {
    let Some(python) = reference::interpreter() else { return };
    let endpoint = Endpoint::start(&Medium::Server);
    let mut node = Reference::start(&python, false, &[reference::tcp_client(endpoint.port())]);
    let to = node.destination(REF_APP, &REF_ASPECTS, &json!([{"path": "/nothing", "kind": "nothing"}]));
    endpoint.wait_up();
    endpoint.find_path(destination(&to));
    let link = endpoint.open_link(destination(&to));
    let response = endpoint.request(link, "/nothing", &[0xc0], Duration::from_secs(2));
    assert_eq!(response, Err(RequestError::Timeout));
}
