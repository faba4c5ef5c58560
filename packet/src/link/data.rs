//! Data, its proofs, and identification. docs/protocol/2-link.md, sections 3.5, 5 and 8.

use core::time::Duration;

use bytes::Bytes;
use ed25519_dalek::Signer;
use rand_core::CryptoRng;

use super::{Link, LinkError, LinkEvent, LinkState, ProofStrategy, Timer};
use crate::hash::PacketHash;
use crate::identity::{Identity, KEY_LEN, PublicIdentity, SIGNATURE_LEN};
use crate::stack::Role;
use crate::time::Now;
use crate::wire::{Context, PacketKind, PacketRef};

const RECEIPT_FACTOR: u32 = 6;
const RECEIPT_TIMEOUT_MIN: Duration = Duration::from_millis(5);

impl Link {
    /// Sends data, at most [`Link::mdu`] bytes. [`LinkEvent::Delivered`] follows if the peer proves packets, else
    /// [`LinkEvent::Undelivered`] after six round trips.
    ///
    /// # Errors
    /// When the link is not active, the payload is too large, or too much waits already.
    pub fn send(&mut self, now: Now, rng: &mut dyn CryptoRng, payload: &[u8]) -> Result<PacketHash, LinkError> {
        if !self.is_up() {
            return Err(LinkError::NotActive);
        }
        let too_large = LinkError::TooLarge { len: payload.len(), max: self.mdu() };
        if self.packets.len() >= super::PACKETS_MAX {
            return Err(LinkError::Full);
        }
        let packet = self.seal(rng, Context::NONE, payload).ok_or(too_large)?;
        let hash = packet.hash();
        self.transmit(now, packet);
        if let Some((culled, _)) = self.receipts.insert(hash, now.mono) {
            self.handle_receipt_timeout(culled);
        }
        let timeout = self.rtt.unwrap_or_default().saturating_mul(RECEIPT_FACTOR).max(RECEIPT_TIMEOUT_MIN);
        self.timers.set(Timer::Receipt(hash), now.mono + timeout);
        Ok(hash)
    }

    pub(super) fn handle_data(&mut self, now: Now, packet: &PacketRef<'_>, payload: Bytes) {
        if !self.has_room() {
            return;
        }
        self.events.push_back(LinkEvent::Data { payload });
        if self.options.proofs == ProofStrategy::All {
            self.prove(now, packet.hash());
        }
    }

    /// Proves to the peer that its packet arrived.
    pub(super) fn prove(&mut self, now: Now, packet: PacketHash) {
        let signature = self.signing.sign(packet.as_bytes()).to_bytes();
        let body = [packet.as_ref(), &signature].concat();
        let proof = self.packet(PacketKind::Proof, Context::NONE, body.into());
        self.transmit(now, proof);
    }

    /// Only the first 96 bytes are looked at. A bare signature is no proof on a link.
    pub(super) fn handle_packet_proof(&mut self, now: Now, rng: &mut dyn CryptoRng, data: &[u8]) {
        let Some((hash, rest)) = data.split_first_chunk::<{ PacketHash::LEN }>() else { return };
        let Some(signature) = rest.first_chunk::<SIGNATURE_LEN>() else { return };
        let hash = PacketHash::new(*hash);
        let waited_for = self.receipts.contains_key(&hash) || self.is_message(&hash);
        if !waited_for || !self.peer.verify(hash.as_bytes(), signature) {
            return;
        }
        self.heard(now);
        if let Some(sent) = self.receipts.remove(&hash) {
            self.timers.clear(Timer::Receipt(hash));
            return self.events.push_back(LinkEvent::Delivered { packet: hash, rtt: now.mono.since(sent) });
        }
        self.handle_message_proof(now, rng, &hash);
    }

    pub(super) fn handle_receipt_timeout(&mut self, packet: PacketHash) {
        self.receipts.remove(&packet);
        self.timers.clear(Timer::Receipt(packet));
        self.events.push_back(LinkEvent::Undelivered { packet });
    }

    pub(super) fn abandon_receipts(&mut self) {
        let open: Vec<PacketHash> = self.receipts.iter().map(|(hash, _)| *hash).collect();
        for packet in open {
            self.handle_receipt_timeout(packet);
        }
    }

    /// Tells the responder who this is, and proves it. There is no acknowledgement.
    ///
    /// # Errors
    /// [`LinkError::NotActive`] when the link is not active, or this is not its initiator.
    pub fn identify(&mut self, now: Now, rng: &mut dyn CryptoRng, identity: &Identity) -> Result<(), LinkError> {
        if self.role != Role::Initiator || !self.is_up() {
            return Err(LinkError::NotActive);
        }
        let key = identity.public().as_bytes();
        let signature = identity.sign(&[self.id.as_ref(), key].concat());
        let body = [&key[..], &signature].concat();
        let too_large = LinkError::TooLarge { len: body.len(), max: self.mdu() };
        self.send_sealed(now, rng, Context::LINK_IDENTIFY, &body).map(drop).ok_or(too_large)
    }

    /// The first valid identification counts for the life of the link. Whether that identity is welcome is the caller's
    /// to decide on [`LinkEvent::Identified`].
    pub(super) fn handle_identify(&mut self, plaintext: &[u8]) {
        if self.role != Role::Responder || self.remote.is_some() || self.state == LinkState::Closed {
            return;
        }
        let Some((key, signature)) = plaintext.split_first_chunk::<KEY_LEN>() else { return };
        let Ok(identity) = PublicIdentity::from_slice(key) else { return };
        if identity.verify(&[self.id.as_ref(), key].concat(), signature) {
            self.remote = Some(identity);
            self.events.push_back(LinkEvent::Identified { identity });
        }
    }
}
