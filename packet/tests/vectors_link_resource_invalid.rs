//! Bad advertisements and transfers against `tests/vectors/link/resource_invalid.json`.

mod recorded;
mod support;

use bytes::Bytes;
use recorded::{End, context_name, data_parts, iv, noon};
use serde_json::Value;
use support::{bytes, cases, name, texts};
use wend_packet::crypto::TokenKey;
use wend_packet::link::{
    Compression, LinkError, LinkEvent, LinkOptions, LinkState, ResourceEvent, ResourceOptions, ResourceOutcome,
    ResourceStrategy, TransferId,
};
use wend_packet::resource::{Advertisement, SEGMENT_MAX};
use wend_packet::wire::Context;

#[test]
fn every_invalid_resource_vector_is_met() {
    for case in cases("link/resource_invalid", 28) {
        match name(&case) {
            "empty-data-with-metadata" => empty_body(&case),
            _ if !case["advertisement"].is_null() => advertisement(&case),
            // For the first the recording gave the sender itself a wrong hash, for the second half of its stream is lost:
            // what it sends cannot be made again.
            "hash-mismatch" | "part-corrupted" => receiver(&case),
            "request-unknown-part" | "request-misaligned-hmu" => {
                sender_with_other_parts(&case);
                receiver(&case);
            }
            "proof-wrong" | "proof-short" | "sender-cancel" | "receiver-cancel" | "bomb" => {
                sender(&case);
                receiver(&case);
            }
            other => panic!("no test for {other}"),
        }
    }
}

fn strategy(given: &Value) -> ResourceStrategy {
    match (given["strategy"].as_str().unwrap(), given["application_answer"].as_bool()) {
        ("ACCEPT_ALL", _) => ResourceStrategy::All,
        ("ACCEPT_APP", Some(true)) => ResourceStrategy::Choose(|_| true),
        ("ACCEPT_APP", Some(false)) => ResourceStrategy::Choose(|_| false),
        // Nobody to ask is the same as nobody who wants it.
        ("ACCEPT_NONE" | "ACCEPT_APP", None) => ResourceStrategy::None,
        other => panic!("{other:?}"),
    }
}

fn advertisement(case: &Value) {
    let given = &case["given"];
    assert_eq!((&given["request_handlers"], &given["pending_requests"]), (&0.into(), &0.into()));
    let mut end = End::of(case, false, 0.25, |_| {});
    end.link.set_options(LinkOptions { resources: strategy(given), ..LinkOptions::default() });
    let frame = recorded::seal(case, Context::RESOURCE_ADVERTISEMENT, &bytes(&case["advertisement"]));
    for _ in 0..given["times_received"].as_u64().unwrap() {
        end.receive(noon(), &frame);
    }
    let sent: Vec<&str> = end.sent().iter().map(|frame| context_name(frame)).collect();
    assert_eq!(sent, texts(&case["sent"]), "{}", name(case));
    let closed = case["link_status"] == "CLOSED";
    assert_eq!(end.link.state(), if closed { LinkState::Closed } else { LinkState::Active }, "{}", name(case));
    assert_eq!(callbacks(&end), texts(&case["concluded"]), "{}", name(case));
    assert_eq!(end.link.held().incoming as u64, case["incoming"].as_u64().unwrap(), "{}", name(case));
}

fn callbacks(end: &End) -> Vec<&'static str> {
    let status = |event: &LinkEvent| match event {
        LinkEvent::Resource { event: ResourceEvent::Ended(outcome), .. } => Some(match outcome {
            ResourceOutcome::Received | ResourceOutcome::Delivered => "COMPLETE",
            // What this end cancelled itself, or nobody dealt with, it has not got either.
            ResourceOutcome::Failed
            | ResourceOutcome::Cancelled
            | ResourceOutcome::Unread
            | ResourceOutcome::Unsupplied => "FAILED",
            ResourceOutcome::Rejected => "REJECTED",
            ResourceOutcome::Corrupt => "CORRUPT",
        }),
        _ => None,
    };
    end.events.iter().filter_map(status).collect()
}

struct Frame {
    from_initiator: bool,
    raw: Vec<u8>,
    tampered: bool,
    lost: bool,
}

fn frames(case: &Value) -> Vec<Frame> {
    let frame = |of: &Value| Frame {
        from_initiator: of["sender"] == "initiator",
        raw: bytes(&of["raw"]),
        tampered: of["tampered"] == true,
        lost: of["lost"] == true,
    };
    case["frames"].as_array().unwrap().iter().map(frame).collect()
}

/// Plays one end against the recording of the other: what it sends must be the recording of this end. A cancel that the
/// application of the recording asked for is asked for here too.
fn play(case: &Value, end: &mut End, initiator: bool, by_application: Option<Context>) {
    for (index, frame) in frames(case).iter().enumerate() {
        let of = format!("{}, frame {index}", name(case));
        if frame.from_initiator != initiator {
            if !frame.lost {
                end.receive(noon(), &frame.raw);
            }
            continue;
        }
        if by_application == Some(recorded::context(&frame.raw)) {
            end.link.cancel_resource(noon(), &mut end.rng, TransferId(1)).unwrap();
            end.settle(noon());
        }
        let packet = end.link.poll_packet().unwrap_or_else(|| panic!("{of}: nothing sent"));
        if !frame.tampered {
            assert_eq!(hex::encode(packet.encode()), hex::encode(&frame.raw), "{of}");
        }
    }
}

fn ivs(case: &Value, initiator: bool) -> Vec<u8> {
    frames(case).iter().filter(|frame| frame.from_initiator == initiator).flat_map(|frame| iv(&frame.raw)).collect()
}

fn offer(case: &Value, script: &[u8]) -> End {
    let given = &case["given"];
    let mut end = End::of(case, true, 0.25, |_| {});
    end.script(script);
    if given["data_parts"].is_null() {
        let body = Bytes::from(bytes(&given["data"]));
        let options = ResourceOptions { metadata: None, compression: Compression::Never };
        end.link.send_resource(noon(), &mut end.rng, body, options).unwrap();
    } else {
        let body = Bytes::from(data_parts(&given["data_parts"]));
        end.link.send_resource(noon(), &mut end.rng, body, ResourceOptions::default()).unwrap();
    }
    end.settle(noon());
    end
}

fn sender(case: &Value) {
    let parts: Vec<Vec<u8>> = frames(case)
        .into_iter()
        .filter(|frame| recorded::context(&frame.raw) == Context::RESOURCE)
        .map(|frame| frame.raw[recorded::HEADER_LEN..].to_vec())
        .collect();
    let stream = parts.concat();
    let plain = TokenKey::from_slice(&bytes(&case["derived_key"])).unwrap().open(&stream).unwrap();
    let script = [&plain[..4], &bytes(&case["random_hash"]), &stream[..16], &ivs(case, true)].concat();
    let mut end = offer(case, &script);
    let cancel = (name(case) == "sender-cancel").then_some(Context::RESOURCE_SENDER_CANCEL);
    play(case, &mut end, true, cancel);
    check_sender(case, &end);
}

fn check_sender(case: &Value, end: &End) {
    assert_eq!(callbacks(end), texts(&case["sender_callbacks"]), "{}", name(case));
    assert_eq!(end.link.held().outgoing as u64, case["sender_outgoing"].as_u64().unwrap(), "{}", name(case));
    assert_eq!(end.link.state() == LinkState::Closed, case["link_status_initiator"] == "CLOSED");
}

/// No part is on record, so the stream is another one here; the bad request is the recorded one with its names changed.
fn sender_with_other_parts(case: &Value) {
    let mut end = offer(case, &[[0; 4].to_vec(), bytes(&case["random_hash"])].concat());
    let advertised = Advertisement::decode(&recorded::open(&case["derived_key"], &end.sent()[0])).unwrap();
    assert_eq!(advertised.hash.as_ref(), bytes(&case["resource_hash"]));
    let recorded = frames(case).into_iter().find(|frame| frame.tampered).unwrap();
    let mut request = recorded::open(&case["derived_key"], &recorded.raw);
    if request[0] == 0xff {
        request[1..5].copy_from_slice(&advertised.map[0]);
    }
    end.receive(noon(), &recorded::seal(case, Context::RESOURCE_REQUEST, &request));
    let sent: Vec<&str> = end.sent().iter().map(|frame| context_name(frame)).collect();
    assert_eq!(sent, if request[0] == 0xff { vec!["RESOURCE_ICL"] } else { vec![] }, "{}", name(case));
    check_sender(case, &end);
}

fn receiver(case: &Value) {
    let mut end = End::of(case, false, 0.25, |_| {});
    let decompression_limit = (case["given"]["decompression_limit"].as_u64().unwrap() as usize).min(SEGMENT_MAX);
    end.link.set_options(LinkOptions { resources: ResourceStrategy::All, decompression_limit, ..end.link.options() });
    end.script(&ivs(case, false));
    let cancel = (name(case) == "receiver-cancel").then_some(Context::RESOURCE_RECEIVER_CANCEL);
    play(case, &mut end, false, cancel);
    assert!(end.sent().is_empty(), "{}", name(case));
    assert_eq!(end.link.held().incoming as u64, case["receiver_incoming"].as_u64().unwrap(), "{}", name(case));
    assert_eq!(end.link.state() == LinkState::Closed, case["link_status_responder"] == "CLOSED");
    // The reference tells nobody about a corrupt resource; the caller here is told.
    let told: Vec<&str> = callbacks(&end).into_iter().filter(|status| *status != "CORRUPT").collect();
    assert_eq!(told, texts(&case["receiver_callbacks"]), "{}", name(case));
}

fn empty_body(case: &Value) {
    let mut end = End::of(&serde_json::json!({ "link_id": "00".repeat(16) }), true, 0.25, |_| {});
    let metadata = Bytes::from(bytes(&case["given"]["metadata_msgpack"]));
    let options = ResourceOptions { metadata: Some(metadata), ..ResourceOptions::default() };
    let sent = end.link.send_resource(noon(), &mut end.rng, Bytes::new(), options);
    assert_eq!((sent, &case["sent"]), (Err(LinkError::Body), &false.into()));
}
