//! `storage/destination_table`: the path table of a transport node. docs/protocol/1-core.md, sections 5.2 and 5.13.

use super::{FileError, array_of, entries, fixed, optional, optional_bin};
use crate::announce::RandomHash;
use crate::hash::{DestinationHash, IdentityHash, PacketHash};
use crate::msgpack::{Invalid, Reader, Writer};

/// Random hashes that are kept with a path of a tunnel.
pub const RANDOM_HASHES_KEPT: usize = 32;

const FIELDS: usize = 8;

/// A stored path. It is of use only while its interface exists and its announce is in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPath {
    /// Whose path.
    pub destination: DestinationHash,
    /// When it was learned or last used.
    pub used: f64,
    /// The transport node to hand packets to; for a direct neighbour the bytes of the destination hash.
    pub next_hop: IdentityHash,
    /// Distance; 1 is a direct neighbour.
    pub hops: u8,
    /// From when on a longer way may replace it without being newer.
    pub expires: f64,
    /// Random hashes heard, oldest first.
    pub random_hashes: Vec<RandomHash>,
    /// Hash of the display name of the interface it leads over.
    pub interface: Option<[u8; 32]>,
    /// The announce that taught it.
    pub packet: PacketHash,
}

/// Reads the file. Entries that make no sense are left out.
///
/// # Errors
/// When it is not an array or cut short.
pub fn read(bytes: &[u8]) -> Result<Vec<StoredPath>, FileError> {
    entries(&mut Reader::new(bytes), read_path)
}

/// Writes the file.
pub fn write(paths: &[StoredPath]) -> Vec<u8> {
    paths.iter().fold(Writer::new().array(paths.len()), write_path).into_bytes()
}

pub(super) fn read_path(reader: &mut Reader<'_>) -> Result<StoredPath, FileError> {
    array_of(reader, FIELDS)?;
    Ok(StoredPath {
        destination: DestinationHash::new(fixed(reader)?),
        used: reader.number()?,
        next_hop: IdentityHash::new(fixed(reader)?),
        hops: u8::try_from(reader.uint()?).map_err(|_| Invalid::Range)?,
        expires: reader.number()?,
        random_hashes: entries(reader, |reader| fixed(reader).map(RandomHash::from_bytes))?,
        interface: optional(reader, fixed)?,
        packet: PacketHash::new(fixed(reader)?),
    })
}

pub(super) fn write_path(out: Writer, path: &StoredPath) -> Writer {
    let out = out.array(FIELDS).bin(path.destination.as_ref()).float(path.used).bin(path.next_hop.as_ref());
    let out = out.uint(path.hops.into()).float(path.expires).array(path.random_hashes.len());
    let out = path.random_hashes.iter().fold(out, |out, random| out.bin(random.as_bytes()));
    optional_bin(out, path.interface.as_ref().map(|hash| &hash[..])).bin(path.packet.as_ref())
}
