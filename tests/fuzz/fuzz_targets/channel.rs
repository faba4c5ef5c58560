//! Channels and streams: what a peer with the keys may send, and that bytes written come back as they were.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wend_packet::LinkId;
use wend_packet::channel::{MessageType, RECEIVE_WINDOW, StreamId, StreamMessage, next_chunk};
use wend_packet::crypto::TokenKey;
use wend_packet::identity::Identity;
use wend_packet::link::Link;
use wend_packet::link::testing::Established;
use wend_packet::testing::TestRng;
use wend_packet::time::Now;
use wend_packet::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};

#[derive(Debug, Arbitrary)]
enum Step {
    /// An envelope of any type, with a sequence number near those that count.
    Message { kind: u8, ahead: u8, body: Vec<u8> },
    /// Any plaintext.
    Plain(Vec<u8>),
    /// A proof that cannot be right, of something that may be waited for.
    Proof(Vec<u8>),
    Send(Vec<u8>),
    Write(Vec<u8>),
    CloseStream,
    Wait(u16),
    Decode(Vec<u8>),
    Chunk { data: Vec<u8>, max: u16 },
}

const KEY: [u8; 64] = [5; 64];
const KINDS: [u16; 3] = [0x0101, 0xff00, 0x0202];

fuzz_target!(|steps: Vec<Step>| {
    let mut rng = TestRng::seeded(1);
    let identity = Identity::generate(&mut rng);
    let mut now = Now::default().later(Duration::from_secs(10));
    let mut link = Link::established(now, &Established {
        id: LinkId::new([3; 16]),
        derived_key: KEY,
        signing_seed: [4; 32],
        mtu: 500,
        rtt: Duration::from_millis(50),
        destination: Some(*identity.public()),
        initiator: *identity.public().signing_key(),
    });
    let (kind, stream) = (MessageType::new(0x0101).expect("not reserved"), StreamId::new(7).expect("small"));
    link.open_channel(&[kind]);
    link.open_stream(stream);
    for step in steps.into_iter().take(300) {
        let (proof, plaintext) = match step {
            Step::Message { kind, ahead, body } => {
                let next = link.channel_state().map_or(0, |(next, _)| next);
                let kind = KINDS[usize::from(kind) % KINDS.len()];
                let sequence = next.wrapping_add(u16::from(ahead)).wrapping_sub(64);
                (false, [&kind.to_be_bytes()[..], &sequence.to_be_bytes(), &[0, 0], &body].concat())
            }
            Step::Plain(body) => (false, body),
            Step::Proof(body) => (true, body),
            Step::Send(body) => {
                let _ = link.send_message(now, &mut rng, kind, &body);
                continue;
            }
            Step::Write(data) => {
                let _ = link.write_stream(now, &mut rng, stream, &data);
                continue;
            }
            Step::CloseStream => {
                let _ = link.close_stream(now, &mut rng, stream);
                continue;
            }
            Step::Wait(tenths) => {
                now = now.later(Duration::from_millis(u64::from(tenths) * 100));
                link.handle_timeout(now, &mut rng);
                while link.poll_packet().is_some() {}
                continue;
            }
            Step::Decode(message) => {
                if let Some(read) = StreamMessage::decode(&Bytes::from(message.clone())) {
                    assert!(read.data.len() <= 16_384.max(message.len()));
                }
                continue;
            }
            Step::Chunk { data, max } => {
                let max = usize::from(max).max(1);
                let chunk = next_chunk(stream, &data, max);
                assert!(chunk.message.len() <= max + 2 && (chunk.consumed > 0 || data.is_empty()));
                let read = StreamMessage::decode(&chunk.message.into()).expect("what was made here");
                assert!(read.stream == stream && !read.eof && read.data == data[..chunk.consumed]);
                continue;
            }
        };
        let (kind, context, data) = if proof {
            (PacketKind::Proof, Context::NONE, plaintext)
        } else {
            let mut sealed = Vec::new();
            TokenKey::from_slice(&KEY).expect("64 bytes").seal(&[6; 16], &plaintext, &mut sealed);
            (PacketKind::Data, Context::CHANNEL, sealed)
        };
        let packet = Packet {
            flags: Flags::new(DestinationKind::Link, kind),
            hops: 0,
            transport_id: None,
            destination: link.id().into(),
            context,
            data: data.into(),
        };
        let frame = packet.encode();
        if let Ok(packet) = PacketRef::parse(&frame) {
            link.handle_packet(now, &mut rng, &packet);
        }
        let held = link.channel_state().map_or(0, |(_, held)| held);
        assert!(held <= usize::from(RECEIVE_WINDOW) && link.held_bytes() <= held * 16_384);
        while link.poll_packet().is_some() {}
        while link.poll_event().is_some() {}
    }
});
