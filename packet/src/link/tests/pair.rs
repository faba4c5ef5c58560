//! Two ends of a link and a medium between them that delays, reorders and loses, in virtual time.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::testing::Established;
use super::super::*;
use super::OPTIONS;
use crate::identity::Identity;
use crate::stack::RequestError;
use crate::testing::TestRng;
use crate::time::UnixTime;

pub(super) fn start() -> Now {
    Now { mono: Instant::from_micros(1_000_000_000), unix: UnixTime(1_700_000_000) }
}

pub(super) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// How the medium treats packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Medium {
    pub(super) latency: Duration,
    /// A packet takes up to so many latencies longer, which reorders.
    pub(super) jitter: f64,
    pub(super) loss: f64,
    /// After a loss so many packets come through.
    pub(super) pause: u32,
    /// Packets of this context never come through.
    pub(super) swallowed: Option<Context>,
    /// Packets that no duplicate filter stops may come twice.
    pub(super) duplicates: bool,
}

pub(super) const CALM: Medium = Medium {
    latency: Duration::from_millis(100),
    jitter: 0.0,
    loss: 0.0,
    pause: 0,
    swallowed: None,
    duplicates: false,
};

pub(super) struct Pair {
    pub(super) ends: [Link; 2],
    pub(super) events: [Vec<LinkEvent>; 2],
    pub(super) rng: TestRng,
    pub(super) now: Now,
    pub(super) medium: Medium,
    /// Whether the applications take the segments that they are given.
    pub(super) takes: bool,
    pub(super) on_the_way: BTreeMap<(Instant, u64), (usize, Bytes)>,
    sent: u64,
    /// Packets that came through since the last one that was lost.
    since_lost: u32,
    /// How often each message of a channel, or its proof, was lost, and which packets carried it.
    lost: BTreeMap<u16, u32>,
    carriers: BTreeMap<PacketHash, u16>,
}

pub(super) const INITIATOR: usize = 0;
pub(super) const RESPONDER: usize = 1;

impl Pair {
    /// An established link of this MTU over a calm medium.
    pub(super) fn new(mtu: usize, seed: u64) -> Self {
        Self::over(CALM, mtu, seed)
    }

    /// A link over this medium, which behaves only while the link is established.
    pub(super) fn over(medium: Medium, mtu: usize, seed: u64) -> Self {
        let mut rng = TestRng::seeded(seed);
        let owner = Identity::generate(&mut rng);
        let path = Initiate { mtu, hops: 1, first_hop_timeout: secs(6.0) };
        let to = DestinationHash::new([5; 16]);
        let (initiator, request) = Link::initiate(start(), &mut rng, to, owner.public(), path);
        let request = request.encode();
        let (responder, proof) =
            Link::accept(start(), &mut rng, &owner, &PacketRef::parse(&request).unwrap(), 1).unwrap();
        let mut pair = Self {
            ends: [initiator, responder],
            events: [vec![], vec![]],
            rng,
            now: start(),
            medium: Medium { latency: medium.latency, ..CALM },
            takes: true,
            on_the_way: BTreeMap::new(),
            sent: 0,
            since_lost: 0,
            lost: BTreeMap::new(),
            carriers: BTreeMap::new(),
        };
        pair.ends[RESPONDER].register_path("/get");
        pair.put(RESPONDER, proof);
        pair.run_for(medium.latency * 3);
        pair.medium = medium;
        assert_eq!(pair.ends.each_ref().map(Link::state), [LinkState::Active; 2]);
        pair.events = [vec![], vec![]];
        pair
    }

    fn chance(&mut self, of: f64) -> bool {
        let mut draw = [0; 4];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut draw);
        f64::from(u32::from_le_bytes(draw)) < of * f64::from(u32::MAX)
    }

    pub(super) fn put(&mut self, from: usize, packet: Packet) {
        if self.medium.swallowed == Some(packet.context) {
            return;
        }
        // Peers give up after three or four losses of the same step in a row: that is a dead link, not a lossy one.
        // What has no repetition of its own is the caller's to repeat.
        let once = matches!(packet.context, Context::REQUEST | Context::RESPONSE | Context::LINK_RTT);
        self.since_lost += 1;
        let message = self.message_of(from, &packet);
        // Nor is a link dead before the fifth transmission of a message.
        let once = once || message.is_some_and(|message| self.lost.get(&message).is_some_and(|lost| *lost >= 4));
        if !once && self.since_lost > self.medium.pause && self.chance(self.medium.loss) {
            self.since_lost = 0;
            if let Some(message) = message {
                *self.lost.entry(message).or_default() += 1;
            }
            return;
        }
        let mut late = 0.0;
        while late < self.medium.jitter && self.chance(0.5) {
            late += self.medium.jitter / 8.0;
        }
        let at = self.now.mono + self.medium.latency + self.medium.latency.mul_f64(late);
        let unfiltered = packet.context.bypasses_duplicate_filter();
        let copies = if self.medium.duplicates && unfiltered && self.chance(0.3) { 2 } else { 1 };
        for copy in 0..copies {
            self.sent += 1;
            let at = at + self.medium.latency * copy;
            self.on_the_way.insert((at, self.sent), (1 - from, packet.encode()));
        }
    }

    /// The message of a channel that a packet carries or proves.
    fn message_of(&mut self, from: usize, packet: &Packet) -> Option<u16> {
        match packet.context {
            Context::CHANNEL => {
                let sequence = self.ends[from].open(&packet.data)?[2..4].try_into().map(u16::from_be_bytes).ok()?;
                if self.carriers.values().all(|carried| *carried != sequence) {
                    self.lost.remove(&sequence);
                }
                self.carriers.insert(packet.hash(), sequence);
                Some(sequence)
            }
            Context::NONE if packet.flags.packet() == PacketKind::Proof => {
                let proved = PacketHash::from_slice(&packet.data[..32])?;
                let sequence = self.carriers.get(&proved).copied();
                self.carriers.retain(|packet, carried| {
                    *packet == proved || self.ends[1 - from].is_message(packet) || Some(*carried) == sequence
                });
                sequence
            }
            _ => None,
        }
    }

    pub(super) fn settle(&mut self) {
        for end in [INITIATOR, RESPONDER] {
            while let Some(job) = self.ends[end].poll_job() {
                self.ends[end].handle_job(self.now, &mut self.rng, job.run());
            }
            while let Some(packet) = self.ends[end].poll_packet() {
                assert!(packet.encode().len() <= self.ends[end].mtu());
                self.put(end, packet);
            }
            while let Some(event) = self.ends[end].poll_event() {
                if let LinkEvent::Resource { resource, event: ResourceEvent::Segment { offset, .. } } = &event
                    && self.takes
                {
                    self.ends[end].segment_taken(self.now, &mut self.rng, *resource, *offset).unwrap();
                }
                self.events[end].push(event);
            }
        }
    }

    /// Moves on to whatever happens next, unless that is after `end`.
    pub(super) fn step(&mut self, end: Instant) -> bool {
        self.settle();
        let arrival = self.on_the_way.first_key_value().map(|((at, _), _)| *at);
        let timeouts = self.ends.iter().filter_map(Link::poll_timeout);
        let Some(next) = timeouts.chain(arrival).min().filter(|next| *next <= end) else { return false };
        self.now = self.now.later(next.since(self.now.mono));
        while let Some(entry) = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= next) {
            let (to, frame) = entry.remove();
            self.ends[to].handle_packet(self.now, &mut self.rng, &PacketRef::parse(&frame).unwrap());
            self.settle();
        }
        for end in &mut self.ends {
            end.handle_timeout(self.now, &mut self.rng);
        }
        self.settle();
        true
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while self.step(end) {}
        self.now = self.now.later(end.since(self.now.mono));
    }

    /// Requests `body`, answers with `response`, and returns what came of it.
    pub(super) fn ask(&mut self, body: &[u8], response: &[u8]) -> Result<Bytes, RequestError> {
        let id = self.ends[INITIATOR].request(self.now, &mut self.rng, "/get", body, OPTIONS).unwrap();
        let end = self.now.mono + secs(48.0 * 3600.0);
        while self.step(end) {
            for event in std::mem::take(&mut self.events[RESPONDER]) {
                if let LinkEvent::Requested { request, body: asked, .. } = event {
                    assert_eq!((request, &*asked), (id, body));
                    self.ends[RESPONDER].respond(self.now, &mut self.rng, request, response).unwrap();
                }
            }
            for event in std::mem::take(&mut self.events[INITIATOR]) {
                if let LinkEvent::Responded { request, response, .. } = event {
                    assert_eq!(request, id);
                    return response;
                }
            }
        }
        panic!("a request ends");
    }
}

pub(super) fn end(initiator: bool) -> Link {
    let owner = Identity::from_slice(&[4; 64]).unwrap();
    Link::established(
        start(),
        &Established {
            id: LinkId::new([1; 16]),
            derived_key: [2; 64],
            signing_seed: [3; 32],
            mtu: 500,
            rtt: secs(0.25),
            destination: initiator.then_some(*owner.public()),
            initiator: *owner.public().signing_key(),
        },
    )
}

pub(super) fn receive(link: &mut Link, rng: &mut TestRng, context: Context, plaintext: &[u8]) {
    let packet = link.seal(rng, context, plaintext).unwrap().encode();
    link.handle_packet(start(), rng, &PacketRef::parse(&packet).unwrap());
}
