//! How good the search is on the 420 entries and 60 queries of `tests/data/catalog`, scored by its `score.py`.
//!
//! By words always; by meaning with the real embedder where `WEND_TEST_MODEL` names a prepared model. The weights of the
//! ranking were set by reasoning and are not to be fitted to these figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use wend_genome::class::{BaseModelKey, LanguageClass, LicenceClass};
use wend_genome::entry::{DIMS, EntryId, Kind, QuantisedVector, Sketch, SpaceId};
use wend_genome::search::{Details, Document, Facets, Filter, Query, QueryVector, Search, Vector};

const SPACE: SpaceId = SpaceId([0x53, 0xaa, 0x51, 0x17]);
/// Longest name a card holds.
const CARD_NAME_MAX: usize = 26;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/catalog")
}

fn lines(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Entry {
    id: EntryId,
    label: String,
    name: String,
    description: String,
    tags: Vec<String>,
    facets: Facets,
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn entries() -> Vec<Entry> {
    let read = |(number, line): (usize, Value)| {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let languages = strings(&line["languages"]);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        Entry {
            id: EntryId::new(id),
            label: text("id"),
            name: text("name"),
            description: text("description"),
            tags: strings(&line["tags"]),
            facets: Facets {
                kind: Kind::from_name(&text("kind")).unwrap(),
                base_model: BaseModelKey::of_id(&text("base_model")),
                licence: LicenceClass::of_spdx(&text("license")),
                language: LanguageClass::of_tags(&languages),
                details: Some(Details {
                    licence: text("license").into(),
                    languages: languages.into_iter().map(Into::into).collect(),
                }),
            },
        }
    };
    let entries: Vec<_> = lines("adapters.jsonl").into_iter().enumerate().map(read).collect();
    assert_eq!(entries.len(), 420);
    entries
}

fn filter(query: &Value) -> Filter {
    let field = |name: &str| query["filter"][name].as_str();
    Filter {
        kind: field("kind").map(|kind| Kind::from_name(kind).unwrap()),
        base_model: field("base_model").map(BaseModelKey::of_id),
        ..Filter::default()
    }
}

/// How much a node knows of the entries.
#[derive(Clone, Copy)]
enum Knows {
    Manifests,
    Cards,
}

fn search(entries: &[Entry], vectors: Option<&[[f32; DIMS]]>, knows: Knows) -> Search {
    let mut search = Search::new(1_000);
    for (number, entry) in entries.iter().enumerate() {
        let exact = vectors.map(|vectors| &vectors[number]);
        let quantised = exact.map(QuantisedVector::from_f32);
        let sketch = exact.map(Sketch::from_f32);
        let cut = entry.name.floor_char_boundary(CARD_NAME_MAX);
        let document = match knows {
            Knows::Manifests => Document {
                id: entry.id,
                name: &entry.name,
                description: &entry.description,
                tags: &entry.tags,
                facets: entry.facets.clone(),
                vector: quantised.as_ref().map(|vector| (SPACE, Vector::Quantised(vector))),
            },
            Knows::Cards => Document {
                id: entry.id,
                name: &entry.name[..cut],
                description: "",
                tags: &[],
                facets: Facets { details: None, ..entry.facets.clone() },
                vector: sketch.as_ref().map(|vector| (SPACE, Vector::Sketch(vector))),
            },
        };
        search.insert(&document).unwrap();
    }
    search
}

#[derive(Debug, Clone, Copy)]
struct Score {
    ndcg10: f64,
    recall5: f64,
    mrr: f64,
}

/// One test at a time: one of them measures the memory of this process, which the others use too.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_search_keeps_of_420_entries_is_tiny() {
    let _alone = alone();
    let resident_kb = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let entries = entries();
    let vectors = vec![[0.05; DIMS]; entries.len()];
    let warm = search(&entries, Some(&vectors), Knows::Manifests);
    let before = resident_kb();
    let copies: Vec<_> = (0..20).map(|_| search(&entries, Some(&vectors), Knows::Manifests)).collect();
    let each_kb = resident_kb().saturating_sub(before) / 20;
    assert_eq!(copies.iter().chain([&warm]).map(Search::len).sum::<usize>(), 21 * entries.len());
    println!("resident memory of a search over 420 manifests: {each_kb} kB");
    assert!(each_kb < 2_000, "{each_kb} kB");
}

/// Runs all queries and has `score.py` look at the run.
fn score(entries: &[Entry], search: &Search, vector: impl Fn(usize) -> Option<QueryVector>, name: &str) -> Score {
    let labels: BTreeMap<_, _> = entries.iter().map(|entry| (entry.id, entry.label.as_str())).collect();
    let queries = lines("queries.jsonl");
    assert_eq!(queries.len(), 60);
    let mut run = String::new();
    for (number, query) in queries.iter().enumerate() {
        let text = query["text"].as_str().unwrap();
        let vector = vector(number).map(|vector| (SPACE, vector));
        let answer = search.find(&Query { text, vector, filter: filter(query), limit: 20 });
        let ranked: Vec<_> = answer.hits.iter().map(|hit| labels[&hit.id]).collect();
        run += &format!("{}\n", json!({ "query": query["id"], "ranked": ranked }));
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("run.jsonl");
    std::fs::write(&file, run).unwrap();
    let output = Command::new("python3")
        .arg(folder().join("score.py"))
        .args(["--json", "--corpus"])
        .arg(folder().join("adapters.jsonl"))
        .arg("--queries")
        .arg(folder().join("queries.jsonl"))
        .arg("--run")
        .arg(&file)
        .output()
        .expect("python3 runs score.py");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scored: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(scored["filter_violations"], 0);
    let figure = |name: &str| scored[name].as_f64().unwrap();
    let score = Score { ndcg10: figure("ndcg10"), recall5: figure("recall5"), mrr: figure("mrr") };
    println!("{name:<52} nDCG@10 {:.4}  recall@5 {:.4}  MRR {:.4}", score.ndcg10, score.recall5, score.mrr);
    score
}

#[test]
fn words_alone_do_better_than_plain_bm25() {
    let _alone = alone();
    let entries = entries();
    let full = score(&entries, &search(&entries, None, Knows::Manifests), |_| None, "words, manifests");
    let cards = score(&entries, &search(&entries, None, Knows::Cards), |_| None, "words, cards (names only)");
    // BM25 without stop words and stemming: 0.765.
    assert!(full.ndcg10 >= 0.765, "{full:?}");
    assert!(cards.ndcg10 >= 0.3, "{cards:?}");
}

#[cfg(feature = "embeddings")]
#[test]
fn meaning_reaches_what_exact_vectors_reach() {
    let _alone = alone();
    use std::io::Write;
    use wend_genome::embed::{MiniLm, embed_one, entry_text};
    use wend_genome::model::Model;

    let Some(model) = std::env::var_os("WEND_TEST_MODEL") else {
        // Not `eprintln!`, which is shown of failed tests only.
        let skipped = "SKIPPED meaning_reaches_what_exact_vectors_reach: WEND_TEST_MODEL names no prepared model";
        drop(writeln!(std::io::stderr(), "{skipped}"));
        return;
    };
    let model = MiniLm::load(&Model::open(Path::new(&model)).unwrap()).unwrap();
    let entries = entries();
    let texts: Vec<_> = entries.iter().map(|entry| entry_text(&entry.name, &entry.description, &entry.tags)).collect();
    let vectors: Vec<_> = texts.iter().map(|text| embed_one(&model, text).unwrap()).collect();
    let queries = lines("queries.jsonl");
    let queries: Vec<_> =
        queries.iter().map(|query| embed_one(&model, query["text"].as_str().unwrap()).unwrap()).collect();
    let exact = |number: usize| Some(QueryVector::Exact(queries[number]));
    let quantised = |number: usize| Some(QueryVector::Quantised(QuantisedVector::from_f32(&queries[number])));
    let sketch = |number: usize| Some(QueryVector::Sketch(Sketch::from_f32(&queries[number])));

    let published = search(&entries, Some(&vectors), Knows::Manifests);
    let received = search(&entries, Some(&vectors), Knows::Cards);
    let own = score(&entries, &published, exact, "manifests, own query");
    let remote = score(&entries, &published, quantised, "manifests, a peer's int8 query");
    let radio = score(&entries, &published, sketch, "manifests, a peer's 48-byte query");
    let cards = score(&entries, &received, exact, "cards, own query");
    let least = score(&entries, &received, sketch, "cards, a peer's 48-byte query");
    assert!(own.ndcg10 >= 0.89 && remote.ndcg10 >= 0.89, "{own:?} {remote:?}");
    assert!(cards.ndcg10 >= 0.85, "{cards:?}");
    assert!(radio.ndcg10 >= 0.84 && least.ndcg10 >= 0.82, "{radio:?} {least:?}");
    assert!(own.recall5 >= 0.84 && own.mrr >= 0.93, "{own:?}");

    // Some of each, as on most nodes: the forms must be comparable.
    let mut mixed = search(&entries, Some(&vectors), Knows::Cards);
    for (number, entry) in entries.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
        let vector = QuantisedVector::from_f32(&vectors[number]);
        let document = Document {
            id: entry.id,
            name: &entry.name,
            description: &entry.description,
            tags: &entry.tags,
            facets: entry.facets.clone(),
            vector: Some((SPACE, Vector::Quantised(&vector))),
        };
        mixed.insert(&document).unwrap();
    }
    let mixed = score(&entries, &mixed, exact, "every second manifest, own query");
    assert!(mixed.ndcg10 >= 0.86, "{mixed:?}");
}
