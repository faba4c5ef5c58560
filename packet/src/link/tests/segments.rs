//! Resources of several segments, sent from memory or as they are supplied, and how they end early.

use super::pair::{CALM, INITIATOR, Medium, Pair, RESPONDER, end, receive, secs, start};
use super::*;
use crate::compression::Effort;

/// Bytes that do not compress.
pub(super) fn noise(len: usize, seed: u64) -> Bytes {
    let mut body = vec![0; len];
    rand_core::Rng::fill_bytes(&mut TestRng::seeded(seed), &mut body);
    body.into()
}

pub(super) fn taking(strategy: ResourceStrategy) -> LinkOptions {
    LinkOptions { resources: strategy, ..LinkOptions::default() }
}

pub(super) fn resource_events(events: &[LinkEvent]) -> Vec<(TransferId, ResourceEvent)> {
    let of = |event: &LinkEvent| match event {
        LinkEvent::Resource { resource, event } => Some((*resource, event.clone())),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// What arrived at an end: metadata, body, and how it ended. Segments must come without gaps.
pub(super) fn arrived(events: &[LinkEvent]) -> (Option<Bytes>, Vec<u8>, Option<ResourceOutcome>) {
    let (mut metadata, mut body, mut outcome) = (None, Vec::new(), None);
    for (_, event) in resource_events(events) {
        match event {
            ResourceEvent::Segment { offset, metadata: with, data } => {
                assert_eq!((offset, outcome), (body.len() as u64, None));
                metadata = metadata.or(with);
                body.extend_from_slice(&data);
            }
            ResourceEvent::Ended(how) => assert_eq!(outcome.replace(how), None, "an end comes once"),
            _ => {}
        }
    }
    (metadata, body, outcome)
}

pub(super) fn outcome(events: &[LinkEvent]) -> Option<ResourceOutcome> {
    arrived(events).2
}

/// Runs until both ends say how it ended.
pub(super) fn run_to_the_end(pair: &mut Pair) {
    let end = pair.now.mono + secs(48.0 * 3600.0);
    while pair.events.iter().any(|events| outcome(events).is_none()) && pair.step(end) {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 8, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_resource_of_several_segments_survives_any_loss_and_order(
        segments in 2_usize..5,
        over in 0_usize..3000,
        block in prop::option::of(0_usize..3000),
        mtu in prop_oneof![Just(1064_usize), Just(8192), Just(65_536)],
        loss in 0.0..0.5_f64,
        jitter in prop_oneof![Just(0.0), 0.0..6.0_f64],
        supplied: bool,
        seed: u64,
    ) {
        let medium = Medium { jitter, loss, pause: 3, ..CALM };
        let mut pair = Pair::over(medium, mtu, seed);
        pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
        let body = noise((segments - 1) * SEGMENT_MAX + over, seed);
        let metadata = block.map(|len| Bytes::from(value(len, false, seed)));
        let options = ResourceOptions { metadata: metadata.clone(), compression: Compression::Auto };
        let (now, rng) = (pair.now, &mut pair.rng);
        let sender = &mut pair.ends[INITIATOR];
        let id = if supplied {
            sender.stream_resource(now, rng, body.len() as u64, options)
        } else {
            sender.send_resource(now, rng, body.clone(), options)
        }.unwrap();
        let limit = pair.now.mono + secs(48.0 * 3600.0);
        let mut supplied_to = 0;
        while outcome(&pair.events[INITIATOR]).is_none() && pair.step(limit) {
            for (of, event) in resource_events(&std::mem::take(&mut pair.events[INITIATOR])) {
                prop_assert_eq!(of, id);
                match event {
                    ResourceEvent::Wanted { offset, len } => {
                        prop_assert_eq!(offset as usize, supplied_to);
                        supplied_to += len;
                        let data = body.slice(supplied_to - len..supplied_to);
                        pair.ends[INITIATOR].supply_resource(pair.now, &mut pair.rng, id, data).unwrap();
                    }
                    ResourceEvent::Progress { done, total } => prop_assert!(done <= total),
                    event => pair.events[INITIATOR].push(LinkEvent::Resource { resource: of, event }),
                }
            }
            prop_assert!(pair.ends[RESPONDER].held_bytes() <= TRANSFER_MAX, "one segment at most");
        }
        prop_assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Delivered));
        let (with, got, how) = arrived(&pair.events[RESPONDER]);
        prop_assert_eq!((with, how), (metadata, Some(ResourceOutcome::Received)));
        prop_assert!(got == body);
        prop_assert!(!supplied || supplied_to == body.len());
        for end in &pair.ends {
            prop_assert_eq!((end.held().incoming, end.held().outgoing, end.held_bytes()), (0, 0, 0));
        }
    }
}

#[test]
fn requests_and_responses_may_take_several_segments() {
    let mut pair = Pair::new(8192, 21);
    let large = LinkOptions {
        max_request: 4 * SEGMENT_MAX,
        max_request_unidentified: usize::MAX,
        ..taking(ResourceStrategy::None)
    };
    pair.ends[RESPONDER].set_options(large);
    let (body, response) = (value(2 * SEGMENT_MAX, false, 1), value(SEGMENT_MAX + 500_000, true, 2));
    assert!(pair.ask(&body, &response).is_ok_and(|answer| answer == response));
    let too_large = value(4 * SEGMENT_MAX, false, 3);
    assert_eq!(pair.ask(&too_large, &response), Err(RequestError::Failed));
    assert_eq!(pair.ends.each_ref().map(Link::state), [LinkState::Active; 2]);
}

#[test]
fn a_file_answers_a_request_with_its_metadata() {
    let mut pair = Pair::new(8192, 22);
    let (now, rng) = (pair.now, &mut pair.rng);
    let options = RequestOptions { max_response: 3 * SEGMENT_MAX, ..OPTIONS };
    let id = pair.ends[INITIATOR].request(now, rng, "/get", &[0xc0], options).unwrap();
    pair.run_for(secs(1.0));
    let (file, metadata) = (noise(2 * SEGMENT_MAX + 5, 3), Bytes::from_static(&[0x81, 0xa1, b'n', 0x01]));
    let (now, rng) = (pair.now, &mut pair.rng);
    let responder = &mut pair.ends[RESPONDER];
    let empty = responder.respond_file(now, rng, id, metadata.clone(), Bytes::new(), Compression::Never);
    assert_eq!(empty, Err(LinkError::Body));
    responder.respond_file(now, rng, id, metadata.clone(), file.clone(), Compression::Never).unwrap();
    pair.run_for(secs(60.0));
    let answered = LinkEvent::Responded { request: id, response: Ok(file), metadata: Some(metadata) };
    assert!(pair.events[INITIATOR].contains(&answered));
    let progress = |event: &&LinkEvent| matches!(event, LinkEvent::Responding { .. });
    assert!(pair.events[INITIATOR].iter().filter(progress).count() > 3);
}

/// Begins to send so many bytes, and stops when the receiver has this many segments.
fn halfway(len: usize, segments: usize, seed: u64) -> (Pair, TransferId) {
    let mut pair = Pair::new(8192, seed);
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    let (now, rng) = (pair.now, &mut pair.rng);
    let id = pair.ends[INITIATOR].send_resource(now, rng, noise(len, seed), ResourceOptions::default()).unwrap();
    let limit = pair.now.mono + secs(600.0);
    let is_segment = |event: &&(TransferId, ResourceEvent)| matches!(event.1, ResourceEvent::Segment { .. });
    while resource_events(&pair.events[RESPONDER]).iter().filter(is_segment).count() < segments {
        assert!(pair.step(limit));
    }
    (pair, id)
}

#[test]
fn either_side_may_cancel_at_any_time_and_the_other_is_told() {
    // Right after the proof of a segment went out, the sender is between two of them or the next has begun.
    for (steps, seed) in [(0, 31), (1, 32), (3, 33), (9, 34)] {
        let (mut pair, id) = halfway(3 * SEGMENT_MAX, 1, seed);
        for _ in 0..steps {
            pair.step(pair.now.mono + secs(1.0));
        }
        pair.ends[INITIATOR].cancel_resource(pair.now, &mut pair.rng, id).unwrap();
        pair.run_for(secs(20.0));
        assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Cancelled), "{steps}");
        assert_eq!(outcome(&pair.events[RESPONDER]), Some(ResourceOutcome::Failed), "{steps}");
        let (mut pair, _) = halfway(3 * SEGMENT_MAX, 1, seed);
        for _ in 0..steps {
            pair.step(pair.now.mono + secs(1.0));
        }
        let arriving = resource_events(&pair.events[RESPONDER])[0].0;
        pair.ends[RESPONDER].cancel_resource(pair.now, &mut pair.rng, arriving).unwrap();
        pair.run_for(secs(20.0));
        assert_eq!(outcome(&pair.events[RESPONDER]), Some(ResourceOutcome::Cancelled), "{steps}");
        assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Rejected), "{steps}");
        let again = pair.ends[RESPONDER].cancel_resource(pair.now, &mut pair.rng, arriving);
        assert_eq!(again, Err(LinkError::UnknownResource));
    }
}

#[test]
fn what_waits_can_be_cancelled_before_it_begins() {
    let mut pair = Pair::new(8192, 35);
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    let (now, rng) = (pair.now, &mut pair.rng);
    let first = pair.ends[INITIATOR].send_resource(now, rng, noise(50_000, 1), ResourceOptions::default()).unwrap();
    let second = pair.ends[INITIATOR].send_resource(now, rng, noise(50_000, 2), ResourceOptions::default()).unwrap();
    pair.ends[INITIATOR].cancel_resource(now, rng, second).unwrap();
    pair.run_for(secs(30.0));
    let ends = |id, how| (id, ResourceEvent::Ended(how));
    let events = resource_events(&pair.events[INITIATOR]);
    assert!(events.contains(&ends(second, ResourceOutcome::Cancelled)));
    assert!(events.contains(&ends(first, ResourceOutcome::Delivered)));
}

#[test]
fn offers_wait_for_the_application() {
    let mut pair = Pair::new(500, 36);
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::Ask));
    for accept in [true, false] {
        let (now, rng) = (pair.now, &mut pair.rng);
        pair.ends[INITIATOR].send_resource(now, rng, noise(5000, 3), ResourceOptions::default()).unwrap();
        pair.run_for(secs(0.5));
        let offers = resource_events(&std::mem::take(&mut pair.events[RESPONDER]));
        let [(id, ResourceEvent::Offered { size: 5000, segments: 1, has_metadata: false })] = offers[..] else {
            panic!("{offers:?}")
        };
        let (now, rng) = (pair.now, &mut pair.rng);
        if accept {
            pair.ends[RESPONDER].accept_resource(now, rng, id).unwrap();
        } else {
            pair.ends[RESPONDER].cancel_resource(now, rng, id).unwrap();
        }
        run_to_the_end(&mut pair);
        let expected = match accept {
            true => [ResourceOutcome::Delivered, ResourceOutcome::Received],
            false => [ResourceOutcome::Rejected, ResourceOutcome::Cancelled],
        };
        let ends = [INITIATOR, RESPONDER].map(|end| outcome(&pair.events[end]));
        assert_eq!(ends, expected.map(Some));
        pair.events = [vec![], vec![]];
        assert_eq!(pair.ends[RESPONDER].accept_resource(pair.now, &mut pair.rng, id), Err(LinkError::UnknownResource));
    }
}

#[test]
fn supplies_must_be_wanted_and_whole() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(1);
    let id = link.stream_resource(start(), &mut rng, 5000, ResourceOptions::default()).unwrap();
    let wanted = LinkEvent::Resource { resource: id, event: ResourceEvent::Wanted { offset: 0, len: 5000 } };
    assert_eq!(link.poll_event(), Some(wanted));
    let short = link.supply_resource(start(), &mut rng, id, noise(4999, 1));
    assert_eq!(short, Err(LinkError::Length { len: 4999, wanted: 5000 }));
    assert_eq!(link.supply_resource(start(), &mut rng, id, noise(5000, 1)), Ok(()));
    assert_eq!(link.supply_resource(start(), &mut rng, id, noise(5000, 1)), Err(LinkError::UnknownResource));
    assert_eq!(link.send_resource(start(), &mut rng, Bytes::new(), ResourceOptions::default()), Err(LinkError::Body));
    let metadata = Some(Bytes::from(value(SEGMENT_MAX, false, 1)));
    let options = ResourceOptions { metadata, ..ResourceOptions::default() };
    assert!(matches!(link.send_resource(start(), &mut rng, noise(9, 1), options), Err(LinkError::TooLarge { .. })));
}

/// A first segment of many, which would arrive whole with its three parts.
fn first_of_many(number: u64) -> Advertisement {
    Advertisement { segments: 1 << 40, total_size: u64::MAX, ..small_offer(number) }
}

#[test]
fn a_peer_cannot_make_a_link_hold_many_resources_that_wait_for_their_next_segment() {
    let (mut pair, _) = halfway(3 * SEGMENT_MAX, 1, 37);
    let mut rng = TestRng::seeded(2);
    let link = &mut pair.ends[RESPONDER];
    let mut ended = 0;
    for number in 0..40 {
        receive(link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &first_of_many(number).encode());
        while let Some(event) = link.poll_event() {
            ended += usize::from(matches!(event, LinkEvent::Resource { event: ResourceEvent::Ended(_), .. }));
        }
        while link.poll_packet().is_some() {}
        assert!(link.held().incoming <= INCOMING_MAX);
    }
    assert!(link.timers.len() <= 3 * INCOMING_MAX && link.held_bytes() < 2 * TRANSFER_MAX);
    assert!(ended <= INCOMING_MAX, "those that arrive stay, and new ones are refused: {ended}");
    // What is not the next segment of anything is refused.
    let stray = Advertisement { segment: 2, segments: 2, ..small_offer(99) };
    receive(link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &stray.encode());
    assert_eq!(link.poll_packet().map(|packet| packet.context), Some(Context::RESOURCE_RECEIVER_CANCEL));
}

#[test]
fn a_resource_whose_next_segment_never_comes_is_given_up() {
    let mut pair = Pair::new(8192, 38);
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    let (now, rng) = (pair.now, &mut pair.rng);
    let len = 2 * SEGMENT_MAX as u64;
    let id = pair.ends[INITIATOR].stream_resource(now, rng, len, ResourceOptions::default()).unwrap();
    pair.ends[INITIATOR].supply_resource(now, rng, id, noise(SEGMENT_MAX, 1)).unwrap();
    pair.run_for(secs(20.0));
    // The second segment is never heard of, and the link stays up meanwhile.
    pair.medium.swallowed = Some(Context::RESOURCE_ADVERTISEMENT);
    pair.ends[INITIATOR].supply_resource(pair.now, &mut pair.rng, id, noise(SEGMENT_MAX, 2)).unwrap();
    pair.run_for(secs(570.0));
    assert_eq!(outcome(&pair.events[RESPONDER]), None);
    pair.run_for(secs(50.0));
    assert_eq!(outcome(&pair.events[RESPONDER]), Some(ResourceOutcome::Failed));
}

#[test]
fn compression_is_left_out_where_it_would_slow_down() {
    let effort = |compression: Compression, len, rate| compression.effort(len, rate);
    assert_eq!(effort(Compression::Never, 100, None), None);
    assert_eq!(effort(Compression::Auto, 100, None), Some(Effort::Thorough));
    assert_eq!(effort(Compression::Auto, COMPRESS_MAX, Some(1e5)), Some(Effort::Thorough));
    assert_eq!(effort(Compression::Auto, COMPRESS_MAX, Some(1e6)), Some(Effort::Quick));
    assert_eq!(effort(Compression::Auto, 100, Some(1e8)), None);
    assert_eq!(effort(Compression::Auto, COMPRESS_MAX + 1, None), None);
    assert_eq!(effort(Compression::UpTo(100), 100, Some(1e8)), Some(Effort::Quick));
    assert_eq!(effort(Compression::UpTo(100), 101, None), None);
}

#[test]
fn a_late_request_for_the_first_segment_does_not_end_the_others() {
    let (mut pair, id) = halfway(3 * SEGMENT_MAX, 1, 40);
    pair.run_for(CALM.latency * 2);
    let original = pair.ends[INITIATOR].transfers.sending.as_ref().unwrap().original.unwrap();
    let current = pair.ends[INITIATOR].transfers.outgoing().map(|outgoing| outgoing.hash());
    assert_ne!(current, Some(original), "it was proved");
    let late = [&[0][..], original.as_ref(), &[1; 4]].concat();
    while pair.ends[INITIATOR].poll_packet().is_some() {}
    let packet = pair.ends[RESPONDER].seal(&mut pair.rng, Context::RESOURCE_REQUEST, &late).unwrap().encode();
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].handle_packet(now, rng, &PacketRef::parse(&packet).unwrap());
    assert!(pair.ends[INITIATOR].poll_packet().is_none());
    run_to_the_end(&mut pair);
    let delivered = (id, ResourceEvent::Ended(ResourceOutcome::Delivered));
    assert!(resource_events(&pair.events[INITIATOR]).contains(&delivered));
}

/// The peer completes segments and cancels them before anybody had time to put them together.
#[test]
fn a_peer_cannot_pile_up_segments_that_it_cancels() {
    let mut link = end(false);
    link.set_options(taking(ResourceStrategy::All));
    let mut rng = TestRng::seeded(5);
    let part_size = crate::resource::part_size(link.mtu());
    let stream = vec![7; 3 * part_size];
    for number in 0..20_000_u64 {
        let random = number.to_be_bytes();
        let random = [random[4], random[5], random[6], random[7]];
        let name = crate::hash::sha256_head::<4>(&[&stream[..part_size], &random]);
        let offer = Advertisement { transfer_size: stream.len(), random, map: vec![name; 3], ..small_offer(number) };
        receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &offer.encode());
        for part in stream.chunks(part_size) {
            let packet = link.packet(PacketKind::Data, Context::RESOURCE, Bytes::copy_from_slice(part)).encode();
            link.handle_packet(start(), &mut rng, &PacketRef::parse(&packet).unwrap());
        }
        receive(&mut link, &mut rng, Context::RESOURCE_SENDER_CANCEL, offer.hash.as_ref());
        while link.poll_packet().is_some() {}
        while link.poll_event().is_some() {}
    }
    let jobs = link.jobs.len();
    assert!(jobs > 0 && jobs * stream.len() <= INCOMING_BYTES_MAX, "{jobs}");
    assert_eq!(link.held_bytes(), jobs * stream.len());
    // Once they are put together there is room again.
    while let Some(job) = link.poll_job() {
        link.handle_job(start(), &mut rng, job.run());
    }
    assert_eq!(link.held_bytes(), 0);
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &small_offer(1 << 30).encode());
    assert_eq!(link.poll_packet().map(|packet| packet.context), Some(Context::RESOURCE_REQUEST));
}
