//! Own packets. docs/protocol/1-core.md, sections 5.3 and 5.9.

use super::egress::Class;
use super::listeners::Group;
use super::receipts::{Prover, ReceiptPolicy};
use super::{InterfaceId, Stack};
use crate::destination::DestinationName;
use crate::hash::{DestinationHash, PacketHash};
use crate::time::Now;
use crate::wire::{Context, DestinationKind, ENCRYPTED_MDU, Flags, PLAIN_MDU, Packet, PacketKind};

/// Whom a packet is for.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// One identity, by the address it announced.
    Single(DestinationHash),
    /// Whoever holds the key of a group and is near.
    Group(&'a Group),
    /// Whoever listens to this name and is near, in clear.
    Plain(&'a DestinationName),
}

impl From<DestinationHash> for Target<'_> {
    fn from(to: DestinationHash) -> Self {
        Self::Single(to)
    }
}

impl<'a> From<&'a Group> for Target<'a> {
    fn from(to: &'a Group) -> Self {
        Self::Group(to)
    }
}

impl<'a> From<&'a DestinationName> for Target<'a> {
    fn from(to: &'a DestinationName) -> Self {
        Self::Plain(to)
    }
}

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
    /// A packet cannot be empty, and a PLAIN one holds nothing but the payload.
    #[error("a packet without encryption needs a payload")]
    Empty,
    /// This node keeps no more links at once.
    #[error("{max} links are open already")]
    TooManyLinks {
        /// How many it keeps.
        max: usize,
    },
}

impl Stack {
    /// Sends `payload` in one packet: encrypted, at most 383 bytes, to a SINGLE destination or a group; at most 464 in clear.
    /// Without a path, and for groups and PLAIN destinations always, it goes out on every interface, for neighbours to hear.
    ///
    /// [`Event::Delivered`](super::Event::Delivered) or [`Event::Undelivered`](super::Event::Undelivered) names the
    /// returned hash later, [`Event::ReceiptCulled`](super::Event::ReceiptCulled) when too many others are waited for;
    /// destinations that prove nothing are never known to be reached, and of PLAIN ones nothing is said.
    ///
    /// # Errors
    /// When the destination's key is unknown or unusable, or the payload too long, or empty for a PLAIN destination.
    pub fn send<'a>(&mut self, now: Now, to: impl Into<Target<'a>>, payload: &[u8]) -> Result<PacketHash, SendError> {
        self.send_with(now, to, payload, ReceiptPolicy::ByPath)
    }

    /// [`Stack::send`], waiting for the proof in another way.
    ///
    /// # Errors
    /// The same.
    pub fn send_with<'a>(
        &mut self,
        now: Now,
        to: impl Into<Target<'a>>,
        payload: &[u8],
        receipt: ReceiptPolicy,
    ) -> Result<PacketHash, SendError> {
        match to.into() {
            Target::Single(to) => self.send_single(now, to, payload, receipt),
            Target::Group(group) => self.send_group(now, group, payload, receipt),
            Target::Plain(name) => self.send_plain(name, payload),
        }
    }

    fn send_single(
        &mut self,
        now: Now,
        to: DestinationHash,
        payload: &[u8],
        receipt: ReceiptPolicy,
    ) -> Result<PacketHash, SendError> {
        fits(payload, ENCRYPTED_MDU)?;
        let identity = *self.identity_of(to).ok_or(SendError::UnknownDestination(to))?;
        let ratchet = self.ratchet_of(now, to);
        let target = ratchet.as_ref().unwrap_or(identity.exchange_key());
        let data = match self.exchanges.take(target, identity.hash()) {
            Some(prepared) => {
                let mut iv = [0; 16];
                self.rng.fill_bytes(&mut iv);
                prepared.encrypt(&iv, payload)
            }
            None => identity.encrypt(&mut *self.rng, ratchet.as_ref(), payload).ok_or(SendError::UnusableKey(to))?,
        };
        let packet = data_packet(DestinationKind::Single, to, data);
        self.note_use(now, to);
        let hash = packet.hash();
        self.expect_proof(now, hash, to, Prover::Of(to), receipt);
        self.send_own(now, packet, Class::Data);
        Ok(hash)
    }

    fn send_group(
        &mut self,
        now: Now,
        group: &Group,
        payload: &[u8],
        receipt: ReceiptPolicy,
    ) -> Result<PacketHash, SendError> {
        fits(payload, ENCRYPTED_MDU)?;
        let mut iv = [0; 16];
        self.rng.fill_bytes(&mut iv);
        let mut data = Vec::new();
        group.key.seal(&iv, payload, &mut data);
        let to = group.hash();
        let packet = data_packet(DestinationKind::Group, to, data);
        let hash = packet.hash();
        self.expect_proof(now, hash, to, Prover::Owner(Box::new(group.owner)), receipt);
        self.transmit_everywhere(&packet, Class::Data);
        Ok(hash)
    }

    fn send_plain(&mut self, name: &DestinationName, payload: &[u8]) -> Result<PacketHash, SendError> {
        fits(payload, PLAIN_MDU)?;
        if payload.is_empty() {
            return Err(SendError::Empty);
        }
        let packet = data_packet(DestinationKind::Plain, name.plain(), payload.to_vec());
        self.transmit_everywhere(&packet, Class::Data);
        Ok(packet.hash())
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
            // Neighbours would drop what seems to come from afar. docs/protocol/1-core.md, section 5.9.
            let frame = match packet.flags.destination() {
                DestinationKind::Plain | DestinationKind::Group => packet.encode(),
                DestinationKind::Single | DestinationKind::Link => self.with_own_hops(packet.clone(), on).encode(),
            };
            self.transmit(on, class, frame);
        }
    }
}

fn fits(payload: &[u8], max: usize) -> Result<(), SendError> {
    if payload.len() > max { Err(SendError::TooLarge { len: payload.len(), max }) } else { Ok(()) }
}

fn data_packet(kind: DestinationKind, destination: DestinationHash, data: Vec<u8>) -> Packet {
    Packet {
        flags: Flags::new(kind, PacketKind::Data),
        hops: 0,
        transport_id: None,
        destination,
        context: Context::NONE,
        data: data.into(),
    }
}
