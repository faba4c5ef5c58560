//! Single packets: under ratchets of two generations, to groups, and in clear.

use std::time::Duration;

use serde_json::json;
use wend_packet::crypto::TokenKey;
use wend_packet::destination::DestinationName;
use wend_packet::hash::RatchetId;
use wend_packet::identity::PublicIdentity;
use wend_packet::ratchet::Ratchets;
use wend_packet::stack::{Event, Group, ProofStrategy};

use super::{REF_APP, REF_ASPECTS, destination};
use crate::support::endpoint::{APP, ASPECTS, Endpoint, Medium, PATIENCE, Setup};
use crate::support::reference::{self, Reference, text};

/// App name of groups and destinations in clear.
const COMMON: &str = "common";

/// An endpoint and a reference node connected to it.
fn pair(python: &std::path::Path, setup: Setup) -> (Endpoint, Reference) {
    let endpoint = setup.start();
    let mut node = Reference::start(python, false, &[reference::tcp_client(endpoint.port())]);
    node.wait_up(1);
    endpoint.wait_up();
    (endpoint, node)
}

/// Announces of a destination that were heard, once there are so many.
fn wait_announces(endpoint: &Endpoint, of: &str, count: usize) {
    let of = destination(of);
    endpoint.wait_many("announces", count, PATIENCE, |event| match event {
        Event::Announced { destination, .. } if *destination == of => Some(()),
        _ => None,
    });
}

#[test]
fn a_reference_node_opens_what_wend_encrypts_to_two_generations_of_its_ratchets() {
    let Some(python) = reference::interpreter() else { return };
    let (endpoint, mut node) = pair(&python, Setup::new(&Medium::Server));
    let made = node.ask(json!({
        "do": "destination", "app": REF_APP, "aspects": REF_ASPECTS, "ratchets": "ratchets", "enforce": true,
    }));
    let to = text(&made["destination"]);
    node.ask(json!({"do": "announce", "destination": to}));
    wait_announces(&endpoint, &to, 1);
    endpoint.send_proved(destination(&to), b"to the first");
    // The sender has not heard of the second: what it sends is opened with the one before.
    node.ask(json!({"do": "rotate", "destination": to}));
    endpoint.send_proved(destination(&to), b"to the first still");
    node.ask(json!({"do": "announce", "destination": to}));
    wait_announces(&endpoint, &to, 2);
    endpoint.send_proved(destination(&to), b"to the second");

    let seen = node.ask(json!({"do": "packets", "destination": to, "count": 3}));
    let ratchets: Vec<_> = seen["packets"].as_array().unwrap().iter().map(|packet| &packet["ratchet"]).collect();
    assert!(ratchets[0].is_string() && ratchets[0] == ratchets[1] && ratchets[1] != ratchets[2], "{seen}");
    assert_eq!(seen["packets"][2]["data"]["hex"], hex::encode("to the second"));
}

#[test]
fn wend_opens_what_a_reference_node_encrypts_to_two_generations_of_its_ratchets() {
    let Some(python) = reference::interpreter() else { return };
    let mut setup = Setup::new(&Medium::Server);
    let mut ratchets = Ratchets::new();
    // Each announce brings a new one.
    ratchets.set_interval(Duration::ZERO);
    ratchets.set_enforced(true);
    setup.destination.ratchets = Some(ratchets);
    let (endpoint, mut node) = pair(&python, setup);
    let own = endpoint.destination();
    let send = |node: &mut Reference, data: &str| {
        let sent = node.ask(json!({
            "do": "send", "destination": own.to_string(), "app": APP, "aspects": ASPECTS,
            "data": {"hex": hex::encode(data)}, "proof": true,
        }));
        assert_eq!(sent["proved"], true, "{data}");
    };
    endpoint.announce(b"");
    node.ask(json!({"do": "wait_announce", "destination": own.to_string()}));
    send(&mut node, "to the first");
    endpoint.announce(b"");
    node.ask(json!({"do": "wait_announce", "destination": own.to_string(), "count": 2}));
    send(&mut node, "to the second");

    let seen: Vec<Option<RatchetId>> = endpoint.wait_many("packets", 2, PATIENCE, |event| match event {
        Event::Received { ratchet, .. } => Some(*ratchet),
        _ => None,
    });
    assert!(seen[0].is_some() && seen[1].is_some() && seen[0] != seen[1], "{seen:?}");
}

/// What has arrived for a destination, once there is something.
fn wait_received(endpoint: &Endpoint, of: wend_packet::DestinationHash) -> Vec<u8> {
    endpoint.wait_event("a packet", |event| match event {
        Event::Received { destination, payload, .. } if *destination == of => Some(payload.to_vec()),
        _ => None,
    })
}

#[test]
fn packets_to_a_group_are_opened_by_the_other_side_each_way() {
    let Some(python) = reference::interpreter() else { return };
    let (endpoint, mut node) = pair(&python, Setup::new(&Medium::Server));
    let owner = node.ask(json!({"do": "identity"}));
    let owner = PublicIdentity::from_slice(&hex::decode(text(&owner["public_key"])).unwrap()).unwrap();
    let made = node.ask(json!({"do": "destination", "app": COMMON, "aspects": ["group"], "type": "group"}));
    let address = text(&made["destination"]);
    let key = text(&made["key"]);
    let group = || Group {
        owner,
        name: DestinationName::new(COMMON, &["group"]).unwrap(),
        key: TokenKey::from_slice(&hex::decode(&key).unwrap()).unwrap(),
    };
    assert_eq!(group().hash(), destination(&address));

    let to = group();
    endpoint.call(move |stack, now| stack.send(now, &to, b"from wend")).unwrap();
    let seen = node.ask(json!({"do": "packets", "destination": address, "count": 1}));
    assert_eq!(seen["packets"][0]["data"]["hex"], hex::encode("from wend"));

    let listened = group();
    endpoint.call(move |stack, _| stack.register_group(listened, None, ProofStrategy::None)).unwrap();
    node.ask(json!({
        "do": "send", "destination": address, "app": COMMON, "aspects": ["group"], "type": "group", "key": key,
        "data": {"hex": hex::encode("from there")},
    }));
    assert_eq!(wait_received(&endpoint, group().hash()), b"from there");
}

#[test]
fn packets_in_clear_reach_the_other_side_each_way() {
    let Some(python) = reference::interpreter() else { return };
    let (endpoint, mut node) = pair(&python, Setup::new(&Medium::Server));
    let name = || DestinationName::new(COMMON, &["clear"]).unwrap();
    let made = node.ask(json!({"do": "destination", "app": COMMON, "aspects": ["clear"], "type": "plain"}));
    let address = text(&made["destination"]);
    assert_eq!(name().plain(), destination(&address));

    endpoint.call(move |stack, now| stack.send(now, &name(), b"from wend")).unwrap();
    let seen = node.ask(json!({"do": "packets", "destination": address, "count": 1}));
    assert_eq!(seen["packets"][0]["data"]["hex"], hex::encode("from wend"));

    endpoint.call(move |stack, _| stack.register_plain(&name())).unwrap();
    node.ask(json!({
        "do": "send", "destination": address, "app": COMMON, "aspects": ["clear"], "type": "plain",
        "data": {"hex": hex::encode("from there")},
    }));
    assert_eq!(wait_received(&endpoint, name().plain()), b"from there");
}
