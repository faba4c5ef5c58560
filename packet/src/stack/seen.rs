//! What was seen lately, in two generations. docs/protocol/1-core.md, section 3.6.

use core::hash::Hash;

use hashbrown::HashTable;

use crate::keyed::KeyHasher;

/// A set that forgets by halves: when the current generation is over its limit it becomes the previous one, whose content
/// is forgotten and whose memory is used again.
#[derive(Debug)]
pub(super) struct Seen<K> {
    current: HashTable<K>,
    previous: HashTable<K>,
    hasher: KeyHasher,
    limit: usize,
}

impl<K: Hash + Eq> Seen<K> {
    pub(super) fn keyed(limit: usize, seed: u64) -> Self {
        Self { current: HashTable::new(), previous: HashTable::new(), hasher: KeyHasher::new(seed), limit }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        let hash = self.hasher.hash(key);
        [&self.current, &self.previous].iter().any(|table| table.find(hash, |this| this == key).is_some())
    }

    pub(super) fn insert(&mut self, key: K) {
        let hasher = &self.hasher;
        let hash = hasher.hash(&key);
        self.current.entry(hash, |this| *this == key, |this| hasher.hash(this)).or_insert(key);
        if self.current.len() > self.limit {
            core::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
    }
}

#[cfg(test)]
impl<K> Seen<K> {
    /// Keys that are remembered.
    pub(super) fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_after_two_generations() {
        let mut seen = Seen::keyed(1, 7);
        seen.insert(1);
        seen.insert(2);
        assert!(seen.contains(&1) && seen.contains(&2));
        seen.insert(3);
        assert!(seen.contains(&1));
        seen.insert(4);
        assert!(!seen.contains(&1) && seen.contains(&3));
    }
}
