//! Nodes in between: each implementation carries the other's packets, and both do so in one row.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    HANDLERS, Peer, REF_APP, REF_ASPECTS, SPEED, reference_calls_reference, wend_calls_reference, wend_calls_wend,
};
use crate::support::endpoint::{APP, ASPECTS, Endpoint, Medium};
use crate::support::free_port;
use crate::support::line::Line;
use crate::support::node::{self, Node};
use crate::support::reference::{self, Reference};

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

/// A transport node of either implementation.
enum Relay {
    Wend(Node),
    Reference(Box<Reference>),
}

/// The implementation of a transport node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wend,
    Reference,
}

/// Bits per second of the connection between two transport nodes, where it is not the usual: links over it have an MTU
/// of 2048.
const NARROW_BPS: u64 = 1_000_000;
/// The MTU of links over a connection of that speed, in bytes.
const NARROW_MTU: usize = 2048;
/// The MTU of links over connections of the usual speed, in bytes.
const WIDE_MTU: usize = 16_384;

impl Relay {
    /// A transport node that listens for an end of the row on one port and on another listens for, or connects to, the next
    /// transport node.
    fn start(python: &Path, kind: Kind, end: u16, between: Between, bitrate: Option<u64>) -> Self {
        match kind {
            Kind::Wend => {
                let speed = bitrate.map(|bps| format!("bitrate = {bps}\n")).unwrap_or_default();
                let other = match between {
                    Between::Listen(port) => node::tcp_server(port).replace("\"server\"", "\"between\""),
                    Between::Connect(port) => node::tcp_client(port),
                };
                let end = node::tcp_server(end);
                Self::Wend(Node::start(&format!("[node]\ntransport = true\n{end}{other}{speed}")))
            }
            Kind::Reference => {
                let mut other = match between {
                    Between::Listen(port) => reference::tcp_server(port),
                    Between::Connect(port) => reference::tcp_client(port),
                };
                if let Some(bps) = bitrate {
                    other["extra"] = json!({"bitrate": bps});
                }
                Self::Reference(Box::new(Reference::start(python, true, &[reference::tcp_server(end), other])))
            }
        }
    }

    /// Waits until so many of its interfaces are up, those that servers took in among them.
    fn wait_up(&mut self, count: usize) {
        match self {
            Self::Wend(node) => node.wait_up(count),
            Self::Reference(node) => node.wait_up(count),
        }
    }
}

#[derive(Clone, Copy)]
enum Between {
    Listen(u16),
    Connect(u16),
}

/// Two transport nodes that are connected, and the ports where the ends of the row connect to them.
fn two_relays(python: &Path, kinds: [Kind; 2], bitrate: Option<u64>) -> ([Relay; 2], [u16; 2]) {
    let [near, middle, far] = [free_port(), free_port(), free_port()];
    let first = Relay::start(python, kinds[0], near, Between::Listen(middle), bitrate);
    let second = Relay::start(python, kinds[1], far, Between::Connect(middle), bitrate);
    ([first, second], [near, far])
}

/// Both ends have connected: two servers and two connections at the first, a server and two connections at the second.
fn wait_for_row([first, second]: &mut [Relay; 2]) {
    first.wait_up(4);
    second.wait_up(3);
}

/// A Wend endpoint and a reference node at the ends of two transport nodes call each other over three hops; gives the MTU
/// each end's link had.
fn ends_of_both_kinds_meet(python: &Path, kinds: [Kind; 2], bitrate: Option<u64>) -> [usize; 2] {
    let (mut relays, [near, far]) = two_relays(python, kinds, bitrate);
    let endpoint = Endpoint::with_handlers(&Medium::Client(near), &HANDLERS);
    let mut peer = Peer::start(python, &reference::tcp_client(far));
    wait_for_row(&mut relays);

    peer.node.ask(json!({"do": "announce", "destination": peer.destination}));
    assert_eq!(endpoint.wait_announce(peer.address()).2, 3);
    endpoint.announce(b"from the other end");
    let own = endpoint.destination().to_string();
    let heard = peer.node.ask(json!({"do": "wait_announce", "destination": own, "timeout": 40}));
    assert_eq!(heard["hops"], 3);

    wend_calls_reference(&endpoint, &mut peer, 3);
    let link = endpoint.open_link(peer.address());
    let ours = endpoint.link_mtu(link);
    endpoint.close(link);
    let opened = peer.node.ask(json!({
        "do": "link", "destination": own, "app": APP, "aspects": ASPECTS, "timeout": 20,
    }));
    let theirs = usize::try_from(opened["mtu"].as_u64().unwrap()).unwrap();
    peer.node.ask(json!({"do": "close", "link": opened["link"]}));
    [ours, theirs]
}

#[test]
fn wend_reference_wend_reference_in_a_row_call_each_other_over_three_hops() {
    let Some(python) = reference::interpreter() else { return };
    let mtus = ends_of_both_kinds_meet(&python, [Kind::Reference, Kind::Wend], None);
    assert_eq!(mtus, [WIDE_MTU; 2]);
}

#[test]
fn a_narrow_connection_between_mixed_relays_clamps_the_mtu_of_links_both_ways() {
    let Some(python) = reference::interpreter() else { return };
    let mtus = ends_of_both_kinds_meet(&python, [Kind::Wend, Kind::Reference], Some(NARROW_BPS));
    assert_eq!(mtus, [NARROW_MTU; 2]);
}

#[test]
fn two_reference_nodes_carry_a_call_between_two_wend_endpoints_over_three_hops() {
    let Some(python) = reference::interpreter() else { return };
    let (mut relays, [near, far]) = two_relays(&python, [Kind::Reference; 2], Some(NARROW_BPS));
    let one = Endpoint::with_handlers(&Medium::Client(near), &HANDLERS);
    let two = Endpoint::with_handlers(&Medium::Client(far), &HANDLERS);
    wait_for_row(&mut relays);
    one.announce(b"");
    assert_eq!(two.wait_announce(one.destination()).2, 3);
    wend_calls_wend(&two, &one, 3);
    let link = two.open_link(one.destination());
    // Both ends have it under the same id, the other from its first packet on.
    two.request_bytes(link, "/small", b"");
    assert_eq!((two.link_mtu(link), one.link_mtu(link)), (NARROW_MTU, NARROW_MTU));
}

#[test]
fn two_wend_nodes_carry_a_call_between_two_reference_nodes_over_three_hops() {
    let Some(python) = reference::interpreter() else { return };
    let (mut relays, [near, far]) = two_relays(&python, [Kind::Wend; 2], Some(NARROW_BPS));
    let mut one = Peer::start(&python, &reference::tcp_client(near));
    let mut two = Peer::start(&python, &reference::tcp_client(far));
    wait_for_row(&mut relays);
    one.node.ask(json!({"do": "announce", "destination": one.destination}));
    let heard: Value = two.node.ask(json!({"do": "wait_announce", "destination": one.destination, "timeout": 40}));
    assert_eq!(heard["hops"], 3);
    reference_calls_reference(&mut two, &mut one, 3);
    let link = two.node.ask(json!({
        "do": "link", "destination": one.destination, "app": REF_APP, "aspects": REF_ASPECTS, "timeout": 20,
    }));
    assert_eq!(link["mtu"], NARROW_MTU);
}
