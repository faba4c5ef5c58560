//! What was seen lately, in two generations. docs/protocol/1-core.md, section 3.6, docs/decisions/0070-one-line-for-a-duplicate.md.

use core::hash::Hash;
use core::marker::PhantomData;

use crate::keyed::KeyHasher;

/// Marks in one line of the processor's cache.
const LINE: usize = 8;
/// Marks for each line beyond which the set grows, while it may.
const CROWDED: usize = LINE / 2;
/// The generations that a mark can be of: two that count, and one before them whose marks are cleared bit by bit. Zero is a
/// place without a mark.
const GENERATIONS: u64 = 3;
/// The low bits of a mark, which say its generation.
const GENERATION: u64 = 0b11;

/// Places for marks: a mark is 62 bits of the key's hash, and its generation.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; LINE]);

/// A set that forgets by halves: when the current generation is over its limit it becomes the previous one, and the previous
/// one is forgotten.
///
/// Of a key it keeps 62 bits of a hash whose seed strangers do not know: one in some 10^17 keys that were never seen is taken
/// for one that was. Each key has two lines it may stand in, and goes where more room is. Where there is none it takes the
/// place of another, which is forgotten early; at half the places used, that does not happen by chance.
#[derive(Debug)]
pub(super) struct Seen<K> {
    /// A power of two.
    lines: Vec<Line>,
    most_lines: usize,
    hasher: KeyHasher,
    limit: usize,
    /// Of marks that are made now: 1, 2 or 3.
    generation: u64,
    /// Marks of this generation.
    current: usize,
    /// Places that are not empty.
    taken: usize,
    /// Lines from here on may hold marks of the generation before the previous one.
    swept: usize,
    key: PhantomData<K>,
}

impl<K: Hash + Eq> Seen<K> {
    pub(super) fn keyed(limit: usize, seed: u64) -> Self {
        let both = limit.saturating_add(1).saturating_mul(2);
        Self {
            lines: vec![Line::default()],
            most_lines: both.div_ceil(CROWDED).next_power_of_two(),
            hasher: KeyHasher::new(seed),
            limit,
            generation: 1,
            current: 0,
            taken: 0,
            swept: 0,
            key: PhantomData,
        }
    }

    /// The generation that is forgotten.
    fn forgotten(&self) -> u64 {
        self.generation % GENERATIONS + 1
    }

    /// The two lines of a key with this hash.
    fn places(&self, hash: u64) -> [usize; 2] {
        let mask = self.lines.len() - 1;
        [hash >> 2, hash >> 33].map(|bits| usize::try_from(bits & u64::from(u32::MAX)).unwrap_or_default() & mask)
    }

    fn line(&self, at: usize) -> Line {
        self.lines.get(at).copied().unwrap_or_default()
    }

    /// The mark of a key with this hash, wherever it is.
    fn find(&self, hash: u64) -> Option<(usize, usize)> {
        let is = |mark: &u64| (mark ^ hash) & !GENERATION == 0 && mark & GENERATION != 0;
        self.places(hash).into_iter().find_map(|line| Some((line, self.line(line).0.iter().position(is)?)))
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        let found = self.find(self.hasher.hash(key));
        found.is_some_and(|(line, at)| self.line(line).0.get(at).is_some_and(|m| m & GENERATION != self.forgotten()))
    }

    /// Looks where `key` would be, for nothing but that the processor has it at hand when it is asked for. What waits for
    /// memory here waits for many keys at once.
    pub(super) fn approach(&self, key: &K) {
        for line in self.places(self.hasher.hash(key)) {
            core::hint::black_box(self.lines.get(line).map(|line| line.0.first().copied()));
        }
    }

    pub(super) fn insert(&mut self, key: K) {
        let hash = self.hasher.hash(&key);
        let mark = hash & !GENERATION | self.generation;
        if let Some((line, at)) = self.find(hash) {
            if self.line(line).0.get(at) == Some(&mark) {
                return;
            }
            self.put(line, at, mark);
        } else {
            if self.taken >= self.lines.len() * CROWDED && self.lines.len() < self.most_lines {
                self.grow();
            }
            self.place(mark);
        }
        self.current += 1;
        let steps = self.lines.len().div_ceil(self.limit.max(1));
        (0..steps).for_each(|_| self.sweep());
        if self.current > self.limit {
            while self.swept < self.lines.len() {
                self.sweep();
            }
            self.generation = self.forgotten();
            (self.current, self.swept) = (0, 0);
        }
    }

    fn put(&mut self, line: usize, at: usize, mark: u64) {
        if let Some(place) = self.lines.get_mut(line).and_then(|line| line.0.get_mut(at)) {
            self.taken += usize::from(*place == 0);
            *place = mark;
        }
    }

    /// Puts a mark into the emptier one of its lines.
    fn place(&mut self, mark: u64) {
        let forgotten = self.forgotten();
        let free = |mark: &u64| *mark & GENERATION == 0 || *mark & GENERATION == forgotten;
        let [one, other] = self.places(mark);
        let room = |line: usize| self.line(line).0.iter().filter(|mark| free(mark)).count();
        let line = if room(one) >= room(other) { one } else { other };
        let marks = self.line(line).0;
        let older = |mark: &u64| *mark & GENERATION != self.generation;
        let at = marks.iter().position(free).or_else(|| marks.iter().position(older)).unwrap_or_default();
        self.put(line, at, mark);
    }

    /// Clears one line of marks that are forgotten.
    fn sweep(&mut self) {
        let forgotten = self.forgotten();
        if let Some(line) = self.lines.get_mut(self.swept) {
            self.swept += 1;
            for mark in line.0.iter_mut().filter(|mark| **mark & GENERATION == forgotten) {
                *mark = 0;
                self.taken -= 1;
            }
        }
    }

    /// Twice as many lines. What is forgotten does not come along.
    fn grow(&mut self) {
        let forgotten = self.forgotten();
        let lines = vec![Line::default(); self.lines.len() * 2];
        let marks = core::mem::replace(&mut self.lines, lines);
        self.taken = 0;
        for mark in marks.iter().flat_map(|line| line.0) {
            if mark & GENERATION != 0 && mark & GENERATION != forgotten {
                self.place(mark);
            }
        }
        self.swept = self.lines.len();
    }
}

#[cfg(test)]
impl<K> Seen<K> {
    /// Keys that are remembered.
    pub(super) fn len(&self) -> usize {
        let forgotten = self.generation % GENERATIONS + 1;
        let marks = self.lines.iter().flat_map(|line| line.0);
        marks.filter(|mark| mark & GENERATION != 0 && mark & GENERATION != forgotten).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    /// Against two plain sets, over many generations and with keys that come again.
    #[test]
    fn remembers_what_two_sets_in_turn_remember() {
        for (limit, seed) in [(1, 1), (3, 2), (100, 3), (1000, 4), (1500, 5)] {
            let (mut seen, mut sets) = (Seen::keyed(limit, seed), [BTreeSet::new(), BTreeSet::new()]);
            let mut state = seed;
            for _ in 0..limit * 20 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = (state >> 33) % (limit as u64 * 5);
                assert_eq!(seen.contains(&key), sets.iter().any(|set| set.contains(&key)), "{key} of {limit}");
                if state & 1 << 20 == 0 {
                    seen.approach(&key);
                    seen.insert(key);
                    sets[0].insert(key);
                    if sets[0].len() > limit {
                        sets.swap(0, 1);
                        sets[0].clear();
                    }
                }
            }
            assert_eq!(seen.len(), sets[0].union(&sets[1]).count());
            assert!(seen.lines.len() <= seen.most_lines);
        }
    }

    #[test]
    fn a_large_set_forgets_nothing_early() {
        let limit = 60_000;
        let mut seen = Seen::keyed(limit, 9);
        for key in 0..limit as u64 * 5 {
            seen.insert(key);
        }
        let first = limit as u64 * 5 - limit as u64;
        assert!((first..limit as u64 * 5).all(|key| seen.contains(&key)));
        assert!(seen.lines.len() * LINE <= limit * 9, "{} lines", seen.lines.len());
    }
}
