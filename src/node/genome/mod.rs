//! The genome task: the one owner of catalog, search and what is stored of them. It runs on a thread of its own, because
//! ranking, signatures and disk would make packets wait; the core and the handlers ask it over a channel.

mod curator;
mod dialogue;
mod embedding;
mod entries;
mod expiry;
#[cfg(feature = "embeddings")]
mod index;
mod lookup;
mod publishing;
mod references;
mod searching;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wend_commands::announce_data::CatalogSummary;
use wend_commands::builtin::genome as commands;
use wend_commands::{Code, EntryId, Failure, ManifestHash};
use wend_genome::catalog::Summary;
use wend_genome::gossip::message::Bundle;
use wend_genome::gossip::sync::{Limits, SyncAsker};
use wend_packet::IdentityHash;
use wend_packet::identity::{Identity, PublicIdentity};

use super::clock::Clock;
use super::store::Store;
use crate::home::Home;
use dialogue::Dialogue;
use embedding::Embedding;
pub(super) use entries::EntryView;
pub(super) use searching::{Found, Question};

/// Requests that wait for the thread; a caller beyond that waits for room, under its own deadline.
const REQUESTS: usize = 64;
/// How often the thread looks at the clock: for cards that have expired, and own entries to renew.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);

/// What the genome task is made of.
pub(super) struct Parts {
    /// The node's home, for models and the index.
    pub home: Home,
    /// Signs what is published here.
    pub identity: Identity,
    /// Where it is kept.
    pub store: Store,
    /// The cards that were kept, by entry id.
    pub cards: Vec<([u8; 16], Vec<u8>)>,
    /// Folder of the embedding model, when the command line names one.
    pub model: Option<PathBuf>,
    /// How long a card published here is good.
    pub expiry: Duration,
    /// Where the state of the catalog is shown.
    pub summary: watch::Sender<CatalogSummary>,
    /// The node's clock.
    pub clock: Clock,
    /// Where its tasks are counted.
    pub tasks: TaskTracker,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// The catalog at one moment.
#[derive(Debug, Clone)]
pub(super) struct CatalogView {
    /// Count and root.
    pub summary: CatalogSummary,
    /// Entries published here.
    pub own: usize,
    /// The model in use.
    pub model: Option<&'static str>,
}

pub(super) enum Request {
    View { reply: oneshot::Sender<(CatalogSummary, usize)> },
    Hear(PublicIdentity),
    AskSync { announced: Option<Summary>, limits: Limits, reply: oneshot::Sender<Option<SyncAsker>> },
    AnswerSync { peer: IdentityHash, payload: Vec<u8>, reply: oneshot::Sender<Result<Vec<u8>, Failure>> },
    Take { bundle: Bundle, reply: oneshot::Sender<Result<usize, Failure>> },
    Publish { drafts: Vec<publishing::Prepared>, reply: oneshot::Sender<Result<publishing::Published, Failure>> },
    Search { question: Box<Question>, reply: oneshot::Sender<Found> },
    List { kind: Option<String>, limit: usize, reply: oneshot::Sender<Result<commands::CatalogReply, Failure>> },
    Entry { text: String, reply: oneshot::Sender<Result<EntryView, Failure>> },
    Manifest { wanted: commands::Wanted, reply: oneshot::Sender<Result<commands::ManifestReply, Failure>> },
    Keep { entry: EntryId, manifest: Vec<u8>, key: Vec<u8>, reply: oneshot::Sender<Result<EntryView, Failure>> },
    Expire,
}

/// Asks the genome task; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct GenomeHandle {
    requests: mpsc::Sender<Request>,
    summary: watch::Receiver<CatalogSummary>,
    shelf: Option<Store>,
    embedding: Embedding,
    publisher: IdentityHash,
}

/// Starts the thread.
pub(super) fn start(parts: Parts) -> GenomeHandle {
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let embedding = Embedding::new(parts.model.clone(), parts.home.dir().to_owned());
    let handle = GenomeHandle {
        requests: requests.clone(),
        summary: parts.summary.subscribe(),
        shelf: Some(parts.store.clone()),
        embedding: embedding.clone(),
        publisher: parts.identity.hash(),
    };
    let cancel = parts.cancel.clone();
    let tasks = parts.tasks.clone();
    let now = parts.clock.now();
    tasks.spawn_blocking(move || curator::Curator::new(parts, now).run(inbox));
    let weak = requests.downgrade();
    drop(requests);
    tasks.spawn(async move {
        loop {
            let glancing = embedding.clone();
            drop(embedding::blocking(move || glancing.glance()).await);
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(EXPIRY_INTERVAL) => match weak.upgrade() {
                    Some(requests) => drop(requests.send(Request::Expire).await),
                    None => break,
                },
            }
        }
        embedding.end();
    });
    handle
}

impl GenomeHandle {
    /// A handle to a task that has ended; for tests of what surrounds it.
    #[cfg(test)]
    pub(in crate::node) fn closed() -> Self {
        let (requests, _) = mpsc::channel(1);
        let (_, summary) = watch::channel(CatalogSummary { count: 0, root: wend_commands::CatalogRoot::new([0; 8]) });
        Self {
            requests,
            summary,
            shelf: None,
            embedding: Embedding::new(None, PathBuf::new()),
            publisher: IdentityHash::new([0; 16]),
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Failure> {
        let stopped = || Failure::new(Code::UNAVAILABLE, "the node is stopping");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }

    /// Count and root of the catalog now.
    pub(super) fn summary(&self) -> CatalogSummary {
        *self.summary.borrow()
    }

    /// In whose name this node publishes.
    pub(super) fn publisher(&self) -> IdentityHash {
        self.publisher
    }

    /// The catalog now.
    ///
    /// # Errors
    /// When the task has ended.
    pub(super) async fn view(&self) -> Result<CatalogView, Failure> {
        let (summary, own) = self.ask(|reply| Request::View { reply }).await?;
        Ok(CatalogView { summary, own, model: self.embedding.model_name() })
    }

    /// Hears of a key: cards that wait for it go on.
    pub(super) fn hear(&self, key: PublicIdentity) {
        // A busy task misses it; the key comes again with the cards.
        drop(self.requests.try_send(Request::Hear(key)));
    }

    /// Begins a dialogue; `None` when the catalogs are the same by what was announced.
    ///
    /// # Errors
    /// When the task has ended.
    pub(super) async fn ask_sync(
        &self,
        announced: Option<Summary>,
        limits: Limits,
    ) -> Result<Option<Dialogue>, Failure> {
        let asker = self.ask(|reply| Request::AskSync { announced, limits, reply }).await?;
        Ok(asker.map(|asker| Dialogue::new(asker, curator::DiskShelf(self.shelf.clone()))))
    }

    /// Answers a step of another node's dialogue.
    ///
    /// # Errors
    /// When the step makes no sense or what came with it cannot be stored.
    pub(super) async fn answer_sync(&self, peer: IdentityHash, payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self.ask(|reply| Request::AnswerSync { peer, payload, reply }).await?
    }

    /// Checks cards and stores those that are new; gives their number once they are durable.
    ///
    /// # Errors
    /// When they cannot be stored.
    pub(super) async fn take(&self, bundle: Bundle) -> Result<usize, Failure> {
        self.ask(|reply| Request::Take { bundle, reply }).await?
    }

    /// What is embedded with.
    pub(super) fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    /// Publishes what is at `path`: durable when this returns.
    ///
    /// # Errors
    /// When nothing of it can be read, or it cannot be stored.
    pub(super) async fn publish(&self, path: PathBuf) -> Result<commands::PublishReply, Failure> {
        publishing::publish(self, path).await
    }

    pub(super) async fn commit(&self, drafts: Vec<publishing::Prepared>) -> Result<publishing::Published, Failure> {
        self.ask(|reply| Request::Publish { drafts, reply }).await?
    }

    /// Ranks what is in the catalog.
    ///
    /// # Errors
    /// When the task has ended.
    pub(super) async fn find(&self, question: Question) -> Result<Found, Failure> {
        self.ask(|reply| Request::Search { question: Box::new(question), reply }).await
    }

    /// Lists the catalog, newest first.
    ///
    /// # Errors
    /// When there is no such kind.
    pub(super) async fn list(&self, kind: Option<String>, limit: usize) -> Result<commands::CatalogReply, Failure> {
        self.ask(|reply| Request::List { kind, limit, reply }).await?
    }

    /// The entry a person means by `text`: its id, the head of its id, or its name.
    ///
    /// # Errors
    /// When nothing or more than one thing fits.
    pub(super) async fn entry(&self, text: String) -> Result<EntryView, Failure> {
        self.ask(|reply| Request::Entry { text, reply }).await?
    }

    /// A manifest that is here, with the key to check it.
    ///
    /// # Errors
    /// When it is not here.
    pub(super) async fn manifest(&self, wanted: commands::Wanted) -> Result<commands::ManifestReply, Failure> {
        self.ask(|reply| Request::Manifest { wanted, reply }).await?
    }

    /// Checks a fetched manifest against its card and keeps it: durable when this returns.
    ///
    /// # Errors
    /// When it is not the entry's, or cannot be stored.
    pub(super) async fn keep(&self, entry: EntryId, fetched: commands::ManifestReply) -> Result<EntryView, Failure> {
        let (manifest, key) = (fetched.manifest.0, fetched.publisher_key.as_bytes().to_vec());
        self.ask(|reply| Request::Keep { entry, manifest, key, reply }).await?
    }
}

/// The identifiers of this crate's commands and of the catalog are the same bytes under two types.
pub(super) fn outward(id: wend_genome::entry::EntryId) -> EntryId {
    EntryId::new(*id.as_bytes())
}

pub(super) fn inward(id: EntryId) -> wend_genome::entry::EntryId {
    wend_genome::entry::EntryId::new(*id.as_bytes())
}

pub(super) fn outward_hash(hash: wend_genome::entry::ManifestHash) -> ManifestHash {
    ManifestHash::new(*hash.as_bytes())
}
