//! What of the genome goes to disk, as keys and values that any ordered store takes. docs/protocol/mesh.md, Storage.
//!
//! Each function gives all changes that belong together: the node commits them at once or not at all, and acknowledges
//! nothing before.

use wend_packet::IdentityHash;
use wend_packet::identity::PublicIdentity;

use crate::card::{CardRef, short_name};
use crate::entry::{EntryId, ManifestHash, QuantisedVector, SpaceId};
use crate::gossip::intake::Checked;
use crate::manifest::SignedManifest;
use crate::publish::Published;
use crate::verified::Verified;

/// What a value is kept under: one table for each variant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A live card's bytes.
    Card(EntryId),
    /// A manifest's bytes.
    Manifest(ManifestHash),
    /// A publisher's 64-byte public key, kept while the catalog [has a card](crate::catalog::Catalog::has_publisher) of his.
    Publisher(IdentityHash),
    /// The vector of an entry whose manifest is here: see [`vector_value`].
    Vector(EntryId),
    /// The last sequence (4 bytes, big-endian) this node used under a card's name.
    Sequence(String),
}

/// A change to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put a value, over an older one if there is one.
    Put(Key, Vec<u8>),
    /// Remove it, if it is there.
    Remove(Key),
}

/// A vector's value: its space (4 bytes), then the encoded vector (386).
pub fn vector_value(space: SpaceId, vector: &QuantisedVector) -> Vec<u8> {
    [&space.0[..], &vector.to_bytes()].concat()
}

/// Reads a vector's value; `None` when it is none.
pub fn read_vector(value: &[u8]) -> Option<(SpaceId, QuantisedVector)> {
    let (space, vector) = value.split_first_chunk()?;
    Some((SpaceId(*space), QuantisedVector::from_bytes(vector)?))
}

/// What this node's own publication changes.
pub fn published(entry: &Published, key: &PublicIdentity) -> Vec<Change> {
    let card = entry.card.view();
    let sequence = Change::Put(Key::Sequence(card.name().to_owned()), card.sequence().to_be_bytes().to_vec());
    let mut changes = vec![
        Change::Put(Key::Card(entry.card.id()), entry.card.as_bytes().to_vec()),
        Change::Put(Key::Publisher(key.hash()), key.as_bytes().to_vec()),
        sequence,
    ];
    changes.extend(fetched(entry.card.id(), &entry.manifest));
    changes
}

/// What a card that came from a peer changes, once it is in the catalog.
pub fn learned(checked: &Checked) -> Vec<Change> {
    vec![
        Change::Put(Key::Card(checked.card.id()), checked.card.as_bytes().to_vec()),
        Change::Put(Key::Publisher(checked.key.hash()), checked.key.as_bytes().to_vec()),
    ]
}

/// What the manifest of `entry` changes.
pub fn fetched(entry: EntryId, manifest: &Verified<SignedManifest>) -> Vec<Change> {
    let vector = manifest.fields().vector.as_ref();
    let vector = vector.map(|(space, vector)| Change::Put(Key::Vector(entry), vector_value(*space, vector)));
    let manifest = Change::Put(Key::Manifest(manifest.hash()), manifest.as_bytes().to_vec());
    core::iter::once(manifest).chain(vector).collect()
}

/// What the end of a card changes: it was replaced, expired or had to leave.
pub fn forgotten(card: &CardRef<'_>) -> Vec<Change> {
    let manifest = card.withdraws().is_none().then(|| Change::Remove(Key::Manifest(card.manifest())));
    let id = card.id();
    [Change::Remove(Key::Card(id)), Change::Remove(Key::Vector(id))].into_iter().chain(manifest).collect()
}

/// The key of the last sequence used under `name`, whole or as cards carry it.
pub fn sequence_key(name: &str) -> Key {
    Key::Sequence(short_name(name).to_owned())
}

/// The sequence after the last one used, whose value this is; the first is 1.
pub fn next_sequence(last: Option<&[u8]>) -> u32 {
    let last = last.and_then(|value| value.try_into().ok()).map_or(0, u32::from_be_bytes);
    last.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::from_jsonl;
    use crate::testing::{card, identity, now, tombstone};
    use core::time::Duration;

    #[test]
    fn a_publication_is_one_set_of_changes() {
        let line = r#"{"name": "a-name-that-is-longer-than-cards-carry", "version": "1.0.0", "kind": "service", "description": "x"}"#;
        let draft = from_jsonl(line, 1).unwrap();
        let space = SpaceId([1; 4]);
        let vector = QuantisedVector::from_f32(&[0.05; 384]);
        let expiry = now().unix.plus(Duration::from_secs(1000));
        let entry = draft.finish(&identity(1), Some((space, vector)), 7, now(), expiry).unwrap();
        let changes = published(&entry, identity(1).public());
        let value = |key: &Key| {
            changes.iter().find_map(|change| match change {
                Change::Put(put, value) if put == key => Some(value.as_slice()),
                _ => None,
            })
        };
        assert_eq!(changes.len(), 5);
        assert_eq!(value(&Key::Card(entry.card.id())), Some(entry.card.as_bytes()));
        assert_eq!(value(&Key::Manifest(entry.manifest.hash())), Some(entry.manifest.as_bytes()));
        assert_eq!(value(&Key::Vector(entry.card.id())).and_then(read_vector), Some((space, vector)));
        assert_eq!(next_sequence(value(&sequence_key("a-name-that-is-longer-than-cards-carry"))), 8);
        assert_eq!(next_sequence(None), 1);
        assert_eq!(read_vector(&[0; 389]), None);
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let card = card(1, "a", 1);
        let gone = forgotten(&card.view());
        assert!(gone.contains(&Change::Remove(Key::Manifest(card.view().manifest()))) && gone.len() == 3);
        assert_eq!(forgotten(&tombstone(1, "a", 2, card.id()).view()).len(), 2);
    }
}
