//! A table with a stated size: peers can fill it, they cannot grow it.

use std::collections::BTreeMap;

/// A map of at most `capacity` entries. When full, the entry that was inserted or [refreshed](Bounded::refresh) longest
/// ago makes room, and the eviction is counted.
#[derive(Debug, Clone)]
pub struct Bounded<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
    capacity: usize,
    evicted: u64,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    /// An empty table for `capacity` entries; a capacity of zero holds nothing.
    pub fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), next: 0, capacity, evicted: 0 }
    }

    /// Inserts as the youngest entry. Returns what had to leave: the old value of the same key, or the oldest entry.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if self.capacity == 0 {
            self.evicted += 1;
            return Some((key, value));
        }
        let stamp = self.next;
        self.next += 1;
        self.order.insert(stamp, key.clone());
        if let Some((old, before)) = self.entries.insert(key.clone(), (stamp, value)) {
            self.order.remove(&old);
            return Some((key, before));
        }
        if self.entries.len() <= self.capacity {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        let (_, value) = self.entries.remove(&oldest)?;
        self.evicted += 1;
        Some((oldest, value))
    }

    /// Makes `key` the youngest entry. Does nothing when it is absent.
    pub fn refresh(&mut self, key: &K) {
        if let Some((stamp, _)) = self.entries.get_mut(key) {
            self.order.remove(stamp);
            *stamp = self.next;
            self.order.insert(self.next, key.clone());
            self.next += 1;
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The value of `key`, to change it in place. Its age stays.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Whether `key` is present.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (stamp, value) = self.entries.remove(key)?;
        self.order.remove(&stamp);
        Some(value)
    }

    /// Takes out the entry that was inserted or refreshed longest ago, if `condition` holds for it. Not counted as evicted.
    pub fn pop_oldest_if(&mut self, condition: impl FnOnce(&K, &V) -> bool) -> Option<(K, V)> {
        let oldest = self.order.first_entry()?;
        let (_, value) = self.entries.get(oldest.get())?;
        if !condition(oldest.get(), value) {
            return None;
        }
        let key = oldest.remove();
        let (_, value) = self.entries.remove(&key)?;
        Some((key, value))
    }

    /// Keeps the entries for which `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        let order = &mut self.order;
        self.entries.retain(|key, (stamp, value)| {
            let stays = keep(key, value);
            if !stays {
                order.remove(stamp);
            }
            stays
        });
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The most entries this table holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many entries had to leave for a younger one so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_leaves_when_the_table_is_full() {
        let mut table = Bounded::new(2);
        assert_eq!(table.insert('a', 1), None);
        assert_eq!(table.insert('b', 2), None);
        table.refresh(&'a');
        assert_eq!(table.insert('c', 3), Some(('b', 2)));
        assert_eq!((table.len(), table.evicted()), (2, 1));
        assert!(table.contains_key(&'a'));
    }

    #[test]
    fn the_oldest_entry_is_taken_only_if_asked_for() {
        let mut table = Bounded::new(2);
        table.insert('a', 1);
        table.insert('b', 2);
        assert_eq!(table.pop_oldest_if(|_, value| *value > 1), None);
        assert_eq!(table.pop_oldest_if(|_, value| *value == 1), Some(('a', 1)));
        assert_eq!((table.len(), table.evicted()), (1, 0));
    }

    #[test]
    fn replacing_a_value_evicts_nothing() {
        let mut table = Bounded::new(1);
        table.insert('a', 1);
        assert_eq!(table.insert('a', 2), Some(('a', 1)));
        assert_eq!((table.get(&'a'), table.evicted()), (Some(&2), 0));
    }

    #[test]
    fn a_table_of_no_capacity_holds_nothing() {
        let mut table = Bounded::new(0);
        assert_eq!(table.insert('a', 1), Some(('a', 1)));
        assert!(table.is_empty());
    }
}
