//! What was seen lately, in two generations. docs/protocol/1-core.md, section 3.6.

use std::collections::BTreeSet;

/// A set that forgets by halves: when the current generation is over its limit it becomes the previous one, whose content
/// is forgotten.
#[derive(Debug)]
pub(super) struct Seen<K> {
    current: BTreeSet<K>,
    previous: BTreeSet<K>,
    limit: usize,
}

impl<K: Ord> Seen<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self { current: BTreeSet::new(), previous: BTreeSet::new(), limit }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.current.contains(key) || self.previous.contains(key)
    }

    pub(super) fn insert(&mut self, key: K) {
        self.current.insert(key);
        if self.current.len() > self.limit {
            self.previous = core::mem::take(&mut self.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_after_two_generations() {
        let mut seen = Seen::new(1);
        seen.insert(1);
        seen.insert(2);
        assert!(seen.contains(&1) && seen.contains(&2));
        seen.insert(3);
        assert!(seen.contains(&1));
        seen.insert(4);
        assert!(!seen.contains(&1) && seen.contains(&3));
    }
}
