//! Who is carried: links that wait for their proof, and links that have it, each in a table of its own.

use super::Relay;
use crate::bounded::Bounded;
use crate::hash::LinkId;
use crate::stack::InterfaceId;
use crate::stack::interface::busiest;

/// Anybody can ask for a link, so that asking must not cost those that were proved their place.
#[derive(Debug)]
pub(in crate::stack) struct Relays {
    asked: Bounded<LinkId, Relay>,
    proved: Bounded<LinkId, Relay>,
}

impl Relays {
    pub(in crate::stack) fn keyed(capacity: usize, seed: u64) -> Self {
        Self { asked: Bounded::keyed(capacity.div_ceil(4), seed), proved: Bounded::keyed(capacity, seed) }
    }

    pub(in crate::stack) fn get(&self, link: &LinkId) -> Option<&Relay> {
        self.proved.get(link).or_else(|| self.asked.get(link))
    }

    pub(in crate::stack) fn contains(&self, link: &LinkId) -> bool {
        self.get(link).is_some()
    }

    pub(in crate::stack) fn iter(&self) -> impl Iterator<Item = (&LinkId, &Relay)> {
        self.asked.iter().chain(self.proved.iter())
    }

    /// A link was asked for. Returns the one that had to leave: on the interface that asked most, the one that would go
    /// first anyway.
    pub(super) fn ask(&mut self, link: LinkId, relay: Relay) -> Option<LinkId> {
        let full = self.asked.len() >= self.asked.capacity();
        let leaves = if full { self.first_of_busiest() } else { None };
        if let Some(leaves) = leaves {
            self.asked.remove(&leaves);
        }
        self.asked.insert(link, relay);
        leaves
    }

    fn first_of_busiest(&self) -> Option<LinkId> {
        let on: InterfaceId = busiest(self.asked.iter().map(|(_, relay)| relay.received))?;
        let waiting = self.asked.iter().filter(|(_, relay)| relay.received == on);
        waiting.min_by_key(|(_, relay)| relay.deadline).map(|(link, _)| *link)
    }

    /// A link was proved, or proved again. Returns the one that had to leave.
    pub(super) fn prove(&mut self, link: LinkId, relay: Relay) -> Option<LinkId> {
        self.asked.remove(&link);
        let replaced = self.proved.insert(link, relay);
        replaced.map(|(other, _)| other).filter(|other| *other != link)
    }

    /// A proved link was used.
    pub(super) fn used(&mut self, link: &LinkId, deadline: crate::time::Instant) {
        if let Some(relay) = self.proved.use_mut(link) {
            relay.deadline = deadline;
        }
    }

    pub(super) fn remove(&mut self, link: &LinkId) {
        self.asked.remove(link);
        self.proved.remove(link);
    }

    pub(in crate::stack) fn retain(&mut self, mut keep: impl FnMut(&LinkId, &Relay) -> bool) {
        self.asked.retain(|link, relay| keep(link, relay));
        self.proved.retain(|link, relay| keep(link, relay));
    }
}

#[cfg(test)]
impl Relays {
    /// Links that wait for their proof, and links that have it.
    pub(in crate::stack) fn counts(&self) -> (usize, usize) {
        (self.asked.len(), self.proved.len())
    }
}
