//! Announces that are about to be sent on, or sent on again. docs/protocol/1-core.md, section 4.4.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::bounded::Bounded;
use crate::hash::DestinationHash;
use crate::time::Instant;

/// So many void places in the order are always allowed.
const VOID_MAX: usize = 64;

/// An announce that is being passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stack) struct Rebroadcast {
    /// As it was received: what is sent is made of it then.
    pub(super) announce: Arc<[u8]>,
    pub(super) due: Instant,
    pub(super) sent: u8,
    pub(super) heard: u8,
    pub(super) hops: u8,
    /// Whether it waited for a path response already.
    pub(super) postponed: bool,
}

/// One for each destination, in order of when they are due. When there is no room, the oldest leaves of those that were sent
/// on already, which only others' losses are made good with; if there is none, the oldest of all.
#[derive(Debug)]
pub(in crate::stack) struct Rebroadcasts {
    unsent: Bounded<DestinationHash, Rebroadcast>,
    sent: Bounded<DestinationHash, Rebroadcast>,
    /// The first one is always right. Others may be of announces that are due at another time by now, or not at all.
    order: BinaryHeap<Reverse<(Instant, DestinationHash)>>,
    capacity: usize,
}

impl Rebroadcasts {
    pub(in crate::stack) fn keyed(capacity: usize, seed: u64) -> Self {
        Self {
            unsent: Bounded::keyed(capacity, seed),
            sent: Bounded::keyed(capacity, seed),
            order: BinaryHeap::new(),
            capacity,
        }
    }

    pub(in crate::stack) fn len(&self) -> usize {
        self.unsent.len() + self.sent.len()
    }

    pub(super) fn contains(&self, destination: &DestinationHash) -> bool {
        self.get(destination).is_some()
    }

    fn get(&self, destination: &DestinationHash) -> Option<&Rebroadcast> {
        self.unsent.get(destination).or_else(|| self.sent.get(destination))
    }

    pub(super) fn get_mut(&mut self, destination: &DestinationHash) -> Option<&mut Rebroadcast> {
        match self.unsent.get_mut(destination) {
            Some(entry) => Some(entry),
            None => self.sent.get_mut(destination),
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.peek().map(|Reverse((due, _))| *due)
    }

    /// The next one that is due. It stays as it is until it is put back or removed.
    pub(super) fn due(&self, now: Instant) -> Option<DestinationHash> {
        self.order.peek().filter(|Reverse((due, _))| *due <= now).map(|Reverse((_, destination))| *destination)
    }

    /// A new announce, in place of an earlier one of its destination.
    pub(super) fn insert(&mut self, destination: DestinationHash, entry: Rebroadcast) {
        self.remove(&destination);
        if self.len() >= self.capacity {
            let leaves = self.sent.pop_oldest_if(|_, _| true);
            if leaves.is_none() {
                self.unsent.pop_oldest_if(|_, _| true);
            }
        }
        if self.capacity > 0 {
            self.order.push(Reverse((entry.due, destination)));
            self.unsent.insert(destination, entry);
        }
        self.tidy();
    }

    /// It was sent on, and is to be sent on again.
    pub(super) fn sent(&mut self, destination: &DestinationHash, again: Instant) {
        if let Some(mut entry) = self.remove(destination) {
            entry.due = again;
            self.order.push(Reverse((again, *destination)));
            self.sent.insert(*destination, entry);
            self.tidy();
        }
    }

    /// It is to wait until then.
    pub(super) fn postpone(&mut self, destination: &DestinationHash, until: Instant) {
        let Some(entry) = self.get_mut(destination) else { return };
        entry.due = until;
        self.order.push(Reverse((until, *destination)));
        self.tidy();
    }

    pub(super) fn remove(&mut self, destination: &DestinationHash) -> Option<Rebroadcast> {
        let entry = self.unsent.remove(destination).or_else(|| self.sent.remove(destination))?;
        self.tidy();
        Some(entry)
    }

    /// The first in order is one that waits for that time; and not more than half of them are void.
    fn tidy(&mut self) {
        let (unsent, sent) = (&self.unsent, &self.sent);
        let waits = |Reverse((due, of)): &Reverse<(Instant, DestinationHash)>| {
            unsent.get(of).or_else(|| sent.get(of)).is_some_and(|entry| entry.due == *due)
        };
        while self.order.peek().is_some_and(|first| !waits(first)) {
            self.order.pop();
        }
        if self.order.len() > 2 * (unsent.len() + sent.len()) + VOID_MAX {
            self.order.retain(waits);
        }
        if self.order.is_empty() && self.order.capacity() > VOID_MAX {
            self.order = BinaryHeap::new();
        }
    }

    pub(in crate::stack) fn clear(&mut self) {
        self.unsent.retain(|_, _| false);
        self.sent.retain(|_, _| false);
        self.order = BinaryHeap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: u8) -> DestinationHash {
        DestinationHash::new([of; 16])
    }

    fn at(due: u64) -> Instant {
        Instant::from_micros(due)
    }

    fn entry(due: u64) -> Rebroadcast {
        Rebroadcast { announce: Arc::default(), due: at(due), sent: 0, heard: 0, hops: 1, postponed: false }
    }

    fn order(table: &mut Rebroadcasts) -> Vec<u8> {
        let next = |table: &mut Rebroadcasts| {
            let destination = table.due(at(u64::MAX))?;
            table.remove(&destination).map(|_| destination.as_bytes()[0])
        };
        core::iter::from_fn(|| next(table)).collect()
    }

    #[test]
    fn they_come_out_when_they_are_due_and_an_announce_waits_once() {
        let mut table = Rebroadcasts::keyed(8, 1);
        for (of, due) in [(1, 30), (2, 10), (3, 20), (1, 5), (4, 40)] {
            table.insert(name(of), entry(due));
        }
        table.postpone(&name(2), at(35));
        assert_eq!((table.next(), table.due(at(4)), table.due(at(5))), (Some(at(5)), None, Some(name(1))));
        table.sent(&name(1), at(50));
        assert_eq!((table.len(), order(&mut table)), (4, vec![3, 2, 4, 1]));
        assert!(table.unsent.is_empty() && table.sent.is_empty());
        for due in 1..1000 {
            table.insert(name(1), entry(due));
        }
        assert!(table.order.len() <= 2 + VOID_MAX, "{}", table.order.len());
        assert_eq!(table.next(), Some(at(999)));
    }

    #[test]
    fn what_was_sent_on_makes_room_for_what_was_not() {
        let mut table = Rebroadcasts::keyed(3, 1);
        for of in 1..=3 {
            table.insert(name(of), entry(of.into()));
        }
        table.sent(&name(3), at(9));
        table.insert(name(4), entry(4));
        assert!(!table.contains(&name(3)) && table.len() == 3);
        table.insert(name(5), entry(5));
        assert_eq!(order(&mut table), [2, 4, 5], "then the oldest");
        let mut none = Rebroadcasts::keyed(0, 1);
        none.insert(name(1), entry(1));
        assert_eq!((none.len(), none.next()), (0, None));
    }
}
