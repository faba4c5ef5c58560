//! Search as a whole, with made-up vectors.

use super::*;
use crate::class::{BaseModelKey, LanguageClass, LicenceClass};
use crate::entry::{DIMS, Kind, QuantisedVector};

const SPACE: SpaceId = SpaceId([1, 1, 1, 1]);
const OTHER: SpaceId = SpaceId([2, 2, 2, 2]);

fn id(number: u8) -> EntryId {
    EntryId::new([number; 16])
}

/// A vector that points along one axis and a little along another, with noise that signs can hold on to.
fn pointing(axis: usize, aside: usize) -> [f32; DIMS] {
    core::array::from_fn(|index| {
        let block = |axis: usize| if index % 8 == axis { 1.0 } else { 0.0 };
        block(axis) + 0.3 * block(aside) + 0.05 * ((index * 7919 + axis) as f32).sin()
    })
}

fn facets(kind: Kind) -> Facets {
    Facets {
        kind,
        base_model: BaseModelKey::NONE,
        licence: LicenceClass::UNKNOWN,
        language: LanguageClass::ANY,
        details: None,
    }
}

fn document<'a>(number: u8, name: &'a str, vector: Option<(SpaceId, Vector<'a>)>) -> Document<'a> {
    Document { id: id(number), name, description: "", tags: &[], facets: facets(Kind::LORA), vector }
}

fn query(text: &str, vector: Option<(SpaceId, [f32; DIMS])>) -> Query<'_> {
    let vector = vector.map(|(space, vector)| (space, QueryVector::Exact(vector)));
    Query { text, vector, filter: Filter::default(), limit: 10 }
}

fn ids(answer: &Answer) -> Vec<EntryId> {
    answer.hits.iter().map(|hit| hit.id).collect()
}

/// Entries 1 to 4 point along axes 0 to 3; 1 and 2 with manifests, 3 and 4 with cards.
fn four() -> Search {
    let mut search = Search::new(10);
    for (number, name) in [(1, "moisture-logger"), (2, "tide-tables"), (3, "grain-silo"), (4, "sea-shells")] {
        let vector = pointing(usize::from(number) - 1, 5);
        let (quantised, sketch) = (QuantisedVector::from_f32(&vector), Sketch::from_f32(&vector));
        let vector = if number < 3 { Vector::Quantised(&quantised) } else { Vector::Sketch(&sketch) };
        search.insert(&document(number, name, Some((SPACE, vector)))).unwrap();
    }
    search
}

#[test]
fn meaning_ranks_manifests_and_cards_in_one_list() {
    let search = four();
    for axis in 0..4 {
        let answer = search.find(&query("", Some((SPACE, pointing(axis, 6)))));
        assert_eq!(answer.ranked_by, RankedBy::Meaning(SPACE));
        assert_eq!(answer.hits.len(), 4);
        assert_eq!(answer.hits[0].id, id(axis as u8 + 1));
        let from = if axis < 2 { Form::Quantised } else { Form::Sketch };
        assert_eq!(answer.hits[0].meaning.map(|meaning| meaning.from), Some(from));
        assert!(answer.hits[0].meaning.unwrap().cosine > 0.5);
    }
    assert!(search.is_quantised(id(1)) && !search.is_quantised(id(3)) && !search.is_quantised(id(9)));
}

#[test]
fn a_peers_sketch_is_ranked_without_a_model() {
    let search = four();
    for axis in 0..4 {
        let vector = QueryVector::Exact(pointing(axis, 6));
        for vector in [
            QueryVector::Sketch(vector.sketch()),
            QueryVector::Quantised(QuantisedVector::from_f32(&pointing(axis, 6))),
        ] {
            let answer = search.find(&Query { vector: Some((SPACE, vector)), ..query("", None) });
            assert_eq!(answer.hits[0].id, id(axis as u8 + 1));
        }
    }
}

#[test]
fn vectors_of_another_space_are_never_compared() {
    let mut search = four();
    let vector = Sketch::from_f32(&pointing(0, 5));
    search.insert(&document(5, "tide-gauge", Some((OTHER, Vector::Sketch(&vector))))).unwrap();
    search.insert(&document(6, "tide-clock", None)).unwrap();
    search.insert(&document(7, "tide-pool", Some((SpaceId::NONE, Vector::Sketch(&vector))))).unwrap();

    let answer = search.find(&query("", Some((SPACE, pointing(0, 6)))));
    assert_eq!(answer.hits.len(), 4);
    // By their words they still join.
    let answer = search.find(&query("tide", Some((SPACE, pointing(0, 6)))));
    let joined: Vec<_> = answer.hits.iter().filter(|hit| hit.meaning.is_none()).map(|hit| hit.id).collect();
    assert_eq!(joined, [id(5), id(6), id(7)]);
    // Nothing here is of the asker's space: words, and the answer says so.
    let answer = search.find(&query("tide", Some((SpaceId([3; 4]), pointing(0, 6)))));
    assert_eq!((answer.ranked_by, answer.hits.len()), (RankedBy::Words, 4));
    assert_eq!(search.spaces().collect::<Vec<_>>(), [SPACE, OTHER]);
}

#[test]
fn without_a_vector_words_decide_and_the_answer_says_so() {
    let search = four();
    let answer = search.find(&query("tables of the tide", None));
    assert_eq!((ids(&answer), answer.ranked_by.to_string().as_str()), (vec![id(2)], "words"));
    assert_eq!(answer.hits[0].words, ["tables", "tide"]);
    assert!(search.find(&query("nothing of this", None)).hits.is_empty());
    assert!(search.find(&query("", None)).hits.is_empty());
}

#[test]
fn the_basis_of_an_answer_reads_well() {
    assert_eq!(RankedBy::Meaning(crate::embed::MINI_LM).to_string(), "meaning (all-MiniLM-L6-v2)");
    assert_eq!(RankedBy::Meaning(SPACE).to_string(), "meaning (space 01010101)");
}

#[test]
fn an_exact_name_comes_first_whatever_its_meaning() {
    let search = four();
    for vector in [None, Some((SPACE, pointing(0, 6)))] {
        for text in ["sea-shells", "Sea Shells", "show me sea shells please"] {
            let answer = search.find(&query(text, vector));
            assert_eq!((answer.hits[0].id, answer.hits[0].named), (id(4), true), "{text}");
        }
    }
}

#[test]
fn a_condition_is_met_before_anything_is_ranked() {
    let mut search = four();
    let vector = Sketch::from_f32(&pointing(7, 5));
    let service =
        Document { facets: facets(Kind::SERVICE), ..document(5, "far-away", Some((SPACE, Vector::Sketch(&vector)))) };
    search.insert(&service).unwrap();
    let services = Filter { kind: Some(Kind::SERVICE), ..Filter::default() };
    let near = Query { filter: services.clone(), limit: 1, ..query("moisture", Some((SPACE, pointing(0, 6)))) };
    assert_eq!(ids(&search.find(&near)), [id(5)]);
    assert!(search.find(&Query { filter: services, ..query("moisture logger", None) }).hits.is_empty());
}

#[test]
fn an_entry_can_be_replaced_and_taken_out() {
    let mut search = four();
    let vector = QuantisedVector::from_f32(&pointing(4, 5));
    let tags = ["harbour".to_owned()];
    let full = Document {
        description: "Tides at the quay.",
        tags: &tags,
        ..document(4, "sea-shells", Some((SPACE, Vector::Quantised(&vector))))
    };
    search.insert(&full).unwrap();
    assert_eq!((search.len(), search.is_quantised(id(4))), (4, true));
    assert_eq!(ids(&search.find(&query("harbour", None))), [id(4)]);
    assert_eq!(search.find(&query("", Some((SPACE, pointing(4, 6))))).hits[0].id, id(4));

    search.remove(id(4));
    search.remove(id(4));
    assert!(search.find(&query("harbour", None)).hits.is_empty());
    assert_eq!(search.find(&query("", Some((SPACE, pointing(4, 6))))).hits.len(), 3);
    for number in 1..4 {
        search.remove(id(number));
    }
    assert!(search.is_empty() && search.spaces().next().is_none());
    assert_eq!(search.find(&query("tide", Some((SPACE, pointing(0, 6))))).ranked_by, RankedBy::Words);
}

#[test]
fn a_full_search_refuses_another_entry_and_takes_changes() {
    let mut search = Search::new(1);
    search.insert(&document(1, "one", None)).unwrap();
    assert_eq!(search.insert(&document(2, "two", None)), Err(Full { capacity: 1 }));
    search.insert(&document(1, "eins", None)).unwrap();
    assert_eq!(ids(&search.find(&query("eins", None))), [id(1)]);
    assert!(search.find(&query("one two", None)).hits.is_empty());
}

#[test]
fn spaces_beyond_the_bound_are_searched_by_words() {
    let mut search = Search::new(100);
    let sketch = Sketch::from_f32(&pointing(0, 5));
    for number in 1..=20 {
        let space = SpaceId([number; 4]);
        search.insert(&document(number, "tide", Some((space, Vector::Sketch(&sketch))))).unwrap();
    }
    assert_eq!(search.spaces().count(), SPACES_MAX);
    assert_eq!(search.find(&Query { limit: 100, ..query("tide", None) }).hits.len(), 20);
}

#[test]
fn the_same_entries_in_any_order_give_the_same_answer() {
    let build = |order: &[u8]| {
        let mut search = Search::new(100);
        for number in order {
            let sketch = Sketch::from_f32(&pointing(usize::from(number % 3), 5));
            search.insert(&document(*number, "tide tables", Some((SPACE, Vector::Sketch(&sketch))))).unwrap();
        }
        search
    };
    let one = build(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut other = build(&[9, 3, 40, 5, 1, 8, 6, 2, 7, 4]);
    other.remove(id(40));
    for question in [query("tide", None), query("tide", Some((SPACE, pointing(1, 6))))] {
        let question = Query { limit: 4, ..question };
        assert_eq!(one.find(&question), other.find(&question));
    }
}

/// Answers with everything it has, as an index that is no index.
#[derive(Debug, Default)]
struct Everything(std::collections::BTreeSet<u64>);

impl Nearest for Everything {
    fn insert(&mut self, key: u64, _: &Sketch) {
        self.0.insert(key);
    }
    fn remove(&mut self, key: u64) {
        self.0.remove(&key);
    }
    fn contains(&self, key: u64) -> bool {
        self.0.contains(&key)
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn nearest(&self, _: &Sketch, _: usize, admit: &dyn Fn(u64) -> bool) -> Option<Vec<u64>> {
        Some(self.0.iter().copied().filter(|key| admit(*key)).collect())
    }
}

#[test]
fn an_index_is_kept_in_step_with_the_entries() {
    let mut search = four();
    assert!(!search.wants_index(SPACE));
    assert_eq!(search.attach(SPACE, Box::new(Everything::default())), Attached::Used { added: 4 });
    let keys = |search: &Search| search.index(SPACE).map(Nearest::len);
    assert_eq!(keys(&search), Some(4));
    search.remove(id(1));
    assert_eq!(keys(&search), Some(3));
    // Its vector moves to another space, and leaves the index of this one.
    let sketch = Sketch::from_f32(&pointing(1, 5));
    search.insert(&document(2, "tide-tables", Some((OTHER, Vector::Sketch(&sketch))))).unwrap();
    assert_eq!(keys(&search), Some(2));
    search.insert(&document(2, "tide-tables", Some((SPACE, Vector::Sketch(&sketch))))).unwrap();
    assert_eq!(keys(&search), Some(3));
}

#[test]
fn two_entries_with_the_same_key_share_it() {
    let mut search = Search::new(10);
    let sketch = Sketch::from_f32(&pointing(1, 5));
    let twin = |last: u8| {
        let mut bytes = [7; 16];
        bytes[15] = last;
        Document { id: EntryId::new(bytes), ..document(1, "twin", Some((SPACE, Vector::Sketch(&sketch)))) }
    };
    search.insert(&twin(1)).unwrap();
    assert_eq!(search.attach(SPACE, Box::new(Everything::default())), Attached::Used { added: 1 });
    search.insert(&twin(2)).unwrap();
    search.remove(twin(1).id);
    assert!(search.index(SPACE).unwrap().contains(index_key(twin(2).id)));
    assert_eq!(search.find(&query("", Some((SPACE, pointing(1, 6))))).hits.len(), 1);
}

#[test]
fn an_index_full_of_what_is_gone_is_not_taken() {
    let mut search = four();
    let mut index = Everything::default();
    (0..10).for_each(|key| index.insert(key, &Sketch::EMPTY));
    assert_eq!(search.attach(SPACE, Box::new(index)), Attached::Refused { stale: 10 });
    assert!(search.index(SPACE).is_none());
}
