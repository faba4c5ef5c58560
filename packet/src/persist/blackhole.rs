//! `storage/blackhole/…` and the responses to `/list`: identities that are shut out. docs/protocol/1-core.md, section 4.9.

use std::collections::BTreeSet;

use super::{FileError, fields, fixed, optional, optional_str};
use crate::hash::IdentityHash;
use crate::msgpack::{Reader, Writer};

/// A time as it was written: as a whole number, or with a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// Whole seconds.
    Whole(i64),
    /// Seconds with a fraction.
    Fraction(f64),
}

impl Until {
    /// Seconds since the epoch.
    pub fn seconds(self) -> f64 {
        match self {
            Self::Whole(seconds) => seconds as f64,
            Self::Fraction(seconds) => seconds,
        }
    }
}

/// An identity that is shut out.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBlackhole {
    /// Who.
    pub identity: IdentityHash,
    /// Who says so: the transport identity of a node. On loading a file of others, its name says it.
    pub source: IdentityHash,
    /// Until when; `None` for ever.
    pub until: Option<Until>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// Reads the map. Entries that make no sense are left out.
///
/// # Errors
/// When it is not a map, cut short, or holds an identity twice.
pub fn read(bytes: &[u8]) -> Result<Vec<StoredBlackhole>, FileError> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for _ in 0..reader.map()? {
        let (key, value) = (reader.value()?, reader.value()?);
        if !seen.insert(key) {
            return Err(FileError::DuplicateKey);
        }
        found.extend(entry(key, value));
    }
    Ok(found)
}

fn entry(key: &[u8], value: &[u8]) -> Result<StoredBlackhole, FileError> {
    let identity = IdentityHash::new(fixed(&mut Reader::new(key))?);
    let mut fields = fields(value)?;
    let mut field = |name: &str| fields.remove(name).unwrap_or_else(|| Reader::new(&[0xc0]));
    Ok(StoredBlackhole {
        identity,
        source: IdentityHash::new(fixed(&mut field("source"))?),
        until: optional(&mut field("until"), |reader| match reader.int() {
            Ok(seconds) => Ok(Until::Whole(seconds)),
            Err(_) => Ok(Until::Fraction(reader.number()?)),
        })?,
        reason: optional(&mut field("reason"), |reader| Ok(reader.str()?.to_owned()))?,
    })
}

/// Writes the map, in the order given.
pub fn write(entries: &[StoredBlackhole]) -> Vec<u8> {
    let written = entries.iter().fold(Writer::new().map(entries.len()), |out, entry| {
        let out = out.bin(entry.identity.as_ref()).map(3).str("source").bin(entry.source.as_ref()).str("until");
        let out = match entry.until {
            None => out.nil(),
            Some(Until::Whole(seconds)) => out.int(seconds),
            Some(Until::Fraction(seconds)) => out.float(seconds),
        };
        optional_str(out.str("reason"), entry.reason.as_deref())
    });
    written.into_bytes()
}
