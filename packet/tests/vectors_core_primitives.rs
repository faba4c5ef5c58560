//! Keys, tokens, names and hashes against `tests/vectors/core/`.

mod support;

use support::{Bench, array, bytes, cases, destination_name, identity, maybe_bytes, name, texts};
use wend_packet::crypto::{TokenKey, hkdf, x25519_public};
use wend_packet::destination::{DestinationName, request_path_hash, single_hash};
use wend_packet::identity::{Identity, PublicIdentity, RatchetKey};
use wend_packet::stack::{Destination, Event, Group, ProofStrategy, RegisterError, Stack, StackConfig};
use wend_packet::testing::TestRng;
use wend_packet::wire::PacketRef;

#[test]
fn hkdf_derives_what_the_reference_derives() {
    for case in cases("core/hkdf", 12) {
        let salt = maybe_bytes(&case["salt"]);
        let length = case["length"].as_u64().unwrap() as usize;
        let out = hkdf(length, &bytes(&case["key_material"]), salt.as_deref(), &bytes(&case["context"])).unwrap();
        assert_eq!(*out, bytes(&case["output"]), "{}", name(&case));
    }
}

#[test]
fn tokens_seal_and_open_byte_for_byte() {
    for case in cases("core/token", 14) {
        let key = TokenKey::from_slice(&bytes(&case["key"])).unwrap();
        let (plaintext, token) = (bytes(&case["plaintext"]), bytes(&case["token"]));
        let mut sealed = Vec::new();
        key.seal(&array(&case["iv"]), &plaintext, &mut sealed);
        assert_eq!(sealed, token, "{}", name(&case));
        assert_eq!(key.open(&token).unwrap(), plaintext, "{}", name(&case));
        let parts = [bytes(&case["iv"]), bytes(&case["ciphertext"]), bytes(&case["hmac"])].concat();
        assert_eq!(parts, token, "{}", name(&case));
    }
}

#[test]
fn tokens_get_the_verdict_of_the_reference() {
    for case in cases("core/token_checks", 23) {
        let opened = TokenKey::from_slice(&bytes(&case["key"])).and_then(|key| key.open(&bytes(&case["token"]))).ok();
        assert_eq!(opened.is_some(), case["accepted"] == true, "{}", name(&case));
        assert_eq!(opened, maybe_bytes(&case["plaintext"]), "{}", name(&case));
    }
}

#[test]
fn identities_have_the_keys_hashes_and_signatures_of_the_reference() {
    for case in cases("core/identity", 12) {
        let whole = identity(&case["private_key"]);
        let public = whole.public();
        assert_eq!(public.as_bytes().to_vec(), bytes(&case["public_key"]), "{}", name(&case));
        assert_eq!(public.exchange_key().to_vec(), bytes(&case["x25519_public"]), "{}", name(&case));
        assert_eq!(public.signing_key().to_vec(), bytes(&case["ed25519_public"]), "{}", name(&case));
        assert_eq!(public.hash().as_ref(), bytes(&case["identity_hash"]), "{}", name(&case));
        assert_eq!(whole.to_private_bytes().to_vec(), bytes(&case["file_bytes"]), "{}", name(&case));
        let (message, signature) = (bytes(&case["message"]), bytes(&case["signature"]));
        assert_eq!(whole.sign(&message).to_vec(), signature, "{}", name(&case));
        assert_eq!(whole.sign(&[]).to_vec(), bytes(&case["signature_of_empty"]), "{}", name(&case));
        assert!(public.verify(&message, &signature), "{}", name(&case));
    }
}

#[test]
fn key_lengths_and_signatures_get_the_verdict_of_the_reference() {
    for case in cases("core/identity_checks", 27) {
        let verdict = match case["operation"].as_str().unwrap() {
            "load_private" => Identity::from_slice(&bytes(&case["input"])).is_ok(),
            "load_public" => PublicIdentity::from_slice(&bytes(&case["input"])).is_ok(),
            "verify" => PublicIdentity::from_slice(&bytes(&case["public_key"]))
                .unwrap()
                .verify(&bytes(&case["message"]), &bytes(&case["signature"])),
            other => panic!("unknown operation {other}"),
        };
        assert_eq!(verdict, case["accepted"] == true, "{}", name(&case));
    }
}

#[test]
fn encryption_gives_the_bytes_of_the_reference() {
    for case in cases("core/encrypt", 15) {
        let whole = identity(&case["private_key"]);
        assert_eq!(whole.hash().as_ref(), bytes(&case["identity_hash"]), "{}", name(&case));
        let ephemeral: [u8; 32] = array(&case["ephemeral_private"]);
        assert_eq!(x25519_public(&ephemeral).to_vec(), bytes(&case["ephemeral_public"]), "{}", name(&case));
        let ratchet = maybe_bytes(&case["ratchet_private"]).map(|key| RatchetKey::new(key.try_into().unwrap()));
        let target = ratchet.as_ref().map(RatchetKey::public);
        assert_eq!(target.map(|key| key.to_vec()), maybe_bytes(&case["ratchet_public"]), "{}", name(&case));
        let plaintext = bytes(&case["plaintext"]);
        let mut rng = TestRng::scripted(&[&ephemeral[..], &bytes(&case["iv"])].concat());
        let ciphertext = whole.public().encrypt(&mut rng, target.as_ref(), &plaintext).unwrap();
        assert_eq!(ciphertext, bytes(&case["ciphertext"]), "{}", name(&case));
        let opened = whole.decrypt(&ciphertext, ratchet.as_slice(), false).unwrap();
        assert_eq!(opened.plaintext, plaintext, "{}", name(&case));
        assert_eq!(opened.ratchet, ratchet.map(|ratchet| ratchet.id()), "{}", name(&case));
    }
}

#[test]
fn decryption_tries_keys_in_the_order_of_the_reference() {
    for case in cases("core/decrypt", 14) {
        let ratchets: Vec<_> =
            case["ratchets_newest_first"].as_array().unwrap().iter().map(|key| RatchetKey::new(array(key))).collect();
        let opened = identity(&case["private_key"])
            .decrypt(&bytes(&case["ciphertext"]), &ratchets, case["enforce"] == true)
            .ok();
        let ratchet = opened.as_ref().and_then(|opened| opened.ratchet).map(|id| id.as_bytes().to_vec());
        assert_eq!(opened.map(|opened| opened.plaintext), maybe_bytes(&case["plaintext"]), "{}", name(&case));
        assert_eq!(ratchet, maybe_bytes(&case["ratchet_id"]), "{}", name(&case));
    }
}

#[test]
fn names_hash_as_in_the_reference() {
    for case in cases("core/destination", 16) {
        let destination = destination_name(&case);
        let owner = PublicIdentity::from_slice(&bytes(&case["public_key"])).unwrap().hash();
        assert_eq!(destination.as_str(), case["full_name"].as_str().unwrap());
        assert_eq!(owner.as_ref(), bytes(&case["identity_hash"]));
        assert_eq!(format!("{}.{owner}", destination.as_str()), case["expanded_with_identity"].as_str().unwrap());
        assert_eq!(destination.hash().as_ref(), bytes(&case["name_hash"]), "{}", name(&case));
        assert_eq!(destination.plain().as_ref(), bytes(&case["plain_hash"]), "{}", name(&case));
        assert_eq!(destination.of(owner).as_ref(), bytes(&case["single_hash"]), "{}", name(&case));
        assert_eq!(single_hash(destination.hash(), owner).as_ref(), bytes(&case["group_hash"]), "{}", name(&case));
    }
}

const SINGLE: u64 = 0;
const GROUP: u64 = 1;
const PLAIN: u64 = 2;
const IN: u64 = 0x11;

/// Creates a destination as `create` of a case asks; an inbound one is registered. `None`: there is no call for that.
fn create(stack: &mut Stack, create: &serde_json::Value) -> Option<Result<(), RegisterError>> {
    let owner = create["private_key"].as_str().map(|_| identity(&create["private_key"]));
    let name = DestinationName::new(create["app_name"].as_str().unwrap(), &texts(&create["aspects"])).ok()?;
    let (direction, kind) = (create["direction"].as_u64().unwrap(), create["type"].as_u64().unwrap());
    let registered = match (direction, kind, owner) {
        (IN, SINGLE, Some(owner)) => stack.register(Destination::new(owner, name)),
        (IN, SINGLE, None) => {
            let destination = Destination::of_nobody(&mut TestRng::seeded(3), &name);
            let expanded = format!("{}.{}", name.as_str(), destination.identity.hash());
            assert_eq!(destination.name.as_str(), expanded);
            stack.register(destination)
        }
        (IN, GROUP, Some(owner)) => {
            let key = TokenKey::from_slice(&[7; 64]).unwrap();
            stack.register_group(Group { owner: *owner.public(), name, key }, Some(owner), ProofStrategy::None)
        }
        (IN, PLAIN, None) => stack.register_plain(&name),
        // Whom to send to is said when something is sent, and only what can be sent to can be said.
        (_, SINGLE | GROUP, Some(_)) | (_, PLAIN, None) => return Some(Ok(())),
        _ => return None,
    };
    Some(registered.map(drop))
}

#[test]
fn destinations_are_made_under_the_rules_of_the_reference() {
    let mut impossible = 0;
    for case in cases("core/destination_checks", 13) {
        let given = &case["given"];
        let mut stack =
            Stack::new(StackConfig::new(Identity::generate(&mut TestRng::seeded(1))), Box::new(TestRng::seeded(2)));
        for first in given["create_first"].as_array().unwrap() {
            create(&mut stack, first).unwrap().unwrap();
        }
        let created = create(&mut stack, &given["create"]);
        impossible += usize::from(created.is_none());
        assert_eq!(created.is_some_and(|created| created.is_ok()), case["accepted"] == true, "{}", name(&case));
    }
    // Dots in a name, twice; a PLAIN destination with an identity; SINGLE and GROUP ones to send to without.
    assert_eq!(impossible, 5);
}

#[test]
fn packets_to_groups_have_the_bytes_of_the_reference() {
    for case in cases("core/group", 10) {
        let raw = bytes(&case["raw"]);
        let packet = PacketRef::parse(&raw).unwrap();
        assert_eq!(packet.hash().as_ref(), bytes(&case["packet_hash"]), "{}", name(&case));
        // The name is not given, but the address: what the case is about is flags, key and token.
        assert_eq!(packet.destination().as_ref(), bytes(&case["destination_hash"]), "{}", name(&case));
        let key = TokenKey::from_slice(&bytes(&case["group_key"])).unwrap();
        let plaintext = bytes(&case["plaintext"]);
        assert_eq!(key.open(packet.data()).unwrap(), plaintext, "{}", name(&case));
        // The stack sends the same, but for the address of a group whose name is known.
        let iv = &packet.data()[..16];
        let mut bench = Bench::with(&serde_json::Value::Null, |_| {});
        let config = StackConfig::new(Identity::generate(&mut TestRng::seeded(1)));
        bench.stack = Stack::new(config, Box::new(TestRng::scripted(iv)));
        bench.up("a", support::profile(&serde_json::Value::Null));
        let owner = PublicIdentity::from_slice(&bytes(&case["public_key"])).unwrap();
        let group = Group { owner, name: DestinationName::new("group", &[]).unwrap(), key };
        bench.stack.send(bench.now, &group, &plaintext).unwrap();
        bench.settle();
        let expected = [&raw[..2], group.hash().as_ref(), &raw[18..]].concat();
        assert_eq!(bench.take_sent()[0].frame, expected, "{}", name(&case));
        // And a member who listens reads it.
        bench.stack.register_group(group, None, ProofStrategy::None).unwrap();
        bench.receive("a", &expected);
        let read =
            bench.events.iter().any(|event| matches!(event, Event::Received { payload, .. } if *payload == plaintext));
        assert!(read, "{}: {:?}", name(&case), bench.events);
    }
}

#[test]
fn request_paths_hash_as_in_the_reference() {
    for case in cases("core/request_path", 11) {
        let path = case["path"].as_str().unwrap();
        assert_eq!(request_path_hash(path).to_vec(), bytes(&case["path_hash"]), "{}", name(&case));
    }
}
