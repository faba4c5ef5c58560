//! The sender of one segment. docs/protocol/2-link.md, sections 9.3, 9.5, 9.6, 9.8 and 9.9.

use core::time::Duration;

use bytes::Bytes;

use super::segment::Segment;
use super::{
    Advertisement, EXHAUSTED, MAP_HASH_LEN, MAP_HASHES_PER_MESSAGE, MapHash, RETRIES_MAX, ResourceFlags, SEARCH_SCOPE,
    WINDOW_MAX_FAST,
};
use crate::bounded::Bounded;
use crate::hash::{PacketHash, RequestId, ResourceHash};
use crate::msgpack::Writer;
use crate::time::Instant;

const ADVERTISEMENT_RETRIES: u32 = 4;
const PROOF_RETRIES: u32 = 3;
const TRAFFIC_FACTOR: u32 = 6;
const PROOF_FACTOR: u32 = 3;
const PROCESSING_GRACE: Duration = Duration::from_secs(1);
const SENDER_GRACE: Duration = Duration::from_secs(10);
/// Sum of all delays of the receiver's retries: 0.5, 1.0 and so on up to 8.0 seconds.
const RETRY_DELAYS: Duration = Duration::from_secs(68);
/// Requests remembered so that a copy is not answered twice.
const REQUESTS_REMEMBERED: usize = 256;
/// Map hashes of one request that are looked at: more than fit into the window of any receiver.
const WANTED_MAX: usize = 2 * SEARCH_SCOPE;

/// What the link has to do for an outgoing segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OutgoingStep {
    /// Nothing.
    Wait,
    /// Send [`Outgoing::advertisement`].
    Advertise,
    /// Send these parts, then the map update if there is one.
    Send {
        /// Parts, in their order.
        parts: Vec<Bytes>,
        /// Plaintext of the update.
        update: Option<Vec<u8>>,
    },
    /// Ask for the proof again.
    AskForProof,
    /// Give it up and tell the receiver.
    Cancel,
}

#[derive(Debug)]
enum State {
    Advertised { at: Instant, retries_left: u32 },
    Transferring { last_activity: Instant },
    AwaitingProof { since: Instant, retries_left: u32 },
}

/// What an advertisement says beside the segment itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heading {
    /// The request it is, or answers.
    pub(crate) request: Option<RequestId>,
    /// Whether it is a request or a response, and has metadata.
    pub(crate) flags: ResourceFlags,
    /// Bytes of all segments, metadata block included.
    pub(crate) total_size: u64,
    /// Hash of the first segment; `None` when this is it.
    pub(crate) original: Option<ResourceHash>,
    /// Number of this segment, from 1.
    pub(crate) segment: u64,
    /// Number of segments.
    pub(crate) segments: u64,
}

/// A segment that is being sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    segment: Segment,
    heading: Heading,
    /// How long an advertisement may stay unanswered, less the grace.
    patience: Duration,
    state: State,
    /// When the first request for parts came.
    begun: Option<Instant>,
    rtt: Duration,
    /// Search begins here; it follows the map updates.
    base: usize,
    sent: Vec<bool>,
    unsent: usize,
    seen: Bounded<PacketHash, ()>,
}

impl Outgoing {
    /// Begins with the advertisement, which the caller sends now and repeats after `patience` and a second of grace.
    pub(crate) fn new(now: Instant, segment: Segment, heading: Heading, patience: Duration) -> Self {
        let flags = ResourceFlags(heading.flags.0 | ResourceFlags::ENCRYPTED.0)
            .with(ResourceFlags::COMPRESSED, segment.compressed)
            .with(ResourceFlags::SPLIT, heading.segments > 1);
        let parts = segment.map.len();
        Self {
            segment,
            heading: Heading { flags, ..heading },
            patience,
            state: State::Advertised { at: now, retries_left: ADVERTISEMENT_RETRIES },
            begun: None,
            rtt: Duration::ZERO,
            base: 0,
            sent: vec![false; parts],
            unsent: parts,
            seen: Bounded::new(REQUESTS_REMEMBERED),
        }
    }

    /// Bytes of this segment's content that were sent at least once, as the share of its parts tells.
    pub(crate) fn sent_content(&self) -> u64 {
        let (content, parts) = (to_u64(self.segment.content_len), to_u64(self.sent.len()));
        content * (parts - to_u64(self.unsent)) / parts.max(1)
    }

    /// Length of this segment's content.
    pub(crate) fn content_len(&self) -> u64 {
        to_u64(self.segment.content_len)
    }

    /// Bytes per second at which the stream went out and was proved at `now`, once parts were asked for.
    pub(crate) fn rate(&self, now: Instant) -> Option<f64> {
        let elapsed = now.since(self.begun?).as_secs_f64();
        (elapsed > 0.0).then(|| self.segment.stream.len() as f64 / elapsed)
    }

    pub(crate) fn hash(&self) -> ResourceHash {
        self.segment.hash
    }

    /// Body of the proof packet that the receiver is expected to send.
    pub(crate) fn expected_proof(&self) -> Vec<u8> {
        [self.segment.hash.as_ref(), &self.segment.expected_proof].concat()
    }

    /// Whether this body of a proof packet proves that the segment arrived.
    pub(crate) fn is_proof(&self, data: &[u8]) -> bool {
        data == self.expected_proof()
    }

    /// The plaintext that advertises it.
    pub(crate) fn advertisement(&self, says_ready: bool) -> Vec<u8> {
        let advertisement = Advertisement {
            transfer_size: self.segment.stream.len(),
            total_size: self.heading.total_size,
            parts: to_u64(self.segment.map.len()),
            hash: self.segment.hash,
            random: self.segment.random,
            original: self.heading.original.unwrap_or(self.segment.hash),
            segment: self.heading.segment,
            segments: self.heading.segments,
            request: self.heading.request,
            flags: self.heading.flags,
            map: self.segment.map.iter().take(MAP_HASHES_PER_MESSAGE).copied().collect(),
        };
        if says_ready { advertisement.encode_ready() } else { advertisement.encode() }
    }

    /// The receiver asks for parts. `packet` tells copies of one request apart from new ones.
    pub(crate) fn handle_request(
        &mut self,
        now: Instant,
        packet: PacketHash,
        request: &PartRequest<'_>,
    ) -> OutgoingStep {
        if self.seen.contains_key(&packet) {
            return OutgoingStep::Wait;
        }
        self.seen.insert(packet, ());
        if let State::Advertised { at, .. } = self.state {
            self.rtt = now.since(at);
            self.begun = Some(now);
        }
        let parts = self.collect(request.wanted);
        self.state = if self.unsent == 0 {
            State::AwaitingProof { since: now, retries_left: PROOF_RETRIES }
        } else {
            State::Transferring { last_activity: now }
        };
        let update = match request.last_known {
            None => None,
            Some(last) => match self.update_after(last) {
                Update::Next(update) => Some(update),
                Update::Unknown => None,
                Update::Misaligned => return OutgoingStep::Cancel,
            },
        };
        OutgoingStep::Send { parts, update }
    }

    /// The wanted parts in their order, counting each as sent. Receivers name them in order, so each is found at once as a
    /// rule; what is not named in order is searched for.
    fn collect(&mut self, wanted: &[MapHash]) -> Vec<Bytes> {
        let end = self.base.saturating_add(SEARCH_SCOPE).min(self.segment.map.len());
        let mut indices = Vec::with_capacity(wanted.len().min(SEARCH_SCOPE));
        let mut next = self.base;
        for name in wanted.iter().take(WANTED_MAX) {
            let is_it = |index: &usize| self.segment.map.get(*index) == Some(name);
            let found = Some(next).filter(|next| *next < end && is_it(next)).or_else(|| (self.base..end).find(is_it));
            if let Some(index) = found {
                next = index + 1;
                indices.push(index);
            }
        }
        indices.sort_unstable();
        indices.dedup();
        for index in &indices {
            if let Some(sent) = self.sent.get_mut(*index)
                && !core::mem::replace(sent, true)
            {
                self.unsent -= 1;
            }
        }
        indices.into_iter().filter_map(|index| self.segment.part(index)).collect()
    }

    /// The map hashes after the last one the receiver knows.
    ///
    /// A hash outside the scope is passed over: on a network that reorders, it is an old request that comes late.
    fn update_after(&mut self, last: MapHash) -> Update {
        let scope = self.segment.map.iter().enumerate().skip(self.base).take(SEARCH_SCOPE);
        let Some(next) = scope.into_iter().find(|(_, name)| **name == last).map(|(index, _)| index + 1) else {
            return Update::Unknown;
        };
        if !next.is_multiple_of(MAP_HASHES_PER_MESSAGE) {
            return Update::Misaligned;
        }
        let hashes: Vec<MapHash> = self.segment.map.iter().skip(next).take(MAP_HASHES_PER_MESSAGE).copied().collect();
        if hashes.is_empty() {
            return Update::Misaligned;
        }
        self.base = next.saturating_sub(1 + WINDOW_MAX_FAST);
        let segment = to_u64(next / MAP_HASHES_PER_MESSAGE);
        let body = Writer::with_capacity(360).raw(self.segment.hash.as_ref()).array(2).uint(segment);
        Update::Next(body.bin(hashes.as_flattened()).into_bytes())
    }

    /// When to call [`Outgoing::handle_timeout`].
    pub(crate) fn deadline(&self) -> Instant {
        match self.state {
            State::Advertised { at, .. } => at + self.patience.saturating_add(PROCESSING_GRACE),
            State::Transferring { last_activity } => {
                last_activity + self.rtt.saturating_mul(TRAFFIC_FACTOR * RETRIES_MAX) + SENDER_GRACE + RETRY_DELAYS
            }
            State::AwaitingProof { since, .. } => since + self.rtt.saturating_mul(PROOF_FACTOR) + SENDER_GRACE,
        }
    }

    /// The deadline passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> OutgoingStep {
        match &mut self.state {
            State::Advertised { at, retries_left } if *retries_left > 0 => {
                *retries_left -= 1;
                *at = now;
                OutgoingStep::Advertise
            }
            State::AwaitingProof { since, retries_left } if *retries_left > 0 => {
                *retries_left -= 1;
                *since = now;
                OutgoingStep::AskForProof
            }
            _ => OutgoingStep::Cancel,
        }
    }
}

fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

enum Update {
    Next(Vec<u8>),
    /// Not a hash near the parts that are being sent.
    Unknown,
    /// Not the last one of a message, or there are no more: the receiver cannot have meant this.
    Misaligned,
}

/// A request for parts. docs/protocol/2-link.md, section 9.5.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartRequest<'a> {
    pub(crate) hash: ResourceHash,
    /// The last map hash the receiver knows, when it needs more.
    pub(crate) last_known: Option<MapHash>,
    pub(crate) wanted: &'a [MapHash],
}

impl<'a> PartRequest<'a> {
    /// Reads the plaintext of a request packet.
    pub(crate) fn parse(plaintext: &'a [u8]) -> Option<Self> {
        let (flag, rest) = plaintext.split_first()?;
        let (last_known, rest) = if *flag == EXHAUSTED {
            let (last, rest) = rest.split_first_chunk::<MAP_HASH_LEN>()?;
            (Some(*last), rest)
        } else {
            (None, rest)
        };
        let (hash, wanted) = rest.split_first_chunk::<{ ResourceHash::LEN }>()?;
        Some(Self { hash: ResourceHash::new(*hash), last_known, wanted: wanted.as_chunks().0 })
    }
}
