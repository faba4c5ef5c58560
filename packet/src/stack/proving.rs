//! Proofs of packets that arrived for destinations of this node. docs/protocol/1-core.md, sections 2.4 and 3.8.

use core::time::Duration;

use super::egress::Class;
use super::{InterfaceId, Stack};
use crate::hash::{DestinationHash, PacketHash};
use crate::identity::Identity;
use crate::proof::prove;
use crate::time::{Instant, Now};

/// How long the application may think about whether to prove a packet. Whoever sent it waits 12 seconds over one hop, and 6
/// more for each further one.
pub const PROOF_DECISION_TIMEOUT: Duration = Duration::from_secs(60);

/// A packet that the application has not decided about.
#[derive(Debug)]
pub(super) struct Undecided {
    packet: PacketHash,
    destination: DestinationHash,
    on: InterfaceId,
    since: Instant,
}

/// There is no packet that could be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is proved already, was not to be proved, or arrived too long ago")]
pub struct NothingToProve(pub PacketHash);

impl Stack {
    /// Proves a packet of which [`Event::Received`](super::Event::Received) said that its proof is wanted. Who does not want
    /// to prove it does nothing.
    ///
    /// # Errors
    /// When the packet is not known, or not any more: after [`PROOF_DECISION_TIMEOUT`], or when many others came meanwhile.
    pub fn prove(&mut self, now: Now, packet: PacketHash) -> Result<(), NothingToProve> {
        let nothing = NothingToProve(packet);
        let undecided = self.undecided.remove(&packet.truncated()).ok_or(nothing)?;
        if undecided.packet != packet || now.mono > undecided.since + PROOF_DECISION_TIMEOUT {
            return Err(nothing);
        }
        self.send_proof(undecided.destination, packet, undecided.on);
        Ok(())
    }

    /// Leaves a packet for the application to prove. The one that waited longest goes unproved when there are too many.
    pub(super) fn await_decision(
        &mut self,
        now: Now,
        destination: DestinationHash,
        packet: PacketHash,
        on: InterfaceId,
    ) {
        while self.undecided.pop_oldest_if(|_, old| now.mono > old.since + PROOF_DECISION_TIMEOUT).is_some() {}
        self.undecided.insert(packet.truncated(), Undecided { packet, destination, on, since: now.mono });
    }

    /// Proves a packet on the interface it came from, if this node holds the key for that.
    pub(super) fn send_proof(&mut self, destination: DestinationHash, packet: PacketHash, on: InterfaceId) {
        let form = self.config.proof_form;
        let Some(proof) = self.prover(destination).map(|identity| prove(identity, packet, form)) else { return };
        let frame = self.with_own_hops(proof, on).encode();
        self.transmit(on, Class::Data, frame);
    }

    fn prover(&self, of: DestinationHash) -> Option<&Identity> {
        let single = self.locals.get(&of).map(|local| &local.destination.identity);
        single.or_else(|| self.listeners.get(&of).and_then(super::listeners::Listener::prover))
    }
}
