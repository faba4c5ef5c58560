//! Carrying packets for others. docs/protocol/1-core.md, section 5.4.

use core::time::Duration;

use bytes::Bytes;

use super::egress::Class;
use super::inbound::Arrived;
use super::{DropReason, InterfaceId, Stack};
use crate::hash::IdentityHash;
use crate::time::{Instant, Now};
use crate::wire::{Flags, PacketKind, PacketRef};

/// How long the way back for a proof is kept.
pub const REVERSE_LIFETIME: Duration = Duration::from_secs(480);

/// The way a proof goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reverse {
    pub(super) received: InterfaceId,
    pub(super) sent: InterfaceId,
    pub(super) at: Instant,
}

impl Stack {
    /// Carries on a packet that names this node as its next hop.
    pub(super) fn forward(&mut self, now: Now, arrived: &Arrived<'_>) {
        if !self.carries(arrived) {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        }
        if arrived.packet.flags().packet() == PacketKind::LinkRequest {
            return self.forward_link_request(now, arrived);
        }
        let packet = &arrived.packet;
        let Some(path) = self.route(packet.destination()) else {
            return self.drop_frame(arrived.on, DropReason::NoPath);
        };
        let to = path.on;
        let (flags, next_hop) = self.carried_header(packet, path.hops, path.next_hop);
        self.touch_path(now, arrived);
        while self.reverse.pop_oldest_if(|_, way| now.mono > way.at + REVERSE_LIFETIME).is_some() {}
        self.reverse.insert(arrived.truncated_hash(), Reverse { received: arrived.on, sent: to, at: now.mono });
        self.stats.forwarded += 1;
        self.transmit_readdressed(to, Class::Data, arrived, flags, next_hop);
    }

    /// The frame for the next node on a path of this many hops.
    pub(super) fn carried(&self, packet: &PacketRef<'_>, hops: u8, next_hop: IdentityHash, hop_byte: u8) -> Bytes {
        let (flags, transport_id) = self.carried_header(packet, hops, next_hop);
        packet.readdressed(flags, hop_byte, transport_id)
    }

    /// Flags and transport id for the next node on a path of this many hops. A packet to a program on the same machine stays
    /// as it is, unless it would tell that this node is the one that carries for it.
    fn carried_header(
        &self,
        packet: &PacketRef<'_>,
        hops: u8,
        next_hop: IdentityHash,
    ) -> (Flags, Option<IdentityHash>) {
        let local = hops == 0 && self.config.local_hops_delta == 0;
        match hops {
            2.. => (packet.flags(), Some(next_hop)),
            _ if local => (packet.flags(), packet.transport_id()),
            _ => (packet.flags().invariant(), None),
        }
    }

    /// The path a packet goes along was used. docs/protocol/1-core.md, section 5.2, field 0.
    pub(super) fn touch_path(&mut self, now: Now, arrived: &Arrived<'_>) {
        let destination = arrived.packet.destination();
        if let Some(path) = self.paths.use_mut(&destination) {
            path.used = now.mono;
            // Link proofs on their way back are checked with the key.
            self.known.refresh(&destination);
        }
    }

    /// A proof of a packet: it goes back the way the packet came, or proves one of ours. Not checked in transit.
    pub(super) fn receive_proof(&mut self, now: Now, arrived: &Arrived<'_>) {
        let address = arrived.packet.destination();
        let way = self.reverse.remove(address.as_bytes()).filter(|way| now.mono <= way.at + REVERSE_LIFETIME);
        let carried = match way {
            Some(way) if way.sent == arrived.on => {
                let packet = &arrived.packet;
                self.stats.forwarded += 1;
                self.transmit_readdressed(way.received, Class::Data, arrived, packet.flags(), packet.transport_id());
                true
            }
            Some(_) | None => false,
        };
        if !self.settle_receipt(now, &arrived.packet) && !carried {
            self.drop_frame(arrived.on, DropReason::ProofUnmatched);
        }
    }
}
