//! Announces waiting for their signature to be checked.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::job::AnnounceKey;
use crate::stack::InterfaceId;
use crate::time::Instant;

/// Copies of one announce that wait for one check; further copies are dropped.
const COPIES_MAX: usize = 8;
/// A check that was taken and has not come back for so long is lost with the worker that ran it.
const CHECK_LOST: Duration = Duration::from_secs(60);

/// One announce, with whoever it was heard from.
#[derive(Debug)]
struct Candidate {
    /// Where the first copy came from: that interface's share it takes.
    first: InterfaceId,
    arrived: Instant,
    taken: bool,
    copies: Vec<(InterfaceId, Arc<[u8]>)>,
}

impl Candidate {
    fn is_lost(&self, now: Instant) -> bool {
        self.taken && now > self.arrived + CHECK_LOST
    }
}

/// A bounded waiting room. Copies of one announce, heard from several neighbours, are checked once. One interface can take
/// half of it, so that a flood on one leaves room for the others.
#[derive(Debug)]
pub(in crate::stack) struct Admission {
    waiting: BTreeMap<AnnounceKey, Candidate>,
    /// What is to be checked, by the interface it came from first.
    queues: BTreeMap<InterfaceId, VecDeque<AnnounceKey>>,
    /// Interfaces that have a queue, in turn.
    turns: VecDeque<InterfaceId>,
    shares: BTreeMap<InterfaceId, usize>,
    capacity: usize,
}

impl Admission {
    pub(in crate::stack) fn new(capacity: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            shares: BTreeMap::new(),
            capacity,
        }
    }

    /// Lets an announce in. Says whether there was room.
    pub(super) fn push(&mut self, now: Instant, key: AnnounceKey, on: InterfaceId, frame: Arc<[u8]>) -> bool {
        if self.waiting.get(&key).is_some_and(|candidate| candidate.is_lost(now)) {
            self.take(&key);
        }
        if let Some(candidate) = self.waiting.get_mut(&key) {
            let room = candidate.copies.len() < COPIES_MAX;
            if room {
                candidate.copies.push((on, frame));
            }
            return room;
        }
        if !self.has_room(on) {
            self.forget_lost(now);
        }
        if !self.has_room(on) {
            return false;
        }
        *self.shares.entry(on).or_default() += 1;
        self.waiting.insert(key, Candidate { first: on, arrived: now, taken: false, copies: vec![(on, frame)] });
        let queue = self.queues.entry(on).or_default();
        if queue.is_empty() {
            self.turns.push_back(on);
        }
        queue.push_back(key);
        true
    }

    fn has_room(&self, on: InterfaceId) -> bool {
        self.room(on) > 0
    }

    /// How many more announces from this interface can wait.
    pub(in crate::stack) fn room(&self, on: InterfaceId) -> usize {
        let share = self.shares.get(&on).copied().unwrap_or_default();
        let of_share = self.capacity.div_ceil(2).saturating_sub(share);
        of_share.min(self.capacity.saturating_sub(self.waiting.len()))
    }

    fn forget_lost(&mut self, now: Instant) {
        let lost = self.waiting.iter().filter(|(_, candidate)| candidate.is_lost(now)).map(|(key, _)| *key);
        for key in lost.collect::<Vec<_>>() {
            self.take(&key);
        }
    }

    /// The next announces to check, at most `limit` and all from one interface: who sends bad ones slows down the check of
    /// its own. They stay until [`Admission::take`].
    pub(in crate::stack) fn next(&mut self, limit: usize) -> Vec<(AnnounceKey, Arc<[u8]>)> {
        let Some(on) = self.turns.pop_front() else { return Vec::new() };
        let Some(queue) = self.queues.get_mut(&on) else { return Vec::new() };
        let mut batch = Vec::with_capacity(limit.min(queue.len()));
        while batch.len() < limit
            && let Some(key) = queue.pop_front()
        {
            if let Some(candidate) = self.waiting.get_mut(&key)
                && let Some((_, frame)) = candidate.copies.first()
            {
                candidate.taken = true;
                batch.push((key, frame.clone()));
            }
        }
        if queue.is_empty() {
            self.queues.remove(&on);
        } else {
            self.turns.push_back(on);
        }
        batch
    }

    /// All copies of an announce that was checked, in the order they came.
    pub(super) fn take(&mut self, key: &AnnounceKey) -> Vec<(InterfaceId, Arc<[u8]>)> {
        let Some(candidate) = self.waiting.remove(key) else { return Vec::new() };
        if let Some(share) = self.shares.get_mut(&candidate.first) {
            *share = share.saturating_sub(1);
            if *share == 0 {
                self.shares.remove(&candidate.first);
            }
        }
        candidate.copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::PacketHash;

    const NOW: Instant = Instant::from_micros(5);
    const HERE: InterfaceId = InterfaceId(1);

    fn key(of: u8) -> AnnounceKey {
        (PacketHash::new([of; 32]), false)
    }

    #[test]
    fn one_interface_takes_half_of_the_room() {
        let mut admission = Admission::new(4);
        let entered = (0..4).filter(|of| admission.push(NOW, key(*of), HERE, Arc::default())).count();
        assert_eq!(entered, 2);
        assert!(admission.push(NOW, key(9), InterfaceId(2), Arc::default()));
        admission.take(&key(0));
        assert!(admission.push(NOW, key(7), HERE, Arc::default()));
    }

    #[test]
    fn a_check_that_never_comes_back_holds_its_place_for_a_minute_only() {
        let mut admission = Admission::new(2);
        assert!(admission.push(NOW, key(0), HERE, Arc::default()));
        assert_eq!(admission.next(9).len(), 1);
        assert!(!admission.push(NOW, key(1), HERE, Arc::default()));
        let later = NOW + CHECK_LOST + Duration::from_micros(1);
        assert!(admission.push(later, key(1), HERE, Arc::default()));
        assert!(
            !admission.push(later + CHECK_LOST, key(0), HERE, Arc::default()),
            "what waits to be taken is not lost"
        );
        assert!(admission.next(9).iter().map(|(next, _)| *next).eq([key(1)]));
        assert!(admission.push(later + CHECK_LOST + CHECK_LOST, key(1), HERE, Arc::default()), "the same one again");
        assert_eq!(admission.next(9).len(), 1);
    }

    #[test]
    fn interfaces_take_turns_and_share_no_batch() {
        let mut admission = Admission::new(8);
        for of in 0..3 {
            admission.push(NOW, key(of), HERE, Arc::default());
        }
        admission.push(NOW, key(9), InterfaceId(2), Arc::default());
        let keys = |batch: Vec<(AnnounceKey, Arc<[u8]>)>| batch.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(admission.next(2)), [key(0), key(1)]);
        assert_eq!(keys(admission.next(2)), [key(9)]);
        assert_eq!(keys(admission.next(2)), [key(2)]);
        assert!(admission.next(2).is_empty());
    }
}
