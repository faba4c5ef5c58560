//! Quick answers for those who are ready for them only.

use super::pair::{end, secs, start};
use super::*;
use crate::link::held::HELD_MAX;

const PATH: &str = "/get";

/// A responder of a very fast link that answers requests and takes resources.
fn quick() -> (Link, TestRng) {
    let mut link = end(false);
    link.rtt = Some(Duration::from_micros(500));
    link.register_path(PATH);
    link.set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
    (link, TestRng::seeded(1))
}

fn after(micros: u64) -> Now {
    start().later(Duration::from_micros(micros))
}

fn receive_at(link: &mut Link, rng: &mut TestRng, micros: u64, context: Context, plaintext: &[u8]) {
    let packet = link.seal(rng, context, plaintext).unwrap().encode();
    link.handle_packet(after(micros), rng, &PacketRef::parse(&packet).unwrap());
}

/// A request as it is written by a clock that says this.
fn request(time: f64) -> Vec<u8> {
    Writer::new().array(3).float(time).bin(&crate::destination::request_path_hash(PATH)).nil().into_bytes()
}

/// How many requests were handed on since the last time.
fn handed_on(link: &mut Link) -> usize {
    core::iter::from_fn(|| link.poll_event()).filter(|event| matches!(event, LinkEvent::Requested { .. })).count()
}

/// Calls the link for its deadline, and says how many microseconds after the start that was.
fn wait(link: &mut Link, rng: &mut TestRng) -> u64 {
    let at = link.poll_timeout().unwrap();
    link.handle_timeout(Now { mono: at, ..start() }, rng);
    u64::try_from(at.since(start().mono).as_micros()).unwrap()
}

fn offer(flags: &[u8]) -> Vec<u8> {
    let ours = super::advertisement(1, None, ResourceFlags::ENCRYPTED);
    let ours = Advertisement { transfer_size: 1000, map: vec![[1; 4]; 3], ..ours }.encode_ready();
    let at = ours.windows(2).position(|pair| pair == [0xcc, ResourceFlags::ENCRYPTED.0]).unwrap();
    [&ours[..at], flags, &ours[at + 2..]].concat()
}

fn packets(link: &mut Link) -> Vec<Context> {
    core::iter::from_fn(|| link.poll_packet()).map(|packet| packet.context).collect()
}

#[test]
fn a_request_of_somebody_who_may_not_be_ready_for_the_response_waits_for_quiet() {
    let (mut link, mut rng) = quick();
    receive_at(&mut link, &mut rng, 0, Context::REQUEST, &request(1_700_000_000.25));
    assert_eq!(handed_on(&mut link), 0);
    assert_eq!(wait(&mut link, &mut rng), 1000, "nobody knows yet how many come");
    assert_eq!(handed_on(&mut link), 1);
    receive_at(&mut link, &mut rng, 2000, Context::REQUEST, &request(1_700_000_000.5));
    assert_eq!(wait(&mut link, &mut rng), 2160, "they come one by one");
    assert_eq!(handed_on(&mut link), 1);
}

#[test]
fn requests_that_come_together_are_handed_on_together() {
    let (mut link, mut rng) = quick();
    for round in 0..3 {
        for number in 0..4 {
            let micros = round * 10_000 + number * 100;
            receive_at(&mut link, &mut rng, micros, Context::REQUEST, &request(1_700_000_000.25));
            assert_eq!(handed_on(&mut link), 0);
        }
        let quiet = if round == 0 { 1000 } else { 280 };
        assert_eq!(wait(&mut link, &mut rng), round * 10_000 + 300 + quiet);
        assert_eq!(handed_on(&mut link), 4);
    }
}

#[test]
fn no_request_waits_long_and_no_more_than_some_wait() {
    let (mut link, mut rng) = quick();
    for number in 0..8 {
        link.handle_timeout(after(number * 900), &mut rng);
        receive_at(&mut link, &mut rng, number * 900, Context::REQUEST, &request(1_700_000_000.25));
    }
    assert_eq!(handed_on(&mut link), 6, "those of the first 5 ms");
    let (mut link, mut rng) = quick();
    for _ in 0..HELD_MAX + 3 {
        receive_at(&mut link, &mut rng, 0, Context::REQUEST, &request(1_700_000_000.25));
    }
    assert_eq!(handed_on(&mut link), 3);
}

#[test]
fn requests_that_wait_are_handed_on_before_the_link_closes() {
    let (mut link, mut rng) = quick();
    receive_at(&mut link, &mut rng, 0, Context::REQUEST, &request(1_700_000_000.25));
    let id = *link.id().as_bytes();
    receive_at(&mut link, &mut rng, 10, Context::LINK_CLOSE, &id);
    assert!(matches!(link.poll_event(), Some(LinkEvent::Requested { .. })));
    assert!(matches!(link.poll_event(), Some(LinkEvent::Down { .. })));
}

#[test]
fn what_wend_sends_is_handled_at_once_and_so_is_everything_on_links_that_take_their_time() {
    let (mut link, mut rng) = quick();
    receive_at(&mut link, &mut rng, 0, Context::REQUEST, &request(1_700_000_000.0));
    assert_eq!(handed_on(&mut link), 1);
    receive_at(&mut link, &mut rng, 0, Context::RESOURCE_ADVERTISEMENT, &offer(&[0xcc, 1]));
    assert_eq!(packets(&mut link), [Context::RESOURCE_REQUEST]);

    let (mut link, mut rng) = quick();
    link.rtt = Some(secs(0.3));
    receive_at(&mut link, &mut rng, 0, Context::REQUEST, &request(1_700_000_000.25));
    assert_eq!(handed_on(&mut link), 1);
    receive_at(&mut link, &mut rng, 0, Context::RESOURCE_ADVERTISEMENT, &offer(&[1]));
    assert_eq!(packets(&mut link), [Context::RESOURCE_REQUEST]);
}

#[test]
fn an_offer_of_somebody_who_may_not_be_ready_waits_and_can_be_withdrawn_meanwhile() {
    let (mut link, mut rng) = quick();
    receive_at(&mut link, &mut rng, 0, Context::RESOURCE_ADVERTISEMENT, &offer(&[1]));
    assert_eq!(packets(&mut link), []);
    assert_eq!(wait(&mut link, &mut rng), 4000);
    assert_eq!(packets(&mut link), [Context::RESOURCE_REQUEST]);

    let (mut link, mut rng) = quick();
    receive_at(&mut link, &mut rng, 0, Context::RESOURCE_ADVERTISEMENT, &offer(&[1]));
    let hash = Advertisement::decode(&offer(&[1])).unwrap().hash;
    receive_at(&mut link, &mut rng, 10, Context::RESOURCE_SENDER_CANCEL, hash.as_ref());
    wait(&mut link, &mut rng);
    assert_eq!((packets(&mut link), link.held().incoming), (vec![], 0));
}

#[test]
fn our_own_requests_and_offers_say_that_nobody_need_wait() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(2);
    link.request(start(), &mut rng, PATH, &[0xc0], OPTIONS).unwrap();
    let packet = link.poll_packet().unwrap();
    let mut responder = quick().0;
    assert!(!responder.is_to_wait(packet.context, &link.open(&packet.data).unwrap()));
    assert!(!responder.is_to_wait(Context::RESOURCE_ADVERTISEMENT, &offer(&[0xcc, 0x01])));
    // Large flags need the longer form: nothing can be told from that.
    assert!(responder.is_to_wait(Context::RESOURCE_ADVERTISEMENT, &offer(&[0xcc, 0x81])));
    assert!(responder.is_to_wait(Context::RESOURCE_ADVERTISEMENT, b"no map"));
    responder.rtt = None;
    assert!(!responder.is_to_wait(Context::RESOURCE_ADVERTISEMENT, b"no map"));
}
