//! What a link costs both ends together: time and allocations. `cargo bench -p wend-packet --bench link`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic: that is how it fails")]

use std::time::Duration;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use wend_packet::channel::{ChannelEvent, MessageType};
use wend_packet::hash::DestinationHash;
use wend_packet::identity::Identity;
use wend_packet::link::{
    Compression, Initiate, Link, LinkEvent, LinkOptions, RequestOptions, ResourceEvent, ResourceOptions,
    ResourceOutcome, ResourceStrategy,
};
use wend_packet::resource::SEGMENT_MAX;
use wend_packet::testing::TestRng;
use wend_packet::time::Now;
use wend_packet::wire::PacketRef;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const MTUS: [usize; 3] = [500, 16_384, 65_536];
const KIND: MessageType = MessageType::new(0x0101).unwrap();

fn main() {
    divan::main();
}

/// Two ends in one process; jobs are done on the spot, and a packet takes a microsecond.
struct Pair {
    ends: [Link; 2],
    rng: TestRng,
    now: Now,
}

impl Pair {
    fn new(mtu: usize) -> Self {
        let mut rng = TestRng::seeded(1);
        let owner = Identity::generate(&mut rng);
        Self::between(&owner, mtu, rng)
    }

    fn between(owner: &Identity, mtu: usize, mut rng: TestRng) -> Self {
        let now = Now::default().later(Duration::from_secs(10));
        let path = Initiate { mtu, hops: 1, first_hop_timeout: Duration::from_secs(6) };
        let to = DestinationHash::new([5; 16]);
        let (initiator, request) = Link::initiate(now, &mut rng, to, owner.public(), path);
        let request = request.encode();
        let (responder, proof) = Link::accept(now, &mut rng, owner, &PacketRef::parse(&request).unwrap(), 1).unwrap();
        let mut pair = Self { ends: [initiator, responder], rng, now: now.later(Duration::from_millis(1)) };
        pair.ends[0].handle_packet(pair.now, &mut pair.rng, &PacketRef::parse(&proof.encode()).unwrap());
        pair.ends[1].set_options(LinkOptions { resources: ResourceStrategy::All, ..LinkOptions::default() });
        pair.ends[1].register_path("/echo");
        for end in &mut pair.ends {
            end.open_channel(&[KIND]);
        }
        pair.run(&mut |_, _| None::<()>);
        pair
    }

    /// Carries packets until there are none, answering requests. Gives what `event` found last.
    fn run<T>(&mut self, event: &mut impl FnMut(usize, LinkEvent) -> Option<T>) -> Option<T> {
        let mut found = None;
        let mut idle = false;
        while !idle {
            idle = true;
            for from in [0, 1] {
                while let Some(job) = self.ends[from].poll_job() {
                    self.ends[from].handle_job(self.now, &mut self.rng, job.run());
                }
                while let Some(packet) = self.ends[from].poll_packet() {
                    idle = false;
                    self.now = self.now.later(Duration::from_micros(1));
                    let frame = packet.encode();
                    let packet = PacketRef::parse(&frame).unwrap();
                    self.ends[1 - from].handle_packet(self.now, &mut self.rng, &packet);
                }
                while let Some(happened) = self.ends[from].poll_event() {
                    if let LinkEvent::Requested { request, body, .. } = &happened {
                        self.ends[from].respond(self.now, &mut self.rng, *request, body).unwrap();
                        idle = false;
                    }
                    found = event(from, happened).or(found);
                }
            }
        }
        found
    }
}

fn noise(len: usize) -> Bytes {
    let mut body = vec![0; len];
    rand_core::Rng::fill_bytes(&mut TestRng::seeded(3), &mut body);
    body.into()
}

/// One whole segment of data that does not compress, sent, received and proved.
#[divan::bench(args = MTUS)]
fn segment(bencher: Bencher<'_, '_>, mtu: usize) {
    let (mut pair, body) = (Pair::new(mtu), noise(SEGMENT_MAX));
    bencher.counter(BytesCount::new(SEGMENT_MAX)).bench_local(|| {
        let options = ResourceOptions { metadata: None, compression: Compression::Never };
        pair.ends[0].send_resource(pair.now, &mut pair.rng, body.clone(), options).unwrap();
        let outcome = pair.run(&mut |end, event| match event {
            LinkEvent::Resource { event: ResourceEvent::Ended(outcome), .. } if end == 0 => Some(outcome),
            _ => None,
        });
        assert_eq!(outcome, Some(ResourceOutcome::Delivered));
    });
}

/// A request of 64 bytes and a response of as many.
#[divan::bench]
fn request(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new(16_384);
    let body = [&[0xc4, 62][..], &[7; 62]].concat();
    bencher.bench_local(|| {
        pair.ends[0].request(pair.now, &mut pair.rng, "/echo", &body, RequestOptions::default()).unwrap();
        let answered = pair.run(&mut |_, event| match event {
            LinkEvent::Responded { response, .. } => response.ok(),
            _ => None,
        });
        assert!(answered.is_some_and(|answer| answer == body));
    });
}

/// A message of 64 bytes, delivered and proved.
#[divan::bench]
fn message(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new(16_384);
    bencher.bench_local(|| {
        pair.ends[0].send_message(pair.now, &mut pair.rng, KIND, &[7; 64]).unwrap();
        let delivered = pair.run(&mut |_, event| match event {
            LinkEvent::Channel(ChannelEvent::Delivered { sequence }) => Some(sequence),
            _ => None,
        });
        assert!(delivered.is_some());
    });
}

/// A link from its request to its round-trip report.
#[divan::bench]
fn establish(bencher: Bencher<'_, '_>) {
    let owner = Identity::generate(&mut TestRng::seeded(2));
    let mut seed = 0;
    bencher.bench_local(|| {
        seed += 1;
        Pair::between(&owner, 16_384, TestRng::seeded(seed))
    });
}
