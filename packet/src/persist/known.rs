//! `storage/known_destinations`: who is who. docs/protocol/1-core.md, section 1.5.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{FileError, fixed, optional, optional_bin};
use crate::hash::{DestinationHash, PacketHash};
use crate::identity::KEY_LEN;
use crate::msgpack::{Reader, Writer};

/// When a destination was last of use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LastUse {
    /// Not yet.
    Never,
    /// It is to be kept whatever happens.
    Retained,
    /// Then.
    At(f64),
}

/// One known destination.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownDestination {
    /// Its address.
    pub destination: DestinationHash,
    /// When its last valid announce was heard.
    pub heard: f64,
    /// That announce.
    pub packet: PacketHash,
    /// X25519 public key, then Ed25519 public key.
    pub public_key: [u8; KEY_LEN],
    /// What it announced; `None` differs from empty (section 9, trap 12).
    pub app_data: Option<Vec<u8>>,
    /// When it was last of use.
    pub last_use: LastUse,
}

/// How long after its announce a destination is kept that nobody has used.
pub const UNUSED_LINGER: Duration = Duration::from_secs(360);
/// How long after its last use a destination is kept.
pub const USED_LINGER: Duration = Duration::from_secs(756_000);

impl LastUse {
    /// Whether a destination without a path is worth keeping at `now` that was heard of last at `heard`, all in seconds of
    /// one clock.
    pub fn keeps(self, heard: f64, now: f64) -> bool {
        match self {
            Self::Retained => true,
            Self::Never => now - heard <= UNUSED_LINGER.as_secs_f64(),
            Self::At(used) => now - used <= USED_LINGER.as_secs_f64(),
        }
    }
}

impl KnownDestination {
    /// Whether this is worth keeping at `now`, in seconds since the epoch. A destination with a path always is.
    pub fn is_kept(&self, now: f64, has_path: bool) -> bool {
        has_path || self.last_use.keeps(self.heard, now)
    }
}

/// Reads the file. Entries under keys of another length, and entries with fields of another kind, are left out.
///
/// # Errors
/// When it is not a map, cut short, or holds a key twice.
pub fn read(bytes: &[u8]) -> Result<Vec<KnownDestination>, FileError> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for _ in 0..reader.map()? {
        let (key, value) = (reader.value()?, reader.value()?);
        if !seen.insert(key) {
            return Err(FileError::DuplicateKey);
        }
        found.extend(entry(&mut Reader::new(key), &mut Reader::new(value)));
    }
    Ok(found)
}

fn entry(key: &mut Reader<'_>, value: &mut Reader<'_>) -> Result<KnownDestination, FileError> {
    let destination = DestinationHash::new(fixed(key)?);
    let len = value.array()?;
    if !(4..=5).contains(&len) {
        return Err(FileError::Length { expected: 5, found: len });
    }
    Ok(KnownDestination {
        destination,
        heard: value.number()?,
        packet: PacketHash::new(fixed(value)?),
        public_key: fixed(value)?,
        app_data: optional(value, |value| Ok(value.bin()?.to_vec()))?,
        // Entries of older versions lack it.
        last_use: if len == 5 { last_use(value)? } else { LastUse::Never },
    })
}

fn last_use(value: &mut Reader<'_>) -> Result<LastUse, FileError> {
    Ok(match value.int() {
        Ok(0) => LastUse::Never,
        Ok(-1) => LastUse::Retained,
        _ => LastUse::At(value.number()?),
    })
}

/// Writes the file, in the order given.
pub fn write<'a>(entries: impl ExactSizeIterator<Item = &'a KnownDestination>) -> Vec<u8> {
    let out = Writer::new().map(entries.len());
    let written = entries.fold(out, |out, entry| {
        let out = out.bin(entry.destination.as_ref()).array(5).float(entry.heard).bin(entry.packet.as_ref());
        let out = optional_bin(out.bin(&entry.public_key), entry.app_data.as_deref());
        match entry.last_use {
            LastUse::Never => out.int(0),
            LastUse::Retained => out.int(-1),
            LastUse::At(time) => out.float(time),
        }
    });
    written.into_bytes()
}
