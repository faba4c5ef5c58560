//! Requests and responses against `tests/vectors/link/requests.json`.

mod recorded;
mod support;

use std::time::Duration;

use bytes::Bytes;
use recorded::{End, iv, label, noon, seconds};
use serde_json::Value;
use support::{array, bytes, cases, maybe_bytes, name, texts};
use wend_packet::RequestId;
use wend_packet::destination::request_path_hash;
use wend_packet::hash::sha256;
use wend_packet::identity::PublicIdentity;
use wend_packet::link::{Compression, LinkEvent, LinkOptions, LinkState, RequestOptions};
use wend_packet::resource::Advertisement;
use wend_packet::stack::RequestError;
use wend_packet::time::Now;
use wend_packet::wire::Context;

#[test]
fn every_request_vector_is_met() {
    for case in cases("link/requests", 29) {
        match name(&case) {
            "path-hash" => path_hash(&case),
            "response-resource-cancelled" => response_cancelled(&case),
            "request-short-list" | "request-map" | "request-garbage" | "request-no-path-hash" => malformed(&case),
            "packet-none"
            | "packet-bytes"
            | "packet-dict"
            | "response-false"
            | "response-none"
            | "packet-max"
            | "resource-request"
            | "resource-request-large"
            | "resource-response"
            | "resource-response-compressed"
            | "resource-response-uncompressed"
            | "file-response-metadata"
            | "file-response-plain"
            | "unknown-path"
            | "allow-none"
            | "allow-list-unidentified"
            | "allow-list-ok"
            | "allow-list-other"
            | "max-request-size"
            | "max-request-size-resource"
            | "max-response-size"
            | "max-response-size-resource"
            | "mtu-8192" => {
                both_ends(&case);
                against_recorded_request(&case);
            }
            other => panic!("no test for {other}"),
        }
    }
}

fn path_hash(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        assert_eq!(request_path_hash(row["path"].as_str().unwrap()).to_vec(), bytes(&row["hash"]), "{row}");
    }
}

fn caller(case: &Value) -> Option<PublicIdentity> {
    maybe_bytes(&case["given"]["identified_as"]["public_key"]).map(|key| PublicIdentity::from_slice(&key).unwrap())
}

fn responding_end(case: &Value) -> End {
    let given = &case["given"];
    let mut end = End::of(case, false, given["rtt"].as_f64().unwrap_or(0.25), |_| {});
    end.link.register_path(given["handler"]["path"].as_str().unwrap());
    if let Some(limit) = given["max_request_size"].as_u64() {
        end.link.set_options(LinkOptions { max_request: limit as usize, ..LinkOptions::default() });
    }
    if let Some(caller) = caller(case) {
        end.link.identified_as(caller);
    }
    end
}

/// What an application does with a request: apply its policy, then answer or not. Counts the calls of its handler.
fn answer(case: &Value, end: &mut End, now: Now) -> Vec<(RequestId, Bytes)> {
    let handler = &case["given"]["handler"];
    let mut calls = Vec::new();
    for event in end.take_events() {
        let LinkEvent::Requested { request, caller, path, body } = event else { continue };
        assert_eq!(path, handler["path"].as_str().unwrap());
        let listed = || {
            let allowed = texts(&handler["allowed"]);
            caller.is_some_and(|caller| allowed.contains(&caller.to_string().as_str()))
        };
        if !match handler["policy"].as_u64().unwrap() {
            0 => false,
            1 => true,
            _ => listed(),
        } {
            continue;
        }
        calls.push((request, body));
        let response = &handler["response"];
        let answered = match (maybe_bytes(&response["msgpack"]), maybe_bytes(&response["file"])) {
            (Some(body), _) => {
                let compression = compression(&handler["auto_compress"]);
                end.link.respond_with(now, &mut end.rng, request, &body, compression)
            }
            (None, Some(file)) => {
                // Without metadata peers could not read it.
                let metadata = maybe_bytes(&response["metadata_msgpack"]).unwrap_or(vec![0x80]);
                let (metadata, file) = (metadata.into(), file.into());
                end.link.respond_file(
                    now,
                    &mut end.rng,
                    request,
                    metadata,
                    file,
                    compression(&handler["auto_compress"]),
                )
            }
            (None, None) => Ok(()),
        };
        answered.unwrap();
        end.settle(now);
    }
    calls
}

fn compression(auto_compress: &Value) -> Compression {
    match (auto_compress.as_bool(), auto_compress.as_u64()) {
        (Some(false), _) => Compression::Never,
        (_, Some(limit)) => Compression::UpTo(limit),
        _ => Compression::Auto,
    }
}

/// The response and, for a file, its metadata.
fn expected_response(case: &Value) -> (Vec<u8>, Option<Bytes>) {
    let response = &case["given"]["handler"]["response"];
    match maybe_bytes(&response["file"]) {
        Some(file) => (file, Some(maybe_bytes(&response["metadata_msgpack"]).unwrap_or(vec![0x80]).into())),
        None => (bytes(&response["msgpack"]), None),
    }
}

/// Both ends are ours; only what depends on the clock and on randomness may differ from the recording.
fn both_ends(case: &Value) {
    let mut initiator = End::of(case, true, case["given"]["rtt"].as_f64().unwrap(), |_| {});
    let mut responder = responding_end(case);
    let max_response = case["given"]["max_response_size"].as_u64().unwrap_or(1 << 20) as usize;
    let options = RequestOptions { timeout: None, max_response };
    let (path, body) = (case["path"].as_str().unwrap(), bytes(&case["data_msgpack"]));
    let body = if body.is_empty() { bytes(&case["given"]["data_msgpack"]) } else { body };
    let request = initiator.link.request(noon(), &mut initiator.rng, path, &body, options).unwrap();
    initiator.settle(noon());
    let (mut exchange, mut calls, mut advertised) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let (from, to) = (initiator.sent(), &mut responder);
        for frame in &from {
            exchange.push(label(true, frame));
            compare_first(case, frame, exchange.len());
            to.receive(noon(), frame);
            calls.extend(answer(case, to, noon()));
        }
        let back = responder.sent();
        for frame in &back {
            exchange.push(label(false, frame));
            initiator.receive(noon(), frame);
        }
        let offers =
            from.iter().chain(&back).filter(|frame| recorded::context(frame) == Context::RESOURCE_ADVERTISEMENT);
        advertised.extend(offers.map(|frame| recorded::open(&case["derived_key"], frame)));
        if from.is_empty() && back.is_empty() {
            break;
        }
    }
    assert_eq!(exchange, texts(&case["exchange"]), "{}", name(case));
    assert_eq!(calls.len(), case["handler_calls"].as_array().unwrap().len(), "{}", name(case));
    assert!(calls.iter().all(|(id, data)| *id == request && *data == body), "{}", name(case));
    compare_advertisements(case, &advertised);

    if case["result"] == "no response" {
        assert!(initiator.events.is_empty());
        let timeout = seconds(case["timeout"].as_f64().unwrap());
        let then = initiator.wait(noon(), noon().later(Duration::from_secs(60))).unwrap();
        assert_eq!(then.mono, noon().mono + timeout, "{}", name(case));
    }
    let responses: Vec<_> =
        initiator.events.iter().filter(|event| !matches!(event, LinkEvent::Responding { .. })).collect();
    let (body, metadata) = expected_response(case);
    let response = match case["result"].as_str().unwrap() {
        "ready" => Ok(Bytes::from(body)),
        "failed" => Err(RequestError::Failed),
        "no response" => Err(RequestError::Timeout),
        other => panic!("{other}"),
    };
    if let (Ok(body), Some(hash)) = (&response, maybe_bytes(&case["response_msgpack_sha256"])) {
        assert_eq!(sha256(&[body]).to_vec(), hash);
    }
    let metadata = metadata.filter(|_| response.is_ok());
    assert_eq!(responses, [&LinkEvent::Responded { request, response, metadata }], "{}", name(case));
    assert!(initiator.link.pending_requests().is_empty());
}

/// The clock here has whole seconds, that of the recording half ones: the float of the time differs, all else is equal.
fn compare_first(case: &Value, frame: &[u8], nth: usize) {
    if nth > 1 || recorded::context(frame) != Context::REQUEST {
        return;
    }
    let (ours, theirs) = (recorded::open(&case["derived_key"], frame), bytes(&case["packed_request"]));
    assert_eq!(ours.len(), case["packed_request_len"].as_u64().unwrap() as usize);
    assert_eq!((&ours[..2], &ours[10..]), (&theirs[..2], &theirs[10..]), "{}", name(case));
    assert_eq!(frame.len(), bytes(&case["first_raw"]).len());
}

fn compare_advertisements(case: &Value, ours: &[Vec<u8>]) {
    // A file without metadata is what the reference sends by mistake.
    if name(case) == "file-response-plain" {
        return;
    }
    let theirs = case["advertisements"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (ours, theirs) = (Advertisement::decode(ours).unwrap(), Advertisement::decode(&bytes(theirs)).unwrap());
        let sizes = |of: &Advertisement| (of.transfer_size, of.total_size, of.parts, of.flags, of.segment, of.segments);
        assert_eq!(sizes(&ours), sizes(&theirs), "{}", name(case));
    }
}

/// The recorded request reaches our responder: what it answers is the recording, byte for byte.
fn against_recorded_request(case: &Value) {
    let first = bytes(&case["first_raw"]);
    let mut end = responding_end(case);
    let theirs =
        case["advertisements"].as_array().unwrap().first().map(|raw| Advertisement::decode(&bytes(raw)).unwrap());
    let by_resource = recorded::context(&first) == Context::RESOURCE_ADVERTISEMENT;
    match (&theirs, maybe_bytes(&case["response_raw"])) {
        (_, Some(response)) if !by_resource => end.script(&iv(&response)),
        (Some(theirs), _) if !by_resource => end.script(&[[0; 4], theirs.random].concat()),
        _ => {}
    }
    end.receive(noon(), &first);
    let calls = answer(case, &mut end, noon());
    let sent = end.sent();
    if by_resource {
        // The parts are not on record: only whether it is taken can be seen.
        assert_eq!(label(false, &sent[0]), texts(&case["exchange"])[1], "{}", name(case));
        return;
    }
    let expected_calls = case["handler_calls"].as_array().unwrap();
    assert_eq!(calls.len(), expected_calls.len(), "{}", name(case));
    for ((id, _), expected) in calls.iter().zip(expected_calls) {
        assert_eq!(id.to_string(), expected["request_id"].as_str().unwrap());
        assert_eq!(id.to_string(), case["request_id"].as_str().unwrap());
    }
    match (theirs, maybe_bytes(&case["response_raw"])) {
        (_, Some(response)) => assert_eq!(sent, vec![response], "{}", name(case)),
        (Some(theirs), None) if name(case) != "file-response-plain" => {
            let ours = Advertisement::decode(&recorded::open(&case["derived_key"], &sent[0])).unwrap();
            // The names of the parts depend on an IV that is not on record.
            assert_eq!(Advertisement { map: theirs.map.clone(), ..ours }, theirs, "{}", name(case));
        }
        _ => {}
    }
}

fn response_cancelled(case: &Value) {
    let mut end = End::of(case, true, case["given"]["rtt"].as_f64().unwrap(), |_| {});
    let request = RequestId::new(array(&case["request_id"]));
    end.link.await_response(noon(), request, RequestOptions { timeout: None, max_response: 1 << 20 });
    let asked = bytes(&case["initiator_part_request"]);
    end.script(&iv(&asked));
    let frames = case["frames"].as_array().unwrap().iter().filter(|frame| frame["to"] == "initiator");
    let frames: Vec<Vec<u8>> = frames.map(|frame| bytes(&frame["raw"])).collect();
    end.receive(noon(), &frames[0]);
    assert_eq!(end.sent(), vec![asked]);
    assert!(end.events.is_empty());
    end.receive(noon(), &frames[1]);
    assert_eq!(end.events, vec![LinkEvent::Responded { request, response: Err(RequestError::Failed), metadata: None }]);
    assert_eq!((texts(&case["callbacks"]), &case["still_pending"]), (vec!["failed"], &0.into()));
    assert!(end.link.pending_requests().is_empty());
}

fn malformed(case: &Value) {
    let mut end = responding_end(case);
    end.receive(noon(), &bytes(&case["raw"]));
    assert!(end.events.is_empty() && end.sent().is_empty(), "{}", name(case));
    assert_eq!((end.link.state(), &case["handler_calls"], &case["sent"]), (LinkState::Active, &0.into(), &0.into()));
}
