//! Links that fail, paths that change, and what a proof may say of them.

use core::time::Duration;

use super::lone::{Lone, identity, serial, tcp};
use super::*;
use crate::link::Signalling;
use crate::wire::{Packet, PacketKind, PacketRef};

fn is_path_request(frame: &[u8]) -> bool {
    PacketRef::parse(frame).is_ok_and(|packet| packet.destination() == path_request_destination())
}

#[test]
fn a_responder_that_confirms_more_than_was_asked_for_gets_no_link() {
    let mut lone = Lone::new(false, &[serial()]);
    let owner = identity(70);
    let to = lone.meet(0, &owner, 1, 1);
    for (confirmed, stands) in [(2_000_000, false), (500, true)] {
        let link = lone.stack.open_link(lone.now, to).unwrap();
        let mut request = lone.sent(0).pop().unwrap().to_vec();
        let signalling = request.len() - Signalling::LEN;
        request[signalling..].copy_from_slice(&Signalling::new(confirmed).encode());
        let proof = lone.prove(&request, &owner).encode();
        // The same unsigned: anybody could end the link with it.
        let mut forged = proof.to_vec();
        forged[30] ^= 1;
        lone.hear(0, &forged);
        assert!(lone.stack.link(lone.now, link).is_some());
        lone.hear(0, &proof);
        let state = lone.stack.link(lone.now, link).map(|link| link.state());
        assert_eq!(state, stands.then_some(crate::link::LinkState::Active), "{confirmed}");
        let violated = Event::LinkDown { link, reason: LinkCloseReason::Violation };
        assert_eq!(lone.events().contains(&violated), !stands);
        assert!(lone.stack.path(to).is_some(), "the path is not to blame");
    }
}

#[test]
fn a_link_that_fails_makes_every_node_ask_for_the_path_again() {
    for transport_enabled in [true, false] {
        let mut lone = Lone::new(transport_enabled, &[tcp(), tcp()]);
        let to = lone.meet(0, &identity(70), 2, 1);
        lone.pass(Duration::from_secs(60));
        lone.silence(2);
        lone.stack.open_link(lone.now, to).unwrap();
        lone.silence(2);
        lone.pass(Duration::from_secs(30));
        assert_eq!(lone.sent(1).iter().filter(|frame| is_path_request(frame)).count(), 1, "{transport_enabled}");
        // A longer way of the same announce is now taken.
        let longer = lone.meet(1, &identity(70), 4, 1);
        assert_eq!(lone.stack.path(longer).map(|path| path.hops), Some(4), "{transport_enabled}");
    }
}

#[test]
fn a_path_learned_while_a_link_was_tried_outlives_it() {
    let mut lone = Lone::new(false, &[tcp(), tcp()]);
    let to = lone.meet(0, &identity(70), 2, 1);
    lone.stack.open_link(lone.now, to).unwrap();
    lone.meet(1, &identity(70), 1, 2);
    lone.silence(2);
    lone.pass(Duration::from_secs(60));
    assert!(lone.events().iter().any(|event| matches!(event, Event::LinkDown { .. })));
    assert_eq!(lone.stack.path(to).map(|path| path.on), Some(InterfaceId(1)));
    assert!(lone.sent(1).is_empty());
}

#[test]
fn a_link_that_waits_ends_with_the_interface_its_request_left_on() {
    let mut lone = Lone::new(false, &[tcp()]);
    let to = lone.meet(0, &identity(70), 10, 1);
    let link = lone.stack.open_link(lone.now, to).unwrap();
    lone.events();
    lone.down(0);
    let down = |link, reason| Event::LinkDown { link, reason };
    assert!(lone.events().contains(&down(link, LinkCloseReason::InterfaceDown)));
    // Without a path it waits, but not for the 128 hops of an unknown distance.
    let pathless = lone.stack.open_link(lone.now, to).unwrap();
    lone.pass(Duration::from_secs(59));
    assert!(lone.stack.link(lone.now, pathless).is_some());
    lone.pass(Duration::from_secs(2));
    assert!(lone.events().contains(&down(pathless, LinkCloseReason::Timeout)));
}

#[test]
fn a_path_that_comes_back_is_told_at_once() {
    let mut lone = Lone::new(true, &[tcp(), tcp()]);
    let to = lone.meet(1, &identity(70), 1, 1);
    for _ in 0..60 {
        lone.pass(Duration::from_secs(1));
        lone.silence(2);
    }
    lone.down(1);
    lone.request_path(0, to, 1);
    lone.up(1, tcp());
    lone.silence(2);
    lone.request_path(0, to, 2);
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.sent(0).len(), 1);
}

#[test]
fn a_link_proof_corrects_only_the_path_its_request_took() {
    let mut lone = Lone::new(false, &[tcp(), tcp()]);
    let owner = identity(70);
    let to = lone.meet(0, &owner, 3, 1);
    let hops_after = |lone: &mut Lone, on, hops| {
        lone.sent(0);
        lone.stack.open_link(lone.now, to).unwrap();
        let request = lone.sent(0).pop().unwrap();
        let proof = lone.prove(&request, &owner);
        lone.hear(on, &Packet { hops, ..proof }.encode());
        lone.stack.path(to).unwrap().hops
    };
    assert_eq!(hops_after(&mut lone, 1, 6), 3, "another interface");
    assert_eq!(hops_after(&mut lone, 0, 0), 2, "behind a transport node nobody is direct");
    assert_eq!(hops_after(&mut lone, 0, 4), 5);
}

#[test]
fn a_destination_that_proves_everything_proves_data_on_its_links() {
    let mut lone = Lone::new(false, &[tcp()]);
    let owner = identity(50);
    let destination = Destination::new(owner, DestinationName::new("beloned", &[]).unwrap());
    let to = lone.stack.register(Destination { proofs: ProofStrategy::All, ..destination }).unwrap();
    let mut link = lone.connect(0, to);
    lone.sent(0);
    link.send(lone.now, &mut lone.rng, b"prove this").unwrap();
    lone.flush(0, &mut link);
    let proof = lone.sent(0).pop().unwrap();
    assert_eq!(PacketRef::parse(&proof).unwrap().flags().packet(), PacketKind::Proof);
}
