//! Paths and path requests against `tests/vectors/core/`.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Bench, array, assert_parsed, by_interface, bytes, cases, expected_frames, maybe_bytes, name};
use wend_packet::IdentityHash;
use wend_packet::stack::{DropReason, Event, Input, PathRequestRef, path_request_destination};
use wend_packet::time::Instant;
use wend_packet::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};

#[test]
fn path_requests_have_the_bytes_of_the_reference() {
    for case in cases("core/path_request", 17) {
        let raw = bytes(&case["raw"]);
        let Some(given) = name(&case).strip_prefix("send_") else {
            receive_path_request(&case, &raw);
            continue;
        };
        assert_parsed(&raw, &case["parsed"], name(&case));
        let tag = bytes(&case["tag"]);
        let request = PathRequestRef {
            target: array::<16>(&case["target"]).into(),
            transport_id: maybe_bytes(&case["transport_id"]).map(|id| IdentityHash::from_slice(&id).unwrap()),
            tag: &tag,
        };
        assert_eq!(request.packet().encode(), raw, "{given}");
        if tag.len() == 16 {
            let mut bench = Bench::new(&case["given"]);
            let node = support::identity(&case["given"]["node_private_key"]);
            bench = with_tag(bench, &case["given"], &tag, node);
            bench.stack.request_path(bench.now, request.target);
            bench.settle();
            let sent = bench.take_sent();
            assert_eq!(sent.len(), 2, "{given}");
            assert!(sent.iter().all(|sent| sent.frame == raw), "{given}");
        }
    }
}

/// The same bench with a stack whose randomness begins with `tag`.
fn with_tag(mut bench: Bench, given: &Value, tag: &[u8], node: wend_packet::identity::Identity) -> Bench {
    let mut config = wend_packet::stack::StackConfig::new(node);
    config.transport_enabled = given["transport_enabled"] == true;
    let rng = wend_packet::testing::TestRng::scripted(tag);
    bench.stack = wend_packet::stack::Stack::new(config, Box::new(rng));
    for (name, interface) in given["interfaces"].as_object().unwrap() {
        let up = Input::InterfaceUp { id: bench.id(name), profile: support::profile(interface) };
        bench.input(up);
    }
    bench
}

fn receive_path_request(case: &Value, raw: &[u8]) {
    let mut bench = Bench::new(&case["given"]);
    bench.receive("a", raw);
    let stats = bench.stack.stats();
    assert_eq!(stats.path_requests == 1, case["handled"] == true, "{}: {:?}", name(case), stats.drops);
    if case["handled"] == true {
        let packet = PacketRef::parse(raw).unwrap();
        let parsed = PathRequestRef::parse(packet.data()).unwrap();
        assert_eq!(packet.destination(), path_request_destination());
        assert_eq!(parsed.target.as_ref(), bytes(&case["target"]), "{}", name(case));
        let asker = parsed.transport_id.map(|id| id.as_bytes().to_vec());
        assert_eq!(asker, maybe_bytes(&case["requestor_transport_id"]), "{}", name(case));
        assert_eq!(parsed.tag, bytes(&case["tag"]), "{}", name(case));
    }
}

#[test]
fn path_requests_are_answered_and_passed_on_as_by_the_reference() {
    for case in cases("core/path_response", 28) {
        let mut bench = Bench::new(&case["given"]);
        for known in case["given"]["known_by"].as_array().into_iter().flatten() {
            bench.receive(known["on"].as_str().unwrap(), &bytes(&known["raw"]));
        }
        // Their rebroadcasts are not what these cases are about.
        bench.advance(Duration::from_secs(10));
        bench.take_sent();
        let mut at = Duration::ZERO;
        for received in case["received"].as_array().unwrap() {
            let next = Duration::from_secs_f64(received["at"].as_f64().unwrap());
            if next > at {
                bench.advance(next - at);
            }
            at = next;
            bench.receive(received["on"].as_str().unwrap(), &bytes(&received["raw"]));
        }
        // The reference was watched for a while; what it sent after that is not in the file.
        let last =
            case["sent"].as_array().unwrap().iter().filter_map(|sent| sent["after"].as_f64()).fold(0.0, f64::max);
        let watched = Duration::from_secs_f64(last).max(at) + Duration::from_secs(2);
        bench.advance(watched - at);
        let sent = by_interface(bench.take_sent());
        let expected = expected_frames(&case["sent"]);
        if case["fresh_random"] != true {
            assert_eq!(sent, expected, "{}", name(&case));
            continue;
        }
        assert_eq!(sent.len(), expected.len(), "{}", name(&case));
        for (sent, expected) in sent.iter().zip(&expected) {
            let (ours, theirs) = (PacketRef::parse(&sent.frame).unwrap(), PacketRef::parse(&expected.frame).unwrap());
            assert_eq!(sent.on, expected.on, "{}", name(&case));
            assert_eq!(
                (ours.flags(), ours.hops(), ours.transport_id(), ours.destination(), ours.context()),
                (theirs.flags(), theirs.hops(), theirs.transport_id(), theirs.destination(), theirs.context()),
                "{}",
                name(&case)
            );
            wend_packet::announce::AnnounceRef::parse(&ours).unwrap().verify().unwrap();
        }
    }
}

/// A link request through this node that nobody answers, from a neighbour of ours: the path it took is then suspect.
fn make_unresponsive(bench: &mut Bench, destination: wend_packet::DestinationHash) {
    let request = Packet {
        flags: Flags::new(DestinationKind::Single, PacketKind::LinkRequest),
        hops: 0,
        transport_id: Some(bench.stack.transport_id()),
        destination,
        context: Context::NONE,
        data: vec![7; 64].into(),
    };
    bench.receive("a", &request.encode());
    bench.advance(Duration::from_secs(60));
    bench.take_events();
}

#[test]
fn paths_are_taken_and_refused_as_by_the_reference() {
    for case in cases("core/path_selection", 20) {
        let mut bench = Bench::new(&case["given"]);
        let (start, mut delay) = (bench.now.mono, Duration::ZERO);
        for step in case["steps"].as_array().unwrap() {
            let raw = bytes(&step["raw"]);
            let destination = PacketRef::parse(&raw).unwrap().destination();
            if step["unresponsive_before"] == true {
                let before = bench.now.mono;
                make_unresponsive(&mut bench, destination);
                delay = bench.now.mono.since(before);
            }
            let offset = |time: f64| Duration::from_secs_f64(time - support::START as f64);
            let at = start + offset(step["time"].as_f64().unwrap()) + delay;
            bench.skip(at.since(bench.now.mono));
            bench.receive(step["received_on"].as_str().unwrap(), &raw);
            let updated = bench.take_events().iter().any(|event| matches!(event, Event::Announced { .. }));
            assert_eq!(updated, step["updated"] == true, "{} at {at:?}", name(&case));
            let entry = &step["entry"];
            let path = bench.stack.path(destination).unwrap();
            assert_eq!(path.next_hop.as_ref(), bytes(&entry["next_hop"]), "{}", name(&case));
            assert_eq!(u64::from(path.hops), entry["hops"].as_u64().unwrap(), "{}", name(&case));
            assert_eq!(bench.name_of(path.on), entry["interface"].as_str().unwrap(), "{}", name(&case));
            let expires: Instant = start + offset(entry["expires"].as_f64().unwrap()) + delay;
            assert_eq!(path.expires, expires, "{}", name(&case));
            let newest = entry["random_blobs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|blob| wend_packet::announce::RandomHash::from_bytes(array(blob)).emitted());
            assert_eq!(Some(path.emitted), newest.max(), "{}", name(&case));
        }
    }
}

#[test]
fn paths_go_when_unused_for_the_lifetime_of_their_mode() {
    for case in cases("core/path_expiry", 24) {
        let mut bench = Bench::new(&case["given"]);
        let raw = bytes(&case["received_on_a"]);
        let destination = PacketRef::parse(&raw).unwrap().destination();
        bench.receive("a", &raw);
        let start = bench.now.mono;
        for then in case["then"].as_array().unwrap() {
            let at = start + Duration::from_secs_f64(then["at"].as_f64().unwrap() - support::START as f64);
            bench.advance(at.since(bench.now.mono));
            match then["do"].as_str().unwrap() {
                "sweep" => {}
                "send data to the destination" => {
                    bench.stack.send(bench.now, destination, b"used").unwrap();
                    bench.settle();
                }
                "remove interface a" => {
                    let down = Input::InterfaceDown { id: bench.id("a") };
                    bench.input(down);
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(bench.stack.path(destination).is_some(), case["kept"] == true, "{}", name(&case));
        let gone = bench.events.contains(&Event::PathChanged { destination, hops: None });
        assert_eq!(gone, case["kept"] == false, "{}", name(&case));
    }
}

#[test]
fn bursts_of_path_requests_start_no_searches() {
    for case in cases("core/path_request_limit", 5) {
        let mut bench = Bench::new(&case["given"]);
        bench.skip(Duration::from_secs(case["interface_age"].as_u64().unwrap()));
        let mut at = Duration::ZERO;
        for request in case["requests"].as_array().unwrap() {
            let next = Duration::from_secs_f64(request["at"].as_f64().unwrap());
            bench.skip(next - at);
            at = next;
            bench.receive("b", &bytes(&request["raw"]));
            let passed_on = bench.take_sent().iter().filter(|sent| sent.on == "a").count() as u64;
            assert_eq!(passed_on, request["passed_on"].as_u64().unwrap(), "{} at {at:?}", name(&case));
        }
        bench.receive("b", &bytes(&case["last_request"]));
        let answered = bench.take_sent().iter().any(|sent| sent.on == "b");
        assert_eq!(answered, case["own_destination_still_answered"] == true, "{}", name(&case));
        assert_eq!(bench.stack.stats().dropped(DropReason::PathRequestSeen), 0);
    }
}
