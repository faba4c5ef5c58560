//! A checked view of a frame, and the owned packet that encodes to one.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Context, Flags, HOPS_LIMIT, HeaderKind};
use crate::hash::{DestinationHash, IdentityHash, PacketHash, sha256};

/// Where the fields stand. docs/protocol/1-core.md, section 3.1.
pub mod layout {
    /// Flags byte.
    pub const FLAGS: usize = 0;
    /// Hop byte.
    pub const HOPS: usize = 1;
    /// Where the addresses begin.
    pub const ADDRESSES: usize = 2;
    /// Length of an address.
    pub const ADDRESS_LEN: usize = 16;
    /// Length of a type 1 header: flags, hops, destination, context.
    pub const HEADER_1_LEN: usize = ADDRESSES + ADDRESS_LEN + 1;
    /// Length of a type 2 header, which holds a transport id as well.
    pub const HEADER_2_LEN: usize = HEADER_1_LEN + ADDRESS_LEN;
}

/// Why bytes are not a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Malformed {
    /// Addresses, context or data are missing.
    #[error("frame of {len} bytes, at least {min} are needed")]
    Short {
        /// Length found.
        len: usize,
        /// Least length for its header type; a packet without data is malformed.
        min: usize,
    },
    /// The hop byte says 128 or more.
    #[error("hop count {hops} is over the limit")]
    Hops {
        /// The hop byte.
        hops: u8,
    },
}

/// A frame whose lengths are checked. Access codes are removed before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PacketRef<'a> {
    frame: &'a [u8],
    transport_id: Option<IdentityHash>,
    destination: DestinationHash,
    context: Context,
    data: &'a [u8],
}

impl<'a> PacketRef<'a> {
    /// Views a frame. After `Ok`, no accessor can fail.
    ///
    /// # Errors
    /// When addresses, context or data are missing or the hop byte is 128 or more.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let min = match frame.first().map(|flags| Flags(*flags).header()) {
            Some(HeaderKind::Type2) => layout::HEADER_2_LEN + 1,
            _ => layout::HEADER_1_LEN + 1,
        };
        let short = Malformed::Short { len: frame.len(), min };
        if frame.len() < min {
            return Err(short);
        }
        let (&[flags, hops], rest) = frame.split_first_chunk::<{ layout::ADDRESSES }>().ok_or(short)?;
        if hops >= HOPS_LIMIT {
            return Err(Malformed::Hops { hops });
        }
        let (transport_id, rest) = match Flags(flags).header() {
            HeaderKind::Type1 => (None, rest),
            HeaderKind::Type2 => {
                let (id, rest) = rest.split_first_chunk::<{ layout::ADDRESS_LEN }>().ok_or(short)?;
                (Some(IdentityHash::new(*id)), rest)
            }
        };
        let (destination, rest) = rest.split_first_chunk::<{ layout::ADDRESS_LEN }>().ok_or(short)?;
        let (context, data) = rest.split_first().ok_or(short)?;
        Ok(Self {
            frame,
            transport_id,
            destination: DestinationHash::new(*destination),
            context: Context(*context),
            data,
        })
    }

    /// The whole frame.
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The flags byte.
    pub fn flags(&self) -> Flags {
        Flags(self.frame.get(layout::FLAGS).copied().unwrap_or_default())
    }

    /// The hop byte as it came, not yet counted up.
    pub fn hops(&self) -> u8 {
        self.frame.get(layout::HOPS).copied().unwrap_or_default()
    }

    /// The transport node that is to carry the packet, in a type 2 header.
    pub fn transport_id(&self) -> Option<IdentityHash> {
        self.transport_id
    }

    /// The address.
    pub fn destination(&self) -> DestinationHash {
        self.destination
    }

    /// The context byte.
    pub fn context(&self) -> Context {
        self.context
    }

    /// The body, at least one byte.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The part of the frame that is the same on every hop, in two pieces: masked flags, and destination to end.
    pub(crate) fn hashable(&self) -> (u8, &'a [u8]) {
        let skip = match self.flags().header() {
            HeaderKind::Type1 => layout::ADDRESSES,
            HeaderKind::Type2 => layout::ADDRESSES + layout::ADDRESS_LEN,
        };
        (self.flags().invariant().0, self.frame.get(skip..).unwrap_or_default())
    }

    /// Hash of the packet, the same on every hop. docs/protocol/1-core.md, section 3.4.
    pub fn hash(&self) -> PacketHash {
        let (flags, rest) = self.hashable();
        PacketHash::new(sha256(&[&[flags], rest]))
    }

    /// Encodes the same packet with another header: other flags, hop byte and transport id, everything after unchanged.
    pub fn readdressed(&self, flags: Flags, hops: u8, transport_id: Option<IdentityHash>) -> Bytes {
        let mut out = BytesMut::with_capacity(layout::HEADER_2_LEN + self.data.len());
        self.readdress_to(&mut out, flags, hops, transport_id);
        out.freeze()
    }

    /// The same packet as `transport_id` passes it on, with other flags and another context.
    pub(crate) fn relayed(&self, flags: Flags, hops: u8, transport_id: IdentityHash, context: Context) -> Bytes {
        let mut out = BytesMut::with_capacity(layout::HEADER_2_LEN + self.data.len());
        put_header(&mut out, flags.in_transport(), hops, Some(transport_id), self.destination, context);
        out.put_slice(self.data);
        out.freeze()
    }

    /// Appends what [`readdressed`](Self::readdressed) gives to `out`.
    pub(crate) fn readdress_to(&self, out: &mut BytesMut, flags: Flags, hops: u8, transport_id: Option<IdentityHash>) {
        put_header(out, flags, hops, transport_id, self.destination, self.context);
        out.put_slice(self.data);
    }
}

impl core::fmt::Debug for PacketRef<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PacketRef")
            .field("flags", &self.flags())
            .field("hops", &self.hops())
            .field("transport_id", &self.transport_id)
            .field("destination", &self.destination)
            .field("context", &self.context)
            .field("data_len", &self.data.len())
            .finish()
    }
}

fn put_header(
    out: &mut BytesMut,
    flags: Flags,
    hops: u8,
    transport_id: Option<IdentityHash>,
    destination: DestinationHash,
    context: Context,
) {
    out.put_u8(flags.0);
    out.put_u8(hops);
    if let Some(id) = transport_id {
        out.put_slice(id.as_bytes());
    }
    out.put_slice(destination.as_bytes());
    out.put_u8(context.0);
}

/// A packet to be sent. Its header type follows from whether it has a transport id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Flags byte; [`Packet::encode`] sets header and transport type by `transport_id`.
    pub flags: Flags,
    /// Hop byte.
    pub hops: u8,
    /// The transport node that is to carry it.
    pub transport_id: Option<IdentityHash>,
    /// The address.
    pub destination: DestinationHash,
    /// The context byte.
    pub context: Context,
    /// The body as it goes on the wire, encrypted where that applies. Never empty.
    pub data: Bytes,
}

impl Packet {
    /// Hash of the packet, the same on every hop. docs/protocol/1-core.md, section 3.4.
    pub fn hash(&self) -> PacketHash {
        let flags = self.flags.invariant().0;
        PacketHash::new(sha256(&[&[flags], self.destination.as_ref(), &[self.context.0], &self.data]))
    }

    /// The frame.
    pub fn encode(&self) -> Bytes {
        let flags = if self.transport_id.is_some() { self.flags.in_transport() } else { self.flags };
        let mut out = BytesMut::with_capacity(layout::HEADER_2_LEN + self.data.len());
        put_header(&mut out, flags, self.hops, self.transport_id, self.destination, self.context);
        out.put_slice(&self.data);
        out.freeze()
    }
}
