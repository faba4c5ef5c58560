//! The body of a path request. docs/protocol/1-core.md, section 5.6.

use bytes::Bytes;

use crate::destination::DestinationName;
use crate::hash::{DestinationHash, IdentityHash};
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind};

const ADDRESS_LEN: usize = DestinationHash::LEN;
/// Longest tag; what is longer is cut.
const TAG_MAX: usize = 16;

/// The PLAIN destination `rnstransport.path.request`.
pub fn path_request_destination() -> DestinationHash {
    // No part has a dot, so the name is valid; the fallback keeps the function total.
    DestinationName::new("rnstransport", &["path", "request"])
        .map_or(DestinationHash::new([0; ADDRESS_LEN]), |name| name.plain())
}

/// Who asks for a path, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRequestRef<'a> {
    /// Whose path is asked for.
    pub target: DestinationHash,
    /// The transport node that asks; absent when a leaf does.
    pub transport_id: Option<IdentityHash>,
    /// Tells requests apart, 1 to 16 bytes.
    pub tag: &'a [u8],
}

impl<'a> PathRequestRef<'a> {
    /// Reads the body of a packet to [`path_request_destination`]. Its length alone says whether a transport id is there.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (target, rest) = data.split_first_chunk::<ADDRESS_LEN>()?;
        let (transport_id, tag) = match rest.split_first_chunk::<ADDRESS_LEN>() {
            Some((id, tag)) if !tag.is_empty() => (Some(IdentityHash::new(*id)), tag),
            _ => (None, rest),
        };
        let tag = tag.get(..TAG_MAX).unwrap_or(tag);
        (!tag.is_empty()).then_some(Self { target: DestinationHash::new(*target), transport_id, tag })
    }

    /// The packet that asks.
    pub fn packet(&self) -> Packet {
        let id: &[u8] = self.transport_id.as_ref().map_or(&[], AsRef::as_ref);
        let data: Bytes = [self.target.as_ref(), id, self.tag].concat().into();
        Packet {
            flags: Flags::new(DestinationKind::Plain, PacketKind::Data),
            hops: 0,
            transport_id: None,
            destination: path_request_destination(),
            context: Context::NONE,
            data,
        }
    }
}
