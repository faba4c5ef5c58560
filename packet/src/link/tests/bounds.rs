//! What a link holds for its peer and for its application, tenfold asked for.

use super::pair::{end, receive, start};
use super::*;

#[test]
fn of_ten_times_as_many_requests_as_may_wait_the_newest_can_be_answered() {
    let mut link = end(false);
    link.register_path("/get");
    let mut rng = TestRng::seeded(1);
    let path = crate::destination::request_path_hash("/get");
    let mut asked = Vec::new();
    for number in 0..10 * ASKED_MAX as u64 {
        let request = Writer::new().array(3).uint(number).bin(&path).nil().into_bytes();
        receive(&mut link, &mut rng, Context::REQUEST, &request);
        while let Some(event) = link.poll_event() {
            if let LinkEvent::Requested { request, .. } = event {
                asked.push(request);
            }
        }
    }
    assert_eq!(asked.len(), 10 * ASKED_MAX);
    let answers: Vec<_> = asked.iter().map(|id| link.respond(start(), &mut rng, *id, &[0xc0])).collect();
    let (old, new) = answers.split_at(9 * ASKED_MAX);
    assert!(old.iter().all(|answer| *answer == Err(LinkError::UnknownRequest)) && new.iter().all(Result::is_ok));
}

#[test]
fn an_application_that_asks_and_sends_too_much_is_told_so() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(1);
    let asked = (0..10 * REQUESTS_MAX).filter(|_| link.request(start(), &mut rng, "/get", &[0xc0], OPTIONS).is_ok());
    assert_eq!(asked.count(), REQUESTS_MAX);
    let body = Bytes::from_static(&[7; 40]);
    let sent = (0..10 * OUTGOING_MAX)
        .filter(|_| link.send_resource(start(), &mut rng, body.clone(), ResourceOptions::default()).is_ok())
        .count();
    assert_eq!(sent, OUTGOING_MAX + 1, "one is on its way");
    let held = link.held();
    assert_eq!((held.requests, held.outgoing), (REQUESTS_MAX, OUTGOING_MAX + 1));
}

#[test]
fn a_peer_may_offer_few_resources_at_a_time_and_another_when_one_is_decided_about() {
    let mut link = end(false);
    link.set_options(LinkOptions { resources: ResourceStrategy::Ask, ..LinkOptions::default() });
    let mut rng = TestRng::seeded(1);
    for number in 0..10 * INCOMING_MAX as u64 {
        receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &small_offer(number).encode());
    }
    assert_eq!(link.transfers.offers.len(), INCOMING_MAX);
    assert!(link.timers.len() <= INCOMING_MAX + 1);
    let first = *link.transfers.offers.keys().next().unwrap();
    link.cancel_resource(start(), &mut rng, first).unwrap();
    while link.poll_event().is_some() {}
    receive(&mut link, &mut rng, Context::RESOURCE_ADVERTISEMENT, &small_offer(1000).encode());
    let offered = |event: LinkEvent| matches!(event, LinkEvent::Resource { event: ResourceEvent::Offered { .. }, .. });
    assert!(link.poll_event().is_some_and(offered));
}
