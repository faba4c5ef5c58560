//! Proofs that a packet reached a SINGLE destination. docs/protocol/1-core.md, section 3.8.

use bytes::Bytes;

use crate::hash::{DestinationHash, PacketHash};
use crate::identity::{Identity, PublicIdentity, SIGNATURE_LEN};
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind};

const EXPLICIT_LEN: usize = PacketHash::LEN + SIGNATURE_LEN;

/// Which of the two forms a proof takes. Both are always accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofForm {
    /// The signature alone.
    Implicit,
    /// Packet hash and signature.
    Explicit,
}

/// The proof packet for the packet with this hash, signed by the identity of the destination that received it.
pub fn prove(identity: &Identity, packet: PacketHash, form: ProofForm) -> Packet {
    let signature = identity.sign(packet.as_bytes());
    let data = match form {
        ProofForm::Implicit => Bytes::copy_from_slice(&signature),
        ProofForm::Explicit => [packet.as_ref(), &signature].concat().into(),
    };
    Packet {
        flags: Flags::new(DestinationKind::Single, PacketKind::Proof),
        hops: 0,
        transport_id: None,
        destination: DestinationHash::new(packet.truncated()),
        context: Context::NONE,
        data,
    }
}

/// The body of a proof packet, by its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofRef<'a> {
    /// A signature; which packet it proves is found by trying.
    Implicit {
        /// Ed25519 signature over the whole packet hash.
        signature: &'a [u8; SIGNATURE_LEN],
    },
    /// Packet hash and signature.
    Explicit {
        /// The packet it claims to prove.
        packet: PacketHash,
        /// Ed25519 signature over the whole packet hash.
        signature: &'a [u8; SIGNATURE_LEN],
    },
}

impl<'a> ProofRef<'a> {
    /// Reads the body of a proof packet; any other length than 64 or 96 is no proof.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        match data.len() {
            SIGNATURE_LEN => Some(Self::Implicit { signature: data.try_into().ok()? }),
            EXPLICIT_LEN => {
                let (packet, signature) = data.split_first_chunk::<{ PacketHash::LEN }>()?;
                Some(Self::Explicit { packet: PacketHash::new(*packet), signature: signature.try_into().ok()? })
            }
            _ => None,
        }
    }

    /// Whether this proves that `by` received the packet with hash `packet`.
    pub fn proves(&self, packet: PacketHash, by: &PublicIdentity) -> bool {
        self.signature_over(packet).is_some_and(|signature| by.verify(packet.as_bytes(), signature))
    }

    /// The signature, unless another packet is meant.
    pub(crate) fn signature_over(&self, packet: PacketHash) -> Option<&'a [u8; SIGNATURE_LEN]> {
        match self {
            Self::Implicit { signature } => Some(signature),
            Self::Explicit { packet: claimed, signature } => (*claimed == packet).then_some(signature),
        }
    }
}
