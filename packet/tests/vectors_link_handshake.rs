//! Link establishment against `tests/vectors/link/handshake.json`.

mod recorded;
mod support;

use std::time::Duration;

use recorded::{End, noon, seconds};
use serde_json::Value;
use support::{array, bytes, cases, identity, name};
use wend_packet::identity::PublicIdentity;
use wend_packet::link::testing::Established;
use wend_packet::link::{
    Initiate, Link, LinkEvent, LinkState, Signalling, keepalive_interval, link_id, link_mdu, verify_link_proof,
};
use wend_packet::resource::part_size;
use wend_packet::stack::LinkCloseReason;
use wend_packet::testing::TestRng;
use wend_packet::wire::PacketRef;
use wend_packet::{DestinationHash, LinkId};

#[test]
fn every_handshake_vector_is_met() {
    for case in cases("link/handshake", 37) {
        match name(&case) {
            "default-mtu-500" | "mtu-1196" | "mtu-8192" | "mtu-262144" | "mtu-21-bits" => whole_handshake(&case),
            "link-id-forms" => link_id_forms(&case),
            "signalling-bytes" => signalling_bytes(&case),
            "keepalive-table" => keepalive_table(&case),
            "mdu-table" => mdu_table(&case),
            name if name.starts_with("request-") => request(&case),
            name if name.starts_with("proof-") => proof(&case),
            name if name.starts_with("rtt-") => rtt(&case),
            other => panic!("no test for {other}"),
        }
    }
}

fn path(mtu: usize) -> Initiate {
    Initiate { mtu, hops: 1, first_hop_timeout: Duration::from_secs(6) }
}

fn whole_handshake(case: &Value) {
    let owner = identity(&case["responder_identity_prv"]);
    let mtu = case["link_mtu"].as_u64().unwrap() as usize;
    let to = DestinationHash::new(array(&case["destination_hash"]));
    let script = [bytes(&case["initiator_x25519_prv"]), bytes(&case["initiator_ed25519_seed"])].concat();
    let (link, request) = Link::initiate(noon(), &mut TestRng::scripted(&script), to, owner.public(), path(mtu));
    let mut initiator = End::new(link);
    let request = request.encode();
    assert_eq!(request, bytes(&case["request_raw"]), "{}", name(case));
    assert_eq!(initiator.link.id().as_ref(), bytes(&case["link_id"]));
    assert_eq!(initiator.link.state(), LinkState::Pending);

    let request = PacketRef::parse(&request).unwrap();
    assert_eq!(link_id(&request), initiator.link.id());
    let later = noon().later(seconds(0.125));
    let mut rng = TestRng::scripted(&bytes(&case["responder_x25519_prv"]));
    let (link, proof) = Link::accept(noon(), &mut rng, &owner, &request, 1).unwrap();
    let mut responder = End::new(link);
    let proof = proof.encode();
    assert_eq!(proof, bytes(&case["proof_raw"]), "{}", name(case));
    assert_eq!(responder.link.state(), LinkState::Handshake);
    let parsed = PacketRef::parse(&proof).unwrap();
    assert!(initiator.link.verify_proof(&parsed) && verify_link_proof(responder.link.id(), &parsed, owner.public()));

    let now = noon().later(seconds(case["initiator_rtt"].as_f64().unwrap()));
    initiator.script(&bytes(&case["rtt_iv"]));
    initiator.receive(now, &proof);
    let up = |rtt: &Value| vec![LinkEvent::Up { rtt: seconds(rtt.as_f64().unwrap()) }];
    assert_eq!(initiator.events, up(&case["initiator_rtt"]), "{}", name(case));
    assert_eq!(initiator.link.remote_identity(), Some(owner.public()));
    let sent = initiator.sent();
    assert_eq!(sent, vec![bytes(&case["rtt_raw"])], "{}", name(case));

    responder.receive(noon().later(seconds(case["responder_rtt"].as_f64().unwrap())), &sent[0]);
    assert_eq!(responder.events, up(&case["responder_rtt"]));
    assert!(responder.sent().is_empty() && later.mono < now.mono);
    for (end, prefix) in [(&initiator, "initiator"), (&responder, "responder")] {
        assert_eq!(end.link.state(), LinkState::Active);
        assert_eq!((end.link.mtu(), end.link.mdu()), (mtu, case["link_mdu"].as_u64().unwrap() as usize));
        let interval = keepalive_interval(end.link.rtt()).as_secs_f64();
        assert!((interval - case[format!("{prefix}_keepalive")].as_f64().unwrap()).abs() < 1e-6);
    }
}

fn link_id_forms(case: &Value) {
    for (form, of) in case["forms"].as_object().unwrap() {
        let raw = bytes(&of["raw"]);
        assert_eq!(link_id(&PacketRef::parse(&raw).unwrap()).as_ref(), bytes(&of["link_id"]), "{form}");
    }
}

fn signalling_bytes(case: &Value) {
    for row in case["encode"].as_array().unwrap() {
        let signalling = Signalling::new(row["mtu"].as_u64().unwrap() as usize);
        assert_eq!(signalling.encode().to_vec(), bytes(&row["hex"]));
    }
    for row in case["decode"].as_array().unwrap() {
        let signalling = Signalling::decode(array(&row["hex"]));
        assert_eq!(
            (signalling.mtu as u64, signalling.mode as u64),
            (row["mtu"].as_u64().unwrap(), row["mode"].as_u64().unwrap())
        );
    }
}

fn request(case: &Value) {
    let owner = identity(&case["given"]["local"][0]["private_key"]);
    let raw = bytes(&case["request_raw"]);
    let packet = PacketRef::parse(&raw).unwrap();
    assert_eq!(packet.data().len() as u64, case["payload_len"].as_u64().unwrap());
    let mut rng = TestRng::scripted(&bytes(&case["responder_x25519_prv"]));
    let accepted = Link::accept(noon(), &mut rng, &owner, &packet, 1);
    assert_eq!(accepted.is_ok(), case["accepted"] == true, "{}", name(case));
    let Ok((link, proof)) = accepted else { return };
    assert_eq!(proof.encode(), bytes(&case["proof_raw"]), "{}", name(case));
    assert_eq!(link.id().as_ref(), bytes(&case["link_id"]));
    assert_eq!(
        (link.mtu() as u64, link.mdu() as u64),
        (case["link_mtu"].as_u64().unwrap(), case["link_mdu"].as_u64().unwrap())
    );
    assert_eq!(link.state(), LinkState::Handshake);
    let timeout = Duration::from_secs(case["establishment_timeout"].as_u64().unwrap());
    assert_eq!(link.poll_timeout(), Some(noon().mono + timeout));
}

fn pending(case: &Value) -> End {
    let given = &case["given"]["initiator"];
    let peer = PublicIdentity::from_slice(&bytes(&case["responder_identity_pub"])).unwrap();
    let raw = bytes(&given["request_raw"]);
    let mtu = Signalling::decode(*raw.last_chunk().unwrap()).mtu;
    let script = [bytes(&given["x25519_prv"]), bytes(&given["ed25519_seed"])].concat();
    let to = PacketRef::parse(&raw).unwrap().destination();
    let (link, request) = Link::initiate(noon(), &mut TestRng::scripted(&script), to, &peer, path(mtu));
    assert_eq!(request.encode(), raw, "{}", name(case));
    assert_eq!(link.id().as_ref(), bytes(&case["link_id"]));
    End::new(link)
}

fn state(text: &Value) -> LinkState {
    match text.as_str().unwrap() {
        "PENDING" => LinkState::Pending,
        "HANDSHAKE" => LinkState::Handshake,
        "ACTIVE" => LinkState::Active,
        "CLOSED" => LinkState::Closed,
        other => panic!("{other}"),
    }
}

fn proof(case: &Value) {
    let mut end = pending(case);
    end.receive(noon().later(seconds(0.25)), &bytes(&case["proof_raw"]));
    assert_eq!(end.link.state(), state(&case["status_after"]), "{}", name(case));
    if let Some(mtu) = case["link_mtu"].as_u64() {
        assert_eq!(end.link.mtu() as u64, mtu, "{}", name(case));
    }
    if !case["valid_proof_raw"].is_null() {
        end.receive(noon().later(seconds(0.5)), &bytes(&case["valid_proof_raw"]));
        assert_eq!(end.link.state(), state(&case["status_after_valid_proof"]), "{}", name(case));
    }
}

fn rtt(case: &Value) {
    let established = Established {
        id: LinkId::new(array(&case["link_id"])),
        derived_key: array(&case["derived_key"]),
        signing_seed: recorded::INITIATOR_SEED,
        mtu: 500,
        rtt: Duration::ZERO,
        destination: None,
        initiator: recorded::signing_public(recorded::INITIATOR_SEED),
    };
    let mut end = End::new(Link::in_handshake(noon(), &established));
    let begun = case["given"]["time"].as_f64().unwrap();
    for at in case["given"]["received_at"].as_array().unwrap() {
        end.receive(noon().later(seconds(at.as_f64().unwrap() - begun)), &bytes(&case["raw"]));
    }
    assert_eq!(end.link.state(), state(&case["responder_status"]), "{}", name(case));
    assert_eq!(end.link.rtt().map(|rtt| rtt.as_secs_f64()), case["responder_rtt"].as_f64(), "{}", name(case));
    let ups = end.events.iter().filter(|event| matches!(event, LinkEvent::Up { .. })).count();
    assert_eq!(ups as u64, case["established_callbacks"].as_u64().unwrap());
    let contexts: Vec<String> = end.sent().iter().map(|frame| format!("{:02x}", frame[18])).collect();
    assert_eq!(contexts, support::texts(&case["sent_contexts"]));
    if end.link.state() == LinkState::Closed {
        assert_eq!(end.events, vec![LinkEvent::Down { reason: LinkCloseReason::Violation }]);
    }
}

fn keepalive_table(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        let interval = keepalive_interval(Some(seconds(row["rtt"].as_f64().unwrap()))).as_secs_f64();
        assert!((interval - row["keepalive"].as_f64().unwrap()).abs() < 1e-6, "{row}");
    }
}

fn mdu_table(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        let mtu = row["mtu"].as_u64().unwrap() as usize;
        assert_eq!(link_mdu(mtu) as u64, row["mdu"].as_u64().unwrap(), "{row}");
        assert_eq!(part_size(mtu) as u64, row["resource_sdu"].as_u64().unwrap(), "{row}");
    }
}
