use super::*;
use crate::entry::DIMS;
use crate::testing::{card, identity};
use proptest::prelude::*;

fn full() -> Manifest {
    let vector = core::array::from_fn::<f32, DIMS, _>(|index| (index as f32).cos());
    Manifest {
        name: "translate-ko-en-subtitles-and-more".into(),
        version: "1.4.4".into(),
        kind: Kind::LORA,
        publisher: identity(1).hash(),
        created: UnixTime(1_800_000_000),
        sequence: 3,
        description: "Korean drama subtitles to English.\nUnder 42 characters a line.".into(),
        tags: vec!["translation".into(), "한국어".into()],
        languages: vec!["ko".into(), "en".into()],
        licence: Some("Apache-2.0".into()),
        base_model: Some(BaseModel { id: "Qwen/Qwen2.5-7B".into(), revision: Some("main".into()) }),
        adapter: Some(AdapterFacts {
            format: Some("safetensors".into()),
            rank: Some(8),
            alpha: Some(16.5),
            targets: vec!["q_proj".into(), "v_proj".into()],
            dtype: Some("F16".into()),
            parameters: Some(1_234_567),
        }),
        files: vec![File { path: "sub/adapter.safetensors".into(), len: 1 << 33, blake3: [1; 32], sha256: [2; 32] }],
        vector: Some((SpaceId([0x53, 0xaa, 0x51, 0x17]), QuantisedVector::from_f32(&vector))),
    }
}

fn bare() -> Manifest {
    Manifest { licence: None, base_model: None, adapter: None, files: Vec::new(), vector: None, ..full() }
}

/// Signs hand-made bytes: `entries` is everything but the head of the map and the signature's entry.
fn signed(count: u8, entries: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0x80 | (count + 1)], entries].concat();
    let signature = identity(1).sign(&bytes);
    encode::signature(&mut bytes, &signature);
    bytes
}

/// The entries of a manifest's map, in encoded form.
fn entries(manifest: &Manifest) -> (u8, Vec<u8>) {
    let bytes = encode::unsigned(manifest);
    (bytes[0] - 0x81, bytes[1..].to_vec())
}

#[test]
fn a_manifest_comes_back_byte_for_byte() {
    for manifest in [full(), bare()] {
        let made = manifest.clone().sign(&identity(1)).unwrap();
        let read = SignedManifest::from_bytes(made.as_bytes()).unwrap();
        assert_eq!(*read.fields(), manifest);
        assert_eq!(read.hash(), hash(made.as_bytes()));
        assert_eq!(encode::unsigned(read.fields()), made.as_bytes()[..read.signed]);
        assert_eq!(read.verify(identity(1).public()), Ok(made));
    }
}

#[test]
fn absent_fields_are_absent() {
    let (count, entries) = entries(&bare());
    assert_eq!(count, 11);
    for key in [&b"\xa3lic"[..], b"\xa4base", b"\xa4lora", b"\xa3vec", b"\xc0"] {
        assert!(!entries.windows(key.len()).any(|window| window == key), "{key:?}");
    }
}

#[test]
fn unknown_keys_are_kept_and_signed() {
    let (count, known) = entries(&bare());
    // A later version says more: a map with a list in it, after all keys of today.
    let more = [&known[..], b"\xa4zone\x81\xa1x\x93\x01\xc0\xcb\x00\x00\x00\x00\x00\x00\x00\x00"].concat();
    let bytes = signed(count + 1, &more);
    let read = SignedManifest::from_bytes(&bytes).unwrap();
    assert_eq!(*read.fields(), bare());
    assert_eq!(read.as_bytes(), bytes);
    assert!(read.verify(identity(1).public()).is_ok());
    let mut changed = bytes;
    let at = changed.iter().position(|byte| *byte == b'x').unwrap();
    changed[at] = b'y';
    assert_eq!(SignedManifest::from_bytes(&changed).unwrap().verify(identity(1).public()), Err(VerifyError::Signature));
}

#[test]
fn the_wrong_key_and_the_wrong_card_are_refused() {
    let made = bare().sign(&identity(1)).unwrap();
    let refused = made.clone().into_inner().verify(identity(2).public());
    assert_eq!(refused, Err(VerifyError::Publisher { publisher: identity(1).hash(), key: identity(2).hash() }));
    let other = card(1, "other", 1);
    let announced = other.view().manifest();
    assert_eq!(made.check_card(&other.view()), Err(Mismatch::Hash { announced, found: made.hash() }));
}

#[test]
fn out_of_order_and_double_keys_are_refused() {
    let (count, known) = entries(&bare());
    let doubled = signed(count + 1, &[&known[..], b"\xa3ver\xa11"].concat());
    assert_eq!(SignedManifest::from_bytes(&doubled), Err(DecodeError::Order("ver".into())));
    let behind = signed(count + 1, &[&known[..], b"\xa1a\x01"].concat());
    assert_eq!(SignedManifest::from_bytes(&behind), Err(DecodeError::Order("a".into())));
}

#[test]
fn bounds_hold() {
    let long = Manifest { description: "x".repeat(limits::DESCRIPTION + 1), ..bare() };
    let bytes = long.sign(&identity(1)).unwrap();
    assert_eq!(SignedManifest::from_bytes(bytes.as_bytes()), Err(DecodeError::Field("desc")));
    let huge = Manifest { description: "x".repeat(LEN_MAX), ..bare() };
    assert!(matches!(huge.sign(&identity(1)), Err(TooLong { .. })));
    assert_eq!(SignedManifest::from_bytes(&vec![0; LEN_MAX + 1]), Err(DecodeError::TooLong(LEN_MAX + 1)));
    for path in ["../up", "/etc/passwd", "a//b", "c:\\x", "a/../b", ".", "bell\u{7}"] {
        let files = vec![File { path: path.into(), ..full().files[0].clone() }];
        let bytes = Manifest { files, ..bare() }.sign(&identity(1)).unwrap();
        assert_eq!(SignedManifest::from_bytes(bytes.as_bytes()), Err(DecodeError::Field("files")), "{path}");
    }
    let escape = Manifest { name: "\u{1b}[31mred".into(), ..bare() }.sign(&identity(1)).unwrap();
    assert_eq!(SignedManifest::from_bytes(escape.as_bytes()), Err(DecodeError::Field("name")));
}

#[test]
fn missing_fields_and_tails_are_named() {
    let bytes = bare().sign(&identity(1)).unwrap();
    let mut tail = bytes.as_bytes().to_vec();
    tail.push(0);
    assert_eq!(SignedManifest::from_bytes(&tail), Err(DecodeError::Trailing(1)));
    assert_eq!(SignedManifest::from_bytes(&signed(0, &[])), Err(DecodeError::Missing("v")));
    assert_eq!(SignedManifest::from_bytes(&signed(1, b"\xa1v\x01")), Err(DecodeError::Missing("name")));
    assert_eq!(SignedManifest::from_bytes(&signed(1, b"\xa1v\x02")), Err(DecodeError::Version(2)));
    assert_eq!(SignedManifest::from_bytes(&[0x80]), Err(DecodeError::Missing("sig")));
    assert_eq!(SignedManifest::from_bytes(&[]), Err(DecodeError::Damaged(0)));
}

#[test]
fn nested_nonsense_is_passed_over_or_refused_without_recursion() {
    let deep = [&b"\xa1a"[..], &[0x91; 500], b"\x01"].concat();
    assert!(matches!(SignedManifest::from_bytes(&signed(1, &deep)), Err(DecodeError::Damaged(_))));
    let endless = b"\xa1a\xdd\xff\xff\xff\xff";
    assert!(matches!(
        SignedManifest::from_bytes(&signed(1, endless)),
        Err(DecodeError::Field(_) | DecodeError::Damaged(_))
    ));
}

#[test]
fn the_view_says_what_a_person_wants_to_know() {
    let view = full().sign(&identity(1)).unwrap().view();
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["kind"], "lora");
    assert_eq!(json["licence_class"], "permissive");
    assert_eq!(json["described_only"], false);
    assert_eq!(json["embedding_space"], "53aa5117");
    assert_eq!(json["adapter"]["rank"], 8);
    assert_eq!(json["files"][0]["len_bytes"], 1_u64 << 33);
    assert!(bare().sign(&identity(1)).unwrap().view().described_only);
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SignedManifest::from_bytes(&noise);
    }

    #[test]
    fn damage_is_refused_or_breaks_the_signature(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let made = full().sign(&identity(1)).unwrap();
        let mut bytes = made.as_bytes().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if bytes != made.as_bytes() && let Ok(read) = SignedManifest::from_bytes(&bytes) {
            prop_assert!(read.verify(identity(1).public()).is_err());
        }
    }
}
