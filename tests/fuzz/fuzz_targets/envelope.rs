//! Envelopes, values and announce data of strangers: decoding never panics, and what decodes encodes to the same meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_commands::announce_data::AnnounceData;
use wend_commands::{Call, Reply, Value};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(call) = Call::decode(bytes) {
        assert_eq!(Call::decode(&call.encode()).ok(), Some(call));
    }
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(Reply::decode(&reply.encode()).ok(), Some(reply));
    }
    if let Some(data) = AnnounceData::decode(bytes) {
        assert_eq!(AnnounceData::decode(&data.encode()), Some(data));
    }
    drop(Value::from_msgpack(bytes));
});
