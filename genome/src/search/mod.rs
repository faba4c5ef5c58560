//! Search over the catalog: by meaning where vectors can be compared, by words always, and what each result rests on.
//!
//! A [`Search`] holds what ranking needs and nothing else: words, vectors, filter facts. It does no I/O; whoever owns
//! the catalog inserts and removes entries, embeds the query (see [`crate::embed`]) and attaches an index once
//! [`Search::wants_index`] says so. docs/embedding.md.

mod filter;
mod rank;
mod text;
mod vectors;
mod words;

use std::collections::BTreeMap;
use std::fmt;

pub use filter::{Details, Facets, Filter, Wanted};
pub use vectors::{QueryVector, VECTOR_BYTES_MAX, Vector};

use crate::entry::{EntryId, Sketch, SpaceId};
use vectors::Columns;
use words::{Slot, Words};

/// Below this many vectors the exact scan is used, from here on an index. docs/embedding.md, usearch.
pub const INDEX_FROM: usize = 20_000;
/// Most embedding spaces kept apart; entries of further ones are found by words.
pub const SPACES_MAX: usize = 8;
/// Most results of one search.
pub const LIMIT_MAX: usize = 1_000;

/// An index may hold one key that is gone for so many that are there.
pub const STALE_ONE_IN: usize = 10;

/// The name of a model whose vectors are known by their space, for people to read.
pub fn model_name(space: SpaceId) -> Option<&'static str> {
    (space == crate::embed::MINI_LM).then_some("all-MiniLM-L6-v2")
}

/// What an entry brings to the search.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    /// Its id.
    pub id: EntryId,
    /// Its name; as cut by the card when that is all there is.
    pub name: &'a str,
    /// Its description, empty when only the card is known.
    pub description: &'a str,
    /// Its tags, empty when only the card is known.
    pub tags: &'a [String],
    /// What filters look at.
    pub facets: Facets,
    /// Its vector with the space it belongs to.
    pub vector: Option<(SpaceId, Vector<'a>)>,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The words.
    pub text: &'a str,
    /// The meaning, with the space it belongs to. Only entries of that space are compared with it.
    pub vector: Option<(SpaceId, QueryVector)>,
    /// Conditions.
    pub filter: Filter,
    /// Most results wanted, at most [`LIMIT_MAX`].
    pub limit: usize,
}

/// What a search found, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the order rests on.
    pub ranked_by: RankedBy,
    /// The entries.
    pub hits: Vec<Hit>,
}

/// What the order of an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankedBy {
    /// Vectors of this space; words only for exact names, rare terms, and entries without such a vector.
    Meaning(SpaceId),
    /// Words alone: the query had no vector, or no entry can be compared with it.
    Words,
}

impl fmt::Display for RankedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words => f.write_str("words"),
            Self::Meaning(space) => match model_name(*space) {
                Some(name) => write!(f, "meaning ({name})"),
                None => write!(f, "meaning (space {space})"),
            },
        }
    }
}

/// One result, and why it is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The entry.
    pub id: EntryId,
    /// What it was ordered by. Comparable within one answer only.
    pub score: f32,
    /// Cosine to the query, -1 to 1, when their vectors could be compared.
    pub meaning: Option<Meaning>,
    /// Words of the query that the entry has, as the query wrote them.
    pub words: Vec<String>,
    /// The query names the entry.
    pub named: bool,
}

/// How near an entry is to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meaning {
    /// Cosine, -1 to 1; an estimate when either side is a sketch.
    pub cosine: f32,
    /// What was known of the entry's vector.
    pub from: Form,
}

/// The form an entry's vector is known in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The int8 vector of the manifest.
    Quantised,
    /// The 48-byte sketch of the card.
    Sketch,
}

/// An index over the sketches of one space: names candidates, which are then compared exactly. Keys are the first
/// eight bytes of entry ids.
pub trait Nearest: fmt::Debug + Send + Sync {
    /// Adds a key, unless it is there.
    fn insert(&mut self, key: u64, sketch: &Sketch);
    /// Takes a key out.
    fn remove(&mut self, key: u64);
    /// Whether the key is there.
    fn contains(&self, key: u64) -> bool;
    /// How many keys there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// At most `count` keys near `query` among those that `admit` lets through; `None` when it can't answer now, then
    /// the caller compares with everything.
    fn nearest(&self, query: &Sketch, count: usize, admit: &dyn Fn(u64) -> bool) -> Option<Vec<u64>>;
}

/// The search holds as many entries as it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the search holds {capacity} entries and has no room for another")]
pub struct Full {
    /// The most it holds.
    pub capacity: usize,
}

#[derive(Debug)]
struct Known {
    id: EntryId,
    /// The words of the name joined by hyphens, lower-cased.
    name: Box<str>,
    facets: Facets,
    space: Option<SpaceId>,
}

#[derive(Debug, Default)]
struct Space {
    columns: Columns,
    index: Option<Box<dyn Nearest>>,
}

/// What ranking knows of the entries. Bounded by the capacity it was made with; of each entry it keeps the terms, the
/// filter facts and at most [`VECTOR_BYTES_MAX`] bytes of vector.
#[derive(Debug)]
pub struct Search {
    capacity: usize,
    slots: BTreeMap<EntryId, Slot>,
    known: BTreeMap<Slot, Known>,
    next: Slot,
    words: Words,
    spaces: BTreeMap<SpaceId, Space>,
}

impl Search {
    /// An empty search for at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.min(Slot::MAX as usize),
            slots: BTreeMap::new(),
            known: BTreeMap::new(),
            next: 0,
            words: Words::default(),
            spaces: BTreeMap::new(),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds an entry, or replaces what was known of it, as when its manifest arrives.
    pub fn insert(&mut self, document: &Document<'_>) -> Result<(), Full> {
        let slot = match self.slots.get(&document.id) {
            Some(slot) => *slot,
            None if self.slots.len() < self.capacity => self.free_slot(),
            None => return Err(Full { capacity: self.capacity }),
        };
        let space = document.vector.map(|(space, _)| space).filter(|space| self.has_room_for(*space));
        // An index entry stays right for as long as the id does, because the id covers the sketch.
        self.forget_vector(slot, document.id, space);
        let texts = [document.name, document.description].into_iter().chain(document.tags.iter().map(String::as_str));
        self.words.insert(slot, texts);
        if let (Some(space), Some((_, vector))) = (space, document.vector) {
            let space = self.spaces.entry(space).or_default();
            space.columns.insert(slot, vector);
            if let Some(index) = &mut space.index {
                let sketch = match vector {
                    Vector::Quantised(quantised) => quantised.sketch(),
                    Vector::Sketch(sketch) => *sketch,
                };
                index.insert(index_key(document.id), &sketch);
            }
        }
        let name = rank::joined(document.name).into_boxed_str();
        self.known.insert(slot, Known { id: document.id, name, facets: document.facets.clone(), space });
        self.slots.insert(document.id, slot);
        Ok(())
    }

    /// Takes an entry out. Does nothing when it is absent.
    pub fn remove(&mut self, id: EntryId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.words.remove(slot);
        self.forget_vector(slot, id, None);
        self.known.remove(&slot);
    }

    /// Takes the vector of `slot` out, from the index too unless the entry stays in the same space.
    fn forget_vector(&mut self, slot: Slot, id: EntryId, next: Option<SpaceId>) {
        let Some(before) = self.known.get(&slot).and_then(|known| known.space) else { return };
        let shared = self.with_key(index_key(id)).any(|other| other != slot && self.space_of(other) == Some(before));
        let Some(space) = self.spaces.get_mut(&before) else { return };
        space.columns.remove(slot);
        if next == Some(before) {
            return;
        }
        if let Some(index) = &mut space.index
            && !shared
        {
            index.remove(index_key(id));
        }
        if space.columns.len() == 0 {
            self.spaces.remove(&before);
        }
    }

    fn space_of(&self, slot: Slot) -> Option<SpaceId> {
        self.known.get(&slot).and_then(|known| known.space)
    }

    fn has_room_for(&self, space: SpaceId) -> bool {
        space != SpaceId::NONE && (self.spaces.contains_key(&space) || self.spaces.len() < SPACES_MAX)
    }

    fn free_slot(&mut self) -> Slot {
        // There are more numbers than entries, so this ends.
        while self.known.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let slot = self.next;
        self.next = self.next.wrapping_add(1);
        slot
    }

    /// The entries whose id starts with `key`: one, unless somebody went to great lengths.
    fn with_key(&self, key: u64) -> impl Iterator<Item = Slot> + '_ {
        let bound = |fill: u8| {
            let mut bytes = [fill; EntryId::LEN];
            bytes.iter_mut().zip(key.to_be_bytes()).for_each(|(to, from)| *to = from);
            EntryId::new(bytes)
        };
        self.slots.range(bound(0)..=bound(0xff)).map(|(_, slot)| *slot)
    }

    /// Whether a space has grown to where an index pays and has none. Build one from [`sketches`](Self::sketches) in a
    /// job and [`attach`](Self::attach) it; until then everything is compared exactly.
    pub fn wants_index(&self, space: SpaceId) -> bool {
        self.spaces.get(&space).is_some_and(|space| space.index.is_none() && space.columns.len() >= INDEX_FROM)
    }

    /// The spaces that have entries here.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> + '_ {
        self.spaces.keys().copied()
    }

    /// Keys and sketches of a space, as [`Nearest`] takes them.
    pub fn sketches(&self, space: SpaceId) -> impl Iterator<Item = (u64, Sketch)> + '_ {
        let sketches = self.spaces.get(&space).into_iter().flat_map(|space| space.columns.sketches());
        sketches.filter_map(|(slot, sketch)| Some((index_key(self.known.get(&slot)?.id), sketch)))
    }

    /// Uses `index` for a space from now on. What came since it was built is added; what left costs it a little time at
    /// each search, and the index is not taken when that is more than a tenth.
    pub fn attach(&mut self, space: SpaceId, mut index: Box<dyn Nearest>) -> Attached {
        let (mut added, mut here) = (0, 0);
        for (key, sketch) in self.sketches(space) {
            here += 1;
            if !index.contains(key) {
                index.insert(key, &sketch);
                added += 1;
            }
        }
        let stale = index.len().saturating_sub(here);
        match self.spaces.get_mut(&space) {
            Some(space) if stale <= here / STALE_ONE_IN => {
                space.index = Some(index);
                Attached::Used { added }
            }
            _ => Attached::Refused { stale },
        }
    }

    #[cfg(test)]
    pub(crate) fn index(&self, space: SpaceId) -> Option<&dyn Nearest> {
        self.spaces.get(&space)?.index.as_deref()
    }

    /// Whether the int8 form of an entry's vector is here, not only the sketch of its card.
    pub fn is_quantised(&self, id: EntryId) -> bool {
        let Some(slot) = self.slots.get(&id) else { return false };
        let space = self.space_of(*slot).and_then(|space| self.spaces.get(&space));
        space.is_some_and(|space| space.columns.is_quantised(*slot))
    }
}

/// What became of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// It is used; so many entries were new to it.
    Used {
        /// Entries added.
        added: usize,
    },
    /// It holds too much that is gone: build another.
    Refused {
        /// Entries that are gone.
        stale: usize,
    },
}

/// The key of an entry in an index. Ids are hashes, so the first bytes are as good as any.
fn index_key(id: EntryId) -> u64 {
    let (head, _) = id.as_bytes().split_at(8);
    head.iter().fold(0, |key, byte| key << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
