//! Paths that tunnels keep, one row for each: what changes is little, and a tunnel may keep thousands.
//! docs/decisions/0064-tunnels-path-by-path.md.

use std::path::Path;

use redb::{ReadableTable, TableDefinition};
use wend_packet::announce::RandomHash;
use wend_packet::hash::TunnelId;
use wend_packet::stack::TunnelRecord;
use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash};

/// Tunnel and destination hash to a [`StoredTunnelPath`] in `postcard`.
pub(super) const TUNNEL_PATHS: TableDefinition<&[u8; KEY], &[u8]> = TableDefinition::new("tunnel paths");

/// Length of a key.
const KEY: usize = TunnelId::LEN + DestinationHash::LEN;

/// Next hop, hops, from when on a longer way may replace it, random hash of the newest announce, when it ends, and the
/// announce. Times in Unix seconds.
type StoredTunnelPath<B> = ([u8; 16], u8, u64, [u8; 10], u64, B);

pub(super) fn key(tunnel: &TunnelId, destination: &DestinationHash) -> [u8; KEY] {
    let mut key = [0; KEY];
    let (head, tail) = key.split_at_mut(TunnelId::LEN);
    head.copy_from_slice(tunnel.as_bytes());
    tail.copy_from_slice(destination.as_bytes());
    key
}

pub(super) fn pack(record: &TunnelRecord) -> Result<Vec<u8>, redb::StorageError> {
    let TunnelRecord { next_hop, hops, expires, newest, ends, announce, .. } = record;
    let stored: StoredTunnelPath<&[u8]> =
        (*next_hop.as_bytes(), *hops, expires.0, *newest.as_bytes(), ends.0, announce.as_slice());
    super::packed(&stored)
}

/// All of them. A row that cannot be read is skipped.
pub(super) fn read(
    table: &impl ReadableTable<&'static [u8; KEY], &'static [u8]>,
    file: &Path,
) -> Result<Vec<TunnelRecord>, redb::Error> {
    let mut records = Vec::new();
    for row in table.iter()? {
        let (key, stored) = row?;
        let Some((tunnel, destination)) = key.value().split_first_chunk() else { continue };
        let Some(destination) = DestinationHash::from_slice(destination) else { continue };
        match postcard::from_bytes::<StoredTunnelPath<Vec<u8>>>(stored.value()) {
            Ok((next_hop, hops, expires, newest, ends, announce)) => records.push(TunnelRecord {
                tunnel: TunnelId::new(*tunnel),
                destination,
                next_hop: IdentityHash::new(next_hop),
                hops,
                expires: UnixTime(expires),
                newest: RandomHash::from_bytes(newest),
                ends: UnixTime(ends),
                announce,
            }),
            Err(error) => {
                tracing::warn!(file = %file.display(), dst = ?destination, %error, "stored path of a tunnel skipped");
            }
        }
    }
    Ok(records)
}
