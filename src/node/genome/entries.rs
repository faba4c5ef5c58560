//! Entries as commands show them.

use wend_commands::builtin::genome::{CatalogEntry, File, Hit, ShowReply};
use wend_commands::{Blob, Value};
use wend_genome::card::CardRef;
use wend_genome::class::SizeClass;
use wend_genome::manifest::{AdapterFacts, Manifest, SignedManifest};
use wend_genome::search;
use wend_packet::{DestinationHash, IdentityHash};

use super::{outward, outward_hash};
use crate::node::node_name;

/// Longest piece of a description that a hit carries, in bytes.
const SNIPPET: usize = 160;

/// An entry in full.
#[derive(Debug, Clone)]
pub(crate) struct EntryView {
    /// As `genome/show` gives it.
    pub reply: ShowReply,
}

/// Who holds the manifest of an entry that this node has only the card of: its publisher's node.
pub(super) fn holder(publisher: IdentityHash) -> DestinationHash {
    node_name().of(publisher)
}

pub(super) fn full(card: &CardRef<'_>, own: IdentityHash, manifest: Option<&SignedManifest>) -> EntryView {
    let fields = manifest.map(SignedManifest::fields);
    let reply = ShowReply {
        entry: outward(card.id()),
        name: fields.map_or(card.name(), |fields| &fields.name).to_owned(),
        kind: card.kind().to_string(),
        publisher: card.publisher(),
        own: card.publisher() == own,
        sequence: card.sequence(),
        expires: card.expiry(),
        size_bytes: least_bytes(card.size()),
        licence_class: card.licence().to_string(),
        // Only cards whose signature held ever enter the catalog.
        card_verified: true,
        manifest_hash: outward_hash(card.manifest()),
        manifest_verified: manifest.is_some(),
        fetched_from: None,
        manifest_bytes: manifest.and_then(|manifest| u32::try_from(manifest.as_bytes().len()).ok()),
        version: fields.map(|fields| fields.version.clone()),
        description: fields.map(|fields| fields.description.clone()),
        tags: fields.map(|fields| fields.tags.clone()).unwrap_or_default(),
        languages: fields.map(|fields| fields.languages.clone()).unwrap_or_default(),
        licence: fields.and_then(|fields| fields.licence.clone()),
        base_model: fields.and_then(|fields| fields.base_model.as_ref()).map(|model| model.id.clone()),
        described_only: fields.map(Manifest::is_described_only),
        files: fields.map(files).unwrap_or_default(),
        adapter: fields.and_then(|fields| fields.adapter.as_ref()).map(adapter),
    };
    EntryView { reply }
}

/// The least that a size class stands for, which is the size rounded down to a power of two.
fn least_bytes(size: SizeClass) -> u64 {
    let bits = u32::from(size.0).checked_sub(1);
    bits.and_then(|bits| 1_u64.checked_shl(bits)).unwrap_or_default()
}

fn files(manifest: &Manifest) -> Vec<File> {
    let file = |file: &wend_genome::manifest::File| File {
        path: file.path.clone(),
        size_bytes: file.len,
        sha256: Blob(file.sha256.to_vec()),
    };
    manifest.files.iter().map(file).collect()
}

fn adapter(facts: &AdapterFacts) -> Value {
    let text = |value: &str| Value::Text(value.to_owned());
    let mut fields: Vec<(Value, Value)> = Vec::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.push((text(name), value));
        }
    };
    put("format", facts.format.as_deref().map(text));
    put("rank", facts.rank.map(|rank| Value::Unsigned(rank.into())));
    put("alpha", facts.alpha.map(Value::Float));
    let targets = facts.targets.iter().map(|target| text(target)).collect();
    put("targets", (!facts.targets.is_empty()).then_some(Value::List(targets)));
    put("dtype", facts.dtype.as_deref().map(text));
    put("parameters", facts.parameters.map(Value::Unsigned));
    Value::Map(fields)
}

pub(super) fn listed(card: &CardRef<'_>, own: IdentityHash, manifest: bool) -> CatalogEntry {
    CatalogEntry {
        entry: outward(card.id()),
        name: card.name().to_owned(),
        kind: card.kind().to_string(),
        publisher: card.publisher(),
        own: card.publisher() == own,
        manifest,
        expires: card.expiry(),
    }
}

pub(super) fn hit(
    found: &search::Hit,
    card: &CardRef<'_>,
    own: IdentityHash,
    manifest: Option<&SignedManifest>,
) -> Hit {
    let fields = manifest.map(SignedManifest::fields);
    Hit {
        entry: outward(card.id()),
        name: fields.map_or(card.name(), |fields| &fields.name).to_owned(),
        kind: card.kind().to_string(),
        publisher: card.publisher(),
        score: f64::from(found.score),
        description: fields.map(|fields| snippet(&fields.description)).unwrap_or_default(),
        held_by: (manifest.is_none() && card.publisher() != own).then(|| holder(card.publisher())),
    }
}

fn snippet(description: &str) -> String {
    let end = (0..=SNIPPET.min(description.len())).rev().find(|end| description.is_char_boundary(*end));
    description.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// What filters look at.
pub(super) fn facets(card: &CardRef<'_>, manifest: Option<&Manifest>) -> search::Facets {
    search::Facets {
        kind: card.kind(),
        base_model: card.base_model(),
        licence: card.licence(),
        language: card.language(),
        details: manifest.map(|manifest| search::Details {
            licence: manifest.licence.as_deref().unwrap_or_default().into(),
            languages: manifest.languages.iter().map(|tag| tag.as_str().into()).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_rounded_down_to_a_power_of_two() {
        for (len, shown) in [(0, 0), (1, 1), (2, 2), (3, 2), (1000, 512), (1024, 1024), (u64::MAX, 1 << 63)] {
            assert_eq!(least_bytes(SizeClass::of_len(len)), shown, "{len}");
        }
    }

    #[test]
    fn a_snippet_is_cut_at_a_character() {
        let text = "é".repeat(100);
        assert_eq!(snippet(&text).chars().count(), 80);
        assert_eq!(snippet("short"), "short");
    }
}
