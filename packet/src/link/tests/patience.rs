//! What waits for an application that is slow, and how long: data that is to be supplied, segments that are to be taken,
//! offers that are to be decided about.

use super::pair::{CALM, INITIATOR, Medium, Pair, RESPONDER, end, receive, secs, start};
use super::segments::{arrived, noise, outcome, resource_events, run_to_the_end, taking};
use super::*;

#[test]
fn a_resource_that_is_not_supplied_gives_way_to_the_next() {
    for supplied in [0, 1] {
        let mut pair = Pair::new(8192, 41);
        pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
        let (now, rng) = (pair.now, &mut pair.rng);
        let sender = &mut pair.ends[INITIATOR];
        let len = 2 * SEGMENT_MAX as u64;
        let slow = sender.stream_resource(now, rng, len, ResourceOptions::default()).unwrap();
        let next = sender.send_resource(now, rng, noise(5000, 2), ResourceOptions::default()).unwrap();
        if supplied == 1 {
            sender.supply_resource(now, rng, slow, noise(SEGMENT_MAX, 1)).unwrap();
        }
        pair.run_for(secs(295.0));
        assert_eq!(outcome(&pair.events[INITIATOR]), None, "it is waited for");
        pair.run_for(secs(60.0));
        let ended: Vec<_> = resource_events(&pair.events[INITIATOR])
            .into_iter()
            .filter(|(_, event)| matches!(event, ResourceEvent::Ended(_)))
            .collect();
        let ends = |id, how| (id, ResourceEvent::Ended(how));
        assert_eq!(ended, [ends(slow, ResourceOutcome::Unsupplied), ends(next, ResourceOutcome::Delivered)]);
        let at_receiver = resource_events(&pair.events[RESPONDER]);
        let failed = |(_, event): &&(_, _)| *event == ResourceEvent::Ended(ResourceOutcome::Failed);
        assert_eq!(at_receiver.iter().filter(failed).count(), supplied, "who has a part of it is told");
        let late = pair.ends[INITIATOR].supply_resource(pair.now, &mut pair.rng, slow, noise(SEGMENT_MAX, 1));
        assert_eq!(late, Err(LinkError::UnknownResource));
    }
}

#[test]
fn time_to_supply_counts_only_while_nothing_else_is_sent() {
    let mut pair = Pair::over(Medium { latency: secs(2.0), ..CALM }, 500, 42);
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    let (now, rng) = (pair.now, &mut pair.rng);
    let len = 2 * SEGMENT_MAX as u64;
    let id = pair.ends[INITIATOR].stream_resource(now, rng, len, ResourceOptions::default()).unwrap();
    pair.ends[INITIATOR].supply_resource(now, rng, id, noise(SEGMENT_MAX, 1)).unwrap();
    let limit = pair.now.mono + secs(4.0 * 3600.0);
    let delivered = |pair: &Pair| pair.ends[INITIATOR].transfers.sending.as_ref().map(|sending| sending.proved);
    while delivered(&pair) == Some(0) && pair.step(limit) {}
    assert!(pair.now.mono.since(now.mono) > super::super::supplying::SUPPLY_TIMEOUT);
    pair.run_for(secs(290.0));
    pair.ends[INITIATOR].supply_resource(pair.now, &mut pair.rng, id, noise(SEGMENT_MAX, 2)).unwrap();
    run_to_the_end(&mut pair);
    assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Delivered));
}

/// The segments that arrived and nobody took yet.
fn untaken(pair: &Pair) -> Vec<(TransferId, u64, usize)> {
    let of = |(id, event): (TransferId, ResourceEvent)| match event {
        ResourceEvent::Segment { offset, data, .. } => Some((id, offset, data.len())),
        _ => None,
    };
    resource_events(&pair.events[RESPONDER]).into_iter().filter_map(of).collect()
}

#[test]
fn a_fast_sender_waits_for_a_slow_reader() {
    let mut pair = Pair::new(8192, 43);
    pair.takes = false;
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    let body = noise(4 * SEGMENT_MAX + 9, 3);
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].send_resource(now, rng, body.clone(), ResourceOptions::default()).unwrap();
    for number in 0..5 {
        // Longer than any patience of the sender.
        pair.run_for(secs(400.0));
        let segments = untaken(&pair);
        assert_eq!(segments.len(), number + 1, "one at a time");
        assert!(pair.ends[RESPONDER].held_bytes() < SEGMENT_MAX + 1000);
        let (id, offset, _) = segments[number];
        pair.ends[RESPONDER].segment_taken(pair.now, &mut pair.rng, id, offset).unwrap();
        let again = pair.ends[RESPONDER].segment_taken(pair.now, &mut pair.rng, id, offset);
        assert_eq!(again, Err(LinkError::UnknownResource));
    }
    run_to_the_end(&mut pair);
    let (_, got, how) = arrived(&pair.events[RESPONDER]);
    assert!(got == body && how == Some(ResourceOutcome::Received));
    assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Delivered));
    assert_eq!(pair.ends[RESPONDER].held_bytes(), 0);
}

#[test]
fn a_reader_that_takes_nothing_ends_the_resource_and_not_the_link() {
    let mut pair = Pair::new(8192, 44);
    pair.takes = false;
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    let (now, rng) = (pair.now, &mut pair.rng);
    let body = noise(3 * SEGMENT_MAX, 3);
    pair.ends[INITIATOR].send_resource(now, rng, body, ResourceOptions::default()).unwrap();
    pair.run_for(secs(700.0));
    assert_eq!(outcome(&pair.events[RESPONDER]), Some(ResourceOutcome::Unread));
    assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Rejected));
    assert_eq!(pair.ends.each_ref().map(Link::state), [LinkState::Active; 2]);
    let (id, offset, _) = untaken(&pair)[0];
    pair.ends[RESPONDER].segment_taken(pair.now, &mut pair.rng, id, offset).unwrap();
    pair.events = [vec![], vec![]];
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].send_resource(now, rng, noise(2 * SEGMENT_MAX, 4), ResourceOptions::default()).unwrap();
    pair.takes = true;
    run_to_the_end(&mut pair);
    assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Delivered));
}

#[test]
fn a_peer_cannot_pile_up_short_resources_before_a_slow_reader() {
    let mut pair = Pair::new(8192, 45);
    pair.takes = false;
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::All));
    for number in 0..10 * UNTAKEN_MAX {
        let (now, rng) = (pair.now, &mut pair.rng);
        // What finds no room is refused there, and tried again here.
        let _ = pair.ends[INITIATOR].send_resource(now, rng, noise(100, number as u64), ResourceOptions::default());
        pair.run_for(secs(10.0));
    }
    let waiting = untaken(&pair);
    assert_eq!(waiting.len(), UNTAKEN_MAX);
    // Requests are answered meanwhile.
    let mut asking = pair.ask(&value(300, false, 1), &value(500, true, 2));
    assert!(asking.as_mut().is_ok_and(|answer| answer.len() == value(500, true, 2).len()));
    for (id, offset, _) in waiting {
        pair.ends[RESPONDER].segment_taken(pair.now, &mut pair.rng, id, offset).unwrap();
    }
    pair.run_for(secs(60.0));
    assert!(!untaken(&pair).is_empty(), "and the next ones come");
}

#[test]
fn an_offer_that_nobody_decides_about_ends() {
    let mut pair = Pair::new(500, 46);
    pair.ends[RESPONDER].set_options(taking(ResourceStrategy::Ask));
    // The sender gives up and its word about it is lost.
    pair.medium.swallowed = Some(Context::RESOURCE_SENDER_CANCEL);
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].send_resource(now, rng, noise(5000, 3), ResourceOptions::default()).unwrap();
    pair.run_for(secs(60.0));
    assert_eq!(outcome(&pair.events[INITIATOR]), Some(ResourceOutcome::Failed));
    assert_eq!(outcome(&pair.events[RESPONDER]), Some(ResourceOutcome::Unread));
    assert_eq!(pair.ends[RESPONDER].held().incoming, 0);
    assert!(pair.ends[RESPONDER].transfers.offers.is_empty());
}

#[test]
fn forged_cache_requests_keep_no_dead_transfer_alive() {
    let mut link = end(false);
    link.set_options(taking(ResourceStrategy::All));
    let mut rng = TestRng::seeded(6);
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &small_offer(1).encode());
    let mut now = start();
    let mut requests = 0;
    for second in 0..3600_u64 {
        now = start().later(Duration::from_secs(second));
        link.handle_timeout(now, &mut rng);
        for fill in 0..10 {
            let forged = link.packet(PacketKind::Data, Context::CACHE_REQUEST, Bytes::copy_from_slice(&[fill; 32]));
            link.handle_packet(now, &mut rng, &PacketRef::parse(&forged.encode()).unwrap());
        }
        while let Some(packet) = link.poll_packet() {
            requests += u64::from(packet.context == Context::RESOURCE_REQUEST);
        }
        assert!(requests <= 2 * (second + 2), "no more than one for each round trip beside the retries");
        let events: Vec<_> = std::iter::from_fn(|| link.poll_event()).collect();
        if outcome(&events) == Some(ResourceOutcome::Failed) {
            return;
        }
    }
    panic!("it is still there at {now:?}");
}
