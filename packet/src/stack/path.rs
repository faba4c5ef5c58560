//! Paths: which announces to believe. docs/protocol/1-core.md, section 5.2.

use std::sync::Arc;

use super::InterfaceId;
use crate::announce::RandomHash;
use crate::hash::{DestinationHash, IdentityHash};
use crate::time::{Instant, UnixTime};

/// Random hashes remembered for a path.
pub const RANDOM_HASHES_MAX: usize = 64;

/// The way to a destination, for those who want to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Whose path.
    pub destination: DestinationHash,
    /// The transport node to hand packets to; for a direct neighbour the bytes of the destination hash itself.
    pub next_hop: IdentityHash,
    /// Distance; 1 is a direct neighbour.
    pub hops: u8,
    /// The interface it leads over.
    pub on: InterfaceId,
    /// When it was learned or last used.
    pub used: Instant,
    /// From when on a longer way may replace it without being newer.
    pub expires: Instant,
    /// When the announce that taught it was made.
    pub emitted: UnixTime,
}

#[derive(Debug)]
pub(super) struct PathEntry {
    pub(super) next_hop: IdentityHash,
    pub(super) hops: u8,
    pub(super) on: InterfaceId,
    pub(super) used: Instant,
    pub(super) expires: Instant,
    /// When an announce was last counted that others are told of; [`Instant::ZERO`] when none was.
    pub(super) counted: Instant,
    /// That of the announce.
    pub(super) random: RandomHash,
    /// Those heard before, oldest first.
    pub(super) heard_before: Box<[RandomHash]>,
    pub(super) unresponsive: bool,
    /// The announce as it was received, to answer path requests with. Shared with what is known of the destination.
    pub(super) announce: Arc<[u8]>,
}

/// The way a path leads, to tell later whether it is still the one that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) on: InterfaceId,
    pub(super) next_hop: IdentityHash,
    emitted: UnixTime,
}

#[cfg(test)]
impl Way {
    /// One that no path leads.
    pub(super) fn nowhere() -> Self {
        Self { on: InterfaceId(u32::MAX), next_hop: IdentityHash::new([0; 16]), emitted: UnixTime(0) }
    }
}

/// What an announce offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) hops: u8,
    pub(super) random: RandomHash,
    /// Gravity of the interface it was heard on.
    pub(super) gravity: i64,
}

impl PathEntry {
    fn heard(&self) -> impl Iterator<Item = &RandomHash> + Clone {
        self.heard_before.iter().chain([&self.random])
    }

    /// The random hash of the newest announce heard for this path.
    pub(super) fn newest(&self) -> RandomHash {
        self.heard().copied().max_by_key(RandomHash::emitted).unwrap_or(self.random)
    }

    /// When the newest announce heard for this path was made.
    pub(super) fn emitted(&self) -> UnixTime {
        self.newest().emitted()
    }

    pub(super) fn way(&self) -> Way {
        Way { on: self.on, next_hop: self.next_hop, emitted: self.emitted() }
    }

    /// A link over `way` was proved after `hops` hops. Nobody signs a hop count, so it counts only for the very path the
    /// link request took, and never makes a transport node a direct neighbour.
    pub(super) fn correct_hops(&mut self, destination: DestinationHash, way: Way, on: InterfaceId, hops: u8) {
        let same = on == self.on && (way.on, way.next_hop) == (self.on, self.next_hop);
        let direct = self.next_hop.as_bytes() == destination.as_bytes();
        if same {
            self.hops = if direct { hops } else { hops.max(2) };
        }
    }

    /// Whether `offer` replaces this path; `gravity` is that of the path's own interface.
    pub(super) fn yields_to(&self, offer: &Offer, gravity: i64, now: Instant) -> bool {
        let seen = self.heard().any(|heard| *heard == offer.random);
        let (theirs, ours) = (offer.random.emitted(), self.emitted());
        if offer.hops <= self.hops {
            return (!seen && theirs > ours) || (theirs == ours && offer.gravity > gravity);
        }
        if now >= self.expires {
            return !seen;
        }
        (theirs > ours && !seen) || (theirs == ours && self.unresponsive)
    }

    /// The random hashes heard before an announce with `random` takes this path's place: the newest 64, with that one.
    pub(super) fn heard_before(&self, random: RandomHash) -> Box<[RandomHash]> {
        let others = self.heard().filter(|heard| **heard != random);
        let surplus = others.clone().count().saturating_sub(RANDOM_HASHES_MAX - 1);
        others.skip(surplus).copied().collect()
    }

    pub(super) fn view(&self, destination: DestinationHash) -> Path {
        Path {
            destination,
            next_hop: self.next_hop,
            hops: self.hops,
            on: self.on,
            used: self.used,
            expires: self.expires,
            emitted: self.emitted(),
        }
    }
}
