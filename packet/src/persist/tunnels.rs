//! `storage/tunnels`: tunnels and the paths that come back with them. docs/protocol/1-core.md, sections 5.8 and 5.13.

use super::paths::{RANDOM_HASHES_KEPT, StoredPath, read_path, write_path};
use super::{FileError, array_of, entries, fixed, optional, optional_bin};
use crate::msgpack::{Reader, Writer};

const FIELDS: usize = 4;

/// A stored tunnel.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTunnel {
    /// Its id: SHA-256 over the far end's public key and its interface's hash.
    pub id: [u8; 32],
    /// Hash of the display name of the interface it was on.
    pub interface: Option<[u8; 32]>,
    /// Paths learned over it.
    pub paths: Vec<StoredPath>,
    /// When it is forgotten.
    pub expires: f64,
}

/// Reads the file. Tunnels and paths that make no sense are left out.
///
/// # Errors
/// When it is not an array or cut short.
pub fn read(bytes: &[u8]) -> Result<Vec<StoredTunnel>, FileError> {
    entries(&mut Reader::new(bytes), |reader| {
        array_of(reader, FIELDS)?;
        Ok(StoredTunnel {
            id: fixed(reader)?,
            interface: optional(reader, fixed)?,
            paths: entries(reader, read_path)?,
            expires: reader.number()?,
        })
    })
}

/// Writes the file, of each path the newest random hashes only.
pub fn write(tunnels: &[StoredTunnel]) -> Vec<u8> {
    let written = tunnels.iter().fold(Writer::new().array(tunnels.len()), |out, tunnel| {
        let out = optional_bin(out.array(FIELDS).bin(&tunnel.id), tunnel.interface.as_ref().map(|hash| &hash[..]));
        let out =
            tunnel.paths.iter().fold(out.array(tunnel.paths.len()), |out, path| write_path(out, &shortened(path)));
        out.float(tunnel.expires)
    });
    written.into_bytes()
}

fn shortened(path: &StoredPath) -> StoredPath {
    let surplus = path.random_hashes.len().saturating_sub(RANDOM_HASHES_KEPT);
    let random_hashes = path.random_hashes.iter().skip(surplus).copied().collect();
    StoredPath { random_hashes, ..path.clone() }
}
