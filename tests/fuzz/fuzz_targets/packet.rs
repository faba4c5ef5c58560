//! Frames: parsing never panics, and what parses encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_packet::wire::{Packet, PacketRef};

fuzz_target!(|frame: &[u8]| {
    let Ok(packet) = PacketRef::parse(frame) else { return };
    let owned = Packet {
        flags: packet.flags(),
        hops: packet.hops(),
        transport_id: packet.transport_id(),
        destination: packet.destination(),
        context: packet.context(),
        data: packet.data().to_vec().into(),
    };
    let encoded = owned.encode();
    assert_eq!(encoded.len(), frame.len());
    // Encoding sets the transport bit of a type 2 header; everything else comes back as it was.
    assert_eq!(encoded[1..], frame[1..]);
    assert_eq!(packet.hash(), PacketRef::parse(&encoded).expect("a frame we made").hash());
});
