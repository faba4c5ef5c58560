//! The files of the reference, as functions between bytes and values. docs/protocol/1-core.md, sections 1.4, 1.5, 4.9, 5.11
//! and 5.13.
//!
//! What is written is byte for byte what the reference writes; what is read may come from anybody. A file that is no
//! MessagePack of the expected shape is an error; a single entry that makes no sense is left out, as in the reference.
//! Whatever is made of a file is at most a few times as large as the file.
//!
//! The file `transport_identity` is [`Identity::to_private_bytes`](crate::identity::Identity::to_private_bytes) and nothing
//! else. Times are seconds since the epoch, fractions included, as the reference keeps them.

pub mod announces;
pub mod blackhole;
pub mod known;
pub mod packet_hashes;
pub mod paths;
pub mod ratchets;
pub mod tunnels;

use core::time::Duration;
use std::collections::BTreeMap;

use crate::msgpack::{Invalid, Reader, Writer};
use crate::time::UnixTime;

/// Why a file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is not the MessagePack that was expected.
    #[error(transparent)]
    Format(#[from] Invalid),
    /// A key stands twice in a map.
    #[error("a key stands twice in the file")]
    DuplicateKey,
    /// A hash or key of another length than it has.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes it has.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// It is not signed by whom it belongs to.
    #[error("the signature is not that of the identity the file belongs to")]
    Signature,
}

/// Whole seconds of a stored time; times before the epoch, and what is no time, count as the epoch.
pub fn whole_seconds(time: f64) -> UnixTime {
    UnixTime(Duration::try_from_secs_f64(time).map_or(0, |since| since.as_secs()))
}

/// A byte string of exactly so many bytes.
fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], FileError> {
    let bytes = reader.bin()?;
    bytes.try_into().map_err(|_| FileError::Length { expected: N, found: bytes.len() })
}

/// A value, or nil.
fn optional<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, FileError>,
) -> Result<Option<T>, FileError> {
    if reader.nil() { Ok(None) } else { read(reader).map(Some) }
}

/// The values of an array, those left out that `read` refuses.
fn entries<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, FileError>,
) -> Result<Vec<T>, FileError> {
    let mut found = Vec::new();
    for _ in 0..reader.array()? {
        found.extend(read(&mut Reader::new(reader.value()?)));
    }
    Ok(found)
}

/// The fields of a map with texts for keys.
fn fields(bytes: &[u8]) -> Result<BTreeMap<&str, Reader<'_>>, FileError> {
    let mut reader = Reader::new(bytes);
    let mut found = BTreeMap::new();
    for _ in 0..reader.map()? {
        if found.insert(reader.str()?, Reader::new(reader.value()?)).is_some() {
            return Err(FileError::DuplicateKey);
        }
    }
    Ok(found)
}

/// An array header, checked: an array of another length is another thing.
fn array_of(reader: &mut Reader<'_>, len: usize) -> Result<(), FileError> {
    let found = reader.array()?;
    if found == len { Ok(()) } else { Err(FileError::Length { expected: len, found }) }
}

fn optional_bin(out: Writer, bytes: Option<&[u8]>) -> Writer {
    match bytes {
        Some(bytes) => out.bin(bytes),
        None => out.nil(),
    }
}

fn optional_str(out: Writer, text: Option<&str>) -> Writer {
    match text {
        Some(text) => out.str(text),
        None => out.nil(),
    }
}
