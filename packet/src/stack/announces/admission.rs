//! Announces waiting for their signature to be checked.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::job::AnnounceKey;
use crate::stack::InterfaceId;

/// Copies of one announce that wait for one check; further copies are dropped.
const COPIES_MAX: usize = 8;

/// A bounded waiting room. Copies of one announce, heard from several neighbours, are checked once.
#[derive(Debug)]
pub(in crate::stack) struct Admission {
    waiting: BTreeMap<AnnounceKey, Vec<(InterfaceId, Bytes)>>,
    queue: VecDeque<AnnounceKey>,
    capacity: usize,
}

impl Admission {
    pub(in crate::stack) fn new(capacity: usize) -> Self {
        Self { waiting: BTreeMap::new(), queue: VecDeque::new(), capacity }
    }

    /// Lets an announce in. Says whether there was room.
    pub(super) fn push(&mut self, key: AnnounceKey, on: InterfaceId, frame: Bytes) -> bool {
        if let Some(copies) = self.waiting.get_mut(&key) {
            let room = copies.len() < COPIES_MAX;
            if room {
                copies.push((on, frame));
            }
            return room;
        }
        if self.waiting.len() >= self.capacity {
            return false;
        }
        self.waiting.insert(key, vec![(on, frame)]);
        self.queue.push_back(key);
        true
    }

    /// The next announce to check; it stays until [`Admission::take`].
    pub(in crate::stack) fn next(&mut self) -> Option<(AnnounceKey, Bytes)> {
        let key = self.queue.pop_front()?;
        let (_, frame) = self.waiting.get(&key)?.first()?;
        Some((key, frame.clone()))
    }

    /// All copies of an announce that was checked, in the order they came.
    pub(super) fn take(&mut self, key: &AnnounceKey) -> Vec<(InterfaceId, Bytes)> {
        self.waiting.remove(key).unwrap_or_default()
    }
}
