//! Wend and the reference implementation, each as the other's outside peer: identities, announces, links, requests,
//! relaying, over TCP and over serial lines, and what strangers throw at a node.
//!
//! The reference is found through `WEND_TEST_REFERENCE` (`tests/run` installs it and sets that); without it the tests that
//! need it say that they are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::endpoint::{APP, ASPECTS, Asked, Endpoint, Handler, Medium};
use support::line::Line;
use support::node::{self, Node};
use support::reference::{self, Reference};
use support::{digest, free_port, pattern};
use wend_packet::identity::{Identity, PublicIdentity};
use wend_packet::stack::RequestError;
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
        let mut node = Reference::start(python, false, std::slice::from_ref(interface));
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

/// Each hears the other's announce through a transport node; then each calls the other.
fn references_meet(one: &mut Peer, two: &mut Peer) {
    one.node.ask(json!({"do": "announce", "destination": one.destination, "app_data": hex::encode("relayed")}));
    let heard = two.node.ask(json!({"do": "wait_announce", "destination": one.destination}));
    assert_eq!((&heard["identity"], &heard["hops"]), (&json!(one.identity), &json!(2)));
    assert_eq!(heard["app_data"], hex::encode("relayed"));
    two.node.ask(json!({"do": "announce", "destination": two.destination}));
    one.node.ask(json!({"do": "wait_announce", "destination": two.destination}));
    reference_calls_reference(two, one, 2);
    reference_calls_reference(one, two, 2);
}

#[test]
fn a_wend_node_relays_over_tcp_between_two_reference_nodes_that_know_only_it() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let _relay = Node::start(&format!("[node]\ntransport = true\n{}", node::tcp_server(port)));
    let mut one = Peer::start(&python, &reference::tcp_client(port));
    let mut two = Peer::start(&python, &reference::tcp_client(port));
    one.node.wait_up(1);
    two.node.wait_up(1);
    references_meet(&mut one, &mut two);
}

#[test]
fn a_wend_gateway_finds_a_reference_node_that_has_announced_nothing() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let interface = node::tcp_server(port);
    let _relay = Node::start(&format!("[node]\ntransport = true\n{interface}mode = \"gateway\"\n"));
    let mut one = Peer::start(&python, &reference::tcp_client(port));
    let mut two = Peer::start(&python, &reference::tcp_client(port));
    one.node.wait_up(1);
    two.node.wait_up(1);
    reference_calls_reference(&mut one, &mut two, 2);
}

#[test]
fn a_wend_node_relays_over_serial_lines_between_two_reference_nodes_that_know_only_it() {
    let Some(python) = reference::interpreter() else { return };
    let lines = [Line::start(), Line::start()];
    let [[near_one, far_one], [near_two, far_two]] = [lines[0].ends(), lines[1].ends()];
    let interfaces = [node::serial(near_one, SPEED), node::serial(near_two, SPEED)].concat();
    let relay = Node::start(&format!("[node]\ntransport = true\n{interfaces}"));
    let mut one = Peer::start(&python, &reference::serial(far_one, SPEED));
    let mut two = Peer::start(&python, &reference::serial(far_two, SPEED));
    relay.wait_up(2);
    one.node.wait_up(1);
    two.node.wait_up(1);
    references_meet(&mut one, &mut two);
}

/// Each hears the other's announce through a transport node; then each calls the other.
fn endpoints_meet(one: &Endpoint, two: &Endpoint) {
    one.announce(b"relayed");
    let heard = two.wait_announce(one.destination());
    assert_eq!(heard, (one.identity().hash(), b"relayed".to_vec(), 2));
    two.announce(b"");
    one.wait_announce(two.destination());
    wend_calls_wend(two, one, 2);
    wend_calls_wend(one, two, 2);
}

#[test]
fn a_reference_node_relays_over_tcp_between_two_wend_endpoints_that_know_only_it() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let mut relay = Reference::start(&python, true, &[reference::tcp_server(port)]);
    let one = Endpoint::with_handlers(&Medium::Client(port), &HANDLERS);
    let two = Endpoint::with_handlers(&Medium::Client(port), &HANDLERS);
    one.wait_up();
    two.wait_up();
    // The server, and two connections.
    relay.wait_up(3);
    endpoints_meet(&one, &two);
}

#[test]
fn a_reference_node_relays_over_serial_lines_between_two_wend_endpoints_that_know_only_it() {
    let Some(python) = reference::interpreter() else { return };
    let lines = [Line::start(), Line::start()];
    let [[near_one, far_one], [near_two, far_two]] = [lines[0].ends(), lines[1].ends()];
    let mut relay =
        Reference::start(&python, true, &[reference::serial(near_one, SPEED), reference::serial(near_two, SPEED)]);
    relay.wait_up(2);
    let one = Endpoint::with_handlers(&Medium::Serial(far_one.to_owned(), SPEED), &HANDLERS);
    let two = Endpoint::with_handlers(&Medium::Serial(far_two.to_owned(), SPEED), &HANDLERS);
    one.wait_up();
    two.wait_up();
    endpoints_meet(&one, &two);
}

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
    let ping = |caller: &mut Reference, id: u8, timeout: u64| {
        let call = json!([1, {"$hex": hex::encode([id; 16])}, "node/ping", {}, 10, null]);
        caller.try_ask(json!({
            "do": "request", "link": link, "path": "/wend/execute", "data": {"json": call}, "timeout": timeout,
        }))
    };
    let silence = ping(&mut caller, 1, 3).unwrap_err();
    assert!(silence.contains("no response"), "{silence}");
    caller.ask(json!({"do": "identify", "link": link}));
    let reply = ping(&mut caller, 2, 15).unwrap()["response"]["json"].clone();
    assert_eq!((&reply[0], &reply[2]), (&json!(1), &json!(0)), "{reply}");
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
