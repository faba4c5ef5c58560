//! Packets waiting for their proof. docs/protocol/1-core.md, section 3.7.

use core::time::Duration;

use super::{Event, Stack, TimerKey};
use crate::hash::{DestinationHash, PacketHash};
use crate::identity::PublicIdentity;
use crate::proof::ProofRef;
use crate::time::{Instant, Now};
use crate::wire::PacketRef;

/// Time allowed for each hop.
pub const PER_HOP_TIMEOUT: Duration = Duration::from_secs(6);
/// Hops reckoned with when no path is known.
pub const HOPS_UNKNOWN: u8 = 128;

/// "Later than the timeout" is a microsecond later.
const LATER: Duration = Duration::from_micros(1);

/// Whether and how long the proof of a packet is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiptPolicy {
    /// As long as the path takes: 6 seconds for each hop, and the time of a frame on the first.
    #[default]
    ByPath,
    /// This long.
    Within(Duration),
    /// Not at all: nothing will be said of the packet.
    Declined,
}

/// Whose proof is waited for.
#[derive(Debug)]
pub(super) enum Prover {
    /// The owner of a SINGLE destination.
    Of(DestinationHash),
    /// The owner of a group.
    Owner(Box<PublicIdentity>),
}

#[derive(Debug)]
pub(super) struct Receipt {
    packet: PacketHash,
    prover: Prover,
    sent: Instant,
}

impl Stack {
    /// Time the first hop may take: that of one frame when the interface is known, and a hop's timeout.
    pub(super) fn first_hop_timeout(&self, to: DestinationHash) -> Duration {
        let path = self.route(to).and_then(|path| self.interfaces.get(&path.on));
        PER_HOP_TIMEOUT + path.map_or(Duration::ZERO, super::Interface::frame_time)
    }

    /// Hops to a destination, 128 when no path is known.
    pub(super) fn hops_to(&self, to: DestinationHash) -> u8 {
        self.route(to).map_or(HOPS_UNKNOWN, |path| path.hops)
    }

    /// Changes how long the proof of a packet is waited for, counted from when it was sent. Says whether it is still waited
    /// for at all.
    pub fn set_receipt_timeout(&mut self, packet: PacketHash, timeout: Duration) -> bool {
        let key = packet.truncated();
        let Some(receipt) = self.receipts.get(&key).filter(|receipt| receipt.packet == packet) else { return false };
        self.timers.set(TimerKey::Receipt(key), receipt.sent + timeout + LATER);
        true
    }

    pub(super) fn expect_proof(
        &mut self,
        now: Now,
        packet: PacketHash,
        to: DestinationHash,
        prover: Prover,
        policy: ReceiptPolicy,
    ) {
        let timeout = match policy {
            ReceiptPolicy::Declined => return,
            ReceiptPolicy::Within(timeout) => timeout,
            ReceiptPolicy::ByPath => self.first_hop_timeout(to) + PER_HOP_TIMEOUT * u32::from(self.hops_to(to)),
        };
        let key = packet.truncated();
        self.timers.set(TimerKey::Receipt(key), now.mono + timeout + LATER);
        if let Some((key, culled)) = self.receipts.insert(key, Receipt { packet, prover, sent: now.mono }) {
            self.timers.clear(TimerKey::Receipt(key));
            self.event(Event::ReceiptCulled { packet: culled.packet });
        }
    }

    /// Whether `proof` proves one of our packets. A proof is addressed by the hash of what it proves, so one signature is
    /// checked at most, however many packets wait.
    pub(super) fn settle_receipt(&mut self, now: Now, proof: &PacketRef<'_>) -> bool {
        let key = *proof.destination().as_bytes();
        let (Some(proves), Some(receipt)) = (ProofRef::parse(proof.data()), self.receipts.get(&key)) else {
            return false;
        };
        let (packet, rtt) = (receipt.packet, now.mono.since(receipt.sent));
        let by = match &receipt.prover {
            Prover::Owner(owner) => **owner,
            Prover::Of(to) => match self.identity_of(*to) {
                Some(identity) => *identity,
                None => return false,
            },
        };
        let signature = proves.signature_over(packet);
        if !signature.is_some_and(|signature| self.signers.verify(&by, packet.as_bytes(), signature)) {
            return false;
        }
        self.receipts.remove(&key);
        self.timers.clear(TimerKey::Receipt(key));
        self.event(Event::Delivered { packet, rtt });
        true
    }

    pub(super) fn receipt_timeout(&mut self, key: [u8; 16]) {
        if let Some(receipt) = self.receipts.remove(&key) {
            self.event(Event::Undelivered { packet: receipt.packet });
        }
    }
}
