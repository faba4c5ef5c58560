//! Tables that strangers fill tenfold: how large they get, and what honest nodes notice of it. Those of links are in
//! `siege`, of tunnels in `tunnels`, of announce queues and rates in `spread`, of receipts in `keys`, of programs on this
//! machine in `sharing`, of those who are shut out in `blackhole`.

use core::time::Duration;

use super::lone::*;
use super::*;
use crate::announce::{RandomHash, announce};
use crate::wire::{Context, DestinationKind, Packet, PacketKind};

const EMITTED: u64 = 1_700_000_000;

/// No burst is one here.
fn open() -> InterfaceProfile {
    let burst_limits = BurstLimits { path_request_hz: (1e6, 1e6), ..BurstLimits::DEFAULT };
    InterfaceProfile { mode: Mode::Gateway, ingress_control: false, burst_limits, ..tcp() }
}

/// A transport node with small tables and three interfaces; strangers are at 0, honest nodes at 1 and 2.
fn small(configure: impl FnOnce(&mut Capacities)) -> Lone {
    let mut lone = Lone::with(|config| {
        config.transport_enabled = true;
        configure(&mut config.capacities);
    });
    (0..3).for_each(|id| lone.up(id, open()));
    lone
}

/// A packet of this node's neighbour, to be carried on.
fn carried(lone: &Lone, to: DestinationHash, number: u32) -> Packet {
    Packet {
        flags: Flags::new(DestinationKind::Single, PacketKind::Data),
        hops: 0,
        transport_id: Some(lone.stack.transport_id()),
        destination: to,
        context: Context::NONE,
        data: [&[7; 64][..], &number.to_be_bytes()].concat().into(),
    }
}

#[test]
fn announces_of_strangers_take_no_place_from_destinations_in_use() {
    let mut lone = small(|sizes| (sizes.known, sizes.paths, sizes.rebroadcasts) = (16, 16, 8));
    let honest = lone.meet(1, &identity(7), 1, EMITTED);
    for stranger in 0..160 {
        lone.meet(0, &identity(1000 + stranger), 1, EMITTED);
        let packet = carried(&lone, honest, stranger as u32);
        lone.hear(2, &packet.encode());
        lone.pass(Duration::from_millis(1));
    }
    let stack = &lone.stack;
    assert_eq!((stack.paths.len(), stack.known.len(), stack.rebroadcasts.len()), (16, 16, 8));
    let timers = stack.timers.len();
    assert!(timers <= 3 + 1 + 3, "{timers} deadlines");
    lone.silence(3);
    // Also a link to it comes about: its proof is checked here.
    let (link, request) = lone.ask(honest, &identity(7), 500);
    lone.hear(2, &Packet { transport_id: Some(lone.stack.transport_id()), ..request }.encode());
    let passed_on = lone.sent(1).pop().unwrap();
    let proof = lone.prove(&passed_on, &identity(7));
    lone.sent(2);
    lone.hear(1, &proof.encode());
    assert_eq!(lone.sent(2).len(), 1);
    assert!(lone.stack.relayed_links().any(|relayed| relayed.id == link.id() && relayed.proved));
    lone.meet(1, &identity(8), 1, EMITTED);
    lone.pass(Duration::from_secs(1));
    assert!(lone.sent(2).iter().any(|frame| frame[18..34] == *name_of(8).as_ref()), "and newcomers are passed on");
}

fn name_of(seed: u64) -> DestinationHash {
    DestinationName::new("somebody", &[]).unwrap().of(identity(seed).hash())
}

#[test]
fn answers_to_one_interface_leave_room_for_those_to_another() {
    let mut lone = small(|sizes| sizes.responses = 16);
    let all: Vec<_> = (0..160).map(|seed| lone.meet(1, &identity(1000 + seed), 1, EMITTED)).collect();
    for _ in 0..60 {
        lone.pass(Duration::from_secs(1));
        lone.silence(3);
    }
    for (tag, target) in (0..).zip(&all) {
        lone.request_path(0, *target, tag);
    }
    lone.request_path(2, all[0], 1000);
    assert_eq!(lone.stack.responses.len(), 9);
    lone.pass(RESPONSE_GRACE);
    assert_eq!((lone.sent(0).len(), lone.sent(2).len(), lone.stack.responses.len()), (8, 1, 0));
}

#[test]
fn ways_back_for_packets_of_strangers_leave_the_newest_packet_its_proof() {
    let mut lone = small(|sizes| sizes.reverse = 16);
    let owner = identity(7);
    let to = lone.meet(1, &owner, 1, EMITTED);
    for number in 0..160 {
        let packet = carried(&lone, to, number);
        lone.hear(0, &packet.encode());
    }
    let packet = carried(&lone, to, 1000);
    lone.hear(2, &packet.encode());
    assert_eq!(lone.stack.reverse.len(), 16);
    lone.silence(3);
    lone.hear(1, &crate::proof::prove(&owner, packet.hash(), crate::proof::ProofForm::Implicit).encode());
    assert_eq!((lone.sent(0).len(), lone.sent(2).len()), (0, 1));
}

#[test]
fn searches_for_strangers_leave_room_for_one_more() {
    let mut lone = small(|sizes| (sizes.path_requests, sizes.tags) = (16, 16));
    for number in 0..160_u32 {
        lone.request_path(0, DestinationHash::new([number as u8; 16]), number);
        lone.pass(Duration::from_millis(100));
    }
    let stack = &lone.stack;
    assert_eq!((stack.in_flight.len(), stack.waiting.len()), (16, 16));
    assert!(stack.tags.len() <= 2 * 16 + 1, "{} tags", stack.tags.len());
    lone.silence(3);
    lone.request_path(2, name_of(7), 1000);
    assert_eq!(lone.sent(1).len(), 1);
    lone.meet(1, &identity(7), 1, EMITTED);
    assert_eq!(lone.sent(2).len(), 1, "who waits is told at once");
}

#[test]
fn own_requests_for_paths_are_remembered_to_a_bound_and_all_made() {
    let mut lone = small(|sizes| sizes.path_requests = 16);
    for number in 0..160 {
        lone.stack.request_path(lone.now, DestinationHash::new([number; 16]));
    }
    assert_eq!((lone.stack.requested.len(), lone.sent(1).len()), (16, 160));
}

#[test]
fn links_that_fail_make_few_requests_wait() {
    let mut lone = small(|_| ());
    let asked: Vec<_> = (0..10 * QUEUED_REQUESTS_MAX as u64).map(|seed| (seed, name_of(1000 + seed))).collect();
    for (seed, _) in &asked {
        lone.meet(1, &identity(1000 + seed), 1, EMITTED);
    }
    lone.pass(Duration::from_secs(60));
    lone.silence(3);
    for (seed, to) in &asked {
        let (_, request) = lone.ask(*to, &identity(1000 + seed), 500);
        lone.hear(0, &Packet { transport_id: Some(lone.stack.transport_id()), ..request }.encode());
    }
    let mut most = 0;
    for _ in 0..20 {
        lone.pass(Duration::from_secs(1));
        most = most.max(lone.stack.queued_requests.len());
    }
    assert!((1..=QUEUED_REQUESTS_MAX).contains(&most), "{most}");
    lone.pass(Duration::from_secs(60));
    assert!(lone.stack.queued_requests.is_empty(), "and all of them are made");
}

#[test]
fn hashes_of_packets_are_forgotten_by_generations() {
    let mut lone = small(|sizes| sizes.packet_hashes = 16);
    let to = lone.meet(1, &identity(7), 1, EMITTED);
    lone.silence(3);
    for number in 0..160 {
        let packet = carried(&lone, to, number);
        lone.hear(0, &packet.encode());
        assert!(lone.stack.packet_hashes.len() <= 2 * 16 + 1);
    }
    let packet = carried(&lone, to, 1000).encode();
    lone.hear(2, &packet);
    lone.hear(2, &packet);
    assert_eq!(lone.sent(1).len(), 161);
    assert_eq!(lone.stack.stats().dropped(DropReason::Duplicate), 1);
}

#[test]
fn packets_nobody_decides_about_go_unproved_and_the_newest_can_be_proved() {
    let mut lone = small(|sizes| sizes.receipts = 16);
    let destination = Destination::new(identity(50), DestinationName::new("beloned", &[]).unwrap());
    let to = lone.stack.register(Destination { proofs: ProofStrategy::Application, ..destination }).unwrap();
    let packets: Vec<_> = (0..160)
        .map(|_| {
            let data = identity(50).public().encrypt(&mut lone.rng, None, b"prove me").unwrap();
            let packet = Packet { transport_id: None, data: data.into(), ..carried(&lone, to, 0) };
            lone.hear(0, &packet.encode());
            packet.hash()
        })
        .collect();
    assert_eq!(lone.stack.undecided.len(), 16);
    assert!(lone.stack.prove(lone.now, packets[0]).is_err());
    lone.stack.prove(lone.now, packets[159]).unwrap();
    assert_eq!(lone.sent(0).len(), 1);
}

#[test]
fn checks_that_wait_for_one_interface_leave_room_for_another() {
    let mut lone = small(|sizes| sizes.admission = 16);
    let heard = |seed| {
        let random = RandomHash::new([1; 5], UnixTime(EMITTED));
        let name = DestinationName::new("somebody", &[]).unwrap();
        announce(&identity(seed), name.hash(), random, None, b"", Context::NONE).unwrap().encode()
    };
    for seed in 0..160 {
        lone.stack.handle_input(lone.now, Input::Frame { on: InterfaceId(0), bytes: &heard(1000 + seed) });
    }
    assert_eq!((lone.stack.admits(InterfaceId(0)), lone.stack.admits(InterfaceId(1))), (0, 8));
    lone.hear(1, &heard(7));
    assert!(lone.stack.path(name_of(7)).is_some());
    assert_eq!((lone.stack.paths().count(), lone.stack.admits(InterfaceId(0))), (9, 8));
}

#[test]
fn what_is_held_back_on_one_interface_keeps_nothing_from_another() {
    let burst_limits = BurstLimits { announce_hz: (0.0, 0.0), ..BurstLimits::DEFAULT };
    let mut lone = small(|sizes| sizes.held = 4);
    lone.up(3, InterfaceProfile { ingress_control: true, burst_limits, ..open() });
    for seed in 0..40 {
        lone.pass(Duration::from_millis(10));
        lone.meet(3, &identity(1000 + seed), 1, EMITTED);
    }
    assert_eq!(lone.stack.announce_backlog(InterfaceId(3)).held, 4);
    let honest = lone.meet(1, &identity(7), 1, EMITTED);
    assert_eq!(lone.stack.path(honest).map(|path| path.on), Some(InterfaceId(1)));
    // What this node asked for is believed there too.
    lone.stack.request_path(lone.now, name_of(8));
    lone.meet(3, &identity(8), 1, EMITTED);
    assert!(lone.stack.path(name_of(8)).is_some());
}

#[test]
fn frames_for_a_stalled_interface_wait_in_bounded_lines_and_others_move() {
    let mut lone = small(|sizes| sizes.queue = 16);
    let [stalled, moving] = [(1, 7), (2, 8)].map(|(on, seed)| lone.meet(on, &identity(seed), 1, EMITTED));
    lone.pass(Duration::from_secs(60));
    lone.silence(3);
    for number in 0..160 {
        let packet = carried(&lone, stalled, number);
        lone.hear(0, &packet.encode());
    }
    assert_eq!(lone.stack.stats().dropped(DropReason::QueueFull), 160 - 16);
    let packet = carried(&lone, moving, 1000);
    lone.hear(0, &packet.encode());
    assert_eq!((lone.sent(2).len(), lone.sent(1).len()), (1, 16));
}
