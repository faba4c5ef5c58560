//! Data, proofs, keepalives, closing and identification against `tests/vectors/link/packets.json`.

mod recorded;
mod support;

use recorded::{End, iv, noon, seconds};
use serde_json::Value;
use support::{array, bytes, cases, name};
use wend_packet::PacketHash;
use wend_packet::identity::PublicIdentity;
use wend_packet::link::{LinkError, LinkEvent, LinkOptions, LinkState, ProofStrategy, keepalive_interval};
use wend_packet::stack::LinkCloseReason;
use wend_packet::wire::{Context, PacketRef};

#[test]
fn every_packet_vector_is_met() {
    for case in cases("link/packets", 35) {
        match name(&case) {
            "data-432" => too_large(&case),
            "data-from-responder" => data(&case, false),
            name if name.starts_with("data-") => data(&case, true),
            name if name.starts_with("decrypt-") => without_effect(&case, false),
            name if name.starts_with("proof-") => proof(&case),
            "keepalive-exchange" | "keepalive-rtt-gap" | "keepalive-no-reply" => keepalive_answer(&case),
            "keepalive-ff-to-initiator" | "keepalive-fe-to-responder" => keepalive_received(&case),
            "close-initiator" => close(&case, true, LinkCloseReason::InitiatorClosed),
            "close-responder" => close(&case, false, LinkCloseReason::DestinationClosed),
            "close-wrong-id" => without_effect(&case, true),
            name if name.starts_with("identify-") => identify(&case),
            // Interfaces are the stack's to compare: stack/tests.rs plays this case.
            "wrong-interface" => {}
            other => panic!("no test for {other}"),
        }
    }
}

const PROVE: LinkOptions = LinkOptions {
    proofs: ProofStrategy::All,
    resources: wend_packet::link::ResourceStrategy::None,
    max_request: 0,
    max_request_unidentified: 0,
    decompression_limit: 0,
    says_ready: true,
};

fn data(case: &Value, from_initiator: bool) {
    let seed =
        case["given"]["initiator_ed25519_seed"].as_str().map(|_| array(&case["given"]["initiator_ed25519_seed"]));
    let end = |initiator| {
        End::of(case, initiator, 0.25, |like| {
            if let Some(seed) = seed {
                like.initiator = recorded::signing_public(seed);
                like.signing_seed = if initiator { seed } else { like.signing_seed };
            }
        })
    };
    let (mut from, mut to) = (end(from_initiator), end(!from_initiator));
    to.link.set_options(PROVE);
    let (raw, plaintext) = (bytes(&case["raw"]), bytes(&case["plaintext"]));
    from.script(&iv(&raw));
    let hash = from.link.send(noon(), &mut from.rng, &plaintext).unwrap();
    assert_eq!(hash.as_ref(), bytes(&case["packet_hash"]), "{}", name(case));
    assert_eq!(from.sent(), vec![raw.clone()], "{}", name(case));
    to.receive(noon(), &raw);
    assert_eq!(to.events, vec![LinkEvent::Data { payload: plaintext.into() }], "{}", name(case));
    let proofs = to.sent();
    assert_eq!(proofs, vec![bytes(&case["proof_raw"])], "{}", name(case));
    from.receive(noon().later(seconds(0.2)), &proofs[0]);
    assert_eq!(from.events, vec![LinkEvent::Delivered { packet: hash, rtt: seconds(0.2) }]);
}

fn too_large(case: &Value) {
    let mut end = End::of(&serde_json::json!({ "link_id": "00".repeat(16) }), true, 0.25, |_| {});
    let sent = end.link.send(noon(), &mut end.rng, &bytes(&case["given"]["plaintext"]));
    assert_eq!(sent, Err(LinkError::TooLarge { len: 432, max: 431 }));
    assert!(end.sent().is_empty());
}

/// Nothing comes of it, and the link stays up. Unlike at the reference, what does not open is no sign of life either.
fn without_effect(case: &Value, opens: bool) {
    let mut end = End::of(case, false, 0.25, |_| {});
    end.link.set_options(PROVE);
    end.receive(noon().later(seconds(1.0)), &bytes(&case["raw"]));
    assert!(end.events.is_empty() && end.sent().is_empty(), "{}", name(case));
    assert_eq!((end.link.state(), case["status"].as_str()), (LinkState::Active, Some("ACTIVE")));
    let heard = if opens { noon().later(seconds(1.0)) } else { noon() };
    assert_eq!(end.link.last_inbound(), heard.mono, "{}", name(case));
}

fn proof(case: &Value) {
    let mut end = End::of(case, true, 0.25, |_| {});
    let packet = PacketHash::new(array(&case["packet_hash"]));
    assert_eq!(responder_signing_key(), bytes(&case["signer_pub"]));
    end.link.await_proof(noon(), packet);
    end.receive(noon(), &bytes(&case["proof_raw"]));
    assert_eq!(!end.events.is_empty(), case["accepted"] == true, "{}", name(case));
}

fn responder_signing_key() -> Vec<u8> {
    recorded::responder().public().signing_key().to_vec()
}

fn keepalive_answer(case: &Value) {
    let raw = bytes(&case["request_raw"]);
    let mut initiator = End::of(case, true, 0.25, |_| {});
    let then = initiator.wait(noon(), noon().later(seconds(60.0))).unwrap();
    assert_eq!(then.mono, noon().mono + keepalive_interval(initiator.link.rtt()));
    assert_eq!(initiator.sent(), vec![raw.clone()]);

    let mut responder = End::of(case, false, 0.375, |_| {});
    let interval = keepalive_interval(responder.link.rtt()).as_secs_f64();
    assert!(case["given"]["responder_keepalive"].as_f64().is_none_or(|expected| (interval - expected).abs() < 1e-6));
    let silent = seconds(case["given"]["responder_silent_for"].as_f64().unwrap());
    responder.receive(noon().later(silent), &raw);
    let answer = case["reply_raw"].as_str().map(|_| bytes(&case["reply_raw"]));
    assert_eq!(responder.sent(), Vec::from_iter(answer), "{}", name(case));
}

fn keepalive_received(case: &Value) {
    let mut end = End::of(case, name(case) == "keepalive-ff-to-initiator", 0.25, |_| {});
    let before = end.link.last_inbound();
    end.receive(noon().later(seconds(100.0)), &bytes(&case["raw"]));
    assert_eq!(end.link.last_inbound() != before, case["last_inbound_changed"] == true, "{}", name(case));
    assert!(end.sent().is_empty() && end.events.is_empty());
}

fn close(case: &Value, by_initiator: bool, reason: LinkCloseReason) {
    let (mut closer, mut peer) =
        (End::of(case, by_initiator, 0.25, |_| {}), End::of(case, !by_initiator, 0.25, |_| {}));
    let raw = bytes(&case["raw"]);
    closer.script(&iv(&raw));
    closer.link.close(noon(), &mut closer.rng);
    closer.settle(noon());
    assert_eq!(closer.sent(), vec![raw.clone()]);
    peer.receive(noon(), &raw);
    for end in [&mut closer, &mut peer] {
        assert_eq!(end.events, vec![LinkEvent::Down { reason }], "{}", name(case));
        assert_eq!((end.link.state(), end.link.poll_timeout()), (LinkState::Closed, None));
        end.receive(noon(), &raw);
        assert!(end.sent().is_empty() && end.events.len() == 1);
    }
}

fn identify(case: &Value) {
    let mut end = End::of(case, case["given"]["receiver"] == "initiator", 0.25, |_| {});
    let destination = end.link.remote_identity().copied();
    end.receive(noon(), &bytes(&case["raw"]));
    if !case["second_raw"].is_null() {
        end.receive(noon(), &bytes(&case["second_raw"]));
    }
    let blackholed: Vec<&str> =
        case["given"]["blackhole"].as_array().unwrap().iter().map(|of| of["identity_hash"].as_str().unwrap()).collect();
    let known: Vec<PublicIdentity> = end
        .take_events()
        .into_iter()
        .map(|event| match event {
            LinkEvent::Identified { identity } => identity,
            other => panic!("{}: {other:?}", name(case)),
        })
        .collect();
    // Whom to shun is the caller's to know: it closes the link when such an identity shows.
    if known.iter().any(|identity| blackholed.contains(&identity.hash().to_string().as_str())) {
        end.link.close(noon(), &mut end.rng);
    } else {
        let hashes: Vec<String> = known.iter().map(|identity| identity.hash().to_string()).collect();
        assert_eq!(hashes, support::texts(&case["identified"]), "{}", name(case));
        let remote = end.link.remote_identity().filter(|remote| Some(**remote) != destination);
        assert_eq!(remote.map(|remote| remote.hash().to_string()).as_deref(), case["remote_identity"].as_str());
    }
    assert_eq!(end.link.state() == LinkState::Closed, case["status"] == "CLOSED", "{}", name(case));
    let contexts: Vec<String> =
        end.sent().iter().map(|frame| format!("{:02x}", PacketRef::parse(frame).unwrap().context().0)).collect();
    assert_eq!(contexts, support::texts(&case["sent_contexts"]), "{}", name(case));
    assert!(contexts.is_empty() || contexts == [format!("{:02x}", Context::LINK_CLOSE.0)]);
}
