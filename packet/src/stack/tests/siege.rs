//! Strangers who ask for much, and what is left for everybody else.

use core::time::Duration;

use super::lone::{Lone, identity, serial, tcp};
use super::*;
use crate::announce::{RandomHash, announce};
use crate::link::{Link, Signalling};
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};

/// The same request with another MTU: the same link id, another packet hash.
fn resignalled(request: &Packet, mtu: usize) -> Packet {
    let data = [&request.data[..64], &Signalling::new(mtu).encode()].concat();
    Packet { data: data.into(), ..request.clone() }
}

#[test]
fn a_frame_too_long_for_a_medium_is_not_queued_for_it() {
    let mut lone = Lone::new(true, &[tcp(), serial()]);
    let to = lone.meet(1, &identity(70), 1, 1);
    lone.silence(2);
    let via = Some(lone.stack.transport_id());
    for (len, fits) in [(16_300, false), (546, false), (545, true)] {
        let packet = Packet {
            flags: Flags::new(DestinationKind::Single, PacketKind::Data),
            hops: 0,
            transport_id: via,
            destination: to,
            context: Context::NONE,
            data: vec![7; len].into(),
        };
        lone.hear(0, &packet.encode());
        assert_eq!(lone.sent(1).len(), usize::from(fits), "{len}");
    }
    assert_eq!(lone.stack.stats().dropped(DropReason::OverMtu), 2);
}

#[test]
fn a_flood_of_link_requests_turns_over_its_own_links_only() {
    let mut lone = Lone::new(false, &[tcp(), tcp()]);
    let to = lone.serve();
    let friend = lone.meet(1, &identity(60), 1, 1);
    let up = lone.connect(1, to);
    let (waits, request) = lone.ask(to, &identity(50), 500);
    lone.hear(1, &request.encode());
    for _ in 0..1000 {
        let (_, request) = lone.ask(to, &identity(50), 500);
        lone.hear(0, &Packet { hops: 127, ..request }.encode());
    }
    assert!(lone.has_link(&up) && lone.has_link(&waits));
    assert_eq!(lone.stack.links().count(), 192);
    assert!(lone.stack.open_link(lone.now, friend).is_ok());
    let late = lone.connect(0, to);
    assert!(lone.has_link(&late), "also on the flooded interface there is room");
}

#[test]
fn strangers_who_complete_links_give_way_to_newcomers_and_those_who_identified_stay() {
    let mut lone = Lone::new(false, &[tcp(), tcp()]);
    let to = lone.serve();
    let mut known = lone.connect(0, to);
    known.identify(lone.now, &mut lone.rng, &identity(80)).unwrap();
    lone.flush(0, &mut known);
    for _ in 0..200 {
        lone.connect(0, to);
    }
    assert_eq!(lone.stack.links().count(), 192);
    let guest = lone.connect(1, to);
    assert!(lone.has_link(&known) && lone.has_link(&guest));
    assert_eq!(lone.stack.stats().dropped(DropReason::LinksFull), 0);
}

#[test]
fn a_copied_link_request_replaces_no_link() {
    let mut lone = Lone::new(false, &[tcp(), tcp()]);
    let to = lone.serve();
    let (mut link, request) = lone.ask(to, &identity(50), 500);
    lone.hear(0, &request.encode());
    let proof = lone.sent(0).pop().unwrap();
    link.handle_packet(lone.now, &mut lone.rng, &PacketRef::parse(&proof).unwrap());
    lone.flush(0, &mut link);
    lone.hear(1, &resignalled(&request, 501).encode());
    assert_eq!(lone.stack.stats().dropped(DropReason::LinkExists), 1);
    assert!(lone.sent(1).is_empty());
    lone.events();
    link.send(lone.now, &mut lone.rng, b"still here").unwrap();
    lone.flush(0, &mut link);
    assert!(lone.events().iter().any(|event| matches!(event, Event::LinkData { .. })));
}

#[test]
fn a_copied_link_request_replaces_no_carried_link() {
    let mut lone = Lone::new(true, &[tcp(), tcp(), tcp()]);
    let owner = identity(70);
    let to = lone.meet(1, &owner, 1, 1);
    lone.silence(3);
    let (_, request) = lone.ask(to, &owner, 500);
    let request = Packet { transport_id: Some(lone.stack.transport_id()), ..request };
    lone.hear(0, &request.encode());
    let carried = lone.sent(1).pop().unwrap();
    // Before the proof only the same way again is passed on.
    lone.hear(2, &resignalled(&request, 501).encode());
    assert!(lone.sent(1).is_empty());
    lone.hear(0, &resignalled(&request, 502).encode());
    assert_eq!(lone.sent(1).len(), 1);
    let proof = lone.prove(&carried, &owner);
    lone.hear(1, &proof.encode());
    lone.hear(0, &resignalled(&request, 503).encode());
    assert!(lone.sent(1).is_empty(), "after it nothing is");
    let links: Vec<_> = lone.stack.relayed_links().collect();
    assert!(links.len() == 1 && links[0].proved && links[0].towards_initiator == InterfaceId(0), "{links:?}");
}

#[test]
fn asking_for_links_takes_no_place_from_carried_links() {
    let mut lone = Lone::new(true, &[tcp(), tcp(), tcp()]);
    let owner = identity(70);
    let to = lone.meet(1, &owner, 1, 1);
    lone.silence(3);
    let via = Some(lone.stack.transport_id());
    let ask = |lone: &mut Lone, on| {
        let (link, request) = lone.ask(to, &owner, 500);
        lone.hear(on, &Packet { transport_id: via, ..request }.encode());
        link
    };
    let proved = ask(&mut lone, 0);
    let carried = lone.sent(1).pop().unwrap();
    let proof = lone.prove(&carried, &owner);
    lone.hear(1, &proof.encode());
    let waits = ask(&mut lone, 0);
    for _ in 0..2000 {
        ask(&mut lone, 2);
        lone.sent(1);
    }
    assert!(lone.stack.relays.contains(&proved.id()) && lone.stack.relays.contains(&waits.id()));
    assert_eq!(lone.stack.relays.counts(), (256, 1));
}

#[test]
fn asking_for_a_path_often_neither_delays_the_answer_nor_the_announce() {
    let mut lone = Lone::new(true, &[tcp(), tcp(), tcp()]);
    let to = lone.meet(1, &identity(70), 1, 1);
    let mut sent = [0; 3];
    for tag in 0..100 {
        lone.request_path(0, to, tag);
        lone.pass(Duration::from_millis(300));
        for (on, count) in (0..).zip(&mut sent) {
            *count += lone.sent(on).len();
        }
    }
    assert_eq!(sent[1..], [2, 2], "both rebroadcasts go out");
    assert!(sent[0] > 2 + 40, "and an answer every 0.6 s, not {}", sent[0] - 2);
}

#[test]
fn counters_of_interfaces_that_are_gone_are_forgotten() {
    let mut lone = Lone::new(false, &[tcp()]);
    for id in 1..1000 {
        lone.up(id, tcp());
        lone.hear(id, &[0]);
        lone.down(id);
        lone.pass(Duration::from_millis(100));
    }
    lone.pass(INTERFACE_LINGER + Duration::from_secs(2));
    assert!(lone.stack.stats.interfaces.len() <= 1 && lone.stack.lingering.is_empty());
    assert_eq!(lone.stack.poll_timeout(), None);
}

#[test]
fn a_burst_of_path_requests_ends_by_itself() {
    let gateway = InterfaceProfile { mode: Mode::Gateway, ..tcp() };
    let mut lone = Lone::new(true, &[gateway.clone(), gateway]);
    let target = |of: u8| DestinationHash::new([of; 16]);
    for of in 0..60 {
        lone.request_path(0, target(of), u32::from(of));
        lone.pass(Duration::from_millis(20));
    }
    lone.silence(2);
    // What was asked for beyond the limit was ignored, and can be asked for again when the burst is over.
    lone.pass(Duration::from_secs(60));
    lone.request_path(0, target(59), 100);
    assert_eq!(lone.sent(1).len(), 1);
    lone.pass(Duration::from_secs(60));
    assert_eq!(lone.stack.poll_timeout(), None, "and nothing is looked at any more");
}

#[test]
fn link_jobs_and_announce_checks_take_turns() {
    let mut lone = Lone::new(false, &[tcp(), tcp()]);
    let friend = lone.meet(0, &identity(60), 1, 1);
    for _ in 0..2 {
        lone.stack.open_link(lone.now, friend).unwrap();
        let request = lone.sent(0).pop().unwrap();
        let proof = lone.prove(&request, &identity(60));
        lone.hear(0, &proof.encode());
    }
    // A request of several packets is a job.
    for link in lone.stack.links().collect::<Vec<_>>() {
        let options = RequestOptions { timeout: None, max_response: 10 };
        lone.stack.link(lone.now, link).unwrap().request("/echo", &noise(20_000), options).unwrap();
    }
    // Announces of one interface are checked together: these two are two jobs.
    for (on, seed) in [(0, 90), (1, 91)] {
        let name = DestinationName::new("somebody", &[]).unwrap();
        let random = RandomHash::new([1; 5], UnixTime(1));
        let heard = announce(&identity(seed), name.hash(), random, None, b"", Context::NONE).unwrap();
        lone.stack.handle_input(lone.now, Input::Frame { on: InterfaceId(on), bytes: &heard.encode() });
    }
    let jobs: Vec<_> = core::iter::from_fn(|| lone.stack.poll_job()).collect();
    let of_links: Vec<_> = jobs.iter().map(|job| matches!(job.0, Work::Link { .. })).collect();
    let turns = of_links.windows(2).take(3).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((of_links.len(), turns), (4, 3), "{of_links:?}");
}

/// The parts of a request of `len` bytes that the peer takes before it has asked for all of them.
fn begin_request(lone: &mut Lone, link: &mut Link, len: u32) {
    let options = RequestOptions { timeout: None, max_response: 10 };
    let (now, mut rng) = (lone.now, TestRng::seeded(4));
    link.request(now, &mut rng, "/echo", &noise(len), options).unwrap();
    let job = link.poll_job().unwrap();
    link.handle_job(now, &mut rng, job.run());
    lone.sent(0);
    for _ in 0..3 {
        lone.flush(0, link);
        for frame in lone.sent(0) {
            link.handle_packet(now, &mut rng, &PacketRef::parse(&frame).unwrap());
        }
    }
}

#[test]
fn what_arrives_on_links_of_others_is_bounded_all_together() {
    let mut lone = Lone::new(false, &[tcp()]);
    lone.stack.config.capacities.arriving_bytes = 40_000;
    let to = lone.serve();
    let mut known = lone.connect(0, to);
    known.identify(lone.now, &mut lone.rng, &identity(80)).unwrap();
    begin_request(&mut lone, &mut known, 60_000);
    let held = lone.stack.arriving;
    assert!(held > 1000 && lone.has_link(&known), "{held}");
    let mut strangers = 0;
    for _ in 0..60 {
        let mut link = lone.connect(0, to);
        begin_request(&mut lone, &mut link, 10_000);
        assert!(lone.stack.arriving <= 40_000);
        strangers += usize::from(lone.has_link(&link));
    }
    assert!(lone.has_link(&known), "who identified stays");
    assert!(lone.stack.links().count() < 61 && strangers > 1, "{strangers}");
    let all: usize = lone.stack.links.values().map(|slot| slot.arriving()).sum();
    assert_eq!(all, lone.stack.arriving);
    lone.down(0);
    assert_eq!(lone.stack.arriving, 0);
}

#[test]
fn connections_that_come_and_go_are_cleared_away_together() {
    let mut lone = Lone::new(true, &[tcp()]);
    for id in 1..=300 {
        lone.up(id, tcp());
        lone.meet(id, &identity(u64::from(id)), 1, 1);
        lone.down(id);
        lone.now = lone.now.later(Duration::from_millis(10));
    }
    assert_eq!(lone.stack.paths.len(), 300);
    lone.pass(INTERFACE_LINGER - Duration::from_millis(3100));
    let mut passes = 0;
    while !lone.stack.lingering.is_empty() {
        let before = lone.stack.lingering.len();
        let next = lone.stack.poll_timeout().unwrap();
        lone.pass(next.since(lone.now.mono));
        passes += usize::from(lone.stack.lingering.len() < before);
    }
    assert!(passes <= 4, "{passes} passes for 3 s of closing");
    assert_eq!(lone.stack.paths.len(), 0);
}

#[test]
fn links_that_strangers_prove_turn_over_and_those_in_use_stay() {
    let mut lone = Lone::with(|config| {
        config.transport_enabled = true;
        config.capacities.relays = 16;
    });
    (0..3).for_each(|id| lone.up(id, tcp()));
    let owner = identity(70);
    let to = lone.meet(1, &owner, 1, 1);
    lone.silence(3);
    let via = Some(lone.stack.transport_id());
    let make = |lone: &mut Lone, on| {
        let (link, request) = lone.ask(to, &owner, 500);
        lone.hear(on, &Packet { transport_id: via, ..request }.encode());
        let carried = lone.sent(1).pop().unwrap();
        let proof = lone.prove(&carried, &owner);
        lone.hear(1, &proof.encode());
        assert_eq!(lone.sent(on).len(), 1, "its initiator has the proof");
        link
    };
    let alive = |link: &Link| Packet {
        flags: Flags::new(DestinationKind::Link, PacketKind::Data),
        hops: 0,
        transport_id: None,
        destination: link.id().into(),
        context: Context::KEEPALIVE,
        data: vec![0xff].into(),
    };
    let (used, unused) = (make(&mut lone, 2), make(&mut lone, 2));
    for _ in 0..160 {
        make(&mut lone, 0);
        lone.hear(2, &alive(&used).encode());
        assert_eq!(lone.sent(1).len(), 1, "it is carried");
    }
    assert_eq!(lone.stack.relays.counts(), (0, 16));
    assert!(lone.stack.relays.contains(&used.id()) && !lone.stack.relays.contains(&unused.id()));
    let deadlines = lone.stack.timers.len();
    assert!(deadlines <= 16 + 8, "{deadlines}");
    let late = make(&mut lone, 2);
    lone.hear(2, &alive(&late).encode());
    assert_eq!(lone.sent(1).len(), 1);
}
