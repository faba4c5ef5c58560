//! What two ends do for a proved packet and for a link, all work on keys included. `cargo bench -p wend-packet --bench pair`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic: that is how it fails")]

use std::time::Duration;

use divan::{AllocProfiler, Bencher};
use wend_packet::crypto;
use wend_packet::destination::DestinationName;
use wend_packet::hash::DestinationHash;
use wend_packet::identity::Identity;
use wend_packet::link::ProofStrategy;
use wend_packet::stack::{Destination, Event, Input, InterfaceId, InterfaceProfile, Output, Stack, StackConfig};
use wend_packet::testing::TestRng;
use wend_packet::time::{Now, UnixTime};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const ON: InterfaceId = InterfaceId(1);

fn main() {
    divan::main();
}

fn identity(seed: u64) -> Identity {
    Identity::generate(&mut TestRng::seeded(seed))
}

/// Two neighbours, the second of which has a destination that the first knows.
struct Pair {
    ends: [Stack; 2],
    to: DestinationHash,
    now: Now,
}

impl Pair {
    fn new() -> Self {
        let now = Now { unix: UnixTime(1_790_000_000), ..Now::default() };
        let ends = [1, 2].map(|seed| {
            let mut stack = Stack::new(StackConfig::new(identity(seed)), Box::new(TestRng::seeded(seed + 10)));
            let profile = InterfaceProfile { hw_mtu: Some(16_384), ..InterfaceProfile::new(1_000_000_000) };
            stack.handle_input(now, Input::InterfaceUp { id: ON, profile });
            stack
        });
        let mut pair = Self { ends, to: DestinationHash::new([0; 16]), now };
        let served = Destination::new(identity(3), DestinationName::new("bench", &["pair"]).unwrap());
        pair.to = pair.ends[1].register(Destination { proofs: ProofStrategy::All, ..served }).unwrap();
        pair.ends[1].announce(now, pair.to, b"").unwrap();
        pair.run(|_| {});
        pair
    }

    /// Does all there is to do, and shows each event.
    fn run(&mut self, mut event: impl FnMut(Event)) {
        let mut idle = false;
        while !idle {
            idle = true;
            for from in [0, 1] {
                while let Some(job) = self.ends[from].poll_job() {
                    self.ends[from].handle_input(self.now, Input::JobDone(job.run()));
                }
                while let Some(output) = self.ends[from].poll_output() {
                    if let Output::Event(happened) = output {
                        event(happened);
                    }
                }
                while let Some(transmit) = self.ends[from].poll_transmit(self.now, ON) {
                    idle = false;
                    self.now = self.now.later(Duration::from_micros(1));
                    self.ends[1 - from].handle_input(self.now, Input::Frame { on: ON, bytes: &transmit.frame });
                }
            }
        }
    }
}

/// A packet of 32 bytes to a key in use: encrypted, decrypted, proved, and the proof checked.
#[divan::bench]
fn proved_packet(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new();
    bencher.bench_local(|| {
        pair.ends[0].send(pair.now, pair.to, &[7; 32]).unwrap();
        let mut proved = false;
        pair.run(|event| proved |= matches!(event, Event::Delivered { .. }));
        assert!(proved);
    });
}

/// A link from its request until both ends have closed it.
#[divan::bench]
fn link(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new();
    bencher.bench_local(|| {
        let id = pair.ends[0].open_link(pair.now, pair.to).unwrap();
        let mut up = 0;
        pair.run(|event| up += usize::from(matches!(event, Event::LinkUp { .. })));
        assert_eq!(up, 2);
        pair.ends[0].link(pair.now, id).unwrap().close();
        pair.run(|_| {});
    });
}

#[divan::bench]
fn agree(bencher: Bencher<'_, '_>) {
    let public = crypto::x25519_public(&[7; 32]);
    bencher.bench(|| crypto::agree(&[9; 32], divan::black_box(&public)));
}

#[divan::bench]
fn x25519_public(bencher: Bencher<'_, '_>) {
    bencher.bench(|| crypto::x25519_public(divan::black_box(&[7; 32])));
}

#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let identity = identity(1);
    bencher.bench(|| identity.sign(divan::black_box(&[7; 32])));
}

#[divan::bench]
fn verify(bencher: Bencher<'_, '_>) {
    let identity = identity(1);
    let signature = identity.sign(&[7; 32]);
    bencher.bench(|| identity.public().verify(divan::black_box(&[7; 32]), &signature));
}
