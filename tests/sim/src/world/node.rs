//! A node of the simulation: a production stack, and the little application around it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chacha20::ChaCha8Rng;
use wend_packet::DestinationHash;
use wend_packet::announcer::Announcer;
use wend_packet::stack::{Destination, InterfaceId, PathRecord, Snapshot, Stack, StackConfig};
use wend_packet::time::{Instant, UnixTime};

use super::errand::Errand;

/// A node, named when it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

/// A medium, named when it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediumId(pub(crate) usize);

/// A port of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) medium: usize,
    pub(crate) port: usize,
}

/// Makes a frame of ill will from a frame that was heard.
pub type Reaction = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

#[expect(clippy::large_enum_variant, reason = "almost every node is an honest one")]
pub(crate) enum Brain {
    Honest(Honest),
    /// Sends whatever frames it is told to.
    Intruder {
        outbox: BTreeMap<InterfaceId, VecDeque<Bytes>>,
        react: Reaction,
    },
    /// Switched off.
    Off,
}

/// What a node is made of, and what stays when it is switched off.
pub(crate) struct Node {
    pub(crate) config: StackConfig,
    pub(crate) destinations: Vec<Destination>,
    /// Whether it announces its first destination as a Wend node does.
    pub(crate) announces: bool,
    pub(crate) places: BTreeMap<InterfaceId, Place>,
    pub(crate) next_interface: u32,
    pub(crate) boots: u64,
    /// The wake-up that counts; others are void.
    pub(crate) wake: Option<Instant>,
    pub(crate) brain: Brain,
    pub(crate) disk: Option<Disk>,
}

/// What survives a restart: paths that were learned at least [`Disk::LAG`] before, and the date of the last announce.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    records: BTreeMap<DestinationHash, PathRecord>,
    last_emission: UnixTime,
    /// Not written yet.
    pending: VecDeque<(Instant, PathRecord)>,
}

impl Disk {
    /// A node writes what it learned within so many microseconds.
    const LAG: std::time::Duration = std::time::Duration::from_secs(5);

    pub(crate) fn keep(&mut self, now: Instant, record: PathRecord) {
        self.write(now);
        self.pending.push_back((now, record));
    }

    pub(crate) fn forget(&mut self, destination: DestinationHash) {
        self.records.remove(&destination);
        self.pending.retain(|(_, record)| record.destination != destination);
    }

    fn write(&mut self, now: Instant) {
        while let Some((_, record)) = self.pending.pop_front_if(|(learned, _)| *learned + Self::LAG <= now) {
            self.records.insert(record.destination, record);
        }
    }

    /// The node goes down: what was not written is lost.
    pub(crate) fn crash(&mut self, now: Instant, last_emission: UnixTime) {
        self.write(now);
        self.pending.clear();
        self.last_emission = last_emission;
    }

    pub(crate) fn read(&self) -> Snapshot {
        Snapshot {
            paths: self.records.values().cloned().collect(),
            last_emission: self.last_emission,
            ..Snapshot::default()
        }
    }
}

/// A node that follows the protocol.
pub(crate) struct Honest {
    pub(crate) stack: Stack,
    pub(crate) announcer: Announcer,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) errands: BTreeMap<u64, Errand>,
    pub(crate) reach: Reach,
    /// Paths that were lost, when somebody wants to know.
    pub(crate) lost: Option<Vec<DestinationHash>>,
}

impl Node {
    pub(crate) fn honest(&self) -> Option<&Honest> {
        match &self.brain {
            Brain::Honest(honest) => Some(honest),
            _ => None,
        }
    }

    pub(crate) fn honest_mut(&mut self) -> Option<&mut Honest> {
        match &mut self.brain {
            Brain::Honest(honest) => Some(honest),
            _ => None,
        }
    }

    pub(crate) fn destination(&self) -> Option<DestinationHash> {
        self.destinations.first().map(Destination::hash)
    }
}

/// Which of the destinations that count a node has a path to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    words: Vec<u64>,
    pub(crate) count: usize,
}

impl Reach {
    pub(crate) fn set(&mut self, index: usize, reached: bool) {
        let (word, bit) = (index / 64, 1_u64 << (index % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if (self.words[word] & bit != 0) != reached {
            self.words[word] ^= bit;
            self.count = if reached { self.count + 1 } else { self.count - 1 };
        }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_counts_each_destination_once() {
        let mut reach = Reach::default();
        for (index, reached) in [(3, true), (3, true), (70, true), (5, false), (3, false), (3, true)] {
            reach.set(index, reached);
        }
        assert_eq!(reach.count, 2);
        assert!(reach.contains(70) && !reach.contains(5) && !reach.contains(900));
    }
}
