//! Frames: header layout, flags, contexts, hashes. docs/protocol/1-core.md, section 3.
//!
//! [`PacketRef::parse`] checks lengths once; after that no accessor can fail. Unknown context bytes survive forwarding.

mod context;
mod flags;
mod packet;

pub use context::Context;
pub use flags::{DestinationKind, Flags, HeaderKind, PacketKind, TransportKind};
pub use packet::{Malformed, Packet, PacketRef, layout};

/// Largest frame without access code, in bytes. docs/protocol/1-core.md, section 3.3.
pub const MTU: usize = 500;
/// Smallest access code an interface may use, in bytes.
pub const ACCESS_CODE_MIN: usize = 1;
/// Largest plaintext of a PLAIN packet: what still fits when a relay inserts a transport id.
pub const PLAIN_MDU: usize = MTU - layout::HEADER_2_LEN - ACCESS_CODE_MIN;
/// Largest plaintext of a packet to a SINGLE destination.
pub const ENCRYPTED_MDU: usize = (PLAIN_MDU - crate::crypto::Token::OVERHEAD - 32) / 16 * 16 - 1;
/// Hop bytes from here on are malformed.
pub const HOPS_LIMIT: u8 = 128;

const _: () = assert!(PLAIN_MDU == 464 && ENCRYPTED_MDU == 383);
