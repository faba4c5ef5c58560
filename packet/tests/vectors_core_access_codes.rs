//! Interface access codes against `tests/vectors/core/`.

mod support;

use support::{Bench, Sent, array, bytes, cases, maybe_bytes, name, profile};
use wend_packet::access_code::{AccessCodeError, AccessKey};
use wend_packet::crypto::hkdf;
use wend_packet::identity::Identity;
use wend_packet::stack::{DropReason, InterfaceProfile};

fn key(case: &serde_json::Value) -> Option<AccessKey> {
    AccessKey::derive(case["network_name"].as_str(), case["passphrase"].as_str())
}

#[test]
fn frames_are_masked_and_unmasked_byte_for_byte() {
    for case in cases("core/ifac", 75) {
        let key = key(&case).unwrap();
        let len = case["ifac_size"].as_u64().unwrap() as usize;
        let (raw, masked) = (bytes(&case["raw"]), bytes(&case["masked"]));
        assert_eq!(key.seal(&raw, len), masked, "{}", name(&case));
        let mut opened = Vec::new();
        assert_eq!(key.open(&masked, len, &mut opened), Ok(()), "{}", name(&case));
        assert_eq!(opened, raw, "{}", name(&case));
        // What lies between, from the key that the case gives: signature, code, mask.
        let seed: [u8; 64] = array(&case["ifac_key"]);
        let signature = Identity::from_slice(&seed).unwrap().sign(&raw);
        assert_eq!(signature.to_vec(), bytes(&case["signature"]), "{}", name(&case));
        assert_eq!(signature[64 - len..].to_vec(), bytes(&case["ifac"]), "{}", name(&case));
        let mask =
            hkdf(case["mask_length"].as_u64().unwrap() as usize, &bytes(&case["ifac"]), Some(&seed), &[]).unwrap();
        let head = maybe_bytes(&case["mask_head"]).unwrap();
        assert_eq!(mask[..head.len()], head, "{}", name(&case));
    }
}

#[test]
fn frames_get_the_verdict_of_the_reference() {
    for case in cases("core/ifac_checks", 18) {
        let mut given = case["given"].clone();
        let on = given["interfaces"]["a"].take();
        given["interfaces"].as_object_mut().unwrap().clear();
        let mut bench = Bench::new(&given);
        let access_key = key(&case);
        assert_eq!(access_key.is_some(), case["ifac_enabled"] == true, "{}", name(&case));
        bench.up("a", InterfaceProfile { access_key, ..profile(&on) });
        bench.receive("a", &bytes(&case["raw"]));
        let stats = bench.stack.stats();
        assert_eq!(stats.processed == 1, case["processed"] == true, "{}: {:?}", name(&case), stats.drops);
        let of_the_code =
            case["reason"].as_array().unwrap().iter().any(|reason| reason.as_str().unwrap().starts_with("ifac"));
        let counted = stats.interfaces[&bench.id("a")].access_violations;
        assert_eq!(counted, u64::from(of_the_code), "{}: {:?}", name(&case), stats.drops);
    }
}

#[test]
fn a_frame_for_a_closed_network_leaves_masked_and_is_understood_there_only() {
    let key = AccessKey::derive(Some("one"), Some("network")).unwrap();
    let closed = |access_key| InterfaceProfile { access_code_len: 8, access_key, ..InterfaceProfile::new(9_600) };
    let mut from = Bench::new(&serde_json::Value::Null);
    from.up("a", closed(Some(key.clone())));
    from.up("b", closed(None));
    from.stack.request_path(from.now, [7; 16].into());
    from.settle();
    let sent = from.take_sent();
    let [Sent { frame: masked, .. }, Sent { frame: plain, .. }] = &sent[..] else {
        panic!("one frame on each: {sent:?}")
    };
    assert_eq!((masked.len(), key.seal(plain, 8).to_vec()), (plain.len() + 8, masked.clone()));
    let stats = &from.stack.stats().interfaces[&from.id("a")];
    assert_eq!((stats.sent_frames, stats.sent_bytes), (1, masked.len() as u64), "counted as they are on the medium");

    let verdict = |access_key: Option<AccessKey>, frame: &[u8]| {
        let mut to = Bench::new(&serde_json::Value::Null);
        to.up("a", closed(access_key));
        to.receive("a", frame);
        (to.stack.stats().processed, to.stack.stats().drops.keys().copied().collect::<Vec<_>>())
    };
    assert_eq!(verdict(Some(key.clone()), masked).0, 1);
    assert_eq!(verdict(None, plain).0, 1);
    let other = AccessKey::derive(Some("one"), Some("net")).unwrap();
    assert_eq!(verdict(Some(other), masked), (0, vec![DropReason::AccessCodeInvalid]));
    assert_eq!(verdict(None, masked), (0, vec![DropReason::AccessCode]));
    assert_eq!(verdict(Some(key.clone()), plain), (0, vec![DropReason::AccessCodeMissing]));
    // Too long is found out before anything is signed; what fits beside the code is not too long.
    let long = |len: usize| {
        let mut frame = plain.clone();
        frame.resize(len, 0);
        key.seal(&frame, 8).to_vec()
    };
    assert_eq!(verdict(Some(key.clone()), &long(509)), (0, vec![DropReason::OverMtu]));
    assert_eq!(verdict(Some(key.clone()), &long(500)).0, 1);
    assert_eq!(key.open(&[], 8, &mut Vec::new()), Err(AccessCodeError::Short { len: 0 }));
}
