//! Own packets. docs/protocol/1-core.md, sections 5.3 and 5.9.

use super::egress::Class;
use super::{InterfaceId, Stack};
use crate::hash::{DestinationHash, PacketHash};
use crate::time::Now;
use crate::wire::{Context, DestinationKind, ENCRYPTED_MDU, Flags, Packet, PacketKind};

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody was heard to announce this destination, so there is no key to encrypt to. Ask for a path.
    #[error("the key of {0} is not known yet")]
    UnknownDestination(DestinationHash),
    /// The payload does not fit one packet.
    #[error("payload of {len} bytes, at most {max} fit in one packet")]
    TooLarge {
        /// Length given.
        len: usize,
        /// Length allowed.
        max: usize,
    },
    /// The destination announced a key nothing can be encrypted to.
    #[error("{0} announced an unusable key")]
    UnusableKey(DestinationHash),
    /// This node keeps no more links at once.
    #[error("{max} links are open already")]
    TooManyLinks {
        /// How many it keeps.
        max: usize,
    },
}

impl Stack {
    /// Encrypts `payload` to a destination and sends it, at most 383 bytes. Without a path it goes out on every interface,
    /// for neighbours to hear.
    ///
    /// [`Event::Delivered`](super::Event::Delivered) or [`Event::Undelivered`](super::Event::Undelivered) names the
    /// returned hash later; destinations that prove nothing are never known to be reached.
    ///
    /// # Errors
    /// When the destination's key is unknown or unusable, or the payload too long.
    pub fn send(&mut self, now: Now, to: DestinationHash, payload: &[u8]) -> Result<PacketHash, SendError> {
        if payload.len() > ENCRYPTED_MDU {
            return Err(SendError::TooLarge { len: payload.len(), max: ENCRYPTED_MDU });
        }
        let identity = *self.identity_of(to).ok_or(SendError::UnknownDestination(to))?;
        let ratchet = self.known.get(&to).and_then(|known| known.ratchet.as_deref());
        let data = identity.encrypt(&mut *self.rng, ratchet, payload).ok_or(SendError::UnusableKey(to))?;
        let packet = Packet {
            flags: Flags::new(DestinationKind::Single, PacketKind::Data),
            hops: 0,
            transport_id: None,
            destination: to,
            context: Context::NONE,
            data: data.into(),
        };
        self.known.refresh(&to);
        let hash = packet.hash();
        self.expect_proof(now, hash, to);
        self.send_own(now, packet, Class::Data);
        Ok(hash)
    }

    /// Sends a packet to a SINGLE destination along its path, or everywhere when there is none.
    pub(super) fn send_own(&mut self, now: Now, packet: Packet, class: Class) {
        let destination = packet.destination;
        let Some((on, hops, next_hop)) = self.route(destination).map(|path| (path.on, path.hops, path.next_hop)) else {
            self.packet_hashes.insert(packet.hash().truncated());
            return self.transmit_everywhere(&packet, class);
        };
        let packet = self.with_own_hops(packet, on);
        let behind_instance = self.config.behind_shared_instance && hops == 1;
        if hops <= 1 && !behind_instance {
            return self.transmit(on, class, packet.encode());
        }
        if let Some(path) = self.paths.use_mut(&destination) {
            path.used = now.mono;
        }
        let relayed = Packet { flags: packet.flags.invariant(), transport_id: Some(next_hop), ..packet };
        self.transmit(on, class, relayed.encode());
    }

    fn transmit_everywhere(&mut self, packet: &Packet, class: Class) {
        let targets: Vec<InterfaceId> = self.interfaces.keys().copied().collect();
        for on in targets {
            let frame = self.with_own_hops(packet.clone(), on).encode();
            self.transmit(on, class, frame);
        }
    }
}
