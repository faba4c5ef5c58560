//! An entry before it is signed.

use wend_packet::identity::Identity;
use wend_packet::time::{Now, UnixTime};

use crate::card::{Card, CardFields, short_name, withdrawal};
use crate::class::{BaseModelKey, LanguageClass, LicenceClass, SizeClass};
use crate::embed::entry_text;
use crate::entry::{EntryId, Kind, QuantisedVector, Sketch, SpaceId};
use crate::manifest::{AdapterFacts, BaseModel, File, Manifest, SignedManifest, TooLong, limits};
use crate::verified::Verified;

/// What somebody wants to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its name: what it is published under. The first 26 bytes tell entries of one publisher apart.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// What it is.
    pub kind: Kind,
    /// What it does.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// SPDX expression.
    pub licence: Option<String>,
    /// What it is made for.
    pub base_model: Option<BaseModel>,
    /// What is known of the adapter.
    pub adapter: Option<AdapterFacts>,
    /// Its files; none when it is only described.
    pub files: Vec<File>,
}

/// Why a draft cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// A field is empty, too long or has control characters in it.
    #[error("field `{field}` is {found}; accepted: {accepted}")]
    Field {
        /// The field.
        field: &'static str,
        /// What was found.
        found: String,
        /// What is accepted.
        accepted: String,
    },
    /// All fields together are too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// A signed entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// What gossip carries.
    pub card: Verified<Card>,
    /// What is fetched by its hash.
    pub manifest: Verified<SignedManifest>,
}

impl Draft {
    /// The text whose vector stands for the entry.
    pub fn text(&self) -> String {
        entry_text(&self.name, &self.description, &self.tags)
    }

    /// Whether every field is within its bounds.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), DraftError> {
        one("name", &self.name, 1, limits::NAME)?;
        one("version", &self.version, 1, limits::VERSION)?;
        if semver::Version::parse(&self.version).is_err() {
            return Err(field("version", quoted(&self.version), "a semantic version such as 1.0.0".into()));
        }
        one("description", &self.description, 0, limits::DESCRIPTION)?;
        list("tags", &self.tags)?;
        list("languages", &self.languages)?;
        if let Some(licence) = &self.licence {
            one("license", licence, 1, limits::LICENCE)?;
        }
        if let Some(BaseModel { id, revision }) = &self.base_model {
            one("base_model", id, 1, limits::MODEL)?;
            one("revision", revision.as_deref().unwrap_or("-"), 1, limits::MODEL)?;
        }
        if let Some(facts) = &self.adapter {
            list("targets", &facts.targets)?;
            if facts.alpha.is_some_and(|alpha| !alpha.is_finite()) {
                return Err(field("alpha", "not finite".into(), "a number".into()));
            }
        }
        Ok(())
    }

    /// Makes manifest and card and signs both.
    ///
    /// `vector` is that of [`Draft::text`], with its space, when there is a model; `sequence` is higher than any before
    /// under this name; `expiry` is when the card stops being true, at most 400 days ahead.
    ///
    /// # Errors
    /// When a field, or all of them together, are too long.
    pub fn finish(
        self,
        identity: &Identity,
        vector: Option<(SpaceId, QuantisedVector)>,
        sequence: u32,
        now: Now,
        expiry: UnixTime,
    ) -> Result<Published, DraftError> {
        self.check()?;
        let fields = CardFields {
            kind: self.kind,
            size: SizeClass::of_len(self.files.iter().fold(0, |sum, file| sum.saturating_add(file.len))),
            licence: self.licence.as_deref().map_or(LicenceClass::UNKNOWN, LicenceClass::of_spdx),
            language: LanguageClass::of_tags(&self.languages),
            base_model: self.base_model.as_ref().map_or(BaseModelKey::NONE, |model| BaseModelKey::of_id(&model.id)),
            space: vector.map_or(SpaceId::NONE, |(space, _)| space),
            sequence,
            expiry: u32::try_from(expiry.0).unwrap_or(u32::MAX),
            sketch: vector.map_or(Sketch::EMPTY, |(_, vector)| vector.sketch()),
            name: self.name.clone(),
            manifest: crate::entry::ManifestHash::new([0; 32]),
        };
        let manifest = Manifest {
            name: self.name,
            version: self.version,
            kind: self.kind,
            publisher: identity.hash(),
            created: now.unix,
            sequence,
            description: self.description,
            tags: self.tags,
            languages: self.languages,
            licence: self.licence,
            base_model: self.base_model,
            adapter: self.adapter,
            files: self.files,
            vector,
        }
        .sign(identity)?;
        let card = CardFields { manifest: manifest.hash(), ..fields }.sign(identity);
        Ok(Published { card, manifest })
    }
}

/// The card that withdraws `entry`, published by the same identity under `name`, with a `sequence` above its own.
pub fn withdraw(identity: &Identity, entry: EntryId, name: &str, sequence: u32, expiry: UnixTime) -> Verified<Card> {
    let fields = CardFields {
        manifest: withdrawal(entry),
        kind: Kind::TOMBSTONE,
        size: SizeClass::of_len(0),
        licence: LicenceClass::UNKNOWN,
        language: LanguageClass::ANY,
        base_model: BaseModelKey::NONE,
        space: SpaceId::NONE,
        sequence,
        expiry: u32::try_from(expiry.0).unwrap_or(u32::MAX),
        sketch: Sketch::EMPTY,
        name: short_name(name).into(),
    };
    fields.sign(identity)
}

fn field(field: &'static str, found: String, accepted: String) -> DraftError {
    DraftError::Field { field, found, accepted }
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn one(name: &'static str, text: &str, min: usize, max: usize) -> Result<(), DraftError> {
    let accepted = || format!("{min} to {max} bytes of text without control characters");
    if !(min..=max).contains(&text.len()) {
        return Err(field(name, format!("{} bytes long", text.len()), accepted()));
    }
    if !crate::manifest::is_printable(text) {
        return Err(field(name, quoted(text), accepted()));
    }
    Ok(())
}

fn list(name: &'static str, texts: &[String]) -> Result<(), DraftError> {
    if texts.len() > limits::LIST {
        return Err(field(name, format!("a list of {}", texts.len()), format!("at most {} items", limits::LIST)));
    }
    texts.iter().try_for_each(|text| one(name, text, 1, limits::WORD))
}
