//! Both ends of an established link under packets of a hostile peer: no panic, and no more held than the bounds say.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wend_packet::LinkId;
use wend_packet::crypto::TokenKey;
use wend_packet::identity::Identity;
use wend_packet::link::testing::Established;
use wend_packet::link::{
    Link, LinkOptions, RequestOptions, ResourceOptions, ResourceStrategy, TransferId,
};
use wend_packet::testing::TestRng;
use wend_packet::time::Now;
use wend_packet::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};

#[derive(Debug, Arbitrary)]
enum Step {
    /// Bytes as they come.
    Raw { context: u8, proof: bool, body: Vec<u8> },
    /// Bytes that decrypt: what a peer can send that has the keys.
    Sealed { context: u8, body: Vec<u8> },
    Wait(u16),
    Request,
    Stream(u32),
    Accept(u8),
    Cancel(u8),
    Take(u8),
    Jobs,
}

const KEY: [u8; 64] = [5; 64];

fuzz_target!(|input: (bool, Vec<Step>)| {
    let (initiator, steps) = input;
    let mut rng = TestRng::seeded(1);
    let identity = Identity::generate(&mut rng);
    let mut now = Now::default().later(Duration::from_secs(10));
    let mut link = Link::established(now, &Established {
        id: LinkId::new([3; 16]),
        derived_key: KEY,
        signing_seed: [4; 32],
        mtu: 500,
        rtt: Duration::from_millis(250),
        destination: initiator.then(|| *identity.public()),
        initiator: *identity.public().signing_key(),
    });
    link.register_path("/fuzz");
    link.set_options(LinkOptions { resources: ResourceStrategy::Ask, ..LinkOptions::default() });
    link.open_channel(&[]);
    for step in steps.into_iter().take(200) {
        let (context, proof, data) = match step {
            Step::Raw { context, proof, body } => (context, proof, body),
            Step::Sealed { context, body } => {
                let mut sealed = Vec::new();
                TokenKey::from_slice(&KEY).expect("64 bytes").seal(&[6; 16], &body, &mut sealed);
                (context, false, sealed)
            }
            Step::Wait(tenths) => {
                now = now.later(Duration::from_millis(u64::from(tenths) * 100));
                link.handle_timeout(now, &mut rng);
                continue;
            }
            Step::Request => {
                let options = RequestOptions { timeout: None, max_response: 4096 };
                let _ = link.request(now, &mut rng, "/fuzz", &[0xc0], options);
                continue;
            }
            Step::Stream(len) => {
                let _ = link.stream_resource(now, &mut rng, len.into(), ResourceOptions::default());
                continue;
            }
            Step::Accept(resource) => {
                let _ = link.accept_resource(now, &mut rng, TransferId(resource.into()));
                continue;
            }
            Step::Cancel(resource) => {
                let _ = link.cancel_resource(now, &mut rng, TransferId(resource.into()));
                continue;
            }
            Step::Take(resource) => {
                let _ = link.segment_taken(now, &mut rng, TransferId(resource.into()), 0);
                continue;
            }
            Step::Jobs => {
                while let Some(job) = link.poll_job() {
                    link.handle_job(now, &mut rng, job.run());
                }
                continue;
            }
        };
        let kind = if proof { PacketKind::Proof } else { PacketKind::Data };
        let packet = Packet {
            flags: Flags::new(DestinationKind::Link, kind),
            hops: 0,
            transport_id: None,
            destination: link.id().into(),
            context: Context(context),
            data: data.into(),
        };
        let frame = packet.encode();
        if let Ok(packet) = PacketRef::parse(&frame) {
            link.handle_packet(now, &mut rng, &packet);
        }
        let held = link.held();
        assert!(held.queued <= 1024 && held.incoming <= 4 && held.outgoing <= 17 && held.requests <= 128, "{held:?}");
        while link.poll_packet().is_some() {}
        while link.poll_event().is_some() {}
    }
});
