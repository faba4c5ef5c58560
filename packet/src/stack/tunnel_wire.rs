//! The packet that makes a tunnel of a connection. docs/protocol/1-core.md, section 5.8.

use crate::destination::DestinationName;
use crate::hash::{DestinationHash, InterfaceHash, TunnelId, sha256};
use crate::identity::{Identity, KEY_LEN, PublicIdentity, SIGNATURE_LEN};
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind};

/// Length of the random part.
pub const TUNNEL_RANDOM_LEN: usize = 16;
/// Length of what the signature is about.
const SIGNED_LEN: usize = KEY_LEN + InterfaceHash::LEN + TUNNEL_RANDOM_LEN;

/// The PLAIN destination `rnstransport.tunnel.synthesize`.
pub fn tunnel_destination() -> DestinationHash {
    // No part has a dot, so the name is valid; the fallback keeps the function total.
    DestinationName::new("rnstransport", &["tunnel", "synthesize"])
        .map_or(DestinationHash::new([0; 16]), |name| name.plain())
}

/// Says whose end of a connection this is, so that its paths are found again when it comes back as another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelRef<'a> {
    signed: &'a [u8; SIGNED_LEN],
    public_key: &'a [u8; KEY_LEN],
    interface: &'a [u8; InterfaceHash::LEN],
    random: &'a [u8; TUNNEL_RANDOM_LEN],
    signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> TunnelRef<'a> {
    /// Reads the body of a packet to [`tunnel_destination`]. It has exactly 176 bytes.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (signed, signature) = data.split_first_chunk::<SIGNED_LEN>()?;
        let (public_key, rest) = signed.split_first_chunk()?;
        let (interface, random) = rest.split_first_chunk()?;
        Some(Self {
            signed,
            public_key,
            interface,
            random: random.try_into().ok()?,
            signature: signature.try_into().ok()?,
        })
    }

    /// What tunnel this is: the same whenever the same node connects over the same interface.
    pub fn id(&self) -> TunnelId {
        TunnelId::new(sha256(&[self.public_key, self.interface]))
    }

    /// The random part, which tells one connection from the next.
    pub fn random(&self) -> &'a [u8; TUNNEL_RANDOM_LEN] {
        self.random
    }

    /// Whether the owner of the key made it.
    pub fn verify(&self) -> bool {
        PublicIdentity::from_slice(self.public_key).is_ok_and(|owner| owner.verify(self.signed, self.signature))
    }
}

/// The packet that makes a tunnel of the connection it is sent on. `interface` names this end of it, and stays the same.
pub fn tunnel_packet(owner: &Identity, interface: InterfaceHash, random: [u8; TUNNEL_RANDOM_LEN]) -> Packet {
    let signed = [&owner.public().as_bytes()[..], interface.as_ref(), &random].concat();
    let signature = owner.sign(&signed);
    Packet {
        flags: Flags::new(DestinationKind::Plain, PacketKind::Data),
        hops: 0,
        transport_id: None,
        destination: tunnel_destination(),
        context: Context::NONE,
        data: [&signed[..], &signature].concat().into(),
    }
}
