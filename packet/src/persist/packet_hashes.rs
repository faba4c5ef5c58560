//! `storage/packet_hashlist.raw`: hashes of packets seen lately, one after the other. docs/protocol/1-core.md, section 5.13.

use crate::hash::PacketHash;

/// Reads the file. What is left over at its end, because writing was interrupted, is ignored.
pub fn read(bytes: &[u8]) -> impl Iterator<Item = PacketHash> {
    let (hashes, _) = bytes.as_chunks::<{ PacketHash::LEN }>();
    hashes.iter().copied().map(PacketHash::new)
}

/// Writes the file. The order means nothing.
pub fn write(hashes: impl IntoIterator<Item = PacketHash>) -> Vec<u8> {
    hashes.into_iter().flat_map(|hash| *hash.as_bytes()).collect()
}
