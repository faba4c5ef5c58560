//! The share of an interface that relayed announces may take. docs/protocol/1-core.md, section 4.6.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use crate::hash::DestinationHash;
use crate::stack::egress::Class;
use crate::stack::interface::Interface;
use crate::stack::{InterfaceId, Mode, Stack, TimerKey};
use crate::time::{Instant, Now, UnixTime};
use crate::wire::{MTU, layout};

/// Share of an interface's bitrate for relayed announces and searches for paths, in millionths, unless configured.
pub const ANNOUNCE_CAP_PPM: u32 = 20_000;
/// How long an announce may wait for its turn.
pub const QUEUED_ANNOUNCE_LIFETIME: Duration = Duration::from_secs(10_800);

/// How long is waited at most for a busy medium to send the announce that was due before.
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Announces that are due within so short a time leave together: on a fast medium a timer for each would cost more than
/// they do.
const TOGETHER: Duration = Duration::from_millis(1);
/// What a medium carries in this time may wait for it without counting as a sign that it is busy.
const BUSY_AFTER: Duration = Duration::from_millis(10);

/// Time after a frame of `len` bytes during which nothing else of its kind is sent, so that all of them together stay
/// within `cap_ppm` millionths of `bitrate_bps`.
pub(in crate::stack) fn pause(len: usize, bitrate_bps: u64, cap_ppm: u32) -> Duration {
    let bits = u128::try_from(len).unwrap_or(u128::MAX).saturating_mul(8);
    let share = u128::from(bitrate_bps).saturating_mul(u128::from(cap_ppm)).max(1);
    let micros = bits.saturating_mul(1_000_000_000_000) / share;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// An announce on its way to one interface.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) destination: DestinationHash,
    pub(super) hops: u8,
    pub(super) emitted: UnixTime,
    pub(super) frame: Bytes,
    /// Where it was learned.
    pub(super) source: InterfaceId,
}

/// Nearest first, then oldest.
type Rank = (u8, Instant, DestinationHash);

/// Relayed announces that wait for an interface, one for each destination, in order.
///
/// When it is full, the last in order leaves of those from the interface that most of them came from, so that a flood on one
/// interface takes nothing from the others.
#[derive(Debug)]
pub(in crate::stack) struct AnnounceQueue {
    queued: BTreeMap<DestinationHash, (Instant, Outgoing)>,
    order: BTreeSet<Rank>,
    by_source: BTreeMap<InterfaceId, BTreeSet<Rank>>,
    by_age: BTreeSet<(Instant, DestinationHash)>,
    capacity: usize,
    /// Nothing that the cap is about is sent before.
    pub(in crate::stack) allowed_at: Instant,
}

impl AnnounceQueue {
    pub(in crate::stack) fn new(capacity: usize) -> Self {
        Self {
            queued: BTreeMap::new(),
            order: BTreeSet::new(),
            by_source: BTreeMap::new(),
            by_age: BTreeSet::new(),
            capacity,
            allowed_at: Instant::ZERO,
        }
    }

    pub(in crate::stack) fn len(&self) -> usize {
        self.queued.len()
    }

    pub(in crate::stack) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Takes an announce in, in place of an older one of its destination. Says whether something was lost for lack of room.
    fn push(&mut self, now: Instant, announce: Outgoing) -> bool {
        let destination = announce.destination;
        if let Some((_, before)) = self.queued.get(&destination) {
            if before.emitted >= announce.emitted {
                return false;
            }
            self.remove(&destination);
        }
        self.forget_aged(now);
        let rank = (announce.hops, now, destination);
        self.order.insert(rank);
        self.by_source.entry(announce.source).or_default().insert(rank);
        self.by_age.insert((now, destination));
        self.queued.insert(destination, (now, announce));
        let full = self.queued.len() > self.capacity;
        if full {
            let most = self.by_source.values().max_by_key(|ranks| ranks.len());
            if let Some((_, _, leaves)) = most.and_then(BTreeSet::last).copied() {
                self.remove(&leaves);
            }
        }
        full
    }

    /// The announce whose turn it is.
    fn pop(&mut self, now: Instant) -> Option<Bytes> {
        self.forget_aged(now);
        let (_, _, destination) = *self.order.first()?;
        self.remove(&destination).map(|announce| announce.frame)
    }

    fn forget_aged(&mut self, now: Instant) {
        while let Some((_, aged)) =
            self.by_age.first().copied().filter(|(since, _)| now > *since + QUEUED_ANNOUNCE_LIFETIME)
        {
            self.remove(&aged);
        }
    }

    fn remove(&mut self, destination: &DestinationHash) -> Option<Outgoing> {
        let (since, announce) = self.queued.remove(destination)?;
        let rank = (announce.hops, since, *destination);
        self.order.remove(&rank);
        self.by_age.remove(&(since, *destination));
        if let Some(ranks) = self.by_source.get_mut(&announce.source) {
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.by_source.remove(&announce.source);
            }
        }
        Some(announce)
    }
}

/// Announces that wait at one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnnounceBacklog {
    /// To be sent, for their share of the bitrate.
    pub queued: usize,
    /// Heard in a burst, for it to end.
    pub held: usize,
}

impl Stack {
    /// How many announces wait at an interface; none when it is not up.
    pub fn announce_backlog(&self, of: InterfaceId) -> AnnounceBacklog {
        self.interfaces.get(&of).map_or_else(AnnounceBacklog::default, |interface| AnnounceBacklog {
            queued: interface.queue.len(),
            held: interface.held.len(),
        })
    }

    /// Sends a relayed announce wherever the modes allow, also back where it came from: neighbours need to hear that it was
    /// passed on. What is due at one moment leaves nearest first, so all of it goes through the queues.
    pub(super) fn relay_announce(&mut self, now: Now, announce: &Outgoing) {
        let Some(source) = self.interfaces.get(&announce.source).map(|on| on.profile.source()) else { return };
        if announce.hops == 0 {
            // Of a program on this machine: as good as our own, which the cap is not about.
            let carry = |(_, on): &(&InterfaceId, &Interface)| on.profile.carries_announces_of(source);
            let targets: Vec<_> = self.interfaces.iter().filter(carry).map(|(id, _)| *id).collect();
            for id in targets {
                let frame = with_hops(&announce.frame, self.own_hops(id));
                self.transmit(id, Class::Announce, frame);
            }
            return;
        }
        let mut lost = 0;
        for (id, interface) in &mut self.interfaces {
            if !interface.profile.carries_announces_of(source) {
                continue;
            }
            lost += u64::from(interface.queue.push(now.mono, announce.clone()));
            let key = TimerKey::Announces(*id);
            if self.timers.deadline(key).is_none() {
                let from = if interface.is_capped() { interface.queue.allowed_at } else { Instant::ZERO };
                self.timers.set(key, from.max(now.mono));
            }
        }
        if lost > 0 {
            *self.stats.drops.entry(super::DropReason::AnnounceQueueFull).or_default() += lost;
        }
    }

    /// An interface's queue has its turn.
    pub(in crate::stack) fn send_queued_announces(&mut self, now: Now, on: InterfaceId) {
        loop {
            let Some(interface) = self.interfaces.get_mut(&on) else { return };
            let capped = interface.is_capped();
            if capped && now.mono + TOGETHER < interface.queue.allowed_at && !interface.queue.is_empty() {
                // A search for a path took the turn.
                return self.timers.set(TimerKey::Announces(on), interface.queue.allowed_at);
            }
            if capped
                && interface.egress.announce_bytes() > interface.carries_in(BUSY_AFTER)
                && !interface.queue.is_empty()
            {
                // The medium is busy with more urgent things. What it has not sent yet is not added to: else all that came
                // due in a busy hour would leave in the next.
                let pause = interface.announce_pause(MTU).clamp(BUSY_AFTER, BUSY_PAUSE_MAX);
                return self.timers.set(TimerKey::Announces(on), now.mono + pause);
            }
            let Some(frame) = interface.queue.pop(now.mono) else { return };
            if capped {
                let from = interface.queue.allowed_at.max(now.mono);
                interface.queue.allowed_at = from + interface.announce_pause(frame.len());
            }
            self.transmit(on, Class::Announce, frame);
        }
    }
}

impl Interface {
    /// Whether relayed announces here keep to the cap: on interfaces of these modes they do.
    pub(super) fn is_capped(&self) -> bool {
        matches!(self.profile.mode, Mode::Full | Mode::PointToPoint | Mode::Gateway)
    }

    /// Bytes the medium carries in this time.
    fn carries_in(&self, time: Duration) -> usize {
        let bits = u128::from(self.profile.bitrate_bps).saturating_mul(time.as_micros()) / 1_000_000;
        usize::try_from(bits / 8).unwrap_or(usize::MAX)
    }

    /// Time that a frame of this length takes of what announces may use.
    pub(in crate::stack) fn announce_pause(&self, len: usize) -> Duration {
        pause(len, self.profile.bitrate_bps, self.profile.announce_cap_ppm)
    }
}

/// The frame with another hop byte.
fn with_hops(frame: &Bytes, hops: u8) -> Bytes {
    let mut bytes = BytesMut::from(&frame[..]);
    if let Some(byte) = bytes.get_mut(layout::HOPS).filter(|byte| **byte != hops) {
        *byte = hops;
        return bytes.freeze();
    }
    frame.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000);

    fn announce(of: u16, hops: u8, emitted: u64, source: u32) -> Outgoing {
        let [high, low] = of.to_be_bytes();
        let mut destination = [0; 16];
        (destination[0], destination[1]) = (high, low);
        let frame = Bytes::copy_from_slice(&[high, low, hops]);
        let (destination, emitted) = (DestinationHash::new(destination), UnixTime(emitted));
        Outgoing { destination, hops, emitted, frame, source: InterfaceId(source) }
    }

    #[test]
    fn an_announce_takes_two_percent_of_the_bitrate() {
        assert_eq!(pause(183, 1_000, ANNOUNCE_CAP_PPM), Duration::from_micros(73_200_000));
        assert_eq!(pause(usize::MAX, 0, 1), Duration::from_micros(u64::MAX));
        assert_eq!(pause(500, u64::MAX, 1_000_000), Duration::ZERO);
    }

    #[test]
    fn the_nearest_leaves_first_and_then_the_oldest() {
        let mut queue = AnnounceQueue::new(8);
        for (of, hops, after) in [(1, 3, 0), (2, 1, 2), (3, 1, 1), (4, 2, 3)] {
            queue.push(NOW + Duration::from_secs(after), announce(of, hops, 1, 0));
        }
        let order: Vec<_> = core::iter::from_fn(|| queue.pop(NOW)).map(|frame| frame[1]).collect();
        assert_eq!(order, [3, 2, 4, 1]);
        assert!(queue.by_source.is_empty() && queue.by_age.is_empty() && queue.order.is_empty());
    }

    #[test]
    fn only_a_newer_announce_takes_the_place_of_one_that_waits() {
        let mut queue = AnnounceQueue::new(8);
        queue.push(NOW, announce(1, 2, 10, 0));
        queue.push(NOW, announce(1, 1, 10, 0));
        assert_eq!(queue.order.first().unwrap().0, 2);
        queue.push(NOW + Duration::from_secs(1), announce(1, 4, 11, 1));
        assert_eq!((queue.len(), queue.pop(NOW).unwrap()[2]), (1, 4));
    }

    #[test]
    fn what_waited_for_three_hours_is_forgotten() {
        let mut queue = AnnounceQueue::new(8);
        queue.push(NOW, announce(1, 1, 1, 0));
        queue.push(NOW + Duration::from_secs(1), announce(2, 1, 1, 0));
        let later = NOW + QUEUED_ANNOUNCE_LIFETIME + Duration::from_micros(1);
        assert_eq!(queue.pop(later).unwrap()[1], 2);
        assert!(queue.pop(later).is_none());
    }

    #[test]
    fn a_flood_from_one_interface_takes_nothing_from_the_others() {
        let mut queue = AnnounceQueue::new(16);
        assert!(!queue.push(NOW, announce(999, 9, 1, 1)), "far away, but from elsewhere");
        let lost = (0..160).filter(|of| queue.push(NOW, announce(*of, 1, 1, 0))).count();
        assert_eq!((lost, queue.len()), (145, 16));
        assert!(!queue.push(NOW, announce(998, 9, 1, 1)) || queue.len() == 16);
        let left: Vec<_> = core::iter::from_fn(|| queue.pop(NOW)).map(|frame| [frame[0], frame[1]]).collect();
        for honest in [998_u16, 999] {
            assert!(left.contains(&honest.to_be_bytes()), "{honest}");
        }
    }
}
