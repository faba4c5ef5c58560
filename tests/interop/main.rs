//! Wend and the reference implementation, each as the other's outside peer: identities, announces, links, requests,
//! relaying, closed networks, management, over TCP and over serial lines, also where frames get lost.
//!
//! The reference is found through `WEND_TEST_REFERENCE` (`tests/run` installs it and sets that); without it the tests that
//! need it say that they are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod access_codes;
mod channels;
mod direct;
mod lossy;
mod management;
mod node;
mod packets;
mod relaying;
mod resources;
#[path = "../support/mod.rs"]
mod support;
mod tunnels;

use std::path::Path;

use serde_json::{Value, json};
use support::endpoint::{APP, ASPECTS, Asked, Endpoint, Handler};
use support::reference::Reference;
use support::{digest, pattern};
use wend_packet::{DestinationHash, IdentityHash};

/// App name of the reference's destinations.
const REF_APP: &str = "reftest";
/// Their aspects.
const REF_ASPECTS: [&str; 1] = ["peer"];
/// A response that fits one packet, in bytes.
const SMALL: usize = 10;
/// A response or request that does not, in bytes.
const LARGE: usize = 300_000;
/// Speed of serial lines, in bit/s. Drivers keep to it, so that at the usual ones a test would take minutes.
const SPEED: u32 = 1_000_000;

/// What every endpoint answers; [`reference_handlers`] are the same.
const HANDLERS: [(&str, Handler); 3] =
    [("/small", Handler::Bytes(SMALL)), ("/large", Handler::Bytes(LARGE)), ("/echo", Handler::Echo)];

fn reference_handlers() -> Value {
    json!([
        {"path": "/small", "kind": "bytes", "len": SMALL},
        {"path": "/large", "kind": "bytes", "len": LARGE},
        {"path": "/echo", "kind": "echo"},
    ])
}

fn destination(text: &str) -> DestinationHash {
    text.parse().expect("a destination hash")
}

fn identity(text: &str) -> IdentityHash {
    text.parse().expect("an identity hash")
}

/// A reference node with a destination that answers.
struct Peer {
    node: Reference,
    destination: String,
    identity: String,
}

impl Peer {
    fn start(python: &Path, interface: &Value) -> Self {
        Self::with(Reference::start(python, false, std::slice::from_ref(interface)))
    }

    fn with(mut node: Reference) -> Self {
        let destination = node.destination(REF_APP, &REF_ASPECTS, &reference_handlers());
        let identity = node.identity();
        Self { node, destination, identity }
    }

    fn address(&self) -> DestinationHash {
        destination(&self.destination)
    }
}

/// An endpoint opens a link to a reference node, over so many hops, and uses it in every way.
fn wend_calls_reference(endpoint: &Endpoint, peer: &mut Peer, hops: u8) {
    assert_eq!(endpoint.find_path(peer.address()), hops);
    let link = endpoint.open_link(peer.address());
    assert_eq!(endpoint.request_bytes(link, "/small", b"who is there?"), pattern(SMALL));
    endpoint.identify(link);
    let response = endpoint.request_bytes(link, "/large", b"now I said who I am");
    assert_eq!((response.len(), digest(&response)), (LARGE, digest(&pattern(LARGE))));
    let request = pattern(LARGE);
    let echo = endpoint.request_bytes(link, "/echo", &request);
    assert_eq!((echo.len(), digest(&echo)), (LARGE, digest(&request)));

    let first = &peer.node.requests("/small", 1)[0];
    assert_eq!((&first["identity"], &first["data"]["hex"]), (&Value::Null, &json!(hex::encode("who is there?"))));
    let second = &peer.node.requests("/large", 1)[0];
    assert_eq!(second["identity"], endpoint.identity().hash().to_string());
    let third = &peer.node.requests("/echo", 1)[0];
    assert_eq!((&third["data"]["len"], &third["data"]["sha256"]), (&json!(LARGE), &json!(digest(&request))));
    endpoint.close(link);
}

/// A reference node opens a link to an endpoint, over so many hops, and uses it in every way.
fn reference_calls_wend(peer: &mut Peer, endpoint: &Endpoint, hops: u64) {
    let to = endpoint.destination().to_string();
    assert_eq!(peer.node.find_path(&to), hops);
    let link = peer.node.link(&to, APP, &ASPECTS);
    let here = endpoint.wait_link();
    let small = peer.node.request(link, "/small", &json!({"hex": hex::encode("who is there?")}));
    assert_eq!(small["hex"], hex::encode(pattern(SMALL)));
    peer.node.ask(json!({"do": "identify", "link": link}));
    assert_eq!(endpoint.wait_identified(here), identity(&peer.identity));
    let large = peer.node.request(link, "/large", &json!({"hex": hex::encode("now I said who I am")}));
    assert_eq!((&large["len"], &large["sha256"]), (&json!(LARGE), &json!(digest(&pattern(LARGE)))));
    let echo = peer.node.request(link, "/echo", &json!({"len": LARGE}));
    assert_eq!((&echo["len"], &echo["sha256"]), (&json!(LARGE), &json!(digest(&pattern(LARGE)))));

    let asked = endpoint.asked();
    let (first, caller) =
        (|path: &str| asked.iter().find(|asked| asked.path == path).unwrap(), identity(&peer.identity));
    assert_eq!(*first("/small"), Asked { path: "/small".into(), caller: None, data: b"who is there?".to_vec() });
    assert_eq!(first("/large").caller, Some(caller));
    assert_eq!(digest(&first("/echo").data), digest(&pattern(LARGE)));
    peer.node.ask(json!({"do": "close", "link": link}));
}

/// Of two reference nodes with something between them, one calls the other.
fn reference_calls_reference(caller: &mut Peer, called: &mut Peer, hops: u64) {
    assert_eq!(caller.node.find_path(&called.destination), hops);
    let link = caller.node.link(&called.destination, REF_APP, &REF_ASPECTS);
    caller.node.ask(json!({"do": "identify", "link": link}));
    let small = caller.node.request(link, "/small", &Value::Null);
    assert_eq!(small["hex"], hex::encode(pattern(SMALL)));
    let echo = caller.node.request(link, "/echo", &json!({"len": LARGE}));
    assert_eq!((&echo["len"], &echo["sha256"]), (&json!(LARGE), &json!(digest(&pattern(LARGE)))));
    assert_eq!(called.node.requests("/small", 1)[0]["identity"], json!(caller.identity));
    caller.node.ask(json!({"do": "close", "link": link}));
}

/// Of two endpoints with something between them, one calls the other.
fn wend_calls_wend(caller: &Endpoint, called: &Endpoint, hops: u8) {
    assert_eq!(caller.find_path(called.destination()), hops);
    let link = caller.open_link(called.destination());
    caller.identify(link);
    assert_eq!(caller.request_bytes(link, "/small", b""), pattern(SMALL));
    let request = pattern(LARGE);
    assert_eq!(digest(&caller.request_bytes(link, "/echo", &request)), digest(&request));
    let asked = called.asked();
    assert_eq!(asked[0].caller, Some(caller.identity().hash()));
    assert_eq!(digest(&asked[1].data), digest(&request));
    caller.close(link);
}
