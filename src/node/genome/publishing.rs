//! From files on disk to signed entries in the catalog.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use wend_commands::builtin::genome as commands;
use wend_commands::{Code, Failure};
use wend_genome::adapter::{Fault, ReadError};
use wend_genome::card::{Card, short_name};
use wend_genome::catalog::{Applied, CLOCK_SET};
use wend_genome::embed::{Embedder, embed_one, entry_text};
use wend_genome::entry::{QuantisedVector, SpaceId};
use wend_genome::manifest::SignedManifest;
use wend_genome::publish::{Draft, Published as Signed, from_adapter_dir, open_jsonl};
use wend_packet::time::{Now, UnixTime};

use super::GenomeHandle;
use super::curator::Curator;
use super::embedding::{Embedding, blocking};
use super::expiry::next_sequence;
use crate::control::{self, Progress};
use crate::node::clock::unix_now;
use crate::node::store::Change;

/// Drafts that are embedded, signed and stored together: one sync of the disk, and a bounded amount of memory.
const BATCH: usize = 256;
/// Refused lines that are reported; a file with more of them is something else.
const REFUSALS: usize = 100;

/// A draft that is ready to be signed.
pub(crate) struct Prepared {
    /// What is published.
    pub(super) draft: Draft,
    /// The vector of its text.
    pub(super) vector: Option<(SpaceId, QuantisedVector)>,
}

/// What became of drafts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    pub(super) added: u32,
    pub(super) updated: u32,
    pub(super) unchanged: u32,
    pub(super) embedded: u32,
    pub(super) refused: Vec<commands::Refusal>,
    pub(super) entries: Vec<commands::PublishedEntry>,
}

/// What can be read one after the other.
enum Source {
    Adapter(Option<PathBuf>),
    Lines(wend_genome::publish::Lines),
}

/// Reads, embeds, signs and stores what is at `path`.
pub(super) async fn publish(genome: &GenomeHandle, path: PathBuf) -> Result<commands::PublishReply, Failure> {
    check_clock(unix_now())?;
    let reports = control::reporter();
    let shown = path.display().to_string();
    let mut source = blocking(move || open(&path)).await??;
    let mut total = Published::default();
    let mut done = 0;
    loop {
        let (embedding, show) = (genome.embedding().clone(), Shown { reports: reports.clone(), done });
        let (batch, refused, rest) = blocking(move || -> Result<_, Failure> {
            let (drafts, refused) = read(&mut source, &show)?;
            Ok((embed(drafts, &embedding, &show), refused, source))
        })
        .await??;
        source = rest;
        if batch.is_empty() && refused.is_empty() {
            break;
        }
        done += batch.len();
        let published = genome.commit(batch).await.map_err(|failure| broken_off(failure, &total))?;
        total.added += published.added;
        total.updated += published.updated;
        total.unchanged += published.unchanged;
        total.embedded += published.embedded;
        total.entries.extend(published.entries);
        total.refused.extend(refused.into_iter().chain(published.refused));
        if total.refused.len() >= REFUSALS {
            let reason = "so much of it is refused that the rest was not read".to_owned();
            total.refused.push(commands::Refusal { place: shown.clone(), reason });
            break;
        }
    }
    if total.added + total.updated + total.unchanged == 0 && total.refused.is_empty() {
        return Err(Failure::invalid(format!(
            "{shown} holds no entries: write one JSON object on each line, with name, version, kind and description"
        )));
    }
    Ok(commands::PublishReply {
        publisher: genome.publisher(),
        added: total.added,
        updated: total.updated,
        unchanged: total.unchanged,
        refused: total.refused,
        entries: total.entries,
        embedded: total.embedded,
        catalog_root: genome.summary().root,
    })
}

/// A file that cannot be stored to its end: what came before stays published.
fn broken_off(failure: Failure, total: &Published) -> Failure {
    match total.added + total.updated + total.unchanged {
        0 => failure,
        kept => Failure::new(failure.code, format!("{}; {kept} entries before that are published", failure.detail)),
    }
}

/// Shows a person how far it is.
struct Shown {
    reports: Option<mpsc::Sender<Progress>>,
    done: usize,
}

impl Shown {
    fn progress(&self, step: &str, done: u64, total: u64) {
        if let Some(reports) = &self.reports {
            drop(reports.try_send(Progress { step: step.to_owned(), done, total }));
        }
    }
}

fn open(path: &Path) -> Result<Source, Failure> {
    let unusable = |what: &str| Failure::invalid(format!("{} {what}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unusable("does not exist: check the path"),
        _ => unusable(&format!("cannot be read: {error}")),
    })?;
    if metadata.is_dir() {
        return Ok(Source::Adapter(Some(path.to_owned())));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.ends_with(".jsonl") || name.ends_with(".ndjson") {
        return open_jsonl(path).map(Source::Lines).map_err(|error| Failure::invalid(error.to_string()));
    }
    Err(unusable(
        "is neither a folder with an adapter (adapter_config.json and adapter_model.safetensors) nor a .jsonl file of \
         descriptions",
    ))
}

/// The next batch. What is wrong with a line of a file concerns that line; what is wrong with an adapter concerns all of it.
/// A folder that is no adapter is a mistake of the caller, an adapter with a fault is refused.
fn read(source: &mut Source, shown: &Shown) -> Result<(Vec<Draft>, Vec<commands::Refusal>), Failure> {
    match source {
        Source::Adapter(folder) => {
            let Some(folder) = folder.take() else { return Ok((Vec::new(), Vec::new())) };
            let draft = from_adapter_dir(&folder, &mut |done, total| shown.progress("bytes checked", done, total));
            match draft {
                Ok(draft) => Ok((vec![draft], Vec::new())),
                Err(ReadError::Fault { path, fault }) => Ok((Vec::new(), vec![refused_adapter(&path, &fault)])),
                Err(ReadError::Pickle(path)) => Ok((Vec::new(), vec![refused_adapter(&path, &Fault::Pickle)])),
                Err(error) => Err(Failure::invalid(error.to_string())),
            }
        }
        Source::Lines(lines) => {
            let (mut drafts, mut refused) = (Vec::new(), Vec::new());
            for line in lines.by_ref().take(BATCH) {
                match line {
                    Ok(draft) => drafts.push(draft),
                    Err(error) => refused.push(refusal(&error)),
                }
            }
            Ok((drafts, refused))
        }
    }
}

fn refused_adapter(path: &Path, fault: &Fault) -> commands::Refusal {
    commands::Refusal { place: path.display().to_string(), reason: fault.to_string() }
}

fn refusal(error: &wend_genome::publish::FileError) -> commands::Refusal {
    match error {
        wend_genome::publish::FileError::Line { path, source } => {
            commands::Refusal { place: path.display().to_string(), reason: source.to_string() }
        }
        other => commands::Refusal { place: "file".to_owned(), reason: other.to_string() },
    }
}

/// Adds vectors, where there is a model. Without one, or when it fails, the entries are found by their words.
fn embed(drafts: Vec<Draft>, embedding: &Embedding, shown: &Shown) -> Vec<Prepared> {
    let mut embedder = match embedding.embedder() {
        Ok(embedder) => Some(embedder),
        Err(why) => {
            tracing::info!(%why, "published without vectors");
            None
        }
    };
    let mut prepared = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let vector = embedder.as_ref().map(|embedder| {
            let vector = embed_one(&**embedder, &draft.text())?;
            Ok::<_, wend_genome::embed::EmbedError>((embedder.space(), QuantisedVector::from_f32(&vector)))
        });
        let vector = match vector {
            Some(Err(error)) => {
                tracing::warn!(%error, "published without vectors from here on");
                embedder = None;
                None
            }
            other => other.and_then(Result::ok),
        };
        prepared.push(Prepared { draft, vector });
        let done = u64::try_from(shown.done + index + 1).unwrap_or(u64::MAX);
        shown.progress("entries embedded", done, 0);
    }
    prepared
}

/// What is published by a clock that was never set would expire before it is seen.
fn check_clock(now: UnixTime) -> Result<(), Failure> {
    if now >= CLOCK_SET {
        return Ok(());
    }
    let detail = "the clock of this machine stands before 2024, and what is published carries a date: set the clock, or let \
                  it be set over the network, and publish again";
    Err(Failure::new(Code::UNAVAILABLE, detail))
}

/// Signs drafts, stores them in one transaction, then takes them into the catalog.
pub(super) fn into_catalog(curator: &mut Curator, now: Now, drafts: Vec<Prepared>) -> Result<Published, Failure> {
    check_clock(now.unix)?;
    let mut published = Published::default();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut signed: Vec<Signed> = Vec::new();
    for Prepared { draft, vector } in drafts {
        let refuse = |reason: String| commands::Refusal { place: draft.name.clone(), reason };
        let short = short_name(&draft.name).to_owned();
        let before = Before::of(curator, &short);
        let taken = names.get(&short).or(before.as_ref().and_then(|before| before.name.as_ref()));
        if let Some(other) = taken.filter(|other| **other != draft.name) {
            published.refused.push(refuse(format!(
                "it has the same first {} bytes as {other:?}, and cards tell names apart by those; choose another name",
                short.len()
            )));
            continue;
        }
        if names.contains_key(&short) {
            published.refused.push(refuse("it stands in the file twice; the first one was taken".to_owned()));
            continue;
        }
        names.insert(short, draft.name.clone());
        let sequence = next_sequence(before.as_ref().map(|before| before.card.view().sequence()), now);
        // Without an embedder today, what was embedded before stays found by its meaning.
        let kept = || before.as_ref().and_then(|before| before.vector_of(&draft.text()));
        let vector = vector.or_else(kept);
        let name = draft.name.clone();
        match draft.finish(&curator.identity, vector, sequence, now, now.unix.plus(curator.expiry)) {
            Ok(entry) if before.as_ref().is_some_and(|before| before.is_same(curator, now, &entry)) => {
                published.unchanged += 1;
                published.embedded += u32::from(vector.is_some());
            }
            Ok(entry) => {
                published.embedded += u32::from(vector.is_some());
                signed.push(entry);
            }
            Err(error) => published.refused.push(commands::Refusal { place: name, reason: error.to_string() }),
        }
    }
    if signed.is_empty() {
        return Ok(published);
    }
    let key = curator.identity.public();
    let mut changes = vec![Change::Publisher(key.hash(), *key.as_bytes())];
    for Signed { card, manifest } in &signed {
        changes.push(Change::Card(*card.id().as_bytes(), card.as_bytes().to_vec()));
        changes.push(Change::Manifest(*manifest.hash().as_bytes(), manifest.as_bytes().to_vec()));
    }
    curator.commit(changes)?;
    let (mut gone, mut superseded) = (Vec::new(), Vec::new());
    let own = curator.identity.hash();
    for Signed { card, manifest } in &signed {
        curator.count(&card.view());
        match curator.catalog.apply(now, card) {
            Applied::New { evicted } => {
                published.added += 1;
                gone.extend(evicted);
            }
            Applied::Newer { replaced } => {
                published.updated += 1;
                superseded.push(replaced);
            }
            Applied::Duplicate => continue,
            Applied::Stale => {
                superseded.push(card.id());
                continue;
            }
            Applied::Refused(why) => {
                let name = manifest.fields().name.clone();
                published.refused.push(commands::Refusal { place: name, reason: why.to_string() });
                superseded.push(card.id());
                continue;
            }
        }
        superseded.extend(curator.resting.by_name(own, card.view().name()));
        curator.list_for_search(card.id());
        published.entries.push(commands::PublishedEntry {
            entry: super::outward(card.id()),
            name: manifest.fields().name.clone(),
            kind: manifest.fields().kind.to_string(),
        });
    }
    curator.forget(&gone);
    curator.forget_superseded(&superseded);
    curator.show();
    Ok(published)
}

/// What is published under a name already.
struct Before {
    card: Card,
    manifest: Option<SignedManifest>,
    name: Option<String>,
}

impl Before {
    /// The newest card of this node under a short name, even if it is expired.
    fn of(curator: &Curator, short: &str) -> Option<Self> {
        let own = curator.identity.hash();
        let id = curator.catalog.by_name(own, short).or_else(|| curator.resting.by_name(own, short))?;
        let card = curator.card(&id)?;
        let manifest = curator.manifest_of(&card.view());
        let name = manifest.as_ref().map(|manifest| manifest.fields().name.clone());
        Some(Self { card, manifest, name })
    }

    /// The vector there is, when it stands for the same text.
    fn vector_of(&self, text: &str) -> Option<(SpaceId, QuantisedVector)> {
        let fields = self.manifest.as_ref()?.fields();
        let same = entry_text(&fields.name, &fields.description, &fields.tags) == text;
        fields.vector.filter(|_| same)
    }

    /// Whether publishing `entry` would change nothing but dates, while the card is good for half its time yet.
    fn is_same(&self, curator: &Curator, now: Now, entry: &Signed) -> bool {
        let Some(old) = &self.manifest else { return false };
        let mut new = entry.manifest.fields().clone();
        new.created = old.fields().created;
        new.sequence = old.fields().sequence;
        new == *old.fields() && self.card.view().expiry() > now.unix.plus(curator.expiry / 2)
    }
}
