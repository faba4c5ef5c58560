//! The index against the exact scan, and against files that are not what they should be.

use super::*;
use crate::class::{BaseModelKey, LanguageClass, LicenceClass};
use crate::entry::{EntryId, Kind, QuantisedVector};
use crate::search::{Attached, Document, Facets, Filter, INDEX_FROM, Query, QueryVector, Search, Vector};
use chacha20::ChaCha8Rng;
use chacha20::rand_core::SeedableRng;
use rand_core::Rng;

const SPACE: SpaceId = SpaceId([9, 9, 9, 9]);
/// Made-up topics; entries are scattered around them, as real texts are.
const TOPICS: usize = 40;

struct World {
    rng: ChaCha8Rng,
    topics: Vec<[f32; DIMS]>,
}

impl World {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(20_000);
        let topics = (0..TOPICS).map(|_| core::array::from_fn(|_| normal(&mut rng))).collect();
        Self { rng, topics }
    }

    fn vector(&mut self, spread: f32) -> [f32; DIMS] {
        let topic = self.topics[self.rng.next_u32() as usize % TOPICS];
        core::array::from_fn(|index| topic[index] + spread * normal(&mut self.rng))
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    (0..4).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).sum()
}

fn id(number: usize) -> EntryId {
    EntryId::new(Sha256::digest(number.to_be_bytes())[..16].try_into().unwrap())
}

fn key(number: usize) -> u64 {
    u64::from_be_bytes(id(number).as_bytes()[..8].try_into().unwrap())
}

fn insert(search: &mut Search, number: usize, vector: Vector<'_>) {
    let kind = if number.is_multiple_of(50) { Kind::SERVICE } else { Kind::LORA };
    let (licence, language) = (LicenceClass::UNKNOWN, LanguageClass::ANY);
    let facets = Facets { kind, base_model: BaseModelKey::NONE, licence, language, details: None };
    let document =
        Document { id: id(number), name: "", description: "", tags: &[], facets, vector: Some((SPACE, vector)) };
    search.insert(&document).unwrap();
}

fn ten_best(search: &Search, vector: &[f32; DIMS], filter: Filter) -> Vec<EntryId> {
    let query = Query { text: "", vector: Some((SPACE, QueryVector::Exact(*vector))), filter, limit: 10 };
    search.find(&query).hits.into_iter().map(|hit| hit.id).collect()
}

fn sketches(count: usize) -> Vec<(u64, Sketch)> {
    let mut world = World::new();
    (0..count).map(|number| (key(number), Sketch::from_f32(&world.vector(0.6)))).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn with_20_000_entries_the_index_finds_what_the_exact_scan_finds() {
    let mut world = World::new();
    let mut search = Search::new(30_000);
    for number in 0..INDEX_FROM + 500 {
        let vector = world.vector(0.6);
        if number % 4 == 0 {
            insert(&mut search, number, Vector::Quantised(&QuantisedVector::from_f32(&vector)));
        } else {
            insert(&mut search, number, Vector::Sketch(&Sketch::from_f32(&vector)));
        }
    }
    assert!(search.wants_index(SPACE));
    let queries: Vec<_> = (0..50).map(|_| world.vector(0.8)).collect();
    let exact: Vec<_> = queries.iter().map(|query| ten_best(&search, query, Filter::default())).collect();

    let index = SketchIndex::build(SPACE, search.sketches(SPACE)).unwrap();
    // What comes and goes between building and attaching is made up for.
    let late = world.vector(0.6);
    insert(&mut search, 50_001, Vector::Sketch(&Sketch::from_f32(&late)));
    search.remove(exact[0][0]);
    assert_eq!(search.attach(SPACE, Box::new(index)), Attached::Used { added: 1 });
    assert!(!search.wants_index(SPACE));

    let mut missed = 0;
    for (query, exact) in queries.iter().zip(&exact).skip(1) {
        let found = ten_best(&search, query, Filter::default());
        missed += exact.iter().filter(|id| !found.contains(id)).count();
    }
    let recall = 1.0 - missed as f64 / 490.0;
    println!("recall@10 of the index against the exact scan: {recall:.4}");
    assert!(recall >= 0.98, "{recall}");

    assert_eq!(ten_best(&search, &late, Filter::default())[0], id(50_001));
    assert!(!ten_best(&search, &queries[0], Filter::default()).contains(&exact[0][0]));
    search.remove(id(50_001));
    assert_ne!(ten_best(&search, &late, Filter::default())[0], id(50_001));

    // Few services pass, so they are compared exactly; all that comes back are services.
    let services = ten_best(&search, &late, Filter { kind: Some(Kind::SERVICE), ..Filter::default() });
    let is_service = |found: &EntryId| (0..30_000).step_by(50).any(|number| id(number) == *found);
    assert!(services.len() == 10 && services.iter().all(is_service));
    // Most adapters pass, so the index looks among them.
    let adapters = ten_best(&search, &late, Filter { kind: Some(Kind::LORA), ..Filter::default() });
    assert!(adapters.len() == 10 && !adapters.iter().any(is_service));

    // A new version has a new id: the old one goes, the new one comes.
    let moved = world.vector(0.6);
    insert(&mut search, 60_000, Vector::Quantised(&QuantisedVector::from_f32(&moved)));
    assert_eq!(ten_best(&search, &moved, Filter::default())[0], id(60_000));
    // The manifest of a card that was there: the same id, the same place in the index.
    let before = search.index(SPACE).unwrap().len();
    let upgraded = QuantisedVector::from_f32(&moved);
    insert(&mut search, 60_000, Vector::Quantised(&upgraded));
    assert_eq!(search.index(SPACE).unwrap().len(), before);
}

#[test]
fn a_saved_index_opens_as_it_was() {
    let folder = folder();
    let path = folder.path().join("sketches.index");
    let all = sketches(2_000);
    let built = SketchIndex::build(SPACE, all.clone()).unwrap();
    built.save(&path).unwrap();
    let mut opened = SketchIndex::open(&path, SPACE).unwrap();
    assert_eq!((opened.len(), opened.space()), (2_000, SPACE));
    for (key, sketch) in all.iter().step_by(100) {
        assert_eq!(opened.nearest(sketch, 10, &|_| true), built.nearest(sketch, 10, &|_| true));
        assert!(opened.contains(*key));
    }
    opened.remove(all[0].0);
    opened.insert(7, &all[0].1);
    opened.insert(7, &all[0].1);
    assert_eq!(opened.nearest(&all[0].1, 1, &|_| true), Some(vec![7]));
    assert_eq!((opened.len(), opened.is_empty()), (2_000, false));
    assert!(!folder.path().join("sketches.new").exists());
}

#[test]
fn a_damaged_truncated_or_foreign_file_costs_a_rebuild_and_no_more() {
    let folder = folder();
    let path = folder.path().join("sketches.index");
    let all = sketches(500);
    SketchIndex::build(SPACE, all.clone()).unwrap().save(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let mut bad = vec![Vec::new(), b"WENDIDX1".to_vec(), vec![0; good.len()], b"something else entirely".repeat(50)];
    bad.extend((1..10).map(|part| good[..good.len() * part / 10].to_vec()));
    bad.extend((0..200).map(|at| {
        let mut flipped = good.clone();
        let at = at * good.len() / 200;
        flipped[at] ^= 0x40;
        flipped
    }));
    bad.push([&good[..], b"more"].concat());
    for bytes in bad {
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(SketchIndex::open(&path, SPACE), Err(IndexError::Doubtful { .. })), "{} bytes", bytes.len());
    }
    assert_eq!(SketchIndex::prepare(&path, SPACE, &all).unwrap().len(), 500);
    assert_eq!(SketchIndex::open(&path, SPACE).unwrap().len(), 500);
    fs::remove_file(&path).unwrap();
    assert!(matches!(SketchIndex::open(&path, SPACE), Err(IndexError::Io { .. })));
    // Where nothing can be saved there is an index all the same.
    assert_eq!(SketchIndex::prepare(Path::new("/no/such/folder/index"), SPACE, &all).unwrap().len(), 500);
}

#[test]
fn an_index_of_another_space_or_kind_is_not_used() {
    let folder = folder();
    let path = folder.path().join("sketches.index");
    SketchIndex::build(SPACE, sketches(50)).unwrap().save(&path).unwrap();
    assert!(matches!(SketchIndex::open(&path, SpaceId([1; 4])), Err(IndexError::Doubtful { .. })));

    // A well-formed index of floats under a right hash: the library would take it and change its own settings.
    let other =
        Index::new(&IndexOptions { quantization: ScalarKind::F32, metric: MetricKind::Cos, ..options() }).unwrap();
    other.reserve(10).unwrap();
    other.add(1, &[0.5_f32; DIMS]).unwrap();
    let mut graph = vec![0; other.serialized_length()];
    other.save_to_buffer(&mut graph).unwrap();
    fs::write(&path, [&MAGIC[..], &digest(SPACE, &graph), &SPACE.0, &graph].concat()).unwrap();
    let found = SketchIndex::open(&path, SPACE);
    assert!(matches!(found, Err(IndexError::Doubtful { what: "it was made with other settings", .. })), "{found:?}");
}

#[test]
fn a_full_save_survives_a_crash_before_the_rename() {
    let folder = folder();
    let path = folder.path().join("sketches.index");
    SketchIndex::build(SPACE, sketches(50)).unwrap().save(&path).unwrap();
    fs::write(path.with_extension("new"), b"half a file").unwrap();
    assert_eq!(SketchIndex::open(&path, SPACE).unwrap().len(), 50);
    SketchIndex::build(SPACE, sketches(60)).unwrap().save(&path).unwrap();
    assert_eq!(SketchIndex::open(&path, SPACE).unwrap().len(), 60);
}

#[test]
fn a_saved_index_is_caught_up_with_what_came_and_built_again_when_much_is_gone() {
    let folder = folder();
    let path = folder.path().join("sketches.index");
    let all = sketches(1_000);
    let saved = |path: &Path| SketchIndex::open(path, SPACE).unwrap().len();
    SketchIndex::prepare(&path, SPACE, &all[..950]).unwrap();
    // A little is new: added, not worth a file.
    assert_eq!((SketchIndex::prepare(&path, SPACE, &all).unwrap().len(), saved(&path)), (1_000, 950));
    // A little is gone: it stays until the next time.
    assert_eq!(SketchIndex::prepare(&path, SPACE, &all[50..950]).unwrap().len(), 950);
    // Much is gone.
    assert_eq!((SketchIndex::prepare(&path, SPACE, &all[500..950]).unwrap().len(), saved(&path)), (450, 450));
    // Much is new.
    assert_eq!((SketchIndex::prepare(&path, SPACE, &all[400..]).unwrap().len(), saved(&path)), (600, 600));
}
