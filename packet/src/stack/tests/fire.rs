//! Nothing that arrives makes a stack panic or grow.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::hash::IdentityHash;
use crate::wire::{Context, Flags, Packet, PacketRef};

proptest! {
    #[test]
    fn parsing_never_panics_and_views_agree_with_the_frame(frame in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(packet) = PacketRef::parse(&frame) {
            prop_assert!(!packet.data().is_empty());
            let again = packet.readdressed(packet.flags(), packet.hops(), packet.transport_id());
            prop_assert_eq!(again.as_ref(), frame.as_slice());
            let _ = crate::announce::AnnounceRef::parse(&packet).map(|announce| announce.verify());
            let _ = PathRequestRef::parse(packet.data());
            let _ = crate::proof::ProofRef::parse(packet.data());
        }
    }

    #[test]
    fn a_packet_survives_its_frame(
        flags in 0_u8..16, hops in 0_u8..128, id in proptest::option::of(any::<[u8; 16]>()),
        to in any::<[u8; 16]>(), context in any::<u8>(), data in proptest::collection::vec(any::<u8>(), 1..465),
    ) {
        let packet = Packet {
            flags: Flags(flags),
            hops,
            transport_id: id.map(IdentityHash::new),
            destination: DestinationHash::new(to),
            context: Context(context),
            data: data.clone().into(),
        };
        let frame = packet.encode();
        let parsed = PacketRef::parse(&frame).unwrap();
        prop_assert_eq!(parsed.hash(), packet.hash());
        prop_assert_eq!(
            (parsed.hops(), parsed.transport_id(), parsed.destination(), parsed.context(), parsed.data()),
            (packet.hops, packet.transport_id, packet.destination, packet.context, data.as_slice())
        );
    }
}

/// Something that happens to a stack.
#[derive(Debug, Clone)]
enum Happening {
    /// Any bytes.
    Noise {
        on: u8,
        bytes: Vec<u8>,
    },
    /// A packet that gets past the first gates: its addresses are ones the stack knows, or nearly.
    Packet {
        on: u8,
        flags: u8,
        hops: u8,
        id: u8,
        to: u8,
        context: u8,
        data: Vec<u8>,
    },
    /// The stacks hear each other for a while, undisturbed.
    Converse {
        rounds: u8,
    },
    /// One of the stacks' own frames comes again, perhaps damaged.
    Echo {
        on: u8,
        which: usize,
        damage: Option<(usize, u8)>,
    },
    Up {
        on: u8,
        mode: u8,
        bitrate_bps: u64,
    },
    Down {
        on: u8,
    },
    /// Time passes, and what is due is done; or only time passes.
    Wait {
        millis: u32,
        serve: bool,
    },
    Jobs {
        how_many: u8,
    },
    Announce,
    RequestPath {
        to: u8,
    },
    Send {
        to: u8,
        len: u16,
    },
    OpenLink {
        to: u8,
    },
    UseLink {
        which: u8,
        how: u8,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    let data = || proptest::collection::vec(any::<u8>(), 1..120);
    let context = prop_oneof![any::<u8>(), Just(0), Just(0x0b), Just(0xff), Just(0xfe), Just(0xfa), 1_u8..0x0f];
    prop_oneof![
        2 => (0_u8..4, proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(on, bytes)| Happening::Noise { on, bytes }),
        6 => (0_u8..4, 0_u8..128, 0_u8..130, 0_u8..3, 0_u8..8, context, data()).prop_map(
            |(on, flags, hops, id, to, context, data)| Happening::Packet { on, flags, hops, id, to, context, data }
        ),
        4 => (1_u8..6).prop_map(|rounds| Happening::Converse { rounds }),
        4 => (0_u8..4, any::<usize>(), proptest::option::of((any::<usize>(), any::<u8>())))
            .prop_map(|(on, which, damage)| Happening::Echo { on, which, damage }),
        1 => (0_u8..4, 0_u8..7, prop_oneof![Just(0_u64), Just(5), Just(u64::MAX), 1_u64..1_000_000])
            .prop_map(|(on, mode, bitrate_bps)| Happening::Up { on, mode, bitrate_bps }),
        1 => (0_u8..4).prop_map(|on| Happening::Down { on }),
        2 => (prop_oneof![0_u32..2000, 0_u32..100_000_000], any::<bool>())
            .prop_map(|(millis, serve)| Happening::Wait { millis, serve }),
        3 => (0_u8..5).prop_map(|how_many| Happening::Jobs { how_many }),
        1 => Just(Happening::Announce),
        1 => (0_u8..8).prop_map(|to| Happening::RequestPath { to }),
        1 => (0_u8..8, 0_u16..400).prop_map(|(to, len)| Happening::Send { to, len }),
        1 => (0_u8..8).prop_map(|to| Happening::OpenLink { to }),
        2 => (any::<u8>(), 0_u8..5).prop_map(|(which, how)| Happening::UseLink { which, how }),
    ]
}

/// A stack, a second one that gives it somebody to talk to, and what both said.
struct Arena {
    now: Now,
    stacks: [Stack; 2],
    addresses: Vec<DestinationHash>,
    said: Vec<bytes::Bytes>,
}

impl Arena {
    fn new(transport_enabled: bool) -> Self {
        let stack = |seed| {
            let mut config = StackConfig::new(Identity::generate(&mut TestRng::seeded(seed)));
            config.transport_enabled = transport_enabled;
            config.capacities = Capacities::of(Footprint::Tiny);
            Stack::new(config, Box::new(TestRng::seeded(seed + 10)))
        };
        let mut stacks = [stack(1), stack(2)];
        let mut addresses = vec![path_request_destination()];
        for (seed, stack) in stacks.iter_mut().enumerate() {
            let owner = Identity::generate(&mut TestRng::seeded(seed as u64 + 50));
            let destination = Destination::new(owner, DestinationName::new("arena", &[]).unwrap());
            let request_paths = vec!["/echo".to_owned()];
            let destination = Destination { proofs: ProofStrategy::All, request_paths, ..destination };
            addresses.push(stack.register(destination).unwrap());
        }
        let now = Now { mono: Instant::from_micros(5), unix: UnixTime(1_700_000_000) };
        let mut arena = Self { now, stacks, addresses, said: Vec::new() };
        for stack in &mut arena.stacks {
            for id in (0..2).map(InterfaceId) {
                stack.handle_input(arena.now, Input::InterfaceUp { id, profile: wired() });
            }
            let own = *stack.locals.keys().next().unwrap();
            stack.announce(arena.now, own, b"arena").unwrap();
        }
        arena.listen();
        arena
    }

    /// Takes what the stacks say. Of each, the events are looked at for links to speak of.
    fn listen(&mut self) {
        for stack in &mut self.stacks {
            while let Some(output) = stack.poll_output() {
                if let Output::Event(Event::LinkUp { link, .. }) = output {
                    self.addresses.push(link.into());
                }
            }
            for id in (0..4).map(InterfaceId) {
                while let Some(transmit) = stack.poll_transmit(self.now, id) {
                    self.said.push(transmit.frame);
                }
            }
        }
        let surplus = self.said.len().saturating_sub(64);
        self.said.drain(..surplus);
        let surplus = self.addresses.len().saturating_sub(8);
        self.addresses.drain(1..1 + surplus);
    }

    fn address(&self, which: u8) -> DestinationHash {
        let known = self.addresses.get(usize::from(which)).copied();
        known.unwrap_or(DestinationHash::new([which; 16]))
    }

    fn frame(&mut self, on: u8, frame: &[u8]) {
        for stack in &mut self.stacks {
            stack.handle_input(self.now, Input::Frame { on: InterfaceId(u32::from(on)), bytes: frame });
        }
    }

    fn happen(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::Noise { on, bytes } => self.frame(on, &bytes),
            Happening::Packet { on, flags, hops, id, to, context, data } => {
                let id = match id {
                    0 => None,
                    1 => Some(self.stacks[0].transport_id()),
                    _ => Some(self.stacks[1].transport_id()),
                };
                let packet = Packet {
                    flags: Flags(flags & 0x2f),
                    hops,
                    transport_id: id,
                    destination: self.address(to),
                    context: Context(context),
                    data: data.into(),
                };
                self.frame(on, &packet.encode());
            }
            Happening::Converse { rounds } => self.converse(rounds),
            Happening::Echo { on, which, damage } => {
                let Some(frame) = self.said.get(which % self.said.len().max(1)) else { return };
                let mut frame = frame.to_vec();
                if let Some((at, bits)) = damage {
                    let at = at % frame.len();
                    frame[at] ^= bits;
                }
                self.frame(on, &frame);
            }
            Happening::Up { on, mode, bitrate_bps } => {
                let mode = [
                    Mode::Full,
                    Mode::PointToPoint,
                    Mode::AccessPoint,
                    Mode::Roaming,
                    Mode::Boundary,
                    Mode::Gateway,
                    Mode::Internal,
                ][usize::from(mode)];
                let profile = InterfaceProfile { mode, bitrate_bps, ..wired() };
                let id = InterfaceId(u32::from(on));
                for stack in &mut self.stacks {
                    stack.handle_input(now, Input::InterfaceUp { id, profile: profile.clone() });
                }
            }
            Happening::Down { on } => {
                self.stacks[0].handle_input(now, Input::InterfaceDown { id: InterfaceId(u32::from(on)) });
            }
            Happening::Wait { millis, serve } => {
                self.now = now.later(Duration::from_millis(u64::from(millis)));
                for stack in self.stacks.iter_mut().filter(|_| serve) {
                    stack.handle_input(self.now, Input::Timeout);
                }
            }
            Happening::Jobs { how_many } => {
                for stack in &mut self.stacks {
                    for _ in 0..how_many {
                        let Some(job) = stack.poll_job() else { break };
                        stack.handle_input(now, Input::JobDone(job.run()));
                    }
                }
            }
            Happening::Announce => {
                let own = self.addresses[1];
                let _ = self.stacks[0].announce(now, own, b"again");
            }
            Happening::RequestPath { to } => self.stacks[0].request_path(now, self.address(to)),
            Happening::Send { to, len } => {
                let _ = self.stacks[0].send(now, self.address(to), &vec![0; usize::from(len)]);
            }
            Happening::OpenLink { to } => {
                let _ = self.stacks[0].open_link(now, self.address(to));
            }
            Happening::UseLink { which, how } => self.use_link(which, how),
        }
    }

    fn converse(&mut self, rounds: u8) {
        for _ in 0..rounds {
            for frame in self.said.clone() {
                self.frame(0, &frame);
            }
            self.said.clear();
            self.happen(Happening::Jobs { how_many: 8 });
            self.listen();
        }
    }

    fn use_link(&mut self, which: u8, how: u8) {
        let stack = &mut self.stacks[usize::from(which & 1)];
        let ids: Vec<_> = stack.links().collect();
        let Some(id) = ids.get(usize::from(which >> 1) % ids.len().max(1)) else { return };
        let Some(mut link) = stack.link(self.now, *id) else { return };
        let options = RequestOptions { timeout: None, max_response: 1000 };
        match how {
            0 => drop(link.send(b"data")),
            1 => drop(link.request("/echo", &[0xc0], options)),
            2 => drop(link.identify(&Identity::generate(&mut TestRng::seeded(8)))),
            3 => drop(link.request("/echo", &noise(900), options)),
            _ => link.close(),
        }
    }

    fn assert_bounded(&self) {
        for stack in &self.stacks {
            let sizes = &stack.config.capacities;
            assert!(stack.paths.len() <= sizes.paths && stack.known.len() <= sizes.known);
            let (asked, proved) = stack.relays.counts();
            assert!(stack.links.len() <= sizes.links && proved <= sizes.relays && asked <= sizes.relays.div_ceil(4));
            assert!(stack.arriving <= sizes.arriving_bytes);
            assert!(stack.link_jobs.len() <= stack.links.len());
            assert!(stack.reverse.len() <= sizes.reverse && stack.receipts.len() <= sizes.receipts);
            let asking = [stack.waiting.len(), stack.in_flight.len(), stack.requested.len()];
            assert!(asking.iter().all(|len| *len <= sizes.path_requests), "{asking:?}");
            assert!(stack.queued_requests.len() <= QUEUED_REQUESTS_MAX && stack.lingering.len() <= 4);
            assert!(stack.stats.interfaces.len() <= stack.interfaces.len() + stack.lingering.len());
            for interface in stack.interfaces.values() {
                assert!(interface.held.len() <= sizes.held);
                let (frames, bytes) = interface.egress.waiting();
                assert!(frames <= 4 * sizes.queue && bytes <= 4 * sizes.queue_bytes);
            }
            assert!(stack.responses.len() <= sizes.responses);
            let deadlines = sizes.links + 2 * sizes.relays + sizes.responses + sizes.receipts + 19;
            assert!(stack.timers.len() <= deadlines);
            let waits = |key| stack.timers.deadline(key).is_some();
            assert!(stack.rebroadcasts.len() <= sizes.rebroadcasts);
            assert_eq!(stack.rebroadcasts.len() > 0, waits(TimerKey::Rebroadcasts));
            assert!(stack.paths.is_empty() || waits(TimerKey::Paths), "nobody looks for paths whose time is up");
            assert!(stack.known.is_empty() || waits(TimerKey::Known), "nobody looks for what is not worth keeping");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_stack_stands_and_stays_bounded(
        transport in any::<bool>(), story in proptest::collection::vec(happening(), 1..120),
    ) {
        let mut arena = Arena::new(transport);
        for what in story {
            arena.happen(what);
            arena.listen();
        }
        arena.assert_bounded();
    }
}
