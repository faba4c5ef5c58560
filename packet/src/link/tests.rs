//! Links: requests over bad media, what a peer can make a link hold, and how links begin and end.

mod bounds;
mod channels;
mod held;
mod pair;
mod patience;
mod segments;

use proptest::prelude::*;

use pair::{CALM, INITIATOR, Medium, Pair, RESPONDER, end, receive, secs, start};

use super::*;
use crate::hash::sha256;
use crate::identity::Identity;
use crate::msgpack::Writer;
use crate::resource::{Advertisement, ResourceFlags, SEGMENT_MAX, TRANSFER_MAX};
use crate::stack::{LinkCloseReason, RequestError};
use crate::testing::TestRng;

const OPTIONS: RequestOptions =
    RequestOptions { timeout: Some(Duration::from_secs(3600)), max_response: 2 * SEGMENT_MAX };

/// One MessagePack value around `len` bytes that compress well or not at all.
fn value(len: usize, compressible: bool, seed: u64) -> Vec<u8> {
    let mut body = vec![b'z'; len];
    if !compressible {
        rand_core::Rng::fill_bytes(&mut TestRng::seeded(seed), &mut body);
    }
    Writer::new().bin(&body).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_response_of_any_size_comes_through_any_loss_and_order(
        len in prop_oneof![0_usize..2000, 0_usize..20_000, 20_000_usize..90_000],
        asked in prop_oneof![4 => 0_usize..300, 1 => 300_usize..5000],
        mtu in prop_oneof![Just(500_usize), Just(564), Just(1064), Just(8192)],
        loss in 0.0..1.0_f64,
        jitter in prop_oneof![Just(0.0), 0.0..6.0_f64],
        latency_ms in 5_u64..1500,
        compressible: bool,
        seed: u64,
    ) {
        let medium = Medium { latency: Duration::from_millis(latency_ms), jitter, loss, pause: 3, ..CALM };
        let mut pair = Pair::over(medium, mtu, seed);
        let (body, response) = (value(asked, false, seed), value(len, compressible, seed ^ 1));
        let answer = pair.ask(&body, &response);
        prop_assert!(answer.as_deref() == Ok(&response[..]), "{:?}", answer.map(|answer| answer.len()));
        for end in &pair.ends {
            prop_assert_eq!((end.held().incoming, end.held().requests), (0, 0));
        }
    }

    #[test]
    fn no_bytes_make_a_link_panic(
        frames in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 1..200), any::<bool>()), 1..40),
        initiator: bool,
        waits in proptest::collection::vec(0_u32..100, 40),
        seed: u64,
    ) {
        let mut link = end(initiator);
        link.set_options(LinkOptions { proofs: ProofStrategy::All, resources: ResourceStrategy::All, ..LinkOptions::default() });
        link.register_path("/get");
        let mut rng = TestRng::seeded(seed);
        link.request(start(), &mut rng, "/get", &value(1000, false, seed), OPTIONS).unwrap();
        let mut now = start();
        for ((flags, context, body, sealed), wait) in frames.into_iter().zip(waits) {
            let context = Context(if context & 0x80 == 0 { context & 0x0f } else { context | 0xf0 });
            let packet = if sealed { link.seal(&mut rng, context, &body) } else { None };
            let mut packet = packet.unwrap_or_else(|| link.packet(PacketKind::Data, context, body.into()));
            packet.flags = Flags(0x0c | flags & 0x03);
            link.handle_packet(now, &mut rng, &PacketRef::parse(&packet.encode()).unwrap());
            while let Some(job) = link.poll_job() {
                link.handle_job(now, &mut rng, job.run());
            }
            now = now.later(Duration::from_secs(wait.into()));
            link.handle_timeout(now, &mut rng);
            prop_assert!(link.poll_timeout().is_none_or(|at| at > now.mono));
        }
    }
}

#[test]
fn a_response_proves_that_its_request_arrived() {
    let slow = Medium { jitter: 4.0, loss: 0.2, pause: 3, swallowed: Some(Context::RESOURCE_PROOF), ..CALM };
    let mut pair = Pair::over(Medium { latency: secs(2.0), ..slow }, 500, 7);
    let (body, response) = (value(1000, false, 1), value(20_000, false, 2));
    assert_eq!(pair.ask(&body, &response).as_deref(), Ok(&response[..]));
}

fn advertisement(number: u64, request: Option<RequestId>, flags: ResourceFlags) -> Advertisement {
    Advertisement {
        transfer_size: TRANSFER_MAX,
        total_size: 1000,
        parts: 1,
        hash: ResourceHash::new(sha256(&[&number.to_be_bytes()])),
        random: [0; 4],
        original: ResourceHash::new([0; 32]),
        segment: 1,
        segments: 1,
        request,
        flags: ResourceFlags(flags.0 | ResourceFlags::ENCRYPTED.0),
        map: vec![[1; 4]; 60],
    }
}

/// A resource of three parts.
fn small_offer(number: u64) -> Advertisement {
    let offer = advertisement(number, None, ResourceFlags::default());
    Advertisement { transfer_size: 1000, map: vec![[1; 4], [2; 4], [3; 4]], ..offer }
}

#[test]
fn the_largest_response_comes_through_a_bad_medium() {
    for (seed, mtu) in [(1, 500), (2, 1064)] {
        let medium = Medium { latency: Duration::from_millis(300), jitter: 4.0, loss: 0.2, ..CALM };
        let mut pair = Pair::over(medium, mtu, seed);
        let response = value(1_000_000, false, seed);
        assert!(pair.ask(&[0xc0], &response).is_ok_and(|answer| answer == response), "seed {seed}");
    }
}

#[test]
fn a_peer_cannot_make_a_link_hold_more_than_its_bounds() {
    let mut link = end(false);
    link.set_options(LinkOptions {
        proofs: ProofStrategy::All,
        resources: ResourceStrategy::All,
        ..LinkOptions::default()
    });
    link.register_path("/get");
    let mut rng = TestRng::seeded(1);
    let path = crate::destination::request_path_hash("/get");
    for number in 0..2000_u64 {
        let plain = advertisement(number, None, ResourceFlags::default());
        receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &plain.encode());
        let request = Writer::new().array(3).uint(number).bin(&path).nil().into_bytes();
        receive(&mut link, &mut rng, Context::REQUEST, &request);
        receive(&mut link, &mut rng, Context::NONE, &[0; 400]);
    }
    let held = link.held();
    assert!(held.incoming <= INCOMING_MAX, "{held:?}");
    assert!(held.queued <= PACKETS_MAX + EVENTS_MAX + INCOMING_MAX + 1, "{held:?}");
    let arriving: usize = link.timers.len();
    assert!(arriving <= INCOMING_MAX + 1);
}

/// What becomes of an offered request of `len` bytes: the context of the answer.
fn offer_request(link: &mut Link, rng: &mut TestRng, number: u64, len: usize) -> Option<Context> {
    let offer = Advertisement {
        transfer_size: len,
        total_size: len as u64,
        map: vec![[1; 4]],
        ..advertisement(number, Some(RequestId::new([1; 16])), ResourceFlags::REQUEST)
    };
    receive(link, rng, Context::RESOURCE_ADVERTISEMENT, &offer.encode());
    link.poll_packet().map(|packet| packet.context)
}

#[test]
fn only_who_identified_may_send_large_requests() {
    let mut link = end(false);
    link.register_path("/get");
    let mut rng = TestRng::seeded(1);
    let (refused, taken) = (Some(Context::RESOURCE_RECEIVER_CANCEL), Some(Context::RESOURCE_REQUEST));
    assert_eq!(offer_request(&mut link, &mut rng, 1, MAX_REQUEST_UNIDENTIFIED + 1), refused);
    assert_eq!(offer_request(&mut link, &mut rng, 2, MAX_REQUEST_UNIDENTIFIED), taken);
    link.identified_as(*Identity::from_slice(&[7; 64]).unwrap().public());
    assert_eq!(offer_request(&mut link, &mut rng, 3, SEGMENT_MAX + 1), refused);
    assert_eq!(offer_request(&mut link, &mut rng, 4, SEGMENT_MAX), taken);
}

#[test]
fn a_link_tells_how_much_arriving_resources_hold() {
    let mut pair = Pair::new(500, 11);
    assert_eq!(pair.ends[RESPONDER].held_bytes(), 0);
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].request(now, rng, "/get", &value(12_000, false, 1), OPTIONS).unwrap();
    let (mut most, mut before) = (0, 0);
    while pair.events[RESPONDER].is_empty() {
        pair.step(pair.now.mono + secs(60.0));
        let held = pair.ends[RESPONDER].held_bytes();
        assert!(held >= before || pair.ends[RESPONDER].held().incoming == 0, "{held} after {before}");
        (most, before) = (most.max(held), held);
    }
    assert!((10_000..13_000).contains(&most), "{most}");
    assert_eq!(pair.ends[RESPONDER].held_bytes(), 0);
    // An offer alone takes no more than its map.
    let offer = advertisement(1, None, ResourceFlags::default());
    pair.ends[RESPONDER].set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
    receive(&mut pair.ends[RESPONDER], &mut pair.rng, Context::RESOURCE_ADVERTISEMENT, &offer.encode_ready());
    assert_eq!(pair.ends[RESPONDER].held_bytes(), 4 * offer.map.len());
}

#[test]
fn a_request_whose_size_is_misstated_is_refused() {
    let mut link = end(false);
    link.register_path("/get");
    let mut rng = TestRng::seeded(1);
    let lie = advertisement(1, Some(RequestId::new([1; 16])), ResourceFlags::REQUEST);
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &lie.encode());
    assert_eq!(link.poll_packet().map(|packet| packet.context), Some(Context::RESOURCE_RECEIVER_CANCEL));
    assert_eq!(link.held().incoming, 0);
}

#[test]
fn a_response_above_the_limit_fails_its_request_at_once() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(1);
    let id = link.request(start(), &mut rng, "/get", &[0xc0], OPTIONS).unwrap();
    link.poll_packet();
    let offered = Advertisement {
        segments: 3,
        transfer_size: 1000,
        total_size: 2 * SEGMENT_MAX as u64 + 1,
        map: vec![[1; 4]],
        ..advertisement(1, Some(id), ResourceFlags::RESPONSE)
    };
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &offered.encode());
    assert_eq!(link.poll_packet().map(|packet| packet.context), Some(Context::RESOURCE_RECEIVER_CANCEL));
    let failed = LinkEvent::Responded { request: id, response: Err(RequestError::Failed), metadata: None };
    assert_eq!((link.poll_event(), link.poll_event()), (Some(failed), None));
}

#[test]
fn a_response_that_comes_too_late_is_refused_so_that_the_next_one_need_not_wait_behind_it() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(1);
    let id = link.request(start(), &mut rng, "/get", &[0xc0], OPTIONS).unwrap();
    link.poll_packet();
    link.handle_timeout(start().later(secs(7200.0)), &mut rng);
    while link.poll_packet().is_some() {}
    let offer = |number, request| Advertisement {
        transfer_size: 1000,
        map: vec![[1; 4]; 3],
        ..advertisement(number, Some(request), ResourceFlags::RESPONSE)
    };
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &offer(1, id).encode());
    assert_eq!(link.poll_packet().map(|packet| packet.context), Some(Context::RESOURCE_RECEIVER_CANCEL));
    // Nothing is said about requests that were never made.
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &offer(2, RequestId::new([9; 16])).encode());
    assert_eq!(link.poll_packet().map(|packet| packet.context), None);
}

#[test]
fn closing_fails_open_requests_and_transfers_before_the_link_is_down() {
    let mut pair = Pair::new(500, 3);
    let (now, rng) = (pair.now, &mut pair.rng);
    let small = pair.ends[INITIATOR].request(now, rng, "/get", &[0xc0], OPTIONS).unwrap();
    let large = pair.ends[INITIATOR].request(now, rng, "/get", &value(5000, false, 1), OPTIONS).unwrap();
    let packet = pair.ends[INITIATOR].send(now, rng, b"x").unwrap();
    pair.ends[INITIATOR].close(now, rng);
    pair.run_for(secs(1.0));
    let closed = |request| LinkEvent::Responded { request, response: Err(RequestError::LinkClosed), metadata: None };
    let events = &pair.events[INITIATOR];
    assert!(events.contains(&closed(small)) && events.contains(&closed(large)));
    assert!(events.contains(&LinkEvent::Undelivered { packet }));
    let down = LinkEvent::Down { reason: LinkCloseReason::InitiatorClosed };
    assert_eq!(events.last(), Some(&down));
    assert_eq!(pair.events[RESPONDER].last(), Some(&down));
    assert_eq!(pair.ends[INITIATOR].send(now, &mut pair.rng, b"x"), Err(LinkError::NotActive));
}

#[test]
fn a_request_is_answered_once() {
    let mut pair = Pair::new(500, 4);
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].request(now, rng, "/get", &[0xc0], OPTIONS).unwrap();
    pair.run_for(secs(1.0));
    let [LinkEvent::Requested { request, .. }] = pair.events[RESPONDER][..] else { panic!("{:?}", pair.events) };
    let responder = &mut pair.ends[RESPONDER];
    assert_eq!(responder.respond(pair.now, &mut pair.rng, request, &[0xc1]), Err(LinkError::Body));
    assert_eq!(responder.respond(pair.now, &mut pair.rng, request, &[0xc0]), Ok(()));
    assert_eq!(responder.respond(pair.now, &mut pair.rng, request, &[0xc0]), Err(LinkError::UnknownRequest));
}

#[test]
fn a_lost_round_trip_report_does_not_make_a_link_useless() {
    let owner = Identity::from_slice(&[4; 64]).unwrap();
    let mut rng = TestRng::seeded(5);
    let path = Initiate { mtu: 500, hops: 1, first_hop_timeout: secs(6.0) };
    let (mut initiator, request) =
        Link::initiate(start(), &mut rng, DestinationHash::new([5; 16]), owner.public(), path);
    let request = request.encode();
    let (mut responder, proof) =
        Link::accept(start(), &mut rng, &owner, &PacketRef::parse(&request).unwrap(), 1).unwrap();
    responder.register_path("/get");
    let now = start().later(secs(0.5));
    initiator.handle_packet(now, &mut rng, &PacketRef::parse(&proof.encode()).unwrap());
    let report = initiator.poll_packet().unwrap().encode();
    initiator.request(now, &mut rng, "/get", &[0xc0], OPTIONS).unwrap();
    let request = initiator.poll_packet().unwrap().encode();
    let later = start().later(secs(1.0));
    responder.handle_packet(later, &mut rng, &PacketRef::parse(&request).unwrap());
    assert_eq!(responder.poll_event(), Some(LinkEvent::Up { rtt: secs(1.0) }));
    assert!(matches!(responder.poll_event(), Some(LinkEvent::Requested { .. })));
    responder.handle_packet(later, &mut rng, &PacketRef::parse(&report).unwrap());
    assert_eq!((responder.poll_event(), responder.rtt()), (None, Some(secs(1.0))));
}

/// A link that waits for its proof, and a proof with this signalling.
fn pending_with_proof(rng: &mut TestRng, owner: &Identity, signalling: Signalling) -> (Link, Bytes) {
    let path = Initiate { mtu: 500, hops: 1, first_hop_timeout: secs(6.0) };
    let (link, _) = Link::initiate(start(), rng, DestinationHash::new([5; 16]), owner.public(), path);
    let (exchange, signalling) = ([9; 32], signalling.encode());
    let signed = [link.id().as_ref(), &exchange, owner.public().signing_key(), &signalling].concat();
    let body = [&owner.sign(&signed)[..], &exchange, &signalling].concat();
    let proof = link.packet(PacketKind::Proof, Context::LINK_REQUEST_PROOF, body.into()).encode();
    (link, proof)
}

#[test]
fn a_confirmed_mtu_can_be_told_from_the_one_asked_for() {
    let owner = Identity::from_slice(&[4; 64]).unwrap();
    let mut rng = TestRng::seeded(10);
    let (mut link, proof) = pending_with_proof(&mut rng, &owner, Signalling::new(2_000_000));
    assert_eq!((link.mtu(), link.asked_mtu()), (500, 500));
    link.handle_packet(start(), &mut rng, &PacketRef::parse(&proof).unwrap());
    assert_eq!((link.mtu(), link.asked_mtu(), link.state()), (2_000_000, 500, LinkState::Active));
}

#[test]
fn a_proof_that_was_verified_is_not_verified_again() {
    let owner = Identity::from_slice(&[4; 64]).unwrap();
    let stranger = Identity::from_slice(&[8; 64]).unwrap();
    let mut rng = TestRng::seeded(14);
    let (mut link, proof) = pending_with_proof(&mut rng, &owner, Signalling::new(500));
    let proof = PacketRef::parse(&proof).unwrap();
    assert!(link.verify_proof(&proof));
    // With another key nothing could be verified any more.
    link.peer = Peer::Destination(*stranger.public());
    let mut other = proof.frame().to_vec();
    *other.last_mut().unwrap() ^= 1;
    link.handle_packet(start(), &mut rng, &PacketRef::parse(&other).unwrap());
    assert_eq!(link.state(), LinkState::Pending);
    link.peer = Peer::Destination(*owner.public());
    assert!(link.verify_proof(&proof));
    link.peer = Peer::Destination(*stranger.public());
    link.handle_packet(start(), &mut rng, &proof);
    assert_eq!(link.state(), LinkState::Active);
}

#[test]
fn a_signed_proof_of_another_mode_closes_the_link() {
    let owner = Identity::from_slice(&[4; 64]).unwrap();
    let mut rng = TestRng::seeded(6);
    let (mut link, proof) = pending_with_proof(&mut rng, &owner, Signalling { mtu: 500, mode: 2 });
    let proof = PacketRef::parse(&proof).unwrap();
    assert!(link.verify_proof(&proof) && !verify_link_proof(link.id(), &proof, owner.public()));
    link.handle_packet(start(), &mut rng, &proof);
    assert_eq!(link.poll_event(), Some(LinkEvent::Down { reason: LinkCloseReason::Violation }));
    assert!(link.poll_packet().is_none());
}

#[test]
fn a_proof_that_got_lost_is_sent_again_when_asked_for_or_when_the_resource_is_offered_again() {
    let mut pair = Pair::new(500, 7);
    let options = LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() };
    pair.ends[RESPONDER].set_options(options);
    let (now, rng) = (pair.now, &mut pair.rng);
    let hello = Bytes::from_static(b"hello");
    pair.ends[INITIATOR].send_resource(now, rng, hello, ResourceOptions::default()).unwrap();
    let job = pair.ends[INITIATOR].poll_job().unwrap();
    pair.ends[INITIATOR].handle_job(now, rng, job.run());
    let offer = pair.ends[INITIATOR].poll_packet().unwrap();
    pair.put(INITIATOR, offer.clone());
    pair.run_for(secs(0.15));
    // Every proof is lost from here until the sender asks for it.
    pair.run_for(secs(0.1));
    while pair.events[RESPONDER].is_empty() {
        pair.step(pair.now.mono + secs(1.0));
    }
    pair.on_the_way.clear();
    pair.run_for(secs(12.0));
    let ends = |events: &[LinkEvent], outcome| {
        let ended = |event: &&LinkEvent| matches!(event, LinkEvent::Resource { event: ResourceEvent::Ended(how), .. } if *how == outcome);
        events.iter().filter(ended).count()
    };
    assert_eq!(ends(&pair.events[INITIATOR], ResourceOutcome::Delivered), 1, "{:?}", pair.events);
    pair.put(INITIATOR, offer);
    pair.run_for(secs(0.15));
    let received = ends(&pair.events[RESPONDER], ResourceOutcome::Received);
    assert_eq!((received, pair.ends[RESPONDER].held().incoming), (1, 0));
}

#[test]
fn a_silent_link_goes_stale_and_a_sign_of_life_revives_it() {
    let mut link = end(false);
    let mut rng = TestRng::seeded(8);
    let mut now = start();
    while link.state() != LinkState::Stale {
        now = now.later(link.poll_timeout().unwrap().since(now.mono));
        link.handle_timeout(now, &mut rng);
    }
    let alive = link.packet(PacketKind::Data, Context::KEEPALIVE, Bytes::from_static(&[0xfe])).encode();
    link.handle_packet(now, &mut rng, &PacketRef::parse(&alive).unwrap());
    assert_eq!(link.state(), LinkState::Active);
    now = now.later(secs(5.0));
    link.handle_timeout(now, &mut rng);
    assert_eq!((link.state(), link.poll_event()), (LinkState::Active, None));
}

fn forged(link: &Link, kind: PacketKind, context: Context, number: u32) -> Bytes {
    let body: Vec<u8> = number.to_be_bytes().iter().copied().cycle().take(112).collect();
    link.packet(kind, context, body.into()).encode()
}

#[test]
fn forged_packets_do_not_keep_a_dead_link_alive() {
    for initiator in [false, true] {
        let mut link = end(initiator);
        link.set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
        let mut rng = TestRng::seeded(12);
        receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &small_offer(1).encode());
        let mut now = start();
        for number in 0..1000 {
            now = now.later(secs(1.0));
            for context in (0..=0x0e).chain(0xfb..=0xff).map(Context) {
                for kind in [PacketKind::Data, PacketKind::Proof] {
                    let packet = forged(&link, kind, context, number);
                    link.handle_packet(now, &mut rng, &PacketRef::parse(&packet).unwrap());
                }
            }
            link.handle_timeout(now, &mut rng);
            while link.poll_packet().is_some() {}
        }
        assert_eq!(link.state(), LinkState::Closed, "initiator: {initiator}");
    }
}

#[test]
fn forged_parts_do_not_keep_a_transfer_alive() {
    let mut link = end(false);
    link.set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
    let mut rng = TestRng::seeded(13);
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &small_offer(1).encode());
    let (mut now, mut asked, mut number) = (start(), 0, 0);
    while link.held().incoming > 0 {
        assert!(number < 100_000, "asked {asked} times");
        now = now.later(Duration::from_millis(100));
        let packet = forged(&link, PacketKind::Data, Context::RESOURCE, number);
        link.handle_packet(now, &mut rng, &PacketRef::parse(&packet).unwrap());
        link.handle_timeout(now, &mut rng);
        while let Some(packet) = link.poll_packet() {
            asked += usize::from(packet.context == Context::RESOURCE_REQUEST);
        }
        // A sign of life, so that it is not the link that ends.
        let alive = link.packet(PacketKind::Data, Context::KEEPALIVE, Bytes::from_static(&[0xff])).encode();
        link.handle_packet(now, &mut rng, &PacketRef::parse(&alive).unwrap());
        number += 1;
    }
    assert_eq!((link.state(), asked), (LinkState::Active, 17));
}

#[test]
fn the_oldest_receipt_makes_room() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(9);
    let first = link.send(start(), &mut rng, b"0").unwrap();
    for _ in 0..RECEIPTS_MAX {
        assert!(link.poll_packet().is_some());
        link.send(start(), &mut rng, b"1").unwrap();
    }
    assert_eq!(link.poll_event(), Some(LinkEvent::Undelivered { packet: first }));
}
