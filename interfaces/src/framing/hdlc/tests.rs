use proptest::prelude::*;
use serde_json::Value;

use super::*;

const ANY: Limits = Limits { min: 1, max: 4096 };

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/interfaces/hdlc.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The cases of a group, and no fewer than the file had when this was written.
fn cases<'a>(vectors: &'a Value, group: &str, at_least: usize) -> &'a Vec<Value> {
    let cases = vectors[group].as_array().unwrap();
    assert!(cases.len() >= at_least, "{group} has {} cases, there were {at_least}", cases.len());
    cases
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn list(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn decode<'a>(limits: Limits, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut decoder = Hdlc::new(limits);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk, |frame| frames.push(frame.to_vec()));
        assert!(decoder.frame.len() <= limits.max);
    }
    frames
}

fn encoded(frame: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(frame, &mut out);
    out.to_vec()
}

/// Fields of `expected` replace those of the case when the case records a defect.
fn right<'a>(case: &'a Value, field: &str) -> &'a Value {
    if case["defect"] == Value::Bool(true)
        && let Some(value) = case["expected"].get(field)
    {
        return value;
    }
    &case[field]
}

#[test]
fn constants_are_those_of_the_reference() {
    let vectors = vectors();
    assert_eq!([number(&vectors["flag"]), number(&vectors["esc"]), number(&vectors["mask"])], [0x7e, 0x7d, 0x20]);
    assert_eq!((FLAG, ESC, MASK), (0x7e, 0x7d, 0x20));
}

#[test]
fn frames_are_encoded_as_the_reference_does() {
    for case in cases(&vectors(), "encode", 10) {
        let data = bytes(&case["data"]);
        assert_eq!(encoded(&data), bytes(&case["frame"]), "{}", case["name"]);
        let back = decode(ANY, [bytes(&case["frame"]).as_slice()]);
        let expected = if data.is_empty() { Vec::new() } else { vec![data] };
        assert_eq!(back, expected, "{}", case["name"]);
    }
}

#[test]
fn streams_of_tcp_are_decoded_as_the_reference_does_in_any_chunks() {
    for case in cases(&vectors(), "decode_shared_flag", 15) {
        let limits = Limits::tcp(Some(number(&case["hw_mtu"])), number(&case["ifac_size"]));
        let chunks = list(&case["chunks"]);
        let expected = list(right(case, "frames"));
        assert_eq!(decode(limits, chunks.iter().map(Vec::as_slice)), expected, "{}", case["name"]);
        let whole = chunks.concat();
        assert_eq!(decode(limits, [whole.as_slice()]), expected, "{}, at once", case["name"]);
        assert_eq!(decode(limits, whole.chunks(1)), expected, "{}, byte by byte", case["name"]);
    }
}

#[test]
fn streams_of_serial_lines_are_decoded_as_they_should_be() {
    for case in cases(&vectors(), "decode_toggle", 9) {
        let limits = Limits { min: 1, max: number(&case["hw_mtu"]) };
        assert_eq!(limits, Limits::SERIAL);
        let stream = bytes(&case["stream"]);
        let expected = list(right(case, "frames"));
        assert_eq!(decode(limits, [stream.as_slice()]), expected, "{}", case["name"]);
        assert_eq!(decode(limits, stream.chunks(1)), expected, "{}, byte by byte", case["name"]);
    }
}

#[test]
fn a_frame_of_escapes_only_may_be_twice_as_long_on_the_wire() {
    let limits = Limits::tcp(Some(500), 16);
    let frame = [FLAG; 516];
    let wire = encoded(&frame);
    assert_eq!(wire.len(), 2 * 516 + 2);
    assert_eq!(decode(limits, wire.chunks(7)), [frame.to_vec()]);
}

#[test]
fn an_endless_frame_holds_no_memory_and_the_next_one_survives() {
    let limits = Limits { min: 1, max: 100 };
    let mut decoder = Hdlc::new(limits);
    decoder.push(&[FLAG], |_| panic!("nothing is complete"));
    for _ in 0..10_000 {
        decoder.push(&[0x55; 1000], |_| panic!("nothing is complete"));
        assert!(decoder.frame.len() <= limits.max);
    }
    assert_eq!(decoder.dropped(), 1);
    let mut frames = Vec::new();
    decoder.push(&encoded(b"next"), |frame| frames.push(frame.to_vec()));
    assert_eq!(frames, [b"next".to_vec()]);
}

#[test]
fn a_reset_gives_up_the_unfinished_frame_only() {
    let mut decoder = Hdlc::new(Limits::SERIAL);
    let mut frames = Vec::new();
    decoder.push(&[FLAG, b'x', ESC], |frame| frames.push(frame.to_vec()));
    assert!(decoder.has_partial());
    decoder.reset();
    assert!(!decoder.has_partial());
    decoder.push(&[MASKED_FLAG, b'y'], |frame| frames.push(frame.to_vec()));
    decoder.push(&encoded(b"good"), |frame| frames.push(frame.to_vec()));
    assert!(!decoder.has_partial());
    decoder.reset();
    decoder.push(b"shares the flag\x7e", |frame| frames.push(frame.to_vec()));
    assert_eq!(frames, [b"good".to_vec(), b"shares the flag".to_vec()]);
    assert_eq!(decoder.dropped(), 1);
}

#[test]
fn short_frames_are_counted_and_empty_ones_are_not() {
    let mut decoder = Hdlc::new(Limits::tcp(Some(500), 16));
    decoder.push(b"\x7e\x7e\x7eshort\x7e\x7e", |_| panic!("nothing is long enough"));
    assert_eq!(decoder.dropped(), 1);
}

#[test]
fn a_medium_without_an_mtu_takes_500_bytes() {
    assert_eq!(Limits::tcp(None, 16), Limits { min: 20, max: 516 });
}

/// Bytes in which flags and escapes are common.
fn noisy(len: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        2 => Just(FLAG),
        2 => Just(ESC),
        1 => Just(MASKED_FLAG),
        1 => Just(MASKED_ESC),
        6 => any::<u8>(),
    ];
    proptest::collection::vec(byte, 0..len)
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back(frames in proptest::collection::vec(noisy(200), 0..8)) {
        let wire: Vec<u8> = frames.iter().flat_map(|frame| encoded(frame)).collect();
        let expected: Vec<_> = frames.into_iter().filter(|frame| !frame.is_empty()).collect();
        prop_assert_eq!(decode(ANY, [wire.as_slice()]), expected);
    }

    #[test]
    fn frames_do_not_depend_on_the_chunks(
        stream in noisy(600), cuts in proptest::collection::vec(1..40_usize, 1..20), min in 0..5_usize, max in 0..40_usize,
    ) {
        let limits = Limits { min, max };
        let mut chunks = Vec::new();
        let mut rest = stream.as_slice();
        for len in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at((*len).min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        prop_assert_eq!(decode(limits, chunks), decode(limits, [stream.as_slice()]));
    }

    #[test]
    fn a_good_frame_survives_any_garbage_before_it(garbage in noisy(300), frame in noisy(60)) {
        prop_assume!(!frame.is_empty());
        let mut stream = garbage;
        stream.extend(encoded(&frame));
        let frames = decode(ANY, [stream.as_slice()]);
        prop_assert_eq!(frames.last(), Some(&frame));
    }
}
