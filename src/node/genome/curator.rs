//! The thread that owns the catalog: every change is on disk before it counts.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use wend_commands::announce_data::CatalogSummary;
use wend_commands::builtin::genome as commands;
use wend_commands::{Blob, CatalogRoot, Code, EntryId, Failure, PublicKey};
use wend_genome::card::{Card, CardRef};
use wend_genome::catalog::{Applied, CAPACITY_STANDARD, Catalog};
use wend_genome::entry::{EntryId as Id, Kind, ManifestHash, SpaceId};
use wend_genome::gossip::intake::{Checked, Intake};
use wend_genome::gossip::message::{Bundle, Request as SyncRequest, Shelf};
use wend_genome::gossip::sync::{SyncAnswerer, SyncAsker};
use wend_genome::manifest::{Manifest, SignedManifest};
use wend_genome::search::{Document, Query, Search, Vector};
use wend_packet::IdentityHash;
use wend_packet::identity::{Identity, PublicIdentity};

use super::publishing::{Prepared, Published};
use super::searching::{Found, Question, kind};
use super::{EntryView, Parts, Request, entries, inward, read_value, write_value};
use crate::node::calls::tell;
use crate::node::clock::{Clock, randomness};
use crate::node::store::{Change, Store, StoreError};

/// Cards and keys on disk.
pub(super) struct DiskShelf(pub(super) Option<Store>);

impl Shelf for DiskShelf {
    fn card(&self, id: &Id) -> Option<Vec<u8>> {
        self.0.as_ref()?.card(id.as_bytes()).inspect_err(|error| tracing::error!(%error, "card not read")).ok()?
    }

    fn key(&self, publisher: &IdentityHash) -> Option<PublicIdentity> {
        let store = self.0.as_ref()?;
        let key = store.publisher(publisher).inspect_err(|error| tracing::error!(%error, "key not read")).ok()??;
        PublicIdentity::from_slice(&key).ok()
    }
}

/// The owner of the catalog.
pub(super) struct Curator {
    pub(super) identity: Identity,
    pub(super) catalog: Catalog,
    pub(super) clock: Clock,
    pub(super) expiry: Duration,
    store: Store,
    shelf: DiskShelf,
    search: Search,
    intake: Intake,
    answerer: SyncAnswerer,
    summary: watch::Sender<CatalogSummary>,
    #[cfg(feature = "embeddings")]
    index: super::index::Indexer,
}

impl Curator {
    /// Takes back what an earlier run left.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { identity, store, cards, clock, expiry, summary, home, .. } = parts;
        let mut curator = Self {
            catalog: Catalog::new(CAPACITY_STANDARD, [identity.hash()]),
            identity,
            clock,
            expiry,
            shelf: DiskShelf(Some(store.clone())),
            store,
            search: Search::new(CAPACITY_STANDARD),
            intake: Intake::default(),
            answerer: SyncAnswerer::default(),
            summary,
            #[cfg(feature = "embeddings")]
            index: super::index::Indexer::new(home.dir()),
        };
        #[cfg(not(feature = "embeddings"))]
        drop(home);
        curator.restore(&cards);
        curator
    }

    fn restore(&mut self, cards: &[([u8; 16], Vec<u8>)]) {
        let now = self.clock.now();
        let mut gone = Vec::new();
        for (id, bytes) in cards {
            let Ok(card) = CardRef::parse(bytes) else {
                tracing::warn!(entry = ?Id::new(*id), "stored card skipped: it cannot be read");
                continue;
            };
            match self.catalog.restore(now, &card) {
                Applied::New { evicted } => gone.extend(evicted),
                Applied::Newer { replaced } => gone.push(replaced),
                Applied::Duplicate => {}
                Applied::Stale | Applied::Refused(_) => gone.push(card.id()),
            }
        }
        for id in self.catalog.ids().collect::<Vec<_>>() {
            self.list_for_search(id);
        }
        self.let_go(&gone);
        self.show();
    }

    /// Serves requests until every handle is gone.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        while let Some(request) = inbox.blocking_recv() {
            self.serve(request);
            #[cfg(feature = "embeddings")]
            self.index.tend(&mut self.search);
        }
    }

    /// A caller that has gone hears nothing; what it asked for is done all the same.
    fn serve(&mut self, request: Request) {
        match request {
            Request::View { reply } => {
                let own = self.identity.hash();
                let count = self.catalog.ids().filter(|id| self.publisher(id) == Some(own)).count();
                tell(reply, (*self.summary.borrow(), count));
            }
            Request::Hear(key) => {
                self.intake.handle_key(&key);
                if let Err(failure) = self.admit() {
                    tracing::warn!(%failure, "cards not kept");
                }
            }
            Request::AskSync { announced, limits, reply } => {
                tell(reply, SyncAsker::start(&mut randomness(), &self.catalog, announced, limits));
            }
            Request::AnswerSync { peer, payload, reply } => tell(reply, self.answer(peer, &payload)),
            Request::Take { bundle, reply } => tell(reply, self.take(&bundle)),
            Request::Publish { drafts, reply } => tell(reply, self.publish(drafts)),
            Request::Search { question, reply } => tell(reply, self.find(&question)),
            Request::List { kind, limit, reply } => tell(reply, self.list(kind.as_deref(), limit)),
            Request::Entry { text, reply } => tell(reply, self.entry(&text)),
            Request::Manifest { wanted, reply } => tell(reply, self.give_manifest(wanted)),
            Request::Keep { entry, manifest, key, reply } => {
                tell(reply, self.keep_manifest(entry, &manifest, &key));
            }
            Request::Expire => {
                let gone = self.catalog.expire(self.clock.now());
                self.let_go(&gone);
                self.show();
            }
        }
    }

    fn publisher(&self, id: &Id) -> Option<IdentityHash> {
        self.catalog.get(id).map(|listing| listing.publisher)
    }

    /// Makes changes durable.
    pub(super) fn commit(&self, changes: Vec<Change>) -> Result<(), Failure> {
        self.store.commit_blocking(changes).map_err(|error| {
            tracing::error!(%error, "catalog not stored");
            let help = match error {
                StoreError::Write(_) => "; nothing of it was kept: free some disk space and try again",
                _ => "",
            };
            Failure::new(Code::INTERNAL, format!("{error}{help}"))
        })
    }

    /// Forgets what left the catalog. Should this fail, the next start does it again.
    pub(super) fn let_go(&mut self, gone: &[Id]) {
        if gone.is_empty() {
            return;
        }
        let mut changes = Vec::new();
        let mut publishers = BTreeSet::new();
        for id in gone {
            self.search.remove(*id);
            if let Some(card) = self.card(id) {
                changes.push(Change::NoManifest(*card.view().manifest().as_bytes()));
                publishers.insert(card.view().publisher());
            }
            changes.push(Change::NoCard(*id.as_bytes()));
        }
        let unused = publishers.into_iter().filter(|publisher| !self.catalog.has_publisher(publisher));
        changes.extend(unused.map(Change::NoPublisher));
        drop(self.commit(changes));
    }

    /// Shows the state of the catalog to the core, which announces it.
    pub(super) fn show(&self) {
        let summary = self.catalog.summary();
        let shown = CatalogSummary { count: summary.count, root: CatalogRoot::new(summary.root) };
        self.summary.send_if_modified(|before| std::mem::replace(before, shown) != shown);
    }

    pub(super) fn card(&self, id: &Id) -> Option<Card> {
        Card::from_bytes(&self.shelf.card(id)?).ok()
    }

    /// A stored manifest. Its signature was checked before it was stored.
    pub(super) fn manifest(&self, hash: ManifestHash) -> Option<SignedManifest> {
        let bytes = self.store.manifest(hash.as_bytes());
        let bytes = bytes.inspect_err(|error| tracing::error!(%error, "manifest not read")).ok()??;
        SignedManifest::from_bytes(&bytes)
            .inspect_err(|error| tracing::warn!(%hash, %error, "stored manifest skipped"))
            .ok()
    }

    /// Lets search know an entry, as far as it is known here.
    pub(super) fn list_for_search(&mut self, id: Id) {
        let Some(card) = self.card(&id) else { return };
        let card = card.view();
        if card.kind() == Kind::TOMBSTONE {
            return;
        }
        let manifest = self.manifest(card.manifest());
        let fields = manifest.as_ref().map(SignedManifest::fields);
        let sketch = card.sketch();
        let vector = match fields.and_then(|fields| fields.vector.as_ref()) {
            Some((space, vector)) => Some((*space, Vector::Quantised(vector))),
            None => card.space().map(|space: SpaceId| (space, Vector::Sketch(&sketch))),
        };
        let document = Document {
            id,
            name: fields.map_or(card.name(), |fields: &Manifest| &fields.name),
            description: fields.map(|fields| fields.description.as_str()).unwrap_or_default(),
            tags: fields.map(|fields| fields.tags.as_slice()).unwrap_or_default(),
            facets: entries::facets(&card, fields),
            vector,
        };
        if let Err(full) = self.search.insert(&document) {
            tracing::warn!(%full, "an entry cannot be found by search");
        }
    }

    fn answer(&mut self, peer: IdentityHash, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        let invalid = |error: &dyn std::fmt::Display| Failure::invalid(format!("parameter `payload`: {error}"));
        let value = read_value(payload).map_err(|error| invalid(&error))?;
        let request = SyncRequest::from_value(&value).map_err(|error| invalid(&error))?;
        let answer = self.answerer.answer(peer, request, &self.catalog, &self.shelf);
        let answer = answer.map_err(|error| invalid(&error))?;
        if let Some(bundle) = &answer.received {
            self.take(bundle)?;
        }
        Ok(write_value(&answer.response.to_value()))
    }

    fn take(&mut self, bundle: &Bundle) -> Result<usize, Failure> {
        self.intake.handle_bundle(bundle, &self.catalog, &self.shelf);
        self.admit()
    }

    /// Checks what waits, and takes in what is good: first onto the disk, then into the catalog.
    fn admit(&mut self) -> Result<usize, Failure> {
        let mut good: Vec<Checked> = Vec::new();
        while let Some(check) = self.intake.poll_check() {
            match check.run() {
                Ok(checked) => good.push(checked),
                Err(error) => tracing::warn!(%error, "card refused"),
            }
        }
        if good.is_empty() {
            return Ok(0);
        }
        let changes = good.iter().flat_map(|Checked { card, key }| {
            [
                Change::Card(*card.id().as_bytes(), card.as_bytes().to_vec()),
                Change::Publisher(key.hash(), *key.as_bytes()),
            ]
        });
        self.commit(changes.collect())?;
        let now = self.clock.now();
        let (mut new, mut gone) = (0, Vec::new());
        for Checked { card, .. } in &good {
            match self.catalog.apply(now, card) {
                Applied::New { evicted } => gone.extend(evicted),
                Applied::Newer { replaced } => gone.push(replaced),
                Applied::Duplicate => continue,
                Applied::Stale => {
                    gone.push(card.id());
                    continue;
                }
                Applied::Refused(why) => {
                    tracing::debug!(entry = ?card.id(), %why, "card refused");
                    gone.push(card.id());
                    continue;
                }
            }
            new += 1;
            self.list_for_search(card.id());
        }
        self.let_go(&gone);
        self.show();
        Ok(new)
    }

    fn publish(&mut self, drafts: Vec<Prepared>) -> Result<Published, Failure> {
        super::publishing::into_catalog(self, drafts)
    }

    fn find(&mut self, question: &Question) -> Found {
        let query = Query {
            text: &question.text,
            vector: question.vector.clone(),
            filter: question.filter.clone(),
            limit: question.limit,
        };
        let answer = self.search.find(&query);
        let hits = answer.hits.iter().filter_map(|hit| {
            let card = self.card(&hit.id)?;
            let manifest = self.manifest(card.view().manifest());
            Some(entries::hit(hit, &card.view(), manifest.as_ref()))
        });
        let hits = hits.collect();
        let ranked_by = match (answer.ranked_by, &question.why_words) {
            (wend_genome::search::RankedBy::Words, Some(why)) => format!("words ({why})"),
            (by, _) => by.to_string(),
        };
        Found { hits, ranked_by, searched: u32::try_from(self.search.len()).unwrap_or(u32::MAX) }
    }

    fn list(&self, wanted: Option<&str>, limit: usize) -> Result<commands::CatalogReply, Failure> {
        let wanted = wanted.map(kind).transpose()?;
        let listed = self
            .catalog
            .newest_first()
            .filter_map(|(_, id)| self.catalog.get(&id).map(|listing| (id, listing.kind)))
            .filter(|(_, kind)| *kind != Kind::TOMBSTONE && wanted.is_none_or(|wanted| wanted == *kind));
        let entries = listed.take(limit).filter_map(|(id, _)| {
            let card = self.card(&id)?;
            let manifest = self.store.has_manifest(card.view().manifest().as_bytes()).unwrap_or_default();
            Some(entries::listed(&card.view(), self.identity.hash(), manifest))
        });
        let summary = *self.summary.borrow();
        Ok(commands::CatalogReply { count: summary.count, root: Some(summary.root), entries: entries.collect() })
    }

    fn entry(&self, text: &str) -> Result<EntryView, Failure> {
        let id = self.resolve(text)?;
        let card =
            self.card(&id).ok_or_else(|| Failure::new(Code::INTERNAL, format!("the card of {id} cannot be read")))?;
        let manifest = self.manifest(card.view().manifest());
        Ok(entries::full(&card.view(), self.identity.hash(), manifest.as_ref()))
    }

    /// By id, by the head of an id, or by name; of several with one name, the one published here.
    fn resolve(&self, text: &str) -> Result<Id, Failure> {
        const PREFIX_MIN: usize = 4;
        let none = || {
            Failure::new(
                Code::UNAVAILABLE,
                format!(
                    "no entry {text:?} is in the catalog; `wend catalog` lists what is, `wend search` finds by meaning"
                ),
            )
        };
        let prefix = text.to_ascii_lowercase();
        let by_id: Vec<Id> = match text.len() >= PREFIX_MIN {
            true => self.catalog.ids().filter(|id| id.to_string().starts_with(&prefix)).collect(),
            false => Vec::new(),
        };
        let found = if by_id.is_empty() { self.named(text) } else { by_id };
        match found.as_slice() {
            [] => Err(none()),
            [one] => Ok(*one),
            several => {
                let own = several.iter().find(|id| self.publisher(id) == Some(self.identity.hash()));
                own.copied().ok_or_else(|| {
                    let ids: Vec<String> = several.iter().take(4).map(ToString::to_string).collect();
                    let detail =
                        format!("{text:?} fits {} entries; name one by its id: {}", several.len(), ids.join(", "));
                    Failure::invalid(detail)
                })
            }
        }
    }

    fn named(&self, name: &str) -> Vec<Id> {
        let short = wend_genome::card::short_name(name);
        let publishers = self.catalog.publishers();
        publishers
            .filter_map(|publisher| self.catalog.by_name(publisher, short))
            .filter(|id| !self.is_withdrawn(id))
            .collect()
    }

    fn is_withdrawn(&self, id: &Id) -> bool {
        self.catalog.get(id).is_none_or(|listing| listing.kind == Kind::TOMBSTONE)
    }

    fn give_manifest(&self, wanted: commands::Wanted) -> Result<commands::ManifestReply, Failure> {
        let hash = match wanted {
            commands::Wanted::Manifest(hash) => ManifestHash::new(*hash.as_bytes()),
            commands::Wanted::Entry(entry) => {
                let id = inward(entry);
                let card = self.catalog.contains(&id).then(|| self.card(&id)).flatten();
                card.ok_or_else(|| {
                    Failure::new(Code::UNAVAILABLE, format!("entry {id} is not in this node's catalog"))
                })?
                .view()
                .manifest()
            }
        };
        let missing =
            || Failure::new(Code::UNAVAILABLE, format!("this node does not hold manifest {hash}; its publisher does"));
        let manifest = self.manifest(hash).ok_or_else(missing)?;
        let key = self.shelf.key(&manifest.fields().publisher).ok_or_else(missing)?;
        Ok(commands::ManifestReply {
            manifest: Blob(manifest.as_bytes().to_vec()),
            publisher_key: PublicKey::new(*key.as_bytes()),
        })
    }

    fn keep_manifest(&mut self, entry: EntryId, bytes: &[u8], key: &[u8]) -> Result<EntryView, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(Code::INTERNAL, format!("the manifest that came is not the entry's, it was not kept: {error}"))
        };
        let id = inward(entry);
        let card = self
            .card(&id)
            .ok_or_else(|| Failure::new(Code::UNAVAILABLE, format!("entry {id} has left the catalog")))?;
        let manifest = SignedManifest::from_bytes(bytes).map_err(|error| refused(&error))?;
        manifest.check_card(&card.view()).map_err(|error| refused(&error))?;
        let key = PublicIdentity::from_slice(key).map_err(|error| refused(&error))?;
        let manifest = manifest.verify(&key).map_err(|error| refused(&error))?;
        self.commit(vec![Change::Manifest(*manifest.hash().as_bytes(), manifest.as_bytes().to_vec())])?;
        self.list_for_search(id);
        Ok(entries::full(&card.view(), self.identity.hash(), Some(&manifest)))
    }
}
