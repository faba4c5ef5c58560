//! The order of results: meaning first, and words where they are exact. docs/decisions/0021-words-beside-meaning.md.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::vectors::{Columns, Probe};
use super::words::{QueryTerm, Slot};
use super::{Answer, Form, Hit, INDEX_FROM, LIMIT_MAX, Meaning, Query, RankedBy, Search, Space, text};

/// Added to the cosine of an entry that the query names: more than any cosine, so that a name always comes first.
const NAMED: f32 = 2.0;
/// Added to the cosine of an entry that has all rare terms of a query consisting of nothing else; less, by share of
/// weight, when it has some. Half of what commonly lies between a good and a passable result of this model.
const RARE: f32 = 0.1;
/// A term is rare when at most one in so many entries has it.
const RARE_ONE_IN: usize = 100;
/// What an entry that has every word of the query, but no vector to compare, counts as: a good result, not the best.
const WORDS_ALONE: f32 = 0.5;
/// How many candidates an index is asked for at least; with 200, one in a thousand of the ten best is missed.
const CANDIDATES: usize = 200;
/// Names of this length may have been cut to fit the card.
const NAME_MAYBE_CUT: usize = 23;

/// The words of a name joined by hyphens, lower-cased: the form in which names are compared.
pub(super) fn joined(name: &str) -> String {
    text::words(name).collect::<Vec<_>>().join("-")
}

/// What the words of a query say about one entry.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    named: bool,
    /// Share of the query's weight in rare terms that the entry has, 0 to 1.
    rare: f32,
    /// Share of the query's weight in any terms that the entry has, 0 to 1.
    any: f32,
    /// BM25.
    score: f32,
}

impl Search {
    /// Ranks the entries that meet the filter.
    ///
    /// With a vector: by cosine, raised for exact names and rare terms; entries that cannot be compared join by their
    /// words. Without one, or when no entry is of its space: by BM25, names first.
    pub fn find(&self, query: &Query<'_>) -> Answer {
        let terms = self.words.query(query.text);
        let said = self.said(query, &terms);
        let compared = query.vector.as_ref().and_then(|(id, vector)| {
            let space = self.spaces.get(id)?;
            Some((*id, space, Probe::new(vector)?, vector.sketch()))
        });
        let limit = query.limit.min(LIMIT_MAX);
        match compared {
            None => {
                let ranked =
                    said.iter().map(|(slot, said)| (*slot, said.score + if said.named { NAMED_WORDS } else { 0.0 }));
                let hits = best(ranked.collect(), limit, |slot| self.known.get(&slot).map(|known| known.id));
                let hits = hits.into_iter().map(|(slot, score)| self.hit(slot, score, None, &said, &terms));
                Answer { ranked_by: RankedBy::Words, hits: hits.flatten().collect() }
            }
            Some((id, space, probe, sketch)) => {
                let mut ranked = self.by_meaning(query, space, &probe, &sketch, &said);
                for (slot, said) in &said {
                    if self.space_of(*slot) != Some(id) {
                        ranked.push((*slot, WORDS_ALONE * said.any + bonus(said)));
                    }
                }
                let hits = best(ranked, limit, |slot| self.known.get(&slot).map(|known| known.id));
                let meaning = |slot| {
                    let from = if space.columns.is_quantised(slot) { Form::Quantised } else { Form::Sketch };
                    space.columns.score(slot, &probe).map(|cosine| Meaning { cosine, from })
                };
                let hits = hits.into_iter().map(|(slot, score)| self.hit(slot, score, meaning(slot), &said, &terms));
                Answer { ranked_by: RankedBy::Meaning(id), hits: hits.flatten().collect() }
            }
        }
    }

    fn admits(&self, slot: Slot, query: &Query<'_>) -> bool {
        query.filter.is_empty() || self.known.get(&slot).is_some_and(|known| query.filter.admits(&known.facets))
    }

    /// Scores of entries of one space: all of them, or those an index proposes and those the words point to.
    fn by_meaning(
        &self,
        query: &Query<'_>,
        space: &Space,
        probe: &Probe,
        sketch: &crate::entry::Sketch,
        said: &BTreeMap<Slot, Said>,
    ) -> Vec<(Slot, f32)> {
        let raised = |(slot, cosine): (Slot, f32)| (slot, cosine + said.get(&slot).map_or(0.0, bonus));
        if let Some(candidates) = self.candidates(query, space, sketch) {
            let mut slots: Vec<Slot> = candidates;
            slots.extend(said.iter().filter(|(_, said)| bonus(said) > 0.0).map(|(slot, _)| *slot));
            slots.sort_unstable();
            slots.dedup();
            let scored = slots.into_iter().filter_map(|slot| Some((slot, space.columns.score(slot, probe)?)));
            return scored.map(raised).collect();
        }
        space.columns.scan(probe, |slot| self.admits(slot, query)).map(raised).collect()
    }

    /// What the index proposes. `None` when the exact scan is the better way: no index, or few entries to look at.
    fn candidates(&self, query: &Query<'_>, space: &Space, sketch: &crate::entry::Sketch) -> Option<Vec<Slot>> {
        let index = space.index.as_deref()?;
        if space.columns.len() < INDEX_FROM || self.is_narrow(query, &space.columns) {
            return None;
        }
        let admits = |key| self.with_key(key).any(|slot| self.admits(slot, query));
        let keys = index.nearest(sketch, CANDIDATES.max(query.limit.min(LIMIT_MAX) * 4), &admits)?;
        Some(keys.into_iter().flat_map(|key| self.with_key(key)).filter(|slot| self.admits(*slot, query)).collect())
    }

    /// Whether so few entries pass the filter that an index would search long for them.
    fn is_narrow(&self, query: &Query<'_>, columns: &Columns) -> bool {
        if query.filter.is_empty() {
            return false;
        }
        let passing = self.known.values().filter(|known| query.filter.admits(&known.facets)).count();
        passing < INDEX_FROM.max(columns.len() / 20)
    }

    /// What the words say, for every entry that shares one with the query and meets the filter.
    fn said(&self, query: &Query<'_>, terms: &[QueryTerm]) -> BTreeMap<Slot, Said> {
        let asked = joined(query.text);
        let total: f32 = terms.iter().map(|term| term.idf).sum();
        let rare_at_most = (self.len() / RARE_ONE_IN).max(1);
        let scores = self.words.scores(terms);
        let mut said: BTreeMap<Slot, Said> = scores
            .into_iter()
            .filter(|(slot, _)| self.admits(*slot, query))
            .map(|(slot, score)| {
                let named = self.known.get(&slot).is_some_and(|known| names(&asked, &known.name));
                (slot, Said { named, score, ..Said::default() })
            })
            .collect();
        for term in terms {
            for slot in self.words.having(term) {
                if let Some(said) = said.get_mut(&slot) {
                    let share = term.idf / total.max(f32::MIN_POSITIVE);
                    said.any += share;
                    if term.entries <= rare_at_most {
                        said.rare += share;
                    }
                }
            }
        }
        said
    }

    fn hit(
        &self,
        slot: Slot,
        score: f32,
        meaning: Option<Meaning>,
        said: &BTreeMap<Slot, Said>,
        terms: &[QueryTerm],
    ) -> Option<Hit> {
        let said = said.get(&slot);
        let words = terms.iter().filter(|term| self.words.has(term, slot)).map(|term| term.word.clone()).collect();
        Some(Hit { id: self.known.get(&slot)?.id, score, meaning, words, named: said.is_some_and(|said| said.named) })
    }
}

/// More than BM25 gives to any entry: 32 query terms of at most about 40 each.
const NAMED_WORDS: f32 = 10_000.0;

fn bonus(said: &Said) -> f32 {
    RARE * said.rare + if said.named { NAMED } else { 0.0 }
}

/// Whether what was asked is the name of an entry, or contains a name of several words.
fn names(asked: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    if asked == name || (name.len() >= NAME_MAYBE_CUT && asked.starts_with(name)) {
        return true;
    }
    name.contains('-') && format!("-{asked}-").contains(&format!("-{name}-"))
}

/// The `limit` best, in order; equal scores by id, so that every node gives the same order.
fn best<K: Ord>(mut ranked: Vec<(Slot, f32)>, limit: usize, id: impl Fn(Slot) -> K) -> Vec<(Slot, f32)> {
    let order = |a: &(Slot, f32), b: &(Slot, f32)| b.1.total_cmp(&a.1).then_with(|| id(a.0).cmp(&id(b.0)));
    if limit == 0 {
        return Vec::new();
    }
    if ranked.len() > limit {
        ranked.select_nth_unstable_by(limit - 1, order);
        ranked.truncate(limit);
    }
    ranked.sort_unstable_by(|a, b| match order(a, b) {
        Ordering::Equal => a.0.cmp(&b.0),
        other => other,
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_recognised_however_it_is_written() {
        for asked in ["Rust Clippy Explainer", "rust-clippy-explainer", "the rust_clippy_explainer please"] {
            assert!(names(&joined(asked), "rust-clippy-explainer"), "{asked}");
        }
        assert!(!names(&joined("rust clippy"), "rust-clippy-explainer"));
        assert!(!names(&joined("explainer of rust clippy"), "rust-clippy-explainer"));
        assert!(!names(&joined("go to the beach"), "go"));
        assert!(names("go", "go") && !names("anything", ""));
        assert!(names("translate-pt-en-medical-notes", "translate-pt-en-medical-no"));
    }

    #[test]
    fn the_best_come_in_order_and_ties_by_id() {
        let ranked = vec![(0, 0.5), (1, 0.9), (2, 0.5), (4, 0.1)];
        let found = best(ranked.clone(), 3, |slot| 10 - slot);
        assert_eq!(found, [(1, 0.9), (2, 0.5), (0, 0.5)]);
        assert_eq!(best(ranked, 0, |slot| slot), []);
    }
}
