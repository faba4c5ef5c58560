//! Packets waiting for their proof. docs/protocol/1-core.md, section 3.7.

use core::time::Duration;

use super::{Event, Stack, TimerKey};
use crate::hash::{DestinationHash, PacketHash};
use crate::proof::ProofRef;
use crate::time::{Instant, Now};
use crate::wire::PacketRef;

/// Time allowed for each hop.
pub const PER_HOP_TIMEOUT: Duration = Duration::from_secs(6);
/// Hops reckoned with when no path is known.
pub const HOPS_UNKNOWN: u8 = 128;

#[derive(Debug)]
pub(super) struct Receipt {
    packet: PacketHash,
    to: DestinationHash,
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

    pub(super) fn expect_proof(&mut self, now: Now, packet: PacketHash, to: DestinationHash) {
        let timeout = self.first_hop_timeout(to) + PER_HOP_TIMEOUT * u32::from(self.hops_to(to));
        let key = packet.truncated();
        // "Later than the timeout" is a microsecond later.
        self.timers.set(TimerKey::Receipt(key), now.mono + timeout + Duration::from_micros(1));
        if let Some((key, culled)) = self.receipts.insert(key, Receipt { packet, to, sent: now.mono }) {
            self.timers.clear(TimerKey::Receipt(key));
            self.event(Event::Undelivered { packet: culled.packet });
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
        if !self.identity_of(receipt.to).is_some_and(|identity| proves.proves(packet, identity)) {
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
