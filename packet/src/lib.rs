//! The packet layer: identities, destinations, announces, paths, links, requests and resources, wire-compatible with
//! the Reticulum network.
//!
//! Nothing here does I/O. Bytes, time ([`time::Now`]) and randomness come in as arguments, actions come out as values,
//! so that the same code runs in a node, in a simulation of thousands of nodes and under a fuzzer. The protocol itself is
//! written down in `docs/protocol/1-core.md` and `docs/protocol/2-link.md`; comments name its sections.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a test may panic: that is how it fails"
    )
)]

pub mod access_code;
pub mod announce;
pub mod announcer;
mod batch;
pub mod bounded;
pub mod channel;
mod compression;
pub mod crypto;
pub mod destination;
mod ephemeral;
mod exchange;
pub mod hash;
pub mod identity;
pub mod job;
mod keyed;
pub mod link;
pub mod management;
pub mod msgpack;
pub mod persist;
pub mod proof;
pub mod ratchet;
pub mod resource;
mod signers;
pub mod stack;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod timers;
pub mod wire;

pub use hash::{DestinationHash, IdentityHash, LinkId, NameHash, PacketHash, RatchetId, RequestId, ResourceHash};
