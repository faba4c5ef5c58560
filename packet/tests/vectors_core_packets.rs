//! Frames, the filter, proofs and receipts against `tests/vectors/core/`.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Bench, array, assert_parsed, bytes, cases, identity, maybe_bytes, name, profile};
use wend_packet::announce::{RandomHash, announce};
use wend_packet::destination::DestinationName;
use wend_packet::identity::{Identity, PublicIdentity};
use wend_packet::proof::{ProofForm, ProofRef, prove};
use wend_packet::stack::{Destination, Event, ProofStrategy};
use wend_packet::testing::TestRng;
use wend_packet::time::UnixTime;
use wend_packet::wire::{Context, Packet, PacketRef};
use wend_packet::{IdentityHash, PacketHash};

#[test]
fn frames_parse_into_the_fields_of_the_reference() {
    for case in cases("core/packet", 38) {
        let raw = bytes(&case["raw"]);
        assert_eq!(raw.len() as u64, case["length"].as_u64().unwrap(), "{}", name(&case));
        if case["parsed"].is_null() {
            assert!(PacketRef::parse(&raw).is_err(), "{}", name(&case));
            continue;
        }
        assert_parsed(&raw, &case["parsed"], name(&case));
        let packet = PacketRef::parse(&raw).unwrap();
        assert_eq!(packet.readdressed(packet.flags(), packet.hops(), packet.transport_id()), raw, "{}", name(&case));
    }
}

/// How many frames got as far as being processed.
fn processed(bench: &mut Bench, on: &str, raw: &[u8]) -> bool {
    let before = bench.stack.stats().processed;
    bench.receive(on, raw);
    bench.stack.stats().processed > before
}

#[test]
fn bad_frames_are_dropped_where_the_specification_says() {
    for case in cases("core/packet_invalid", 28) {
        let mut bench = Bench::new(&case["given"]);
        let on = case["given"]["interfaces"].as_object().unwrap().keys().next().unwrap();
        let verdict = processed(&mut bench, on, &bytes(&case["raw"]));
        assert_eq!(verdict, case["processed"] == true, "{}: {:?}", name(&case), bench.stack.stats().drops);
    }
}

#[test]
fn the_filter_passes_and_drops_what_the_reference_does() {
    for case in cases("core/filter", 30) {
        let raw = bytes(&case["raw"]);
        let again = maybe_bytes(&case["raw_second"]).unwrap_or_else(|| raw.clone());
        // The case about generations: one more hash after the first makes its generation the previous one.
        let rotates = name(&case) == "previous_generation";
        let mut bench = Bench::with(&case["given"], |config| {
            if rotates {
                config.capacities.packet_hashes = 1;
            }
        });
        assert_eq!(processed(&mut bench, "a", &raw), case["first_processed"] == true, "{}", name(&case));
        if rotates {
            let mut other = raw.clone();
            other.push(0);
            processed(&mut bench, "a", &other);
        }
        assert_eq!(processed(&mut bench, "a", &again), case["second_processed"] == true, "{}", name(&case));
    }
}

#[test]
fn proofs_are_made_and_judged_as_in_the_reference() {
    for case in cases("core/proof", 20) {
        let proved = bytes(&case["proved_raw"]);
        let hash = PacketRef::parse(&proved).unwrap().hash();
        assert_eq!(hash.as_ref(), bytes(&case["proved_hash"]), "{}", name(&case));
        let raw = bytes(&case["proof_raw"]);
        assert_parsed(&raw, &case["proof_parsed"], name(&case));
        let signer = PublicIdentity::from_slice(&bytes(&case["public_key"])).unwrap();
        let proof = PacketRef::parse(&raw).unwrap();
        let parsed = ProofRef::parse(proof.data());
        let accepted = parsed.is_some_and(|parsed| parsed.proves(hash, &signer));
        assert_eq!(accepted, case["accepted"] == true, "{}", name(&case));
        let form = match parsed {
            Some(ProofRef::Implicit { .. }) => "implicit",
            Some(ProofRef::Explicit { .. }) => "explicit",
            None => "invalid",
        };
        assert!(!accepted || form == case["form"], "{}", name(&case));
    }
}

#[test]
fn received_packets_are_proved_by_the_strategy_of_their_destination() {
    for case in cases("core/proof_flow", 7) {
        let settings = &case["given"]["settings"];
        let proofs = match settings["proof_strategy"].as_u64().unwrap() {
            0x21 => ProofStrategy::None,
            0x22 => ProofStrategy::Application,
            0x23 => ProofStrategy::All,
            other => panic!("unknown strategy {other:#x}"),
        };
        let mut given = case["given"].clone();
        let local = given.as_object_mut().unwrap().remove("local").unwrap();
        let mut bench = Bench::with(&given, |config| {
            if settings["use_implicit_proof"] == false {
                config.proof_form = ProofForm::Explicit;
            }
        });
        let destination = support::local_destination(&local[0]);
        bench.stack.register(Destination { proofs, ..destination }).unwrap();
        bench.receive("a", &bytes(&case["received_raw"]));
        let delivered: Vec<_> = bench
            .take_events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Received { payload, packet, wants_proof, .. } => Some((payload.to_vec(), packet, wants_proof)),
                _ => None,
            })
            .collect();
        for (_, packet, wants_proof) in &delivered {
            assert_eq!(*wants_proof, proofs == ProofStrategy::Application, "{}", name(&case));
            if settings["application_answer"] == true {
                bench.stack.prove(bench.now, *packet).unwrap();
                bench.settle();
            }
        }
        let delivered: Vec<_> = delivered.into_iter().map(|(payload, ..)| payload).collect();
        assert_eq!(delivered, Vec::from_iter(maybe_bytes(&case["delivered_plaintext"])), "{}", name(&case));
        let sent: Vec<_> = bench.take_sent().into_iter().map(|sent| sent.frame).collect();
        let expected: Vec<_> = case["sent"].as_array().unwrap().iter().map(bytes).collect();
        assert_eq!(sent, expected, "{}", name(&case));
    }
}

/// An announce of `owner` as a node `hops` away is heard to relay it.
fn announce_from(owner: &Identity, name: &DestinationName, hops: u8) -> Packet {
    let random = RandomHash::new([1; 5], UnixTime(support::START));
    let heard = announce(owner, name.hash(), random, None, &[], Context::NONE).unwrap();
    let transport_id = (hops > 1).then_some(IdentityHash::new([9; 16]));
    Packet { hops: hops - 1, transport_id, ..heard }
}

#[test]
fn receipts_time_out_by_path_and_bitrate() {
    let margin = Duration::from_micros(20);
    let owner = Identity::generate(&mut TestRng::seeded(4));
    let to_name = DestinationName::new("receipts", &[]).unwrap();
    let to = to_name.of(owner.hash());
    for case in cases("core/receipt_timeout", 10) {
        let mut bench = Bench::new(&Value::Null);
        bench.up("a", profile(&json!({ "hw_mtu": 1064, "bitrate": case["bitrate"] })));
        let hops = case["path_hops"].as_u64().map(|hops| hops as u8);
        let heard = announce_from(&owner, &to_name, hops.unwrap_or(1)).encode();
        if hops.is_some() {
            bench.receive("a", &heard);
        } else {
            let record = wend_packet::stack::PathRecord::heard(to, &heard[..], bench.now.unix);
            let paths = vec![record];
            bench.stack.restore(wend_packet::stack::Snapshot { paths, ..Default::default() });
        }
        let packet = bench.stack.send(bench.now, to, b"timeout").unwrap();
        let timeout = Duration::from_secs_f64(case["timeout"].as_f64().unwrap());
        let failed = |bench: &Bench| bench.events.contains(&Event::Undelivered { packet });
        bench.advance(timeout - margin);
        assert!(!failed(&bench) && case["status_at_timeout"] == 1, "{}", name(&case));
        bench.advance(margin * 2);
        assert!(failed(&bench) && case["status_after_timeout"] == 0, "{}", name(&case));
    }
}

#[test]
fn a_proof_settles_the_receipt_of_its_packet_and_no_other() {
    let owner = Identity::generate(&mut TestRng::seeded(4));
    let to_name = DestinationName::new("receipts", &[]).unwrap();
    let mut bench = Bench::new(&Value::Null);
    bench.up("a", profile(&json!({ "hw_mtu": 1064 })));
    bench.receive("a", &announce_from(&owner, &to_name, 1).encode());
    let to = to_name.of(owner.hash());
    let packets: Vec<PacketHash> = (0..3).map(|n| bench.stack.send(bench.now, to, &[n]).unwrap()).collect();
    let forged = prove(&Identity::generate(&mut TestRng::seeded(5)), packets[1], ProofForm::Implicit);
    bench.receive("a", &forged.encode());
    bench.skip(Duration::from_millis(250));
    bench.receive("a", &prove(&owner, packets[1], ProofForm::Explicit).encode());
    bench.receive("a", &prove(&owner, packets[2], ProofForm::Implicit).encode());
    let delivered: Vec<_> =
        bench.events.iter().filter(|event| matches!(event, Event::Delivered { .. })).cloned().collect();
    let rtt = Duration::from_millis(250);
    assert_eq!(delivered, [Event::Delivered { packet: packets[1], rtt }, Event::Delivered { packet: packets[2], rtt }]);
}

#[test]
fn identities_prove_with_the_keys_of_the_vectors() {
    // The proofs of `proof_flow` were signed with its private key; making them again must give the same bytes.
    for case in cases("core/proof_flow", 7) {
        for sent in case["sent"].as_array().unwrap() {
            let owner = identity(&case["given"]["local"][0]["private_key"]);
            let raw = bytes(&case["received_raw"]);
            let hash = PacketRef::parse(&raw).unwrap().hash();
            let form = if bytes(sent).len() > 100 { ProofForm::Explicit } else { ProofForm::Implicit };
            assert_eq!(prove(&owner, hash, form).encode(), bytes(sent), "{}", name(&case));
            assert_eq!(hash.truncated(), array::<16>(&Value::String(hex::encode(&bytes(sent)[2..18]))));
        }
    }
}
