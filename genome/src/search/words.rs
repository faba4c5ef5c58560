//! Search by words: BM25 over an inverted index that entries join and leave one at a time.

use std::collections::BTreeMap;

use super::text::{self, Term};

/// How fast more of the same term stops to count.
const K1: f32 = 1.2;
/// How much a long text is held against an entry.
const B: f32 = 0.75;
/// Most different terms of a query that are looked at.
const QUERY_TERMS_MAX: usize = 32;

/// Number of an entry in the tables of a [`Search`](super::Search).
pub(super) type Slot = u32;

/// A query term as the index knows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct QueryTerm {
    /// What the person wrote, lower-cased.
    pub(super) word: String,
    /// What is compared.
    pub(super) stem: String,
    /// How many entries have it.
    pub(super) entries: usize,
    /// What one occurrence is worth.
    pub(super) idf: f32,
}

#[derive(Debug, Clone, Copy)]
struct Posting {
    slot: Slot,
    count: u16,
}

#[derive(Debug, Default)]
struct Postings {
    stem: Box<str>,
    list: Vec<Posting>,
}

#[derive(Debug, Default)]
struct Document {
    /// Numbers of its different terms.
    terms: Box<[u32]>,
    /// How many terms it has, repeats counted.
    length: u32,
}

/// The inverted index. It grows with its entries and shrinks with them; a text adds at most
/// [`TERMS_MAX`](text::TERMS_MAX) terms of [`TERM_MAX`](text::TERM_MAX) bytes.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: BTreeMap<Box<str>, u32>,
    postings: Vec<Postings>,
    free: Vec<u32>,
    documents: BTreeMap<Slot, Document>,
    total_length: u64,
}

impl Words {
    /// Adds the texts of one entry. What `slot` had before leaves.
    pub(super) fn insert<'a>(&mut self, slot: Slot, texts: impl Iterator<Item = &'a str>) {
        self.remove(slot);
        let mut counts = BTreeMap::<String, u16>::new();
        let mut length = 0_u32;
        for term in texts.flat_map(text::terms).take(text::TERMS_MAX) {
            let count = counts.entry(term.stem).or_default();
            *count = count.saturating_add(1);
            length += 1;
        }
        let mut terms = Vec::with_capacity(counts.len());
        for (stem, count) in counts {
            let Some(number) = self.number(stem) else { continue };
            if let Some(postings) = self.postings.get_mut(number as usize) {
                let at = postings.list.partition_point(|posting| posting.slot < slot);
                postings.list.insert(at, Posting { slot, count });
                terms.push(number);
            }
        }
        self.total_length += u64::from(length);
        self.documents.insert(slot, Document { terms: terms.into_boxed_slice(), length });
    }

    /// The number of a term, a new one if nobody had it. `None` only when all of u32 is taken.
    fn number(&mut self, stem: String) -> Option<u32> {
        if let Some(number) = self.numbers.get(stem.as_str()) {
            return Some(*number);
        }
        let stem = stem.into_boxed_str();
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.postings.push(Postings::default());
                u32::try_from(self.postings.len() - 1).ok()?
            }
        };
        self.postings.get_mut(number as usize)?.stem.clone_from(&stem);
        self.numbers.insert(stem, number);
        Some(number)
    }

    /// Takes an entry out; terms nobody else has go with it.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some(document) = self.documents.remove(&slot) else { return };
        self.total_length -= u64::from(document.length);
        for number in document.terms {
            let Some(postings) = self.postings.get_mut(number as usize) else { continue };
            if let Ok(at) = postings.list.binary_search_by_key(&slot, |posting| posting.slot) {
                postings.list.remove(at);
            }
            if postings.list.is_empty() {
                self.numbers.remove(&postings.stem);
                *postings = Postings::default();
                self.free.push(number);
            }
        }
    }

    /// The different terms of a query, in the order they were written.
    pub(super) fn query(&self, text: &str) -> Vec<QueryTerm> {
        let mut found: Vec<QueryTerm> = Vec::new();
        for Term { stem, word } in text::terms(text) {
            if found.len() == QUERY_TERMS_MAX {
                break;
            }
            if found.iter().all(|term| term.stem != stem) {
                let entries = self.postings_of(&stem).len();
                found.push(QueryTerm { word, stem, entries, idf: self.idf(entries) });
            }
        }
        found
    }

    fn postings_of(&self, stem: &str) -> &[Posting] {
        let number = self.numbers.get(stem).map(|number| *number as usize);
        number.and_then(|number| self.postings.get(number)).map_or(&[], |postings| &postings.list)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of entries, exact up to 16 million")]
    fn idf(&self, entries: usize) -> f32 {
        let (all, having) = (self.documents.len() as f32, entries as f32);
        ((all - having + 0.5) / (having + 0.5)).ln_1p()
    }

    /// The entries that have `term`.
    pub(super) fn having<'a>(&'a self, term: &'a QueryTerm) -> impl Iterator<Item = Slot> + 'a {
        self.postings_of(&term.stem).iter().map(|posting| posting.slot)
    }

    /// Whether the entry in `slot` has `term`.
    pub(super) fn has(&self, term: &QueryTerm, slot: Slot) -> bool {
        self.postings_of(&term.stem).binary_search_by_key(&slot, |posting| posting.slot).is_ok()
    }

    /// BM25 of every entry that shares a term with the query.
    #[expect(clippy::cast_precision_loss, reason = "lengths of texts, far below 16 million")]
    pub(super) fn scores(&self, query: &[QueryTerm]) -> BTreeMap<Slot, f32> {
        let mut scores = BTreeMap::new();
        let mean = self.total_length as f32 / self.documents.len().max(1) as f32;
        for term in query {
            for posting in self.postings_of(&term.stem) {
                let length = self.documents.get(&posting.slot).map_or(mean, |document| document.length as f32);
                let count = f32::from(posting.count);
                let damped = count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean.max(1.0)));
                *scores.entry(posting.slot).or_insert(0.0) += term.idf * damped;
            }
        }
        scores
    }

    /// Different terms known now.
    #[cfg(test)]
    fn vocabulary(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(texts: &[&str]) -> Words {
        let mut words = Words::default();
        for (slot, text) in texts.iter().enumerate() {
            words.insert(slot as Slot, [*text].into_iter());
        }
        words
    }

    fn ranked(words: &Words, query: &str) -> Vec<Slot> {
        let mut scores: Vec<_> = words.scores(&words.query(query)).into_iter().collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scores.into_iter().map(|(slot, _)| slot).collect()
    }

    #[test]
    fn a_rare_term_counts_more_than_a_common_one() {
        let words = filled(&["code review rust", "code review python", "code review go", "code review rust unsafe"]);
        assert_eq!(ranked(&words, "review unsafe")[0], 3);
        assert_eq!(ranked(&words, "rust code"), [0, 3, 1, 2]);
        assert!(ranked(&words, "poetry").is_empty());
        assert!(ranked(&words, "the of and").is_empty());
    }

    #[test]
    fn what_left_is_as_if_it_had_never_been() {
        let texts = ["soil moisture logger", "tide tables for sailors", "moisture in grain silos"];
        let never = filled(&texts[..2]);
        let mut left = filled(&texts);
        left.remove(2);
        left.remove(2);
        left.insert(1, ["something else, cobra"].into_iter());
        left.insert(1, [texts[1]].into_iter());
        for query in ["moisture", "tide cobra grain", "logger for sailors"] {
            assert_eq!(never.scores(&never.query(query)), left.scores(&left.query(query)), "{query}");
        }
        assert_eq!(never.vocabulary(), left.vocabulary());
    }

    #[test]
    fn the_numbers_of_terms_that_left_are_used_again() {
        let mut words = Words::default();
        for round in 0..1000 {
            words.insert(0, [format!("term{round} other{round}").as_str()].into_iter());
        }
        assert_eq!(words.vocabulary(), 2);
        assert!(words.postings.len() <= 4);
    }

    #[test]
    fn a_query_has_a_bounded_number_of_terms() {
        let words = filled(&["one"]);
        let long: String = (0..1000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words.query(&long).len(), QUERY_TERMS_MAX);
        assert_eq!(words.query("one ones one").len(), 1);
    }
}
