//! What a relay does for each packet: time and allocations. `cargo bench -p wend-packet --bench relay`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic: that is how it fails")]

use std::time::Duration;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use wend_packet::announce::{RandomHash, announce};
use wend_packet::hash::{DestinationHash, NameHash};
use wend_packet::identity::Identity;
use wend_packet::stack::{Input, InterfaceId, InterfaceProfile, Output, Stack, StackConfig};
use wend_packet::testing::TestRng;
use wend_packet::time::{Now, UnixTime};
use wend_packet::wire::{Context, DestinationKind, Flags, Packet, PacketKind};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const HERE: InterfaceId = InterfaceId(1);
const THERE: InterfaceId = InterfaceId(2);
/// Frames handled at a time, as the core of a node does.
const BATCH: usize = 32;

fn main() {
    divan::main();
}

/// A transport node with two interfaces.
struct Relay {
    stack: Stack,
    now: Now,
    /// A destination on the far side.
    home: DestinationHash,
    count: u64,
}

impl Relay {
    fn new() -> Self {
        let mut config = StackConfig::new(Identity::generate(&mut TestRng::seeded(1)));
        config.transport_enabled = true;
        let stack = Stack::new(config, Box::new(TestRng::seeded(2)));
        let now = Now { unix: UnixTime(1_790_000_000), ..Now::default() };
        let mut relay = Self { stack, now, home: DestinationHash::new([0; 16]), count: 0 };
        for id in [HERE, THERE] {
            let profile = InterfaceProfile {
                hw_mtu: Some(16_384),
                ingress_control: false,
                announce_cap_ppm: 1_000_000,
                ..InterfaceProfile::new(1_000_000_000)
            };
            relay.stack.handle_input(now, Input::InterfaceUp { id, profile });
        }
        let home = relay.announce();
        relay.home = home.destination;
        relay.hear(&[home.encode()]);
        relay.pass(Duration::from_secs(30));
        relay
    }

    /// The announce of a destination nobody has heard of.
    fn announce(&mut self) -> Packet {
        self.count += 1;
        let identity = Identity::generate(&mut TestRng::seeded(self.count + 100));
        let random = RandomHash::new([7; 5], self.now.unix);
        announce(&identity, NameHash::new([3; 10]), random, None, b"twenty bytes of data", Context::NONE).unwrap()
    }

    fn announces(&mut self) -> Vec<Bytes> {
        (0..BATCH).map(|_| self.announce().encode()).collect()
    }

    /// Different packets of `len` bytes for the destination on the far side.
    fn packets(&mut self, len: usize) -> Vec<Bytes> {
        let next = || {
            self.count += 1;
            let mut data = vec![0x55; len - 35];
            data.iter_mut().zip(self.count.to_be_bytes()).for_each(|(to, from)| *to = from);
            let packet = Packet {
                flags: Flags::new(DestinationKind::Single, PacketKind::Data),
                hops: 0,
                transport_id: Some(self.stack.transport_id()),
                destination: self.home,
                context: Context::NONE,
                data: data.into(),
            };
            packet.encode()
        };
        std::iter::repeat_with(next).take(BATCH).collect()
    }

    /// Handles frames from `THERE`, and hands out what is to be sent; says how many frames that were.
    fn carry(&mut self, frames: &[Bytes]) -> usize {
        for bytes in frames {
            self.stack.handle_input(self.now, Input::Frame { on: THERE, bytes });
        }
        self.sent()
    }

    /// Handles announces from `HERE` and checks them.
    fn hear(&mut self, frames: &[Bytes]) {
        for bytes in frames {
            self.stack.handle_input(self.now, Input::Frame { on: HERE, bytes });
        }
        while let Some(job) = self.stack.poll_job() {
            self.stack.handle_input(self.now, Input::JobDone(job.run()));
        }
        while self.stack.poll_output().is_some() {}
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> usize {
        self.now = self.now.later(time);
        self.stack.handle_input(self.now, Input::Timeout);
        self.sent()
    }

    fn sent(&mut self) -> usize {
        let mut sent = 0;
        while let Some(output) = self.stack.poll_output() {
            if let Output::Ready(on) = output {
                while self.stack.poll_transmit(self.now, on).is_some() {
                    sent += 1;
                }
            }
        }
        sent
    }
}

#[divan::bench(args = [100, 500])]
fn packet_forwarded(bencher: Bencher<'_, '_>, len: usize) {
    let relay = std::cell::RefCell::new(Relay::new());
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| relay.borrow_mut().packets(len))
        .bench_local_refs(|frames| assert_eq!(relay.borrow_mut().carry(frames), BATCH));
}

#[divan::bench]
fn duplicate_dropped(bencher: Bencher<'_, '_>) {
    let mut relay = Relay::new();
    let frames = relay.packets(100);
    relay.carry(&frames);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| assert_eq!(relay.carry(&frames), 0));
}

/// Parsed, checked in one job, and stored.
#[divan::bench]
fn announce_admitted(bencher: Bencher<'_, '_>) {
    let relay = std::cell::RefCell::new(Relay::new());
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| relay.borrow_mut().announces())
        .bench_local_refs(|frames| relay.borrow_mut().hear(frames));
}

/// Passed on for the first time, on both interfaces.
#[divan::bench]
fn announce_rebroadcast(bencher: Bencher<'_, '_>) {
    let relay = std::cell::RefCell::new(Relay::new());
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            let mut relay = relay.borrow_mut();
            // What is due for a second time leaves before.
            relay.pass(Duration::from_secs(30));
            let frames = relay.announces();
            relay.hear(&frames);
        })
        .bench_local_values(|()| assert!(relay.borrow_mut().pass(Duration::from_secs(1)) > 0));
}
