//! What is asked of the catalog: found, listed, shown, handed out.

use wend_commands::builtin::genome as commands;
use wend_commands::{Blob, Code, EntryId, Failure, PublicKey};
use wend_genome::entry::{EntryId as Id, Kind, ManifestHash};
use wend_genome::gossip::message::Shelf;
use wend_genome::manifest::SignedManifest;
use wend_genome::search::{Query, RankedBy};
use wend_packet::identity::PublicIdentity;

use super::curator::Curator;
use super::searching::{Found, Question, kind};
use super::{EntryView, entries, inward};
use crate::node::store::Change;

impl Curator {
    pub(super) fn find(&mut self, question: &Question) -> Found {
        let query = Query {
            text: &question.text,
            vector: question.vector.clone(),
            filter: question.filter.clone(),
            limit: question.limit,
        };
        let answer = self.search.find(&query);
        let hits = answer.hits.iter().filter_map(|hit| {
            let card = self.card(&hit.id)?;
            let manifest = self.manifest_of(&card.view());
            Some(entries::hit(hit, &card.view(), self.identity.hash(), manifest.as_ref()))
        });
        let hits = hits.collect();
        let ranked_by = match (answer.ranked_by, &question.why_words) {
            (RankedBy::Words, Some(why)) => format!("words ({why})"),
            (by, _) => by.to_string(),
        };
        Found { hits, ranked_by, searched: u32::try_from(self.search.len()).unwrap_or(u32::MAX) }
    }

    pub(super) fn list(&self, wanted: Option<&str>, limit: usize) -> Result<commands::CatalogReply, Failure> {
        let wanted = wanted.map(kind).transpose()?;
        let listed = self
            .catalog
            .newest_first()
            .filter_map(|(_, id)| self.catalog.get(&id).map(|listing| (id, listing.kind)))
            .filter(|(_, kind)| *kind != Kind::TOMBSTONE && wanted.is_none_or(|wanted| wanted == *kind));
        let entries = listed.take(limit).filter_map(|(id, _)| {
            let card = self.card(&id)?;
            let manifest = self.manifest_of(&card.view()).is_some();
            Some(entries::listed(&card.view(), self.identity.hash(), manifest))
        });
        let summary = *self.summary.borrow();
        Ok(commands::CatalogReply { count: summary.count, root: Some(summary.root), entries: entries.collect() })
    }

    pub(super) fn entry(&self, text: &str) -> Result<EntryView, Failure> {
        let id = self.resolve(text)?;
        let card =
            self.card(&id).ok_or_else(|| Failure::new(Code::INTERNAL, format!("the card of {id} cannot be read")))?;
        let manifest = self.manifest_of(&card.view());
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

    pub(super) fn give_manifest(&self, wanted: commands::Wanted) -> Result<commands::ManifestReply, Failure> {
        let missing = |hash: ManifestHash| {
            Failure::new(Code::UNAVAILABLE, format!("this node does not hold manifest {hash}; its publisher does"))
        };
        let (hash, manifest) = match wanted {
            commands::Wanted::Manifest(hash) => {
                let hash = ManifestHash::new(*hash.as_bytes());
                (hash, self.manifest(hash))
            }
            commands::Wanted::Entry(entry) => {
                let id = inward(entry);
                let card = self.catalog.contains(&id).then(|| self.card(&id)).flatten().ok_or_else(|| {
                    Failure::new(Code::UNAVAILABLE, format!("entry {id} is not in this node's catalog"))
                })?;
                (card.view().manifest(), self.manifest_of(&card.view()))
            }
        };
        let manifest = manifest.ok_or_else(|| missing(hash))?;
        let key = self.shelf.key(&manifest.fields().publisher).ok_or_else(|| missing(hash))?;
        Ok(commands::ManifestReply {
            manifest: Blob(manifest.as_bytes().to_vec()),
            publisher_key: PublicKey::new(*key.as_bytes()),
        })
    }

    pub(super) fn keep_manifest(&mut self, entry: EntryId, bytes: &[u8], key: &[u8]) -> Result<EntryView, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(Code::INTERNAL, format!("the manifest that came is not the entry's, it was not kept: {error}"))
        };
        let id = inward(entry);
        let card = self.catalog.contains(&id).then(|| self.card(&id)).flatten();
        let card = card.ok_or_else(|| Failure::new(Code::UNAVAILABLE, format!("entry {id} has left the catalog")))?;
        let manifest = SignedManifest::from_bytes(bytes).map_err(|error| refused(&error))?;
        manifest.check_card(&card.view()).map_err(|error| refused(&error))?;
        let key = PublicIdentity::from_slice(key).map_err(|error| refused(&error))?;
        let manifest = manifest.verify(&key).map_err(|error| refused(&error))?;
        self.commit(vec![Change::Manifest(*manifest.hash().as_bytes(), manifest.as_bytes().to_vec())])?;
        self.list_for_search(id);
        Ok(entries::full(&card.view(), self.identity.hash(), Some(&manifest)))
    }
}
