//! What a packet's body is for. docs/protocol/1-core.md, section 3.2.

/// The context byte. Values without a name here travel on unchanged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Context(pub u8);

impl Context {
    /// Nothing special: data of the application.
    pub const NONE: Self = Self(0x00);
    /// One part of a resource.
    pub const RESOURCE: Self = Self(0x01);
    /// Advertisement of a resource.
    pub const RESOURCE_ADVERTISEMENT: Self = Self(0x02);
    /// Request for parts of a resource.
    pub const RESOURCE_REQUEST: Self = Self(0x03);
    /// More map hashes of a resource.
    pub const RESOURCE_HASHMAP_UPDATE: Self = Self(0x04);
    /// Proof that a resource arrived.
    pub const RESOURCE_PROOF: Self = Self(0x05);
    /// The sender of a resource gives it up.
    pub const RESOURCE_SENDER_CANCEL: Self = Self(0x06);
    /// The receiver of a resource refuses it or gives it up.
    pub const RESOURCE_RECEIVER_CANCEL: Self = Self(0x07);
    /// Asks for a packet by its hash.
    pub const CACHE_REQUEST: Self = Self(0x08);
    /// A request on a link.
    pub const REQUEST: Self = Self(0x09);
    /// A response on a link.
    pub const RESPONSE: Self = Self(0x0a);
    /// An announce that answers a path request.
    pub const PATH_RESPONSE: Self = Self(0x0b);
    /// A message of a channel.
    pub const CHANNEL: Self = Self(0x0e);
    /// Keeps a link alive.
    pub const KEEPALIVE: Self = Self(0xfa);
    /// The initiator of a link says who it is.
    pub const LINK_IDENTIFY: Self = Self(0xfb);
    /// A link is closed.
    pub const LINK_CLOSE: Self = Self(0xfc);
    /// The initiator reports the round-trip time of a new link.
    pub const LINK_RTT: Self = Self(0xfe);
    /// Proof of a link request.
    pub const LINK_REQUEST_PROOF: Self = Self(0xff);

    /// Whether packets of this context pass the duplicate filter unseen. docs/protocol/1-core.md, section 3.6, rule 2.
    pub fn bypasses_duplicate_filter(self) -> bool {
        matches!(
            self,
            Self::KEEPALIVE
                | Self::RESOURCE_REQUEST
                | Self::RESOURCE_PROOF
                | Self::RESOURCE
                | Self::CACHE_REQUEST
                | Self::CHANNEL
        )
    }
}

impl core::fmt::Debug for Context {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Context({:#04x})", self.0)
    }
}
