//! The first byte of a frame. docs/protocol/1-core.md, section 3.1.

/// Which addresses the header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderKind {
    /// Destination only.
    Type1,
    /// Transport id, then destination.
    Type2,
}

/// Whether a transport node is meant to carry the packet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportKind {
    /// Seen by whoever hears it.
    Broadcast,
    /// Carried by the named transport node.
    Transport,
}

/// What the address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationKind {
    /// One identity.
    Single,
    /// Holders of a shared key.
    Group,
    /// Anyone, in clear.
    Plain,
    /// A link.
    Link,
}

/// What the packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketKind {
    /// Data.
    Data,
    /// A destination makes itself known.
    Announce,
    /// Asks for a link.
    LinkRequest,
    /// Proof of another packet.
    Proof,
}

/// The flags byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(pub u8);

impl Flags {
    pub(crate) const ACCESS_CODE: u8 = 0x80;
    const HEADER: u8 = 0x40;
    const CONTEXT: u8 = 0x20;
    const TRANSPORT: u8 = 0x10;
    /// The bits that packet hashes cover: destination type and packet type.
    const INVARIANT: u8 = 0x0f;

    /// Flags of a frame as its origin sends it: header type 1, broadcast, context flag clear.
    pub const fn new(destination: DestinationKind, packet: PacketKind) -> Self {
        let destination = match destination {
            DestinationKind::Single => 0,
            DestinationKind::Group => 1,
            DestinationKind::Plain => 2,
            DestinationKind::Link => 3,
        };
        let packet = match packet {
            PacketKind::Data => 0,
            PacketKind::Announce => 1,
            PacketKind::LinkRequest => 2,
            PacketKind::Proof => 3,
        };
        Self(destination << 2 | packet)
    }

    /// The same with header type 2 and transport type transport.
    #[must_use]
    pub const fn in_transport(self) -> Self {
        Self(self.0 | Self::HEADER | Self::TRANSPORT)
    }

    /// The same with the context flag set, as announces with a ratchet have it.
    #[must_use]
    pub const fn with_context_flag(self) -> Self {
        Self(self.0 | Self::CONTEXT)
    }

    /// Only destination type and packet type: what a packet hash covers, and what is left when a transport id is removed.
    #[must_use]
    pub const fn invariant(self) -> Self {
        Self(self.0 & Self::INVARIANT)
    }

    /// Whether the frame carries an access code.
    pub const fn has_access_code(self) -> bool {
        self.0 & Self::ACCESS_CODE != 0
    }

    /// Header type.
    pub const fn header(self) -> HeaderKind {
        if self.0 & Self::HEADER == 0 { HeaderKind::Type1 } else { HeaderKind::Type2 }
    }

    /// The context flag: in announces, whether a ratchet is present.
    pub const fn context_flag(self) -> bool {
        self.0 & Self::CONTEXT != 0
    }

    /// Transport type.
    pub const fn transport(self) -> TransportKind {
        if self.0 & Self::TRANSPORT == 0 { TransportKind::Broadcast } else { TransportKind::Transport }
    }

    /// Destination type.
    pub const fn destination(self) -> DestinationKind {
        match self.0 >> 2 & 0x03 {
            0 => DestinationKind::Single,
            1 => DestinationKind::Group,
            2 => DestinationKind::Plain,
            _ => DestinationKind::Link,
        }
    }

    /// Packet type.
    pub const fn packet(self) -> PacketKind {
        match self.0 & 0x03 {
            0 => PacketKind::Data,
            1 => PacketKind::Announce,
            2 => PacketKind::LinkRequest,
            _ => PacketKind::Proof,
        }
    }
}

impl core::fmt::Debug for Flags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Flags({:#04x})", self.0)
    }
}
