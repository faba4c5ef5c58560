//! Commands about the catalog of skills: searching, looking at entries, publishing, and bringing catalogs into agreement.

use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash};

use crate::access::{Access, Level};
use crate::describe::{command, record};
use crate::failure::Failure;
use crate::octets::{Blob, CatalogRoot, EntryId, ManifestHash, PublicKey, Sketch, SpaceId};
use crate::value::Value;

command! {
    /// Finds skills by what they are about. Ranks by meaning where the node has a model or gets a vector it can compare,
    /// else by words, and says which.
    "genome/search", Access::AtLeast(Level::Unknown) => SearchReply;
    pub struct Search {
        /// What to look for, in words; at most 1000 bytes.
        text: String,
        /// Embedding space of the vector that comes with the text.
        space: Option<SpaceId>,
        /// Signs of the query's vector: the short form, for slow links.
        sketch: Option<Sketch>,
        /// The query's vector, 384 signed bytes: the exact form.
        vector: Option<Blob>,
        /// Only this kind: lora, persona, dataset, service or embedder.
        kind: Option<String>,
        /// Only skills for this base model, by its id.
        base_model: Option<String>,
        /// Only this licence, by its SPDX id.
        licence: Option<String>,
        /// Only this language, by its two- or three-letter code.
        language: Option<String>,
        /// How many hits at most; 10 when absent, never more than 100.
        limit: Option<u16>,
        /// For the node's owner: ask no other node.
        local: Option<bool>,
    }

    /// Gives the signed manifest of an entry, byte for byte, and the key to check it with.
    "genome/manifest", Access::AtLeast(Level::Unknown) => ManifestReply;
    pub struct Manifest {
        /// Which entry; or say `manifest`.
        entry: Option<EntryId>,
        /// Which manifest, by its hash; or say `entry`.
        manifest: Option<ManifestHash>,
    }

    /// One step of the dialogue that brings the catalogs of two nodes into agreement.
    "genome/sync", Access::AtLeast(Level::Unknown) => SyncReply;
    pub struct Sync {
        /// The caller's message. docs/protocol/mesh.md, section "Catalog sync".
        payload: Blob,
    }

    /// Publishes skills under this node's identity. Signs them, adds them to its catalog and offers them to others.
    "genome/publish", Access::Local => PublishReply;
    pub struct Publish {
        /// A catalog file (JSON lines) or the folder of an adapter, on the node's own disk, as an absolute path.
        path: String,
    }

    /// Shows all there is to know about an entry of the catalog.
    "genome/show", Access::Local => ShowReply;
    pub struct Show {
        /// Entry id, the beginning of one that fits only one entry, or the name of a skill.
        entry: String,
        /// Node to fetch the manifest from when it is not here: hash, beginning of a hash, or name. When absent, whoever
        /// gave the entry is asked.
        node: Option<String>,
    }

    /// Lists the catalog of this node, newest first.
    "genome/catalog", Access::Local => CatalogReply;
    pub struct Catalog {
        /// Only this kind: lora, persona, dataset, service or embedder.
        kind: Option<String>,
        /// How many at most; all when absent.
        limit: Option<u32>,
    }

    /// Brings the catalogs of this node and another into agreement now, and says what that took.
    "genome/catalog-sync", Access::Local => CatalogSyncReply;
    pub struct CatalogSync {
        /// Destination hash, the beginning of one that fits only one node, or an announced name.
        node: String,
        /// How long to wait, in seconds; the node's default when absent.
        deadline_s: Option<u32>,
    }
}

/// What a call of `genome/manifest` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The manifest of this entry.
    Entry(EntryId),
    /// The manifest with this hash.
    Manifest(ManifestHash),
}

impl Manifest {
    /// Asks for one of the two.
    pub fn of(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Entry(entry) => Self { entry: Some(entry), manifest: None },
            Wanted::Manifest(hash) => Self { entry: None, manifest: Some(hash) },
        }
    }

    /// Which of the two is asked for; exactly one must be.
    pub fn wanted(&self) -> Result<Wanted, Failure> {
        match (self.entry, self.manifest) {
            (Some(entry), None) => Ok(Wanted::Entry(entry)),
            (None, Some(hash)) => Ok(Wanted::Manifest(hash)),
            _ => Err(Failure::invalid("give one of the parameters `entry` and `manifest`")),
        }
    }
}

impl Search {
    /// Hits without a `limit`.
    pub const DEFAULT_LIMIT: u16 = 10;
    /// Most hits.
    pub const MAX_LIMIT: u16 = 100;
    /// Longest text, in bytes.
    pub const MAX_TEXT: usize = 1000;
    /// Components of a vector.
    pub const DIMENSIONS: usize = 384;

    /// A search by text alone.
    pub fn by_text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            space: None,
            sketch: None,
            vector: None,
            kind: None,
            base_model: None,
            licence: None,
            language: None,
            limit: None,
            local: None,
        }
    }

    /// How many hits to give.
    pub fn limit(&self) -> usize {
        usize::from(self.limit.unwrap_or(Self::DEFAULT_LIMIT).min(Self::MAX_LIMIT))
    }

    /// What the types cannot say: sizes, and that a vector comes with its space.
    pub fn check(&self) -> Result<(), Failure> {
        if self.text.len() > Self::MAX_TEXT {
            let detail =
                format!("parameter `text` has {} bytes, at most {} are accepted", self.text.len(), Self::MAX_TEXT);
            return Err(Failure::invalid(detail));
        }
        if let Some(vector) = &self.vector
            && vector.0.len() != Self::DIMENSIONS
        {
            let detail = format!("parameter `vector` has {} bytes, expected {}", vector.0.len(), Self::DIMENSIONS);
            return Err(Failure::invalid(detail));
        }
        if self.space.is_none() && (self.sketch.is_some() || self.vector.is_some()) {
            return Err(Failure::invalid("a `sketch` or `vector` needs the `space` it belongs to"));
        }
        Ok(())
    }
}

record! {
    /// What was found.
    pub struct SearchReply {
        /// Hits, best first.
        hits: Vec<Hit>,
        /// What the order is by: `meaning (<model>)` or `words`.
        ranked_by: String,
        /// Entries that were looked at.
        searched: u32,
        /// Other nodes that were asked.
        nodes_asked: u16,
        /// Other nodes that answered in time.
        nodes_answered: u16,
    }

    /// A skill that was found.
    pub struct Hit {
        /// Entry in the catalog.
        entry: EntryId,
        /// Name of the skill.
        name: String,
        /// Its kind: lora, persona, dataset, service or embedder.
        kind: String,
        /// Who published it.
        publisher: IdentityHash,
        /// How well it fits; higher is better. Scores of different nodes cannot be compared.
        score: f64,
        /// Beginning of its description, at most 160 bytes; empty where only the card is known.
        description: String,
        /// Node that holds the manifest; none when it is the one that answers.
        held_by: Option<DestinationHash>,
    }

    /// A manifest.
    pub struct ManifestReply {
        /// Signed manifest.
        manifest: Blob,
        /// Public key of its publisher.
        publisher_key: PublicKey,
    }

    /// A step of a sync.
    pub struct SyncReply {
        /// The answer to the caller's message.
        payload: Blob,
    }

    /// What was published.
    pub struct PublishReply {
        /// Who it was published by: this node.
        publisher: IdentityHash,
        /// Entries that are new.
        added: u32,
        /// Entries that replace an older one of the same name.
        updated: u32,
        /// Entries that were published before, exactly as they are.
        unchanged: u32,
        /// What could not be published, and why.
        refused: Vec<Refusal>,
        /// Entries that were added or updated.
        entries: Vec<PublishedEntry>,
        /// What can be found by meaning: entries that got a vector.
        embedded: u32,
        /// Fingerprint of the catalog now.
        catalog_root: CatalogRoot,
    }

    /// Something that could not be published.
    pub struct Refusal {
        /// Line of the file or file of the folder.
        place: String,
        /// What is wrong with it.
        reason: String,
    }

    /// An entry that was published.
    pub struct PublishedEntry {
        /// Entry in the catalog.
        entry: EntryId,
        /// Name of the skill.
        name: String,
        /// Its kind.
        kind: String,
    }

    /// An entry in full.
    pub struct ShowReply {
        /// Entry in the catalog.
        entry: EntryId,
        /// Name of the skill.
        name: String,
        /// Its kind: lora, persona, dataset, service or embedder.
        kind: String,
        /// Who published it.
        publisher: IdentityHash,
        /// Whether this node published it.
        own: bool,
        /// Version of the entry: a later one of the same publisher and name replaces it.
        sequence: u32,
        /// When it expires.
        expires: UnixTime,
        /// Size, rounded down to a power of two, in bytes.
        size_bytes: u64,
        /// Licence class, as on the card.
        licence_class: String,
        /// Whether the signature of the card is the publisher's.
        card_verified: bool,
        /// Hash of the manifest.
        manifest_hash: ManifestHash,
        /// Whether the manifest is here and its hash and signature are right; when not, what follows is absent.
        manifest_verified: bool,
        /// Node the manifest was fetched from just now.
        fetched_from: Option<DestinationHash>,
        /// Bytes of the manifest.
        manifest_bytes: Option<u32>,
        /// Semantic version of the skill.
        version: Option<String>,
        /// What it does.
        description: Option<String>,
        /// Tags.
        tags: Vec<String>,
        /// Languages, by code.
        languages: Vec<String>,
        /// Licence, by SPDX id.
        licence: Option<String>,
        /// Base model it is made for.
        base_model: Option<String>,
        /// Whether there are no files to it: it is described only.
        described_only: Option<bool>,
        /// Its files.
        files: Vec<File>,
        /// What the files of an adapter say about it: format, rank, alpha, targets, parameters.
        adapter: Option<Value>,
    }

    /// A file of a skill.
    pub struct File {
        /// Path inside the skill.
        path: String,
        /// Its size in bytes.
        size_bytes: u64,
        /// SHA-256 of its content.
        sha256: Blob,
    }

    /// The catalog.
    pub struct CatalogReply {
        /// Live entries in all.
        count: u32,
        /// Fingerprint of the catalog.
        root: Option<CatalogRoot>,
        /// Entries, newest first.
        entries: Vec<CatalogEntry>,
    }

    /// An entry of the catalog in short.
    pub struct CatalogEntry {
        /// Entry in the catalog.
        entry: EntryId,
        /// Name of the skill.
        name: String,
        /// Its kind: lora, persona, dataset, service or embedder.
        kind: String,
        /// Who published it.
        publisher: IdentityHash,
        /// Whether this node published it.
        own: bool,
        /// Whether its manifest is here.
        manifest: bool,
        /// When it expires.
        expires: UnixTime,
    }

    /// What a sync took.
    pub struct CatalogSyncReply {
        /// With which node.
        destination: DestinationHash,
        /// Name that node announces; empty for none.
        name: String,
        /// Cards this node got that were new to it.
        received: u32,
        /// Cards this node gave.
        sent: u32,
        /// Requests that were made.
        rounds: u32,
        /// Bytes of the cards that went either way.
        card_bytes: u64,
        /// Bytes of the publishers' keys that went either way.
        key_bytes: u64,
        /// Bytes of everything else in the dialogue: finding out what differs.
        sync_bytes: u64,
        /// From asking to agreement, in milliseconds, path and link included.
        elapsed_ms: u64,
        /// Whether both catalogs are equal now.
        equal: bool,
        /// Live entries in this node's catalog now.
        catalog_count: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Call;
    use crate::octets::MessageId;

    #[test]
    fn a_search_over_a_slow_link_stays_within_180_bytes() {
        let search = Search {
            space: Some(SpaceId::new([1; 4])),
            sketch: Some(Sketch::new([0xff; 48])),
            limit: Some(3),
            ..Search::by_text("soil moisture logger in Swahili")
        };
        let len = Call::new(MessageId::new([0xff; 16]), &search, 60).encode().len();
        assert!(len <= 180, "{len} bytes");
    }

    #[test]
    fn a_reply_reads_the_same_in_both_formats() {
        let hit = Hit {
            entry: EntryId::new([1; 16]),
            name: "moisture".into(),
            kind: "lora".into(),
            publisher: IdentityHash::new([2; 16]),
            score: 0.5,
            description: "Reads soil probes.".into(),
            held_by: None,
        };
        let reply =
            SearchReply { hits: vec![hit], ranked_by: "words".into(), searched: 1, nodes_asked: 0, nodes_answered: 0 };
        let bytes = rmp_serde::to_vec_named(&reply).unwrap();
        assert_eq!(rmp_serde::from_slice::<SearchReply>(&bytes).unwrap(), reply);
        let json = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<SearchReply>(&json).unwrap(), reply);
        assert_eq!(serde_json::to_string(&Value::from_msgpack(&bytes).unwrap()).unwrap(), json);
    }

    #[test]
    fn a_search_that_makes_no_sense_is_refused() {
        let search = Search::by_text("x");
        assert_eq!(search.check(), Ok(()));
        assert!(Search::by_text("x".repeat(1001)).check().is_err());
        assert!(
            Search { vector: Some(Blob(vec![0; 383])), space: Some(SpaceId::new([0; 4])), ..search.clone() }
                .check()
                .is_err()
        );
        assert!(Search { sketch: Some(Sketch::new([0; 48])), ..search }.check().is_err());
    }

    #[test]
    fn a_manifest_is_asked_for_in_one_way() {
        let wanted = Wanted::Entry(EntryId::new([1; 16]));
        assert_eq!(Manifest::of(wanted).wanted(), Ok(wanted));
        assert!(Manifest { entry: None, manifest: None }.wanted().is_err());
    }
}
