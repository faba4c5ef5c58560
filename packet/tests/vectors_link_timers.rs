//! Timelines against `tests/vectors/link/timers.json`: the clock moves from deadline to deadline.

mod recorded;
mod support;

use std::time::Duration;

use bytes::Bytes;
use recorded::{End, context_name, data_parts, noon, responder, seconds};
use serde_json::Value;
use support::{cases, name};
use wend_packet::DestinationHash;
use wend_packet::link::testing::Established;
use wend_packet::link::{
    Compression, Initiate, Link, LinkEvent, LinkOptions, LinkState, ResourceEvent, ResourceOptions, ResourceOutcome,
    ResourceStrategy, keepalive_interval,
};
use wend_packet::resource::Advertisement;
use wend_packet::stack::LinkCloseReason;
use wend_packet::time::Now;
use wend_packet::wire::{Context, PacketRef};

#[test]
fn every_timeline_is_met() {
    for case in cases("link/timers", 12) {
        match name(&case) {
            "link-initiator-no-proof" | "link-responder-no-rtt" => establishment(&case),
            "link-initiator-silent-peer" | "link-responder-silent-peer" => silent_peer(&case),
            "sender-no-requests" | "sender-no-proof" => stalled_receiver(&case),
            name if name.starts_with("advertisement-unanswered") => unanswered(&case),
            name if name.starts_with("receiver-no-parts") => no_parts(&case),
            other => panic!("no test for {other}"),
        }
    }
}

/// The vectors come from a clock that moves on a little with each look at it.
const TOLERANCE: f64 = 0.0001;

/// Lets the peer show that it lives until just before the next deadline: the transfers were recorded without the link's
/// own timers.
fn keep_alive(end: &mut End, now: &mut Now) {
    let alive = [&[0x0c, 0][..], &[0; 16], &[Context::KEEPALIVE.0, 0xfe]].concat();
    loop {
        end.receive(*now, &alive);
        match end.link.poll_timeout() {
            Some(at) if at > now.mono + Duration::from_secs(2) => *now = now.later(Duration::from_secs(2)),
            _ => return,
        }
    }
}

/// What was seen, with the seconds since the start.
type Timeline<T> = Vec<(f64, T)>;

/// Runs until nothing is left to wait for, or to the end of a transfer. Returns the frames and the states.
fn timeline(case: &Value, end: &mut End, start: Now) -> (Timeline<&'static str>, Timeline<LinkState>) {
    let (mut now, last) = (start, start.later(Duration::from_secs(2000)));
    let (mut frames, mut states) = (Vec::new(), vec![(0.0, end.link.state())]);
    loop {
        let at = now.mono.since(start.mono).as_secs_f64();
        let transfer = case["states"].is_null();
        let counts = |frame: &&Vec<u8>| !transfer || recorded::context(frame) != Context::KEEPALIVE;
        frames.extend(end.sent().iter().filter(counts).map(|frame| (at, context_name(frame))));
        if states.last().is_some_and(|(_, state)| *state != end.link.state()) {
            states.push((at, end.link.state()));
        }
        let ended = |event: &LinkEvent| matches!(event, LinkEvent::Resource { event: ResourceEvent::Ended(_), .. });
        let enough = transfer && end.events.iter().any(ended);
        if transfer {
            keep_alive(end, &mut now);
        }
        match end.wait(now, last) {
            Some(then) if !enough => now = then,
            _ => return (frames, states),
        }
    }
}

fn assert_events(case: &Value, frames: &[(f64, &str)]) {
    let expected = case["events"].as_array().unwrap();
    let names: Vec<&str> = frames.iter().map(|(_, name)| *name).collect();
    let expected_names: Vec<&str> = expected.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, expected_names, "{}", name(case));
    for ((at, frame), expected) in frames.iter().zip(expected) {
        assert!((at - expected["at"].as_f64().unwrap()).abs() < TOLERANCE, "{}: {frame} at {at}", name(case));
    }
}

fn assert_states(case: &Value, states: &[(f64, LinkState)], end: &End) {
    let expected = case["states"].as_array().unwrap();
    assert_eq!(states.len(), expected.len() + 1, "{}: {states:?}", name(case));
    for ((at, state), expected) in states.iter().skip(1).zip(expected) {
        assert_eq!(format!("{state:?}").to_uppercase(), expected["status"].as_str().unwrap());
        assert!((at - expected["at"].as_f64().unwrap()).abs() < TOLERANCE, "{}: {at}", name(case));
    }
    assert_eq!(
        (end.events.last(), &case["reason"]),
        (Some(&LinkEvent::Down { reason: LinkCloseReason::Timeout }), &"TIMEOUT".into())
    );
}

fn establishment(case: &Value) {
    let hops = case["given"]["hops"].as_u64().unwrap() as u8;
    let (owner, to) = (responder(), DestinationHash::new([1; 16]));
    let path = Initiate { mtu: 500, hops, first_hop_timeout: Duration::from_secs(6) };
    let mut rng = wend_packet::testing::TestRng::seeded(1);
    let (initiator, request) = Link::initiate(noon(), &mut rng, to, owner.public(), path);
    let link = if case["given"]["role"] == "initiator" {
        initiator
    } else {
        Link::accept(noon(), &mut rng, &owner, &PacketRef::parse(&request.encode()).unwrap(), hops).unwrap().0
    };
    let mut end = End::new(link);
    // Without a path the first hop's 6 s and 128 hops of 6 s make 774 s.
    assert_eq!(keepalive_interval(end.link.rtt()).as_secs(), case["keepalive"].as_u64().unwrap());
    let (frames, states) = timeline(case, &mut end, noon());
    assert_events(case, &frames);
    assert_states(case, &states, &end);
}

fn of(case: &Value, initiator: bool, rtt: f64) -> End {
    let mut case = case.clone();
    case["link_id"] = "00".repeat(16).into();
    End::of(&case, initiator, rtt, |_: &mut Established| {})
}

fn silent_peer(case: &Value) {
    let mut end = of(case, case["given"]["role"] == "initiator", case["rtt"].as_f64().unwrap());
    let start = noon().later(seconds(case["given"]["active_for"].as_f64().unwrap()));
    let (frames, states) = timeline(case, &mut end, start);
    assert_events(case, &frames);
    assert_states(case, &states, &end);
}

fn offer(case: &Value, rtt: f64) -> End {
    let mut end = of(case, true, rtt);
    // Its receiver is not to wait before it asks.
    end.link.set_options(LinkOptions { says_ready: true, ..end.link.options() });
    let body = Bytes::from(data_parts(&case["given"]["data_parts"]));
    let options = ResourceOptions { metadata: None, compression: Compression::Never };
    end.link.send_resource(noon(), &mut end.rng, body, options).unwrap();
    end.settle(noon());
    end
}

fn assert_failed(case: &Value, end: &End) {
    assert!(
        matches!(
            end.events.as_slice(),
            [.., LinkEvent::Resource { event: ResourceEvent::Ended(ResourceOutcome::Failed), .. }]
        ),
        "{}: {:?}",
        name(case),
        end.events
    );
    assert_eq!(case["status"], "FAILED");
}

fn unanswered(case: &Value) {
    let mut end = offer(case, case["rtt"].as_f64().unwrap());
    assert_eq!(context_name(&end.sent()[0]), "RESOURCE_ADV");
    let (frames, _) = timeline(case, &mut end, noon());
    assert_events(case, &frames);
    assert_failed(case, &end);
}

fn no_parts(case: &Value) {
    let rtt = case["rtt"].as_f64().unwrap();
    let advertisement = offer(case, rtt).sent().remove(0);
    let mut end = of(case, false, rtt);
    end.link.set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
    end.receive(noon(), &advertisement);
    let mut last_window = end.link.incoming_windows()[0];
    let (mut now, mut frames) = (noon(), vec![(0.0, context_name(&end.sent()[0]))]);
    loop {
        keep_alive(&mut end, &mut now);
        now = end.wait(now, noon().later(Duration::from_secs(200))).unwrap();
        let at = now.mono.since(noon().mono).as_secs_f64();
        frames.extend(end.sent().iter().map(|frame| (at, context_name(frame))));
        let Some(window) = end.link.incoming_windows().first().copied() else { break };
        last_window = window;
    }
    assert_events(case, &frames);
    assert_failed(case, &end);
    let [window, _, max, ..] = last_window;
    assert_eq!((window as u64, max as u64), (case["window"].as_u64().unwrap(), case["window_max"].as_u64().unwrap()));
}

fn stalled_receiver(case: &Value) {
    let mut end = offer(case, 0.25);
    let key = serde_json::Value::String("01".repeat(64));
    let advertised = Advertisement::decode(&recorded::open(&key, &end.sent()[0])).unwrap();
    let wanted = case["given"]["requested"].as_u64().unwrap() as usize;
    let request = [&[0], advertised.hash.as_ref(), advertised.map[..wanted].as_flattened()].concat();
    let link = serde_json::json!({ "link_id": "00".repeat(16), "derived_key": key });
    let start = noon().later(seconds(case["given"]["part_request_after"].as_f64().unwrap()));
    end.receive(start, &recorded::seal(&link, Context::RESOURCE_REQUEST, &request));
    assert_eq!(end.sent().len(), wanted);
    let (frames, _) = timeline(case, &mut end, start);
    assert_events(case, &frames);
    assert_failed(case, &end);
}
