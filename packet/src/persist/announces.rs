//! `storage/cache/announces/<packet hash>`: an announce as it was received. docs/protocol/1-core.md, section 5.11.

use super::{FileError, array_of, optional, optional_str};
use crate::msgpack::{Reader, Writer};

/// A cached announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedAnnounce {
    /// The frame as it was received, without access code, its hop byte not counted up.
    pub frame: Vec<u8>,
    /// Display name of the interface it came from.
    pub interface: Option<String>,
}

/// Reads the file.
///
/// # Errors
/// When it is not such a file. The frame is not looked at.
pub fn read(bytes: &[u8]) -> Result<CachedAnnounce, FileError> {
    let mut reader = Reader::new(bytes);
    array_of(&mut reader, 2)?;
    let frame = reader.bin()?.to_vec();
    let interface = optional(&mut reader, |reader| Ok(reader.str()?.to_owned()))?;
    Ok(CachedAnnounce { frame, interface })
}

/// Writes the file.
pub fn write(announce: &CachedAnnounce) -> Vec<u8> {
    optional_str(Writer::new().array(2).bin(&announce.frame), announce.interface.as_deref()).into_bytes()
}
