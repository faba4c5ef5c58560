//! A manifest as people and programs see it: `wend show`, and its JSON.

use serde::Serialize;

use super::{AdapterFacts, File, Manifest};
use crate::class::LicenceClass;
use crate::entry::ManifestHash;

/// A manifest, with every hash as text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// The manifest's own hash.
    pub manifest: String,
    /// The whole name.
    pub name: String,
    /// The semantic version.
    pub version: String,
    /// What the entry is.
    pub kind: String,
    /// Who publishes it.
    pub publisher: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// Counts up with each publication under this name.
    pub sequence: u32,
    /// What it does.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// SPDX expression.
    pub licence: Option<String>,
    /// What that licence asks.
    pub licence_class: String,
    /// Id of the base model.
    pub base_model: Option<String>,
    /// Revision of the base model.
    pub base_model_revision: Option<String>,
    /// What is known of the adapter.
    pub adapter: Option<AdapterView>,
    /// Nothing but this description can be had.
    pub described_only: bool,
    /// What can be fetched.
    pub files: Vec<FileView>,
    /// The embedding space of its vector.
    pub embedding_space: Option<String>,
}

/// What is known of an adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterView {
    /// The format of its files.
    pub format: Option<String>,
    /// Its rank.
    pub rank: Option<u32>,
    /// Its scale.
    pub alpha: Option<f64>,
    /// The modules that it changes.
    pub targets: Vec<String>,
    /// The type of its numbers.
    pub dtype: Option<String>,
    /// How many numbers there are.
    pub parameters: Option<u64>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileView {
    /// Its path in the entry.
    pub path: String,
    /// Its length.
    pub len_bytes: u64,
    /// BLAKE3-256.
    pub blake3: String,
    /// SHA-256.
    pub sha256: String,
}

impl View {
    pub(super) fn of(manifest: &Manifest, hash: ManifestHash) -> Self {
        let licence_class = manifest.licence.as_deref().map_or(LicenceClass::UNKNOWN, LicenceClass::of_spdx);
        Self {
            manifest: hash.to_string(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            kind: manifest.kind.to_string(),
            publisher: manifest.publisher.to_string(),
            created: manifest.created.0,
            sequence: manifest.sequence,
            description: manifest.description.clone(),
            tags: manifest.tags.clone(),
            languages: manifest.languages.clone(),
            licence: manifest.licence.clone(),
            licence_class: licence_class.to_string(),
            base_model: manifest.base_model.as_ref().map(|model| model.id.clone()),
            base_model_revision: manifest.base_model.as_ref().and_then(|model| model.revision.clone()),
            adapter: manifest.adapter.as_ref().map(AdapterView::of),
            described_only: manifest.is_described_only(),
            files: manifest.files.iter().map(FileView::of).collect(),
            embedding_space: manifest.vector.as_ref().map(|(space, _)| space.to_string()),
        }
    }
}

impl AdapterView {
    fn of(facts: &AdapterFacts) -> Self {
        let AdapterFacts { format, rank, alpha, targets, dtype, parameters } = facts.clone();
        Self { format, rank, alpha, targets, dtype, parameters }
    }
}

impl FileView {
    fn of(file: &File) -> Self {
        Self {
            path: file.path.clone(),
            len_bytes: file.len,
            blake3: hex::encode(file.blake3),
            sha256: hex::encode(file.sha256),
        }
    }
}
