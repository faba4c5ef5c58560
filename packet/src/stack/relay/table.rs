//! Who is carried: links that wait for their proof, and links that have it, each in a table of its own.

use super::Relay;
use super::asked::Asked;
use crate::bounded::Bounded;
use crate::hash::LinkId;

/// Anybody can ask for a link, so that asking must not cost those that were proved their place.
#[derive(Debug)]
pub(in crate::stack) struct Relays {
    asked: Asked,
    proved: Bounded<LinkId, Relay>,
}

impl Relays {
    pub(in crate::stack) fn keyed(capacity: usize, seed: u64) -> Self {
        Self { asked: Asked::keyed(capacity.div_ceil(4), seed), proved: Bounded::keyed(capacity, seed) }
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
        self.asked.insert(link, relay)
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
        self.asked.retain(&mut keep);
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
