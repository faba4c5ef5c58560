//! One radio channel for everybody: what relays send on is heard by those who sent it to them.

use core::time::Duration;

use super::lone::{Lone, identity, serial};
use super::*;
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind};

/// The frame as the next relay sends it on.
fn relayed(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[1] += 1;
    frame
}

#[test]
fn a_link_takes_nothing_from_the_relay_that_it_sent_itself() {
    let mut mesh = Mesh::new(60);
    let [near, _, far] = row(&mut mesh, &Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    let now = mesh.now();
    let link = mesh.stack(near).open_link(now, to).unwrap();
    let up = |event: &Event| matches!(event, Event::LinkUp { .. }).then_some(());
    assert!(mesh.run_until(SOON, |mesh| find(mesh, near, up).is_some() && find(mesh, far, up).is_some()));
    for (node, on) in [(near, InterfaceId(0)), (far, InterfaceId(1))] {
        let now = mesh.now();
        mesh.stack(node).link(now, link).unwrap().send(b"mine").unwrap();
        let sent = mesh.stack(node).poll_transmit(now, on).unwrap().frame;
        mesh.stack(node).handle_input(now, Input::Frame { on, bytes: &relayed(&sent) });
        mesh.run_for(Duration::from_secs(1));
        let data = |event: &Event| matches!(event, Event::LinkData { .. }).then_some(());
        assert_eq!(find(&mesh, node, data), None);
        assert_eq!(mesh.stack(node).stats().dropped(DropReason::Duplicate), 1);
    }
}

#[test]
fn a_relay_on_one_channel_never_sends_a_packet_back_that_it_carried() {
    let mut lone = Lone::new(true, &[serial()]);
    let owner = identity(70);
    let to = lone.meet(0, &owner, 3, 1);
    lone.silence(1);
    let (link, request) = lone.ask(to, &owner, 500);
    lone.hear(0, &Packet { transport_id: Some(lone.stack.transport_id()), ..request }.encode());
    let carried = lone.sent(0).pop().unwrap();
    let proof = lone.prove(&carried, &owner);
    lone.hear(0, &Packet { hops: 2, ..proof }.encode());
    assert_eq!(lone.sent(0).len(), 1, "the proof goes on");
    let part = |from: u8, hops: u8| {
        let packet = Packet {
            flags: Flags::new(DestinationKind::Link, PacketKind::Data),
            hops,
            transport_id: None,
            destination: link.id().into(),
            context: Context::RESOURCE,
            data: vec![from; 40].into(),
        };
        packet.encode()
    };
    for (from, hops, other) in [(1, 0, 2), (2, 2, 0)] {
        lone.hear(0, &part(from, hops));
        let sent = lone.sent(0);
        assert_eq!(sent.len(), 1);
        let next = relayed(&sent[0]);
        lone.hear(0, &next);
        lone.hear(0, &part(from, other));
        assert!(lone.sent(0).is_empty(), "its copy does not come back");
        lone.hear(0, &part(from, hops));
        assert_eq!(lone.sent(0).len(), 1, "the same once more does go on: parts are repeated");
    }
}

#[test]
fn packets_that_went_one_way_are_remembered_to_a_bound_and_all_carried() {
    let mut lone = Lone::with(|config| {
        config.transport_enabled = true;
        config.capacities.relays = 16;
    });
    lone.up(0, serial());
    let owner = identity(70);
    let to = lone.meet(0, &owner, 3, 1);
    lone.silence(1);
    let (link, request) = lone.ask(to, &owner, 500);
    lone.hear(0, &Packet { transport_id: Some(lone.stack.transport_id()), ..request }.encode());
    let carried = lone.sent(0).pop().unwrap();
    let proof = lone.prove(&carried, &owner);
    lone.hear(0, &Packet { hops: 2, ..proof }.encode());
    lone.silence(1);
    for number in 0..160_u8 {
        let packet = Packet {
            flags: Flags::new(DestinationKind::Link, PacketKind::Data),
            hops: 0,
            transport_id: None,
            destination: link.id().into(),
            context: Context::RESOURCE,
            data: vec![number; 40].into(),
        };
        lone.hear(0, &packet.encode());
        let sent = lone.sent(0);
        assert_eq!(sent.len(), 1);
        lone.hear(0, &relayed(&sent[0]));
        lone.hear(0, &Packet { hops: 2, ..packet }.encode());
        assert!(lone.sent(0).is_empty(), "the newest are known again");
        assert!(lone.stack.carried.len() <= 16);
    }
    assert_eq!(lone.stack.carried.len(), 16);
}
