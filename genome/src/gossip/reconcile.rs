//! Which entries two catalogs do not share, from a number of bytes that depends on the difference alone: a rateless code
//! over salted ids. docs/protocol/mesh.md, Coded symbols.
//!
//! Every id is mixed into symbol 0 and then into ever rarer ones, at indices that follow from the id. The symbols of one
//! set minus those of another are the symbols of their difference; a symbol that holds a single id gives it away, and
//! taking that id out of the others uncovers more. Any prefix of the endless list of symbols is usable: who cannot decode
//! yet asks for a few more.

use std::collections::BTreeSet;

use crate::entry::EntryId;

/// The most symbols that are made, taken or decoded for one question. They decode about 280 differences.
pub const SYMBOLS_MAX: usize = 400;

/// The salt of one dialogue: it decides what the ids in it look like. A fresh one for every dialogue keeps anybody from
/// publishing entries whose ids collide or decode badly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Salt(pub [u8; 8]);

/// An id as it is named in one dialogue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct SaltedId(pub u64);

impl SaltedId {
    /// Its upper half: enough to tell one's own entries apart by, where a mistake costs one card sent in vain.
    pub fn head(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }
}

/// Makes salted ids and what the code needs to know about them.
#[derive(Clone)]
struct Mixer([u8; 32]);

impl Mixer {
    fn new(salt: Salt) -> Self {
        Self(blake3::derive_key("wend 1 catalog sync, salted ids", &salt.0))
    }

    fn words(&self, input: &[u8]) -> [u64; 2] {
        let hash = blake3::keyed_hash(&self.0, input);
        let (words, _) = hash.as_bytes().as_chunks::<8>();
        core::array::from_fn(|index| words.get(index).map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn salted(&self, entry: &EntryId) -> SaltedId {
        let [id, _] = self.words(entry.as_bytes());
        SaltedId(id)
    }

    fn traits(&self, id: SaltedId) -> Traits {
        let [check, seed] = self.words(&id.0.to_be_bytes());
        let check = (check >> 32) as u32;
        Traits { check, seed }
    }
}

/// What follows from a salted id.
#[derive(Clone, Copy)]
struct Traits {
    check: u32,
    seed: u64,
}

impl Traits {
    /// The positions below `end` of the symbols that hold the id.
    fn positions(self, end: usize) -> impl Iterator<Item = usize> {
        let main = Walk { at: 0, state: self.seed };
        let dense = Walk { at: DENSE_FIRST - 1, state: scramble(self.seed ^ u64::MAX) };
        let main = core::iter::once(0).chain(main).map(main_position).take_while(move |at| *at < end);
        let dense = dense.take_while(|index| *index < DENSE_END).map(dense_position);
        main.chain(dense.take_while(move |at| *at < end))
    }
}

/// Indices at which one id is mixed in: index i with a chance of 2 in i + 2.
struct Walk {
    at: u64,
    state: u64,
}

impl Iterator for Walk {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.at = step(self.at, scramble(self.state) >> 32);
        Some(self.at)
    }
}

/// Two ids that were held by the same symbols so far are parted late by symbols that get ever rarer. So every second
/// symbol of `MIXED` comes from a second row that starts dense again: at ten differences, one dialogue in a thousand then
/// needs more than 37 symbols, where it would be 59.
const MIXED: core::ops::Range<u64> = 20..60;
/// The indices of the second row that are used.
const DENSE_FIRST: u64 = 5;
const DENSE_END: u64 = DENSE_FIRST + (MIXED.end - MIXED.start) / 2;

/// Where index `index` of the main row stands among the symbols.
fn main_position(index: u64) -> usize {
    let mixed = (MIXED.end - MIXED.start) / 2;
    let moved = index.saturating_sub(MIXED.start).min(mixed);
    usize::try_from(index.saturating_add(moved)).unwrap_or(usize::MAX)
}

/// Where index `index` of the second row stands among the symbols.
fn dense_position(index: u64) -> usize {
    usize::try_from(MIXED.start + 1 + 2 * (index - DENSE_FIRST)).unwrap_or(usize::MAX)
}

/// The index after `at`, for a uniform 32-bit `draw`.
///
/// The chance that an id stays out of the symbols at + 1 ..= j is the product of k / (k + 2), which is
/// (at + 1)(at + 2) / ((j + 1)(j + 2)). The next index is the least j for which that falls below draw / 2^32.
fn step(at: u64, draw: u64) -> u64 {
    // Below SYMBOLS_MAX no product reaches 2^64; beyond it the exact index does not matter any more.
    let product = (at + 1).saturating_mul(at + 2).saturating_mul(1 << 32) / draw.max(1);
    // Least j with (j + 1)(j + 2) > product: near the square root, which lies between j + 1 and j + 2.
    let root = product.isqrt();
    let guess = root.saturating_sub(1).max(at + 1);
    if guess.saturating_add(1).saturating_mul(guess.saturating_add(2)) > product { guess } else { guess + 1 }
}

/// A bijection that spreads the bits of a counter (the finaliser of SplitMix64).
fn scramble(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// A coded symbol: the sums over the ids that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Symbol {
    /// Exclusive or of the ids.
    ids: u64,
    /// Exclusive or of their checksums.
    checks: u32,
    /// How many, modulo 256.
    count: u8,
}

impl Symbol {
    /// Encoded length: ids, checksums (big-endian), count.
    pub const LEN: usize = 13;

    /// The encoded form.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let encoded = self.ids.to_be_bytes().into_iter().chain(self.checks.to_be_bytes()).chain([self.count]);
        bytes.iter_mut().zip(encoded).for_each(|(to, from)| *to = from);
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [ids @ .., c0, c1, c2, c3, count] = *bytes;
        Self { ids: u64::from_be_bytes(ids), checks: u32::from_be_bytes([c0, c1, c2, c3]), count }
    }

    /// Reads symbols that follow each other; `None` when there is a part of one, or more than [`SYMBOLS_MAX`].
    pub fn read_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (symbols, rest) = bytes.as_chunks::<{ Self::LEN }>();
        (rest.is_empty() && symbols.len() <= SYMBOLS_MAX).then(|| symbols.iter().map(Self::from_bytes).collect())
    }

    /// The encoded forms of `symbols`, one after the other.
    pub fn write_all(symbols: &[Self]) -> Vec<u8> {
        symbols.iter().flat_map(|symbol| symbol.to_bytes()).collect()
    }

    fn mix(&mut self, id: SaltedId, traits: Traits, count: u8) {
        self.ids ^= id.0;
        self.checks ^= traits.check;
        self.count = self.count.wrapping_add(count);
    }

    fn minus(self, other: Self) -> Self {
        Self {
            ids: self.ids ^ other.ids,
            checks: self.checks ^ other.checks,
            count: self.count.wrapping_sub(other.count),
        }
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// A part of the space of salted ids: those that start with `bits` given bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Part {
    bits: u8,
    head: u32,
}

impl Part {
    /// Everything.
    pub const WHOLE: Self = Self { bits: 0, head: 0 };
    /// The most bits a part is named by: 16,384 parts share out the largest catalog sixteen times over.
    pub const BITS_MAX: u8 = 14;

    /// The part of ids whose first `bits` bits are `head`; `None` when there is no such part.
    pub fn new(bits: u8, head: u32) -> Option<Self> {
        (bits <= Self::BITS_MAX && head >> bits == 0).then_some(Self { bits, head })
    }

    /// How many bits name it.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Those bits.
    pub fn head(self) -> u32 {
        self.head
    }

    /// The parts of it that `bits` more bits name, in order; none when they would be smaller than parts get.
    pub fn split(self, bits: u8) -> impl DoubleEndedIterator<Item = Self> {
        let finer = self.bits.saturating_add(bits);
        let count = if finer <= Self::BITS_MAX { 1_u32 << bits } else { 0 };
        (0..count).map(move |tail| Self { bits: finer, head: self.head << bits | tail })
    }

    fn contains(self, id: SaltedId) -> bool {
        id.0.checked_shr(64 - u32::from(self.bits)).unwrap_or(0) == u64::from(self.head)
    }
}

/// The ids of a catalog, or of a part of it, as one dialogue names them.
#[derive(Clone)]
pub struct SaltedSet {
    mixer: Mixer,
    /// In the order of the salted ids, so that a part is a slice.
    ids: Vec<(SaltedId, EntryId)>,
}

impl core::fmt::Debug for SaltedSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SaltedSet({} ids)", self.ids.len())
    }
}

impl SaltedSet {
    /// The set of `entries` under `salt`.
    pub fn new(salt: Salt, entries: impl IntoIterator<Item = EntryId>) -> Self {
        let mixer = Mixer::new(salt);
        let mut ids: Vec<_> = entries.into_iter().map(|entry| (mixer.salted(&entry), entry)).collect();
        ids.sort_unstable();
        ids.dedup_by_key(|(id, _)| *id);
        Self { mixer, ids }
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How `entry` is named under this salt, whether or not the set has it.
    pub fn name(&self, entry: &EntryId) -> SaltedId {
        self.mixer.salted(entry)
    }

    /// The salted ids, in order.
    pub fn names(&self) -> impl Iterator<Item = SaltedId> {
        self.ids.iter().map(|(id, _)| *id)
    }

    /// The entry behind a salted id.
    pub fn entry(&self, id: SaltedId) -> Option<EntryId> {
        let at = self.ids.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.ids.get(at).map(|(_, entry)| *entry)
    }

    /// The entries whose salted id starts with `head`: as good as always one.
    pub fn entries_by_head(&self, head: u32) -> impl Iterator<Item = EntryId> {
        let from = self.ids.partition_point(|(id, _)| id.head() < head);
        let ids = self.ids.get(from..).unwrap_or_default().iter();
        ids.take_while(move |(id, _)| id.head() == head).map(|(_, entry)| *entry)
    }

    fn part(&self, part: Part) -> impl Iterator<Item = SaltedId> {
        let start = u64::from(part.head).checked_shl(64 - u32::from(part.bits)).unwrap_or(0);
        let from = self.ids.partition_point(|(id, _)| id.0 < start);
        let ids = self.ids.get(from..).unwrap_or_default().iter().map(|(id, _)| *id);
        ids.take_while(move |id| part.contains(*id))
    }

    /// The first `len` symbols (at most [`SYMBOLS_MAX`]) of a part of the set.
    pub fn symbols(&self, part: Part, len: usize) -> Vec<Symbol> {
        let mut symbols = vec![Symbol::default(); len.min(SYMBOLS_MAX)];
        for id in self.part(part) {
            let traits = self.mixer.traits(id);
            for index in traits.positions(symbols.len()) {
                if let Some(symbol) = symbols.get_mut(index) {
                    symbol.mix(id, traits, 1);
                }
            }
        }
        symbols
    }

    /// What a part of this set and the set behind `theirs`, its first symbols, do not share.
    ///
    /// Work and memory depend on the number of symbols and of our own ids only, whatever the symbols are.
    ///
    /// # Errors
    /// [`Undecided`] when these symbols do not settle it.
    pub fn difference(&self, part: Part, theirs: &[Symbol]) -> Result<Difference, Undecided> {
        if theirs.is_empty() {
            return Err(Undecided { estimate: None });
        }
        let ours = self.symbols(part, theirs.len());
        let left: Vec<_> = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.minus(*ours)).collect();
        peel(&self.mixer, left.clone())
            .filter(|found| found.only_ours.iter().all(|id| self.entry(*id).is_some() && part.contains(*id)))
            .filter(|found| found.only_theirs.iter().all(|id| self.entry(*id).is_none() && part.contains(*id)))
            .ok_or_else(|| Undecided { estimate: estimate(&left) })
    }
}

/// What two sets do not share.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Difference {
    /// Ids that only our set has.
    pub only_ours: Vec<SaltedId>,
    /// Ids that only the set behind the received symbols has.
    pub only_theirs: Vec<SaltedId>,
}

/// More symbols are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undecided {
    /// About how many differences there are; `None` when there are too many to tell from these symbols.
    pub estimate: Option<usize>,
}

/// The index, in its row, of the symbol at `position`.
fn index_at(position: u32) -> u32 {
    match position {
        0..20 => position,
        20..60 if position % 2 == 1 => 5 + (position - 21) / 2,
        20..60 => 20 + (position - 20) / 2,
        _ => position - 20,
    }
}

/// Takes ids out of symbols that hold one only, until nothing is left. `None` when it gets stuck or the symbols
/// contradict themselves.
fn peel(mixer: &Mixer, mut symbols: Vec<Symbol>) -> Option<Difference> {
    let mut found = Difference::default();
    let mut seen = BTreeSet::new();
    let mut queue: Vec<usize> = (0..symbols.len()).collect();
    // Each round either drops an index from the queue for good or finds a new id; there are never more ids than symbols.
    while let Some(index) = queue.pop() {
        let symbol = *symbols.get(index)?;
        let (side, count) = match symbol.count {
            1 => (&mut found.only_theirs, u8::MAX),
            u8::MAX => (&mut found.only_ours, 1),
            _ => continue,
        };
        let id = SaltedId(symbol.ids);
        let traits = mixer.traits(id);
        if traits.check != symbol.checks {
            continue;
        }
        if seen.len() >= symbols.len() || !seen.insert(id) {
            return None;
        }
        side.push(id);
        let len = symbols.len();
        for holder in traits.positions(len) {
            symbols.get_mut(holder)?.mix(id, traits, count);
            queue.push(holder);
        }
    }
    symbols.iter().all(|symbol| symbol.is_empty()).then_some(found)
}

/// About how many ids these symbols hold, from how many of them are empty.
fn estimate(symbols: &[Symbol]) -> Option<usize> {
    let empty = symbols.iter().filter(|symbol| symbol.is_empty()).count();
    if empty == 0 {
        return None;
    }
    // An id stays out of index i with a chance of i / (i + 2). Halving finds the number that leaves as many empty.
    let expected = |ids: u32| -> f64 {
        (0..symbols.len()).fold(0.0, |sum, position| {
            let index = f64::from(index_at(u32::try_from(position).unwrap_or(u32::MAX)));
            sum + (index / (index + 2.0)).powf(f64::from(ids))
        })
    };
    let wanted = f64::from(u32::try_from(empty).unwrap_or(u32::MAX));
    let (mut low, mut high) = (0_u32, 4_000);
    while low < high {
        let middle = low.midpoint(high);
        if expected(middle) > wanted { low = middle + 1 } else { high = middle }
    }
    usize::try_from(low).ok()
}

#[cfg(test)]
mod tests;
