//! Resources: data of any size over a link, in parts that are asked for. docs/protocol/2-link.md, section 9.
//!
//! This module has the machines and the pure work of one segment, at most [`SEGMENT_MAX`] bytes; the link seals, sends and
//! times them, and makes segments one after another into a resource of any size.

mod advertisement;
mod incoming;
mod outgoing;
mod segment;
mod unsealing;
mod window;

use core::time::Duration;

pub use advertisement::{Advertisement, ResourceFlags};
pub(crate) use incoming::{Incoming, IncomingStep};
pub(crate) use outgoing::{Heading, Outgoing, OutgoingStep, PartRequest};
pub(crate) use segment::{Assemble, Content, Corrupt, METADATA_LEN_SIZE, Prepare, Segment};
pub(crate) use unsealing::Unsealing;

/// Most bytes of one segment, metadata block included. docs/protocol/2-link.md, section 9.1.
pub const SEGMENT_MAX: usize = 1_048_575;
/// Largest encrypted size an advertisement may name. A larger one closes the link.
pub const TRANSFER_MAX: usize = 3 * SEGMENT_MAX;
/// Smallest link MTU over which resources are taken: that of the smallest interface. It bounds the number of parts.
pub const MTU_MIN: usize = 219;
/// The random bytes before the content, under the encryption.
pub(crate) const PREFIX_LEN: usize = 4;
/// Begins a request for parts that asks for more map hashes too.
const EXHAUSTED: u8 = 0xff;
/// Length of a map hash.
pub(crate) const MAP_HASH_LEN: usize = 4;
/// Map hashes in an advertisement or an update, whatever the link MTU.
pub(crate) const MAP_HASHES_PER_MESSAGE: usize = 74;
/// Most parts a receiver asks for at once.
pub(crate) const WINDOW_MAX_FAST: usize = 75;
/// Among so many neighbours a map hash is unique, and so far a sender searches.
pub(crate) const SEARCH_SCOPE: usize = 2 * WINDOW_MAX_FAST + MAP_HASHES_PER_MESSAGE;
const RETRIES_MAX: u32 = 16;
/// No wait of a transfer is longer, however slow the rate it was computed from.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Names a part: first bytes of SHA-256 over part and random hash.
pub(crate) type MapHash = [u8; MAP_HASH_LEN];

/// Bytes of a resource in one packet. docs/protocol/2-link.md, section 3.6.
pub const fn part_size(link_mtu: usize) -> usize {
    link_mtu.saturating_sub(36)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}
