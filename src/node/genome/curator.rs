//! The thread that owns the catalog: every change is on disk before it counts.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use wend_commands::announce_data::CatalogSummary;
use wend_commands::{CatalogRoot, Code, Failure};
use wend_genome::card::{Card, CardRef};
use wend_genome::catalog::{Applied, CAPACITY_STANDARD, Catalog};
use wend_genome::entry::{EntryId as Id, Kind, ManifestHash, SpaceId};
use wend_genome::gossip::intake::{Checked, Intake};
use wend_genome::gossip::message::{Bundle, Request as SyncRequest, Shelf};
use wend_genome::gossip::sync::{SyncAnswerer, SyncAsker};
use wend_genome::manifest::{Manifest, SignedManifest};
use wend_genome::search::{Document, Search, Vector};
use wend_packet::IdentityHash;
use wend_packet::identity::{Identity, PublicIdentity};
use wend_packet::time::Now;

use super::dialogue::{read_value, write_value};
use super::expiry::Resting;
use super::publishing::{Prepared, Published};
use super::references::References;
use super::{Parts, Request, entries};
use crate::node::calls::tell;
use crate::node::clock::{Clock, randomness};
use crate::node::store::{Change, Store, StoreError};

/// Cards and keys on disk.
#[derive(Debug)]
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
    pub(super) expiry: Duration,
    clock: Clock,
    store: Store,
    references: References,
    pub(super) resting: Resting,
    pub(super) shelf: DiskShelf,
    pub(super) search: Search,
    intake: Intake,
    answerer: SyncAnswerer,
    pub(super) summary: watch::Sender<CatalogSummary>,
    #[cfg(feature = "embeddings")]
    index: super::index::Indexer,
}

impl Curator {
    /// Takes back what an earlier run left.
    pub(super) fn new(parts: Parts, now: Now) -> Self {
        let Parts { identity, store, cards, clock, expiry, summary, home, .. } = parts;
        let mut curator = Self {
            catalog: Catalog::new(CAPACITY_STANDARD, [identity.hash()]),
            identity,
            clock,
            expiry,
            shelf: DiskShelf(Some(store.clone())),
            store,
            references: References::default(),
            resting: Resting::default(),
            search: Search::new(CAPACITY_STANDARD),
            intake: Intake::default(),
            answerer: SyncAnswerer::default(),
            summary,
            #[cfg(feature = "embeddings")]
            index: super::index::Indexer::new(home.dir()),
        };
        #[cfg(not(feature = "embeddings"))]
        drop(home);
        curator.restore(now, &cards);
        curator
    }

    fn restore(&mut self, now: Now, cards: &[([u8; 16], Vec<u8>)]) {
        let mut gone = Vec::new();
        for (id, bytes) in cards {
            let Ok(card) = CardRef::parse(bytes) else {
                tracing::warn!(entry = ?Id::new(*id), "stored card skipped: it cannot be read");
                continue;
            };
            self.count(&card);
            match self.catalog.restore(now, &card) {
                Applied::New { evicted } => gone.extend(evicted),
                Applied::Newer { replaced } => gone.push(replaced),
                Applied::Duplicate => {}
                Applied::Stale => gone.push(card.id()),
                Applied::Refused(why) => {
                    if !self.rest(now, &card, why) {
                        gone.push(card.id());
                    }
                }
            }
        }
        for id in self.catalog.ids().collect::<Vec<_>>() {
            self.list_for_search(id);
        }
        self.forget(&gone);
        self.keep_time(now);
    }

    /// Serves requests until every handle is gone.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        while let Some(request) = inbox.blocking_recv() {
            self.serve(request, self.clock.now());
            #[cfg(feature = "embeddings")]
            self.index.tend(&mut self.search);
        }
    }

    /// A caller that has gone hears nothing; what it asked for is done all the same.
    fn serve(&mut self, request: Request, now: Now) {
        match request {
            Request::View { reply } => {
                let own = self.identity.hash();
                let count = self.catalog.ids().filter(|id| self.publisher(id) == Some(own)).count();
                tell(reply, (*self.summary.borrow(), count));
            }
            Request::Hear(key) => {
                self.intake.handle_key(&key);
                if let Err(failure) = self.admit(now) {
                    tracing::warn!(%failure, "cards not kept");
                }
            }
            Request::AskSync { announced, limits, reply } => {
                tell(reply, SyncAsker::start(&mut randomness(), &self.catalog, announced, limits));
            }
            Request::AnswerSync { peer, payload, reply } => tell(reply, self.answer(now, peer, &payload)),
            Request::Take { bundle, reply } => tell(reply, self.take(now, &bundle)),
            Request::Publish { drafts, reply } => tell(reply, self.publish(now, drafts)),
            Request::Search { question, reply } => tell(reply, self.find(&question)),
            Request::List { kind, limit, reply } => tell(reply, self.list(kind.as_deref(), limit)),
            Request::Entry { text, reply } => tell(reply, self.entry(&text)),
            Request::Manifest { wanted, reply } => tell(reply, self.give_manifest(wanted)),
            Request::Keep { entry, manifest, key, reply } => {
                tell(reply, self.keep_manifest(entry, &manifest, &key));
            }
            Request::Expire => self.keep_time(now),
        }
    }

    pub(super) fn publisher(&self, id: &Id) -> Option<IdentityHash> {
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

    /// Forgets cards that left, and manifests that no other card names, but none that was published here: what left may
    /// be all that is known of it. Should this fail, the next start does it again.
    pub(super) fn forget(&mut self, gone: &[Id]) {
        self.remove(gone, false);
    }

    /// Forgets own cards in whose place others were published, with their manifests.
    pub(super) fn forget_superseded(&mut self, gone: &[Id]) {
        self.remove(gone, true);
    }

    fn remove(&mut self, gone: &[Id], own_manifests: bool) {
        if gone.is_empty() {
            return;
        }
        let own = self.identity.hash();
        let mut changes = Vec::new();
        let mut publishers = BTreeSet::new();
        // A page can bring a card again that another of the same page displaced.
        let left: BTreeSet<Id> = gone.iter().filter(|id| !self.catalog.contains(id)).copied().collect();
        for id in &left {
            self.search.remove(*id);
            self.resting.remove(id);
            if let Some(card) = self.card(id) {
                let card = card.view();
                let last = self.references.remove(&card);
                if last && (own_manifests || card.publisher() != own) && self.manifest_of(&card).is_some() {
                    changes.push(Change::NoManifest(*card.manifest().as_bytes()));
                }
                publishers.insert(card.publisher());
            }
            changes.push(Change::NoCard(*id.as_bytes()));
        }
        let unused = publishers
            .into_iter()
            .filter(|who| *who != own && !self.catalog.has_publisher(who) && !self.resting.has_publisher(who));
        changes.extend(unused.map(Change::NoPublisher));
        drop(self.commit(changes));
    }

    /// Counts what a card refers to, from when it is on the disk.
    pub(super) fn count(&mut self, card: &CardRef<'_>) {
        let id = card.id();
        if !self.catalog.contains(&id) && !self.resting.contains(&id) {
            self.references.add(card);
        }
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

    /// The manifest of an entry, when it is here. What a card names but somebody else published is not its manifest:
    /// anyone can write any hash into a card.
    pub(super) fn manifest_of(&self, card: &CardRef<'_>) -> Option<SignedManifest> {
        self.manifest(card.manifest()).filter(|manifest| manifest.check_card(card).is_ok())
    }

    /// Lets search know an entry, as far as it is known here.
    pub(super) fn list_for_search(&mut self, id: Id) {
        let Some(card) = self.card(&id) else { return };
        let card = card.view();
        if card.kind() == Kind::TOMBSTONE {
            return;
        }
        let manifest = self.manifest_of(&card);
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

    fn answer(&mut self, now: Now, peer: IdentityHash, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        let invalid = |error: &dyn std::fmt::Display| Failure::invalid(format!("parameter `payload`: {error}"));
        let value = read_value(payload).map_err(|error| invalid(&error))?;
        let request = SyncRequest::from_value(&value).map_err(|error| invalid(&error))?;
        let answer = self.answerer.answer(peer, request, &self.catalog, &self.shelf);
        let answer = answer.map_err(|error| invalid(&error))?;
        if let Some(bundle) = &answer.received {
            self.take(now, bundle)?;
        }
        Ok(write_value(&answer.response.to_value()))
    }

    pub(super) fn take(&mut self, now: Now, bundle: &Bundle) -> Result<usize, Failure> {
        let count = self.intake.handle_bundle(now, bundle, &self.catalog, &self.shelf);
        if count.refused + count.dropped > 0 {
            tracing::debug!(refused = count.refused, dropped = count.dropped, "cards not taken");
        }
        self.admit(now)
    }

    /// Checks what waits, and takes in what is good: first onto the disk, then into the catalog.
    fn admit(&mut self, now: Now) -> Result<usize, Failure> {
        let mut good: Vec<Checked> = Vec::new();
        let mut forged = 0;
        while let Some(check) = self.intake.poll_check() {
            match check.run() {
                Ok(checked) => good.push(checked),
                Err(_) => forged += 1,
            }
        }
        if forged > 0 {
            tracing::debug!(forged, "cards that their publishers did not sign");
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
        let (mut new, mut refused, mut gone) = (0, 0, Vec::new());
        for Checked { card, .. } in &good {
            self.count(&card.view());
            match self.catalog.apply(now, card) {
                Applied::New { evicted } => gone.extend(evicted),
                Applied::Newer { replaced } => gone.push(replaced),
                Applied::Duplicate => continue,
                Applied::Stale => {
                    gone.push(card.id());
                    continue;
                }
                Applied::Refused(_) => {
                    refused += 1;
                    gone.push(card.id());
                    continue;
                }
            }
            self.resting.remove(&card.id());
            new += 1;
            self.list_for_search(card.id());
        }
        tracing::debug!(new, refused, "cards came in");
        self.forget(&gone);
        self.show();
        Ok(new)
    }

    pub(super) fn publish(&mut self, now: Now, drafts: Vec<Prepared>) -> Result<Published, Failure> {
        super::publishing::into_catalog(self, now, drafts)
    }
}

#[cfg(test)]
mod tests;
