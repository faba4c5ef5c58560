//! Streams over channels against `tests/vectors/link/buffer.json`.

mod recorded;
mod support;

use bytes::Bytes;
use recorded::{End, data_parts, noon};
use serde_json::Value;
use support::{bytes, cases, name};
use wend_packet::channel::{
    ChannelEvent, ENVELOPE_LEN, STREAM_CHUNK_MAX, STREAM_HEADER_LEN, StreamId, StreamMessage, end_of_stream, next_chunk,
};
use wend_packet::hash::sha256;
use wend_packet::link::LinkEvent;

#[test]
fn every_buffer_vector_is_met() {
    for case in cases("link/buffer", 9) {
        match name(&case) {
            "pack" => pack(&case),
            "unpack" => unpack(&case),
            "constants" => constants(&case),
            name if name.starts_with("write-") => write(&case),
            other => panic!("no test for {other}"),
        }
    }
}

fn stream(number: &Value) -> StreamId {
    StreamId::new(number.as_u64().unwrap() as u16).unwrap()
}

fn pack(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        let (packed, data) = (bytes(&row["packed"]), bytes(&row["data"]));
        let header = u16::from_be_bytes(packed[..2].try_into().unwrap());
        assert_eq!(packed[2..], data, "{row}");
        let bits = (header & 0x8000 != 0, header & 0x4000 != 0, u64::from(header & 0x3fff));
        let expected = (row["eof"] == true, row["compressed"] == true, row["stream_id"].as_u64().unwrap());
        assert_eq!(bits, expected, "{row}");
        match (row["eof"] == true, row["compressed"] == true) {
            (false, false) => assert_eq!(next_chunk(stream(&row["stream_id"]), &data, 423).message, packed),
            (true, false) if data.is_empty() => assert_eq!(end_of_stream(stream(&row["stream_id"])).to_vec(), packed),
            // Ends go out without data here, and are read with data as well.
            (true, false) => {
                let read = StreamMessage::decode(&packed.into()).unwrap();
                assert!(read.eof && read.data == data);
            }
            // Only the header of these is real.
            (_, true) => {}
        }
    }
}

fn unpack(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        let read = StreamMessage::decode(&bytes(&row["raw"]).into());
        let Some(read) = read else {
            assert!(row["error"].is_string(), "{row}");
            continue;
        };
        assert_eq!((read.stream, read.eof), (stream(&row["stream_id"]), row["eof"] == true));
        assert_eq!(read.data.len() as u64, row["data_len"].as_u64().unwrap());
        assert_eq!(sha256(&[&read.data]).to_vec(), bytes(&row["data_sha256"]));
    }
}

fn constants(case: &Value) {
    let number = |field: &str| case[field].as_u64().unwrap();
    assert_eq!(u64::from(StreamId::MAX.number()), number("stream_id_max"));
    assert!(StreamId::new(StreamId::MAX.number() + 1).is_none());
    assert_eq!((ENVELOPE_LEN + STREAM_HEADER_LEN) as u64, number("overhead"));
    assert_eq!(STREAM_CHUNK_MAX as u64, number("max_chunk"));
    let end = End::of(&serde_json::json!({ "link_id": "00".repeat(16) }), true, 0.25, |_| {});
    assert_eq!((end.link.message_max() - STREAM_HEADER_LEN) as u64, number("max_data_len"));
    // The whole chunk, a half and a third; the fourth is to send it as it is.
    assert_eq!((number("msgtype"), number("tries")), (0xff00, 4));
}

/// The messages of a whole stream, as two ends exchange them.
fn write(case: &Value) {
    let given = &case["given"];
    let (id, data) = (stream(&given["stream_id"]), data_parts(&given["data_parts"]));
    assert_eq!(sha256(&[&data]).to_vec(), bytes(&case["data_sha256"]));
    let mut link = case.clone();
    link["link_id"] = "00".repeat(16).into();
    let (mut from, mut to) = (End::of(&link, true, 0.25, |_| {}), End::of(&link, false, 0.25, |_| {}));
    from.link.open_channel(&[]);
    to.link.open_stream(id);
    let max = case["max_payload"].as_u64().unwrap() as usize;
    assert_eq!(from.link.message_max() - STREAM_HEADER_LEN, max);
    let (mut written, mut envelopes) = (0, Vec::new());
    let key = Value::String("01".repeat(64));
    while written < data.len() {
        written += from.link.write_stream(noon(), &mut from.rng, id, &data[written..]).unwrap();
        if written == data.len() {
            from.link.close_stream(noon(), &mut from.rng, id).unwrap();
        }
        pass(&mut from, &mut to, &key, &mut envelopes);
    }
    pass(&mut from, &mut to, &key, &mut envelopes);
    assert_eq!(envelopes.pop().unwrap(), bytes(&case["eof_envelope"]), "{}", name(case));
    let expected = case["messages"].as_array().unwrap();
    assert_eq!(envelopes.len(), expected.len(), "{}", name(case));
    let mut at = 0;
    for (envelope, expected) in envelopes.iter().zip(expected) {
        let header = &envelope[ENVELOPE_LEN..ENVELOPE_LEN + STREAM_HEADER_LEN];
        assert_eq!(header, bytes(&expected["header"]), "{}", name(case));
        let chunk = next_chunk(id, &data[at..], max);
        at += expected["consumed"].as_u64().unwrap() as usize;
        assert_eq!(chunk.consumed as u64, expected["consumed"].as_u64().unwrap(), "{}", name(case));
        assert_eq!(chunk.message, envelope[ENVELOPE_LEN..]);
        // Another bzip2 may find another stream of the same data.
        if header[0] & 0x40 == 0 {
            assert_eq!(sha256(&[envelope]).to_vec(), bytes(&expected["envelope_sha256"]), "{}", name(case));
        }
    }
    let (mut got, mut ended) = (Vec::new(), false);
    for event in to.take_events() {
        let LinkEvent::Channel(ChannelEvent::Stream { stream, data, eof }) = event else { panic!("{event:?}") };
        assert_eq!((stream, ended), (id, false));
        got.extend_from_slice(&data);
        ended = eof;
    }
    assert!(got == data && ended, "{}", name(case));
}

/// Carries everything that waits there and the proofs back.
fn pass(from: &mut End, to: &mut End, key: &Value, envelopes: &mut Vec<Vec<u8>>) {
    loop {
        let frames = from.sent();
        if frames.is_empty() {
            return;
        }
        for frame in frames {
            envelopes.push(recorded::open(key, &frame));
            to.receive(noon(), &frame);
        }
        for frame in to.sent() {
            from.receive(noon(), &frame);
        }
    }
}

#[test]
fn a_message_too_short_for_its_header_is_none() {
    assert_eq!(StreamMessage::decode(&Bytes::from_static(&[0])), None);
}
