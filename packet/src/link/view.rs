//! What a link tells about itself.

use core::time::Duration;

use super::{Link, LinkState, link_mdu};
use crate::hash::{DestinationHash, LinkId};
use crate::identity::PublicIdentity;
use crate::stack::Role;

impl core::fmt::Debug for Link {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("state", &self.state)
            .field("destination", &self.destination)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Its id, which is its address.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it is in its life.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Largest frame on this link, in bytes; at the initiator before the proof, what it asked for.
    ///
    /// The responder's word is taken as it is: it may be more than [`Link::asked_mtu`], and than this node's interface
    /// carries. Whoever drives the link decides what becomes of one whose peer goes beyond what was asked for.
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// The MTU that the link request asked for, 500 where it named none; at the responder as it arrived, clamped.
    pub fn asked_mtu(&self) -> usize {
        self.asked_mtu
    }

    /// Most bytes of one [`Link::send`].
    pub fn mdu(&self) -> usize {
        link_mdu(self.mtu)
    }

    /// Round trip, once known.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The destination it leads to (initiator) or belongs to (responder).
    pub fn destination(&self) -> DestinationHash {
        self.destination
    }

    /// Whether packets wait to be taken with [`Link::poll_packet`].
    pub fn has_packets(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Who is at the other end: at the initiator the destination's identity, at the responder whoever identified.
    pub fn remote_identity(&self) -> Option<&PublicIdentity> {
        self.remote.as_ref()
    }

    /// Hops the proof is expected with, counted up on reception; at the responder those of the first packet that showed
    /// that the initiator has the keys.
    pub fn expected_hops(&self) -> u8 {
        self.hops
    }

    /// Changes the expected hops, as the rebalancing rule asks. docs/protocol/2-link.md, section 2.6.
    pub fn set_expected_hops(&mut self, hops: u8) {
        self.hops = hops;
    }

    /// Bytes that this end holds for its peer at this moment: what came of resources so far and the names of parts to come,
    /// and messages that wait for one before them. It grows only with packets of the peer.
    pub fn held_bytes(&self) -> usize {
        let messages = self.channel.as_ref().map_or(0, |channel| channel.receiver.held_bytes());
        self.transfers.held_bytes() + messages
    }
}
