//! Announces: whatever the bytes, parsing and verifying end with a verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_packet::announce::AnnounceRef;
use wend_packet::wire::PacketRef;

fuzz_target!(|body: &[u8]| {
    // Most random frames are no announces, so both a frame as given and a frame with an announce's header are tried.
    let framed: Vec<u8> = [&[0x01, 0x00][..], &[7; 16], &[0x00], body].concat();
    let with_ratchet: Vec<u8> = [&[0x21, 0x00][..], &[7; 16], &[0x00], body].concat();
    for frame in [body, &framed, &with_ratchet] {
        if let Ok(packet) = PacketRef::parse(frame)
            && let Ok(announce) = AnnounceRef::parse(&packet)
        {
            assert!(announce.verify().is_err(), "nobody signs by chance");
        }
    }
});
