//! Whole resource transfers against `tests/vectors/link/resource.json`, byte for byte.

mod recorded;
mod support;

use bytes::Bytes;
use recorded::{End, data_parts, noon, seconds};
use serde_json::Value;
use support::{bytes, cases, maybe_bytes, name};
use wend_packet::hash::sha256;
use wend_packet::link::{
    Compression, LinkEvent, LinkOptions, ResourceEvent, ResourceOptions, ResourceOutcome, ResourceStrategy,
};
use wend_packet::resource::{Advertisement, part_size};
use wend_packet::time::Now;
use wend_packet::wire::{Context, PacketRef};

#[test]
fn every_transfer_is_byte_for_byte_the_references() {
    for case in cases("link/resource", 17) {
        match name(&case) {
            "tiny"
            | "one-part"
            | "one-part-exact"
            | "two-parts-edge"
            | "multi-part"
            | "compressed"
            | "metadata"
            | "metadata-compressed"
            | "hashmap-updates"
            | "hashmap-75"
            | "split-two-segments"
            | "split-with-metadata"
            | "split-compressed"
            | "mtu-8192"
            | "window-fast"
            | "window-medium"
            | "window-very-slow" => transfer(&case),
            other => panic!("no test for {other}"),
        }
    }
}

/// The frames of a transfer, and the windows at each request.
struct Run {
    initiator: End,
    responder: End,
    frames: Vec<(bool, Vec<u8>)>,
    windows: Vec<[usize; 5]>,
}

fn run(case: &Value) -> Run {
    let rtt = case["given"]["rtt"].as_f64().unwrap();
    let mut initiator = End::of(case, true, rtt, |_| {});
    let mut responder = End::of(case, false, rtt, |_| {});
    responder.link.set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
    // The first segment is prepared, then the following ones while it is on its way: all before anything else is drawn.
    let segments = case["segments"].as_array().unwrap();
    let fields = |segment: &Value| ["prefix", "random_hash", "iv"].map(|field| bytes(&segment[field])).concat();
    initiator.script(&segments.iter().flat_map(fields).collect::<Vec<u8>>());
    let body = Bytes::from(data_parts(&case["given"]["data_parts"]));
    assert_eq!(sha256(&[&body]).to_vec(), bytes(&case["data_sha256"]));
    let metadata = maybe_bytes(&case["metadata"]).map(Bytes::from);
    let compression = if case["given"]["auto_compress"] == false { Compression::Never } else { Compression::Auto };
    let options = ResourceOptions { metadata, compression };
    initiator.link.send_resource(noon(), &mut initiator.rng, body, options).unwrap();
    initiator.settle(noon());
    let step = seconds(case["step_seconds_per_packet"].as_f64().unwrap_or(0.0));
    let mut run = Run { initiator, responder, frames: Vec::new(), windows: Vec::new() };
    let mut now = noon();
    while exchange(&mut run, &mut now, step, true) | exchange(&mut run, &mut now, step, false) {}
    run
}

fn exchange(run: &mut Run, now: &mut Now, step: std::time::Duration, from_initiator: bool) -> bool {
    let (from, to) = match from_initiator {
        true => (&mut run.initiator, &mut run.responder),
        false => (&mut run.responder, &mut run.initiator),
    };
    let frames = from.sent();
    for frame in &frames {
        if recorded::context(frame) == Context::RESOURCE_REQUEST {
            run.windows.extend(from.link.incoming_windows());
        }
        *now = now.later(step);
        to.receive(*now, frame);
        run.frames.push((from_initiator, frame.clone()));
    }
    !frames.is_empty()
}

fn transfer(case: &Value) {
    let run = run(case);
    let first = &case["first_segment"];
    let (_, advertisement) = &run.frames[0];
    let advertised = Advertisement::decode(&recorded::open(&case["derived_key"], advertisement)).unwrap();
    assert_eq!(advertised.transfer_size as u64, first["transfer_size"].as_u64().unwrap(), "{}", name(case));
    assert_eq!(advertised.hash.as_ref(), bytes(&first["hash"]), "{}", name(case));
    assert_eq!(advertised.parts, first["parts"].as_u64().unwrap());
    assert_eq!(part_size(run.initiator.link.mtu()) as u64, first["sdu"].as_u64().unwrap());
    compare_exchange(case, &run);
    compare_windows(case, &run);

    assert_eq!(ended(&run.initiator), Some(ResourceOutcome::Delivered), "{}", name(case));
    assert_eq!(support::texts(&case["sender_result"]), ["COMPLETE"]);
    assert_eq!(ended(&run.responder), Some(ResourceOutcome::Received), "{}", name(case));
    let (metadata, body) = received(&run.responder);
    assert_eq!(sha256(&[&body]).to_vec(), bytes(&case["data_sha256"]));
    assert_eq!(metadata.map(Vec::from), maybe_bytes(&case["received_metadata"]));
    assert_eq!(run.responder.link.held().incoming + run.initiator.link.held().outgoing, 0);
}

fn ended(end: &End) -> Option<ResourceOutcome> {
    match end.events.last() {
        Some(LinkEvent::Resource { event: ResourceEvent::Ended(outcome), .. }) => Some(*outcome),
        _ => None,
    }
}

/// Metadata and data of all segments that arrived.
fn received(end: &End) -> (Option<Bytes>, Vec<u8>) {
    let (mut with, mut all) = (None, Vec::new());
    for event in &end.events {
        if let LinkEvent::Resource { event: ResourceEvent::Segment { offset, metadata, data }, .. } = event {
            assert_eq!(*offset, all.len() as u64);
            with = with.or_else(|| metadata.clone());
            all.extend_from_slice(data);
        }
    }
    (with, all)
}

/// Long transfers were recorded without their parts.
fn compare_exchange(case: &Value, run: &Run) {
    let Some(expected) = case["exchange"].as_array() else { return };
    let with_parts = expected.iter().any(|frame| frame["context"] == "RESOURCE");
    let frames: Vec<_> =
        run.frames.iter().filter(|(_, frame)| with_parts || recorded::context(frame) != Context::RESOURCE).collect();
    assert_eq!(frames.len(), expected.len(), "{}", name(case));
    for ((from_initiator, frame), expected) in frames.into_iter().zip(expected) {
        let sender = if *from_initiator { "initiator" } else { "responder" };
        assert_eq!(
            (sender, recorded::context_name(frame)),
            (expected["sender"].as_str().unwrap(), expected["context"].as_str().unwrap())
        );
        assert_eq!(frame.len() as u64, expected["raw_len"].as_u64().unwrap(), "{}", name(case));
        if expected["plaintext"].is_null() {
            assert_eq!(PacketRef::parse(frame).unwrap().data(), bytes(&expected["payload"]), "{}", name(case));
        } else {
            // Long updates were recorded by their head; their length is that of the frame.
            let (plaintext, head) = (recorded::open(&case["derived_key"], frame), bytes(&expected["plaintext"]));
            assert!(head.len() >= 80 || head.len() == plaintext.len());
            assert_eq!(hex::encode(&plaintext[..head.len()]), hex::encode(&head), "{}", name(case));
        }
    }
}

fn compare_windows(case: &Value, run: &Run) {
    let Some(expected) = case["windows"].as_array() else { return };
    let fields = ["window", "window_min", "window_max", "fast", "very_slow"];
    let expected: Vec<[usize; 5]> =
        expected.iter().map(|row| fields.map(|field| row[field].as_u64().unwrap() as usize)).collect();
    assert_eq!(run.windows, expected, "{}", name(case));
}
