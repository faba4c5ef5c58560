//! A table with a stated size: peers can fill it, they cannot grow it.

mod ring;

use core::fmt;
use core::hash::Hash;

use hashbrown::HashTable;

use crate::keyed::KeyHasher;
use ring::{Place, Ring};

/// Places for so many entries are kept for the next ones.
const LARGE: usize = 4096;

/// A map of at most `capacity` entries. When full, the entry that was inserted or [refreshed](Bounded::refresh) longest
/// ago makes room, and the eviction is counted.
///
/// Every operation on one entry takes the same time however many there are, and none allocates once the table has been as
/// full before as it is now; but a table that held thousands gives its memory back when it is empty.
#[derive(Clone)]
pub struct Bounded<K, V> {
    entries: Ring<(K, V)>,
    places: HashTable<Place>,
    hasher: KeyHasher,
    capacity: usize,
    evicted: u64,
}

impl<K, V> fmt::Debug for Bounded<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bounded({} of {})", self.places.len(), self.capacity)
    }
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    /// An empty table for `capacity` entries; a capacity of zero holds nothing. For tables of at most some thousands: where
    /// strangers choose the keys of more, use [`Bounded::keyed`].
    pub fn new(capacity: usize) -> Self {
        Self::keyed(capacity, 0)
    }

    /// An empty table for `capacity` entries, with a seed that strangers do not know: they could otherwise choose keys that
    /// are slow to tell apart. Nothing but speed depends on it.
    pub fn keyed(capacity: usize, seed: u64) -> Self {
        Self { entries: Ring::new(), places: HashTable::new(), hasher: KeyHasher::new(seed), capacity, evicted: 0 }
    }

    fn place(&self, key: &K) -> Option<Place> {
        let is = |place: &Place| self.entries.get(*place).is_some_and(|(this, _)| this == key);
        self.places.find(self.hasher.hash(key), is).copied()
    }

    /// Inserts as the youngest entry. Returns what had to leave: the old value of the same key, or the oldest entry.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if let Some(place) = self.place(&key) {
            self.entries.refresh(place);
            let (_, before) = self.entries.get_mut(place)?;
            return Some((key, core::mem::replace(before, value)));
        }
        if self.capacity == 0 {
            self.evicted += 1;
            return Some((key, value));
        }
        let leaves = if self.len() >= self.capacity { self.pop_oldest_if(|_, _| true) } else { None };
        self.evicted += u64::from(leaves.is_some());
        let hash = self.hasher.hash(&key);
        let Some(place) = self.entries.push((key, value)) else { return leaves };
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash_of = |place: &Place| entries.get(*place).map_or(0, |(key, _)| hasher.hash(key));
        self.places.insert_unique(hash, place, hash_of);
        leaves
    }

    /// Makes `key` the youngest entry. Does nothing when it is absent.
    pub fn refresh(&mut self, key: &K) {
        if let Some(place) = self.place(key) {
            self.entries.refresh(place);
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(self.place(key)?).map(|(_, value)| value)
    }

    /// The value of `key`, to change it in place. Its age stays.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(self.place(key)?).map(|(_, value)| value)
    }

    /// The value of `key`, which becomes the youngest entry.
    pub fn use_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key)?;
        self.entries.refresh(place);
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Whether `key` is present.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entries = &self.entries;
        let is = |place: &Place| entries.get(*place).is_some_and(|(this, _)| this == key);
        let (place, _) = self.places.find_entry(self.hasher.hash(key), is).ok()?.remove();
        self.give_back();
        self.entries.remove(place).map(|(_, value)| value)
    }

    /// A table that a flood made large and that is empty again takes no memory.
    fn give_back(&mut self) {
        if self.places.is_empty() && self.places.capacity() > LARGE {
            self.places = HashTable::new();
        }
    }

    /// Takes out the entry that was inserted or refreshed longest ago, if `condition` holds for it. Not counted as evicted.
    pub fn pop_oldest_if(&mut self, condition: impl FnOnce(&K, &V) -> bool) -> Option<(K, V)> {
        let place = self.entries.oldest()?;
        let (key, value) = self.entries.get(place)?;
        if !condition(key, value) {
            return None;
        }
        self.take(place)
    }

    fn take(&mut self, place: Place) -> Option<(K, V)> {
        let (key, _) = self.entries.get(place)?;
        if let Ok(entry) = self.places.find_entry(self.hasher.hash(key), |this| *this == place) {
            entry.remove();
        }
        self.give_back();
        self.entries.remove(place)
    }

    /// Keeps the entries for which `keep` says yes. They are asked about from the oldest to the youngest.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        let mut next = self.entries.oldest();
        while let Some(place) = next {
            next = self.entries.younger(place);
            let stays = self.entries.get_mut(place).is_none_or(|(key, value)| keep(key, value));
            if !stays {
                self.take(place);
            }
        }
    }

    /// All entries, from the oldest to the youngest.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let places = core::iter::successors(self.entries.oldest(), |place| self.entries.younger(*place));
        places.filter_map(|place| self.entries.get(place)).map(|(key, value)| (key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
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

    #[test]
    fn entries_are_listed_by_age() {
        let mut table = Bounded::keyed(3, 7);
        for key in ['c', 'a', 'b'] {
            table.insert(key, ());
        }
        table.refresh(&'c');
        let order = |table: &Bounded<char, ()>| table.iter().map(|(key, ())| *key).collect::<String>();
        assert_eq!(order(&table), "abc");
        table.insert('b', ());
        assert_eq!(order(&table), "acb");
        table.retain(|key, ()| *key != 'c');
        assert_eq!((order(&table).as_str(), table.len()), ("ab", 2));
        assert_eq!(table.remove(&'a'), Some(()));
        assert_eq!(table.remove(&'b'), Some(()));
        table.insert('d', ());
        assert_eq!(order(&table), "d");
    }

    /// The same operations on a table and on a list that is searched: slow, but seen to be right.
    #[test]
    fn a_long_run_of_operations_does_what_a_plain_list_does() {
        for seed in [1, 0xdead_beef] {
            let (mut table, mut list) = (Bounded::keyed(300, seed), Vec::<(u32, u32)>::new());
            let mut state = 1_u64;
            let mut random = |below: u32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % u64::from(below)) as u32
            };
            for step in 0..50_000 {
                let key = random(500);
                let at = list.iter().position(|(this, _)| *this == key);
                match random(if step % 20_000 < 15_000 { 6 } else { 3 }) {
                    0 => assert_eq!(table.remove(&key), at.map(|at| list.remove(at).1)),
                    1 => {
                        table.refresh(&key);
                        if let Some(at) = at {
                            let entry = list.remove(at);
                            list.push(entry);
                        }
                    }
                    2 => assert_eq!(table.get(&key), at.map(|at| &list[at].1)),
                    _ => {
                        let left = match at {
                            Some(at) => Some(list.remove(at)),
                            None if list.len() == 300 => Some(list.remove(0)),
                            None => None,
                        };
                        list.push((key, step));
                        assert_eq!(table.insert(key, step), left);
                    }
                }
                assert_eq!(table.len(), list.len());
            }
            assert!(table.iter().map(|(key, value)| (*key, *value)).eq(list));
        }
    }
}
