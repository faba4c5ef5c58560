//! Destination names and their hashes. docs/protocol/1-core.md, section 2.2.

use crate::hash::{DestinationHash, IdentityHash, NameHash, sha256_head};

/// Why a name cannot name a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Dots separate the parts of a name, so no part may hold one.
    #[error("a part of a destination name must not contain a dot")]
    Dot,
}

/// The dotted name of a destination, without its identity part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestinationName(String);

impl DestinationName {
    /// Joins app name and aspects. Case matters; empty parts, spaces and any Unicode are allowed.
    ///
    /// # Errors
    /// When a part contains a dot.
    pub fn new(app_name: &str, aspects: &[&str]) -> Result<Self, NameError> {
        if app_name.contains('.') || aspects.iter().any(|aspect| aspect.contains('.')) {
            return Err(NameError::Dot);
        }
        let mut name = app_name.to_owned();
        for aspect in aspects {
            name.push('.');
            name.push_str(aspect);
        }
        Ok(Self(name))
    }

    /// The name with an identity's hash as its last part: what an inbound destination is called that was given no identity.
    #[must_use]
    pub fn with_identity(&self, identity: IdentityHash) -> Self {
        Self(format!("{}.{identity}", self.0))
    }

    /// The dotted name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Hash of the name alone.
    pub fn hash(&self) -> NameHash {
        NameHash::new(sha256_head(&[self.0.as_bytes()]))
    }

    /// Hash of the SINGLE or GROUP destination of this name and identity; the two types share it.
    pub fn of(&self, identity: IdentityHash) -> DestinationHash {
        single_hash(self.hash(), identity)
    }

    /// Hash of the PLAIN destination of this name.
    pub fn plain(&self) -> DestinationHash {
        DestinationHash::new(sha256_head(&[self.hash().as_ref()]))
    }
}

/// Hash of a SINGLE destination from the two hashes it is made of.
pub fn single_hash(name: NameHash, identity: IdentityHash) -> DestinationHash {
    DestinationHash::new(sha256_head(&[name.as_ref(), identity.as_ref()]))
}

/// Hash under which a request handler is registered. docs/protocol/1-core.md, section 2.5.
pub fn request_path_hash(path: &str) -> [u8; 16] {
    sha256_head(&[path.as_bytes()])
}
