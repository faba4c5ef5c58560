//! One stack by itself: whatever it hears, sends and says goes through the test's hands.

use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::announce::{RandomHash, announce};
use crate::link::{Initiate, Link};
use crate::testing::TestRng;
use crate::wire::{Context, Packet, PacketRef};

pub(super) fn tcp() -> InterfaceProfile {
    InterfaceProfile { hw_mtu: Some(16_384), access_code_len: 16, ..wired() }
}

pub(super) fn serial() -> InterfaceProfile {
    InterfaceProfile { hw_mtu: Some(564), bitrate_bps: 9600, negotiates_mtu: false, ingress_control: false, ..wired() }
}

pub(super) fn identity(seed: u64) -> Identity {
    Identity::generate(&mut TestRng::seeded(seed))
}

/// One stack with interfaces 0, 1 and so on, and time.
pub(super) struct Lone {
    pub(super) stack: Stack,
    pub(super) now: Now,
    pub(super) rng: TestRng,
}

impl Lone {
    pub(super) fn new(transport_enabled: bool, interfaces: &[InterfaceProfile]) -> Self {
        let mut lone = Self::with(|config| config.transport_enabled = transport_enabled);
        for (id, profile) in (0..).zip(interfaces) {
            lone.up(id, profile.clone());
        }
        lone
    }

    /// One without interfaces; `configure` has its say.
    pub(super) fn with(configure: impl FnOnce(&mut StackConfig)) -> Self {
        let mut config = StackConfig::new(identity(1));
        configure(&mut config);
        let now = Now { mono: Instant::from_micros(1_000_000), unix: UnixTime(1_700_000_000) };
        let stack = Stack::new(config, Box::new(TestRng::seeded(2)));
        Self { stack, now, rng: TestRng::seeded(3) }
    }

    pub(super) fn up(&mut self, id: u32, profile: InterfaceProfile) {
        self.stack.handle_input(self.now, Input::InterfaceUp { id: InterfaceId(id), profile });
    }

    pub(super) fn down(&mut self, id: u32) {
        self.stack.handle_input(self.now, Input::InterfaceDown { id: InterfaceId(id) });
    }

    pub(super) fn hear(&mut self, on: u32, frame: &[u8]) {
        self.stack.handle_input(self.now, Input::Frame { on: InterfaceId(on), bytes: frame });
        while let Some(job) = self.stack.poll_job() {
            self.stack.handle_input(self.now, Input::JobDone(job.run()));
        }
    }

    pub(super) fn sent(&mut self, on: u32) -> Vec<Bytes> {
        let next = || self.stack.poll_transmit(self.now, InterfaceId(on)).map(|transmit| transmit.frame);
        core::iter::from_fn(next).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        let outputs = core::iter::from_fn(|| self.stack.poll_output());
        outputs.filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None }).collect()
    }

    /// Lets time pass with all deadlines served, then forgets what was sent and said.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.later(at.since(self.now.mono));
            self.stack.handle_input(self.now, Input::Timeout);
        }
        self.now = self.now.later(end.since(self.now.mono));
    }

    pub(super) fn silence(&mut self, interfaces: u32) {
        for on in 0..interfaces {
            self.sent(on);
        }
        self.events();
    }

    /// A destination of this node that takes links. Its owner has seed 50.
    pub(super) fn serve(&mut self) -> DestinationHash {
        let destination = Destination::new(identity(50), DestinationName::new("beloned", &[]).unwrap());
        self.stack.register(Destination { request_paths: vec!["/echo".to_owned()], ..destination }).unwrap()
    }

    /// Hears an announce of somebody. `hops` as counted up; more than one are behind a transport node.
    pub(super) fn meet(&mut self, on: u32, owner: &Identity, hops: u8, emitted: u64) -> DestinationHash {
        let name = DestinationName::new("somebody", &[]).unwrap();
        let random = RandomHash::new([1; 5], UnixTime(emitted));
        let heard = announce(owner, name.hash(), random, None, b"", Context::NONE).unwrap();
        let transport_id = (hops > 1).then(|| crate::hash::IdentityHash::new([9; 16]));
        let heard = Packet { hops: hops - 1, transport_id, ..heard };
        self.hear(on, &heard.encode());
        heard.destination
    }

    pub(super) fn ask(&mut self, to: DestinationHash, owner: &Identity, mtu: usize) -> (Link, Packet) {
        let path = Initiate { mtu, hops: 1, first_hop_timeout: Duration::from_secs(6) };
        Link::initiate(self.now, &mut self.rng, to, owner.public(), path)
    }

    /// Makes a link to a destination of the stack all the way, on one interface.
    pub(super) fn connect(&mut self, on: u32, to: DestinationHash) -> Link {
        let (mut link, request) = self.ask(to, &identity(50), 500);
        self.sent(on);
        self.hear(on, &request.encode());
        let proof = self.sent(on).pop().unwrap();
        link.handle_packet(self.now, &mut self.rng, &PacketRef::parse(&proof).unwrap());
        self.flush(on, &mut link);
        link
    }

    pub(super) fn flush(&mut self, on: u32, link: &mut Link) {
        while let Some(packet) = link.poll_packet() {
            self.hear(on, &packet.encode());
        }
    }

    /// The proof of a link request this stack sent or passed on.
    pub(super) fn prove(&mut self, request: &[u8], owner: &Identity) -> Packet {
        Link::accept(self.now, &mut self.rng, owner, &PacketRef::parse(request).unwrap(), 1).unwrap().1
    }

    pub(super) fn request_path(&mut self, on: u32, target: DestinationHash, tag: u32) {
        let tag = [&[7; 12][..], &tag.to_be_bytes()].concat();
        self.hear(on, &PathRequestRef { target, transport_id: None, tag: &tag }.packet().encode());
    }

    pub(super) fn has_link(&mut self, link: &Link) -> bool {
        self.stack.links().any(|id| id == link.id())
    }
}
