//! The receiver of one segment. docs/protocol/2-link.md, sections 9.4 to 9.8.

use core::time::Duration;
use std::collections::BTreeSet;

use super::segment::map_hash;
use super::window::Window;
use super::{Advertisement, EXHAUSTED, MAP_HASH_LEN, MAP_HASHES_PER_MESSAGE, MapHash, RETRIES_MAX, seconds};
use crate::hash::ResourceHash;
use crate::time::Instant;

const FACTOR_BEFORE_FIRST_PART: f64 = 4.0;
const FACTOR_AFTER_FIRST_PART: f64 = 2.0;
const HASHMAP_WAIT_FACTOR: f64 = 3.5;
const RETRY_GRACE: f64 = 0.25;
const DELAY_PER_RETRY: f64 = 0.5;
/// A sender whose segment waits here is told that often that somebody is there: its own patience is 78 s and more.
const HOLD_INTERVAL: Duration = Duration::from_secs(30);
/// How long a segment waits for the application to take those before it.
const HOLD_MAX: Duration = Duration::from_secs(600);

/// What the link has to do next for an incoming segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncomingStep {
    /// Nothing.
    Wait,
    /// Send [`Incoming::next_request`].
    Request,
    /// All parts are here: take [`Incoming::take_stream`] and assemble.
    Assemble,
    /// Give it up and tell the sender.
    Cancel,
    /// The same: nobody took what came before it.
    Unread,
}

/// A segment that is arriving.
///
/// It holds at most the advertised number of bytes, and no more than a window beyond those that came: memory cannot be
/// claimed by an advertisement.
#[derive(Debug)]
pub(crate) struct Incoming {
    hash: ResourceHash,
    random: [u8; 4],
    transfer_size: usize,
    part_size: usize,
    parts: usize,
    /// Names of the parts known so far, from the first on; at most `parts`.
    map: Vec<MapHash>,
    /// The parts where they belong. It ends with the last part that is here; gaps, within one window, are zero.
    stream: Vec<u8>,
    received: usize,
    contiguous: usize,
    /// Parts that are here after the first gap; at most one window.
    ahead: BTreeSet<usize>,
    /// The part that comes next if none is lost.
    expected: usize,
    pub(crate) window: Window,
    outstanding: usize,
    waiting_for_map: bool,
    retries_left: u32,
    last_activity: Instant,
    requested_at: Instant,
    request_len: usize,
    /// No part came since the last request.
    round_is_new: bool,
    round_bytes: usize,
    /// From the last request to its first part, once measured.
    round_trip: Option<f64>,
    /// The last part of the last request, and whether it came.
    last_wanted: Option<usize>,
    last_came: bool,
    /// Expected rate in bits per second.
    rate_bps: f64,
    assembling: bool,
    /// Since when no part is taken, because what came before waits for the application.
    held: Option<Instant>,
    /// When a sign that the sender waits was answered last.
    nudged: Instant,
}

impl Incoming {
    /// Starts to receive. `previous_window` and `rate_bps` are what the link learned before. The advertisement must have
    /// at least one and not too many map hashes, and `part_size` must not be zero.
    pub(crate) fn new(
        now: Instant,
        advertisement: Advertisement,
        part_size: usize,
        previous_window: Option<usize>,
        rate_bps: f64,
    ) -> Self {
        Self {
            hash: advertisement.hash,
            random: advertisement.random,
            transfer_size: advertisement.transfer_size,
            part_size,
            parts: advertisement.transfer_size.div_ceil(part_size.max(1)),
            map: advertisement.map,
            stream: Vec::new(),
            received: 0,
            contiguous: 0,
            ahead: BTreeSet::new(),
            expected: 0,
            window: Window::new(previous_window),
            outstanding: 0,
            waiting_for_map: false,
            retries_left: RETRIES_MAX,
            last_activity: now,
            requested_at: now,
            request_len: 0,
            round_is_new: false,
            round_bytes: 0,
            round_trip: None,
            last_wanted: None,
            last_came: false,
            rate_bps,
            assembling: false,
            held: None,
            nudged: now,
        }
    }

    /// Takes no part until [`Incoming::release`]. The sender is kept by asking for one of them now and then.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held = Some(now);
    }

    /// Asks for parts again. Says whether it had stopped to.
    pub(crate) fn release(&mut self) -> bool {
        self.held.take().is_some()
    }

    pub(crate) fn random(&self) -> [u8; 4] {
        self.random
    }

    pub(crate) fn rate_bps(&self) -> f64 {
        self.rate_bps
    }

    pub(crate) fn transfer_size(&self) -> usize {
        self.transfer_size
    }

    /// Bytes of the stream that are here.
    pub(crate) fn received(&self) -> usize {
        self.received
    }

    /// Bytes this holds: parts and map, no parts while it is assembled.
    pub(crate) fn held_bytes(&self) -> usize {
        self.stream.len() + self.map.len() * MAP_HASH_LEN
    }

    /// Whether the parts were taken with [`Incoming::take_stream`].
    pub(crate) fn is_assembling(&self) -> bool {
        self.assembling
    }

    /// Takes the joined parts after [`IncomingStep::Assemble`].
    pub(crate) fn take_stream(&mut self) -> Vec<u8> {
        self.assembling = true;
        core::mem::take(&mut self.stream)
    }

    /// The parts that are here and where they belong, up to how far none is missing, and the length of them all.
    pub(crate) fn in_order(&mut self) -> (&mut [u8], usize, usize) {
        let here = self.contiguous.saturating_mul(self.part_size).min(self.transfer_size);
        (&mut self.stream, here, self.transfer_size)
    }

    /// The plaintext that asks for the next parts. Tell with [`Incoming::requested`] when it went out.
    pub(crate) fn next_request(&mut self) -> Vec<u8> {
        let mut wanted = Vec::new();
        let mut exhausted = false;
        self.last_wanted = None;
        if self.held.is_some() {
            // To its sender only a part that it sends is a sign of life. The last one is the shortest.
            (self.outstanding, self.waiting_for_map) = (0, false);
            return [&[0], self.hash.as_ref(), self.map.last().unwrap_or(&[0; 4])].concat();
        }
        let end = self.contiguous.saturating_add(self.window.size).min(self.parts);
        for index in self.contiguous..end {
            match self.map.get(index) {
                _ if self.ahead.contains(&index) => {}
                Some(name) => {
                    wanted.push(*name);
                    self.last_wanted = Some(index);
                }
                None => {
                    exhausted = true;
                    break;
                }
            }
        }
        self.outstanding = wanted.len();
        self.waiting_for_map = exhausted;
        let mut out = Vec::with_capacity(37 + wanted.len() * 4);
        if exhausted {
            out.push(EXHAUSTED);
            out.extend(self.map.last().unwrap_or(&[0; 4]));
        } else {
            out.push(0);
        }
        out.extend_from_slice(self.hash.as_ref());
        out.extend_from_slice(wanted.as_flattened());
        out
    }

    /// The request of [`Incoming::next_request`] went out as a frame of `frame_len` bytes.
    pub(crate) fn requested(&mut self, now: Instant, frame_len: usize) {
        self.last_activity = now;
        self.asked(now, frame_len);
    }

    /// The same, of a request that a [nudge](Incoming::nudge) caused. It puts no deadline off: what shows that the sender
    /// waits may be forged.
    pub(crate) fn asked(&mut self, now: Instant, frame_len: usize) {
        self.requested_at = now;
        self.request_len = frame_len;
        self.expected = self.contiguous;
        self.last_came = false;
        self.round_is_new = true;
        self.round_bytes = 0;
    }

    /// Something shows that the sender waits. Says whether to ask again: when neither a request went out nor a part came for
    /// longer than `link_rtt`.
    pub(crate) fn nudge(&mut self, now: Instant, link_rtt: Duration) -> bool {
        let is_idle = !self.assembling && now.since(self.last_activity.max(self.nudged)) > link_rtt;
        if is_idle {
            self.nudged = now;
        }
        is_idle
    }

    /// Whether this is the part that its sender is asked for while the segment is held: nobody needs it, but it shows that the
    /// sender is there.
    pub(crate) fn is_sign_of_life(&self, part: &[u8]) -> bool {
        self.held.is_some() && self.map.last() == Some(&map_hash(part, self.random))
    }

    /// A part packet came on the link; whether it belongs here, its map hash tells.
    pub(crate) fn handle_part(&mut self, now: Instant, part: &[u8], frame_len: usize) -> IncomingStep {
        if self.assembling || self.held.is_some() {
            return IncomingStep::Wait;
        }
        // What matches nothing is no sign of the sender: parts are not authenticated one by one.
        let Some(index) = self.find(part) else { return IncomingStep::Wait };
        self.last_activity = now;
        self.retries_left = RETRIES_MAX;
        if self.round_is_new {
            self.round_is_new = false;
            let elapsed = now.since(self.requested_at).as_secs_f64();
            if elapsed > 0.0 {
                let rate = (frame_len + self.request_len) as f64 / elapsed;
                self.round_trip = Some(elapsed);
                self.window.measure(rate);
                // What was known before may come from the handshake, whose packets are too small to tell.
                self.rate_bps = self.rate_bps.max(rate * 8.0);
            }
        }
        self.last_came |= self.last_wanted == Some(index);
        self.store(index, part);
        if self.contiguous == self.parts {
            return IncomingStep::Assemble;
        }
        if self.outstanding > 0 {
            return IncomingStep::Wait;
        }
        self.finish_round(now);
        if self.waiting_for_map { IncomingStep::Wait } else { IncomingStep::Request }
    }

    /// Where a part belongs. Parts come in order unless some were lost, so one look is enough as a rule.
    fn find(&self, part: &[u8]) -> Option<usize> {
        let name = map_hash(part, self.random);
        let end = self.contiguous.saturating_add(self.window.size).min(self.map.len());
        let fits = |index: usize| {
            (self.contiguous..end).contains(&index)
                && self.map.get(index) == Some(&name)
                && !self.ahead.contains(&index)
                && self.place(index).is_some_and(|(start, end)| end - start == part.len())
        };
        let found = if fits(self.expected) { Some(self.expected) } else { None };
        found.or_else(|| (self.contiguous..end).find(|index| fits(*index)))
    }

    /// Where the part of this number stands in the stream.
    fn place(&self, index: usize) -> Option<(usize, usize)> {
        let start = index.checked_mul(self.part_size).filter(|start| *start < self.transfer_size)?;
        Some((start, start.saturating_add(self.part_size).min(self.transfer_size)))
    }

    fn store(&mut self, index: usize, part: &[u8]) {
        let Some((start, end)) = self.place(index) else { return };
        self.outstanding = self.outstanding.saturating_sub(1);
        self.round_bytes += part.len();
        self.received += part.len();
        self.expected = index + 1;
        if self.stream.len() == start {
            self.stream.extend_from_slice(part);
        } else {
            if self.stream.len() < end {
                self.stream.resize(end, 0);
            }
            if let Some(into) = self.stream.get_mut(start..end) {
                into.copy_from_slice(part);
            }
        }
        if index != self.contiguous {
            self.ahead.insert(index);
            return;
        }
        self.contiguous += 1;
        while self.ahead.remove(&self.contiguous) {
            self.contiguous += 1;
        }
    }

    fn finish_round(&mut self, now: Instant) {
        self.window.grow();
        let elapsed = now.since(self.requested_at).as_secs_f64();
        if elapsed > 0.0 {
            let rate = self.round_bytes as f64 / elapsed;
            self.rate_bps = rate * 8.0;
            self.window.finish_round(rate);
        }
    }

    /// More map hashes came: `hashes` are those from number `segment * 74` on.
    pub(crate) fn handle_map(&mut self, now: Instant, segment: u64, hashes: &[MapHash]) -> IncomingStep {
        if self.assembling || !self.waiting_for_map {
            return IncomingStep::Wait;
        }
        if hashes.is_empty() {
            return IncomingStep::Cancel;
        }
        let known = usize::try_from(segment)
            .ok()
            .and_then(|segment| segment.checked_mul(MAP_HASHES_PER_MESSAGE))
            .and_then(|first| self.map.len().checked_sub(first));
        // The map has no gaps: hashes past its end wait until those between were asked for.
        let Some(known) = known else { return IncomingStep::Wait };
        let room = self.parts.saturating_sub(self.map.len());
        self.map.extend(hashes.iter().skip(known).take(room));
        self.last_activity = now;
        self.retries_left = RETRIES_MAX;
        self.waiting_for_map = false;
        IncomingStep::Request
    }

    fn retries_used(&self) -> f64 {
        f64::from(RETRIES_MAX - self.retries_left)
    }

    fn wait(&self) -> Duration {
        let part = self.part_size as f64;
        let rate = self.rate_bps.max(f64::MIN_POSITIVE);
        let transfer = if let Some(round_trip) = self.round_trip {
            let outstanding = self.outstanding as f64;
            let map = if self.waiting_for_map || self.outstanding == 0 {
                part * 8.0 * HASHMAP_WAIT_FACTOR / rate
            } else {
                0.0
            };
            let all = FACTOR_AFTER_FIRST_PART * (outstanding * part * 8.0 / rate) + map;
            // After the last part, what is missing was lost, or overtaken by less than it all took to come.
            if self.last_came || self.outstanding == 0 { all.min(round_trip) } else { all }
        } else {
            // Bytes over bits, as peers have it.
            FACTOR_BEFORE_FIRST_PART * (3.0 * part / rate)
        };
        seconds(transfer + RETRY_GRACE + DELAY_PER_RETRY * self.retries_used())
    }

    /// When to call [`Incoming::handle_timeout`]; `None` while it is assembled.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.assembling).then(|| match self.held {
            Some(since) => (self.last_activity + HOLD_INTERVAL).min(since + HOLD_MAX),
            None => self.last_activity + self.wait(),
        })
    }

    /// The deadline passed without a part.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> IncomingStep {
        if let Some(since) = self.held {
            return if now >= since + HOLD_MAX { IncomingStep::Unread } else { IncomingStep::Request };
        }
        if self.retries_left == 0 {
            return IncomingStep::Cancel;
        }
        self.retries_left -= 1;
        self.window.shrink();
        self.waiting_for_map = false;
        IncomingStep::Request
    }
}
