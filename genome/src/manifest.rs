//! The manifest: all that a publisher says about an entry, fetched by its hash. docs/protocol/mesh.md, Manifest.

mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod view;

use wend_packet::IdentityHash;
use wend_packet::identity::{Identity, PublicIdentity, SIGNATURE_LEN};
use wend_packet::time::UnixTime;

use crate::card::{CardRef, VerifyError};
use crate::entry::{Kind, ManifestHash, QuantisedVector, SpaceId};
use crate::verified::Verified;

pub use decode::DecodeError;
pub(crate) use decode::is_printable;
pub use view::{AdapterView, FileView, View};

/// The version of the map that this code reads and writes.
pub const VERSION: u64 = 1;
/// The most bytes a manifest may have.
pub const LEN_MAX: usize = 16 * 1024;

/// How long texts and lists may be, in bytes and items.
pub mod limits {
    /// A name.
    pub const NAME: usize = 96;
    /// A semantic version.
    pub const VERSION: usize = 64;
    /// A description.
    pub const DESCRIPTION: usize = 4000;
    /// Tags, languages, module names: how many.
    pub const LIST: usize = 64;
    /// Tags, module names: how long each.
    pub const WORD: usize = 64;
    /// An SPDX expression.
    pub const LICENCE: usize = 128;
    /// A base model's id or revision.
    pub const MODEL: usize = 160;
    /// Files: how many.
    pub const FILES: usize = 16;
    /// A file's path.
    pub const PATH: usize = 200;
}

/// The base model that an entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseModel {
    /// Its id, as the publisher writes it.
    pub id: String,
    /// The revision that the entry was made with.
    pub revision: Option<String>,
}

/// What is known of a low-rank adapter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterFacts {
    /// The format of its files, `safetensors`; `None` when the entry is only described.
    pub format: Option<String>,
    /// Its rank.
    pub rank: Option<u32>,
    /// Its scale, before it is divided by the rank.
    pub alpha: Option<f64>,
    /// The modules that it changes.
    pub targets: Vec<String>,
    /// The type of its numbers, `F16`, `BF16`, `F32` or `mixed`.
    pub dtype: Option<String>,
    /// How many numbers there are.
    pub parameters: Option<u64>,
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it lies in the entry: relative, with `/`, without `..`.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// BLAKE3-256 over it, which is also the root of its tree.
    pub blake3: [u8; 32],
    /// SHA-256 over it, which is what model hubs list.
    pub sha256: [u8; 32],
}

/// The fields of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The whole name.
    pub name: String,
    /// The semantic version.
    pub version: String,
    /// What the entry is.
    pub kind: Kind,
    /// Who publishes it.
    pub publisher: IdentityHash,
    /// When the manifest was made.
    pub created: UnixTime,
    /// The sequence of its card.
    pub sequence: u32,
    /// What it does, in words.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// SPDX expression, when it is stated.
    pub licence: Option<String>,
    /// What it is made for.
    pub base_model: Option<BaseModel>,
    /// What is known of the adapter.
    pub adapter: Option<AdapterFacts>,
    /// Its files; none when the entry is only described.
    pub files: Vec<File>,
    /// The vector of its text, and the space it lies in.
    pub vector: Option<(SpaceId, QuantisedVector)>,
}

/// The manifest does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the manifest has {len} bytes, at most {LEN_MAX} are allowed: shorten the description or the lists")]
pub struct TooLong {
    /// Its length.
    pub len: usize,
}

/// A manifest that is not the one a card announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The card names another hash.
    #[error("the card announces manifest {announced}, this is {found}")]
    Hash {
        /// The hash in the card.
        announced: ManifestHash,
        /// The hash of the manifest.
        found: ManifestHash,
    },
    /// Card and manifest name different publishers.
    #[error("the card is published by {card}, the manifest by {manifest}")]
    Publisher {
        /// Who signed the card.
        card: IdentityHash,
        /// Whom the manifest names.
        manifest: IdentityHash,
    },
}

impl Manifest {
    /// Whether there is a description but nothing to fetch.
    pub fn is_described_only(&self) -> bool {
        self.files.is_empty()
    }

    /// Encodes and signs it. `publisher` is set to whoever signs.
    ///
    /// # Errors
    /// When it has more than [`LEN_MAX`] bytes.
    pub fn sign(mut self, identity: &Identity) -> Result<Verified<SignedManifest>, TooLong> {
        self.publisher = identity.hash();
        let mut bytes = encode::unsigned(&self);
        let signed = bytes.len();
        let signature = identity.sign(&bytes);
        encode::signature(&mut bytes, &signature);
        if bytes.len() > LEN_MAX {
            return Err(TooLong { len: bytes.len() });
        }
        let hash = hash(&bytes);
        Ok(Verified::vouched(SignedManifest { manifest: self, bytes, signed, signature, hash }))
    }
}

/// The hash that cards name a manifest by.
pub fn hash(bytes: &[u8]) -> ManifestHash {
    ManifestHash::new(*blake3::hash(bytes).as_bytes())
}

/// A manifest with the bytes it came in, which are what is hashed, signed and passed on: keys unknown here stay in them.
#[derive(Clone, PartialEq)]
pub struct SignedManifest {
    manifest: Manifest,
    bytes: Vec<u8>,
    /// How many of the bytes are signed: all before the signature's own entry.
    signed: usize,
    signature: [u8; SIGNATURE_LEN],
    hash: ManifestHash,
}

impl SignedManifest {
    /// Reads a manifest. Its form is checked, its signature is not: see [`SignedManifest::verify`].
    ///
    /// # Errors
    /// When the bytes are not a manifest of this version, or are out of the bounds stated in docs/protocol/mesh.md.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (manifest, signed, signature) = decode::decode(bytes)?;
        Ok(Self { manifest, bytes: bytes.to_vec(), signed, signature, hash: hash(bytes) })
    }

    /// Its fields.
    pub fn fields(&self) -> &Manifest {
        &self.manifest
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash that cards name it by.
    pub fn hash(&self) -> ManifestHash {
        self.hash
    }

    /// Checks the signature. About 50 µs of work: run it as a job.
    ///
    /// # Errors
    /// When the key is not the publisher's or the signature does not match.
    pub fn verify(self, key: &PublicIdentity) -> Result<Verified<Self>, VerifyError> {
        let publisher = self.manifest.publisher;
        if publisher != key.hash() {
            return Err(VerifyError::Publisher { publisher, key: key.hash() });
        }
        let signed = self.bytes.get(..self.signed).ok_or(VerifyError::Signature)?;
        if key.verify(signed, &self.signature) { Ok(Verified::vouched(self)) } else { Err(VerifyError::Signature) }
    }

    /// Whether this is the manifest that `card` announces.
    ///
    /// # Errors
    /// When hash or publisher differ.
    pub fn check_card(&self, card: &CardRef<'_>) -> Result<(), Mismatch> {
        if card.manifest() != self.hash {
            return Err(Mismatch::Hash { announced: card.manifest(), found: self.hash });
        }
        if card.publisher() != self.manifest.publisher {
            return Err(Mismatch::Publisher { card: card.publisher(), manifest: self.manifest.publisher });
        }
        Ok(())
    }

    /// What a person wants to see.
    pub fn view(&self) -> View {
        View::of(&self.manifest, self.hash)
    }
}

impl core::fmt::Debug for SignedManifest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SignedManifest({:?} {:?}, {} bytes)", self.hash, self.manifest.name, self.bytes.len())
    }
}
