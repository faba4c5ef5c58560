//! GROUP and PLAIN destinations that this node listens to. docs/protocol/1-core.md, sections 2.2 to 2.4.
//!
//! They are never announced and their packets are never carried on: whoever hears one packet has it from a neighbour.

use core::fmt;

use super::inbound::Arrived;
use super::local::Delivery;
use super::{DropReason, RegisterError, Stack};
use crate::crypto::TokenKey;
use crate::destination::DestinationName;
use crate::hash::{DestinationHash, IdentityHash};
use crate::identity::{Identity, PublicIdentity};
use crate::link::ProofStrategy;
use crate::time::Now;
use crate::wire::DestinationKind;

/// A GROUP destination: whoever holds its key reads what is sent to it. The key is shared outside of the protocol.
#[derive(Clone)]
pub struct Group {
    /// Whose hash is part of the address; the others of the group need not hold its private key.
    pub owner: PublicIdentity,
    /// Its name.
    pub name: DestinationName,
    /// What its packets are encrypted with: 64 bytes, or 32 in old groups.
    pub key: TokenKey,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({:?}, [secret])", self.hash())
    }
}

impl Group {
    /// Its address, which a SINGLE destination of the same name and owner has too.
    pub fn hash(&self) -> DestinationHash {
        self.name.of(self.owner.hash())
    }
}

/// What a node listens to beside its own SINGLE destinations.
#[derive(Debug)]
pub(super) enum Listener {
    Group(Box<Member>),
    Plain,
}

/// This node as one of a group.
#[derive(Debug)]
pub(super) struct Member {
    group: Group,
    /// The group's owner, if that is this node.
    prover: Option<Identity>,
    proofs: ProofStrategy,
}

impl Listener {
    fn kind(&self) -> DestinationKind {
        match self {
            Self::Group(_) => DestinationKind::Group,
            Self::Plain => DestinationKind::Plain,
        }
    }

    /// Who can prove what arrives.
    pub(super) fn prover(&self) -> Option<&Identity> {
        match self {
            Self::Group(member) => member.prover.as_ref(),
            Self::Plain => None,
        }
    }
}

impl Stack {
    /// Listens to a group. With `prover`, the group's owner, packets are proved by `proofs`; without, none is.
    ///
    /// # Errors
    /// When a destination of the same hash is registered already, be it a SINGLE one.
    pub fn register_group(
        &mut self,
        group: Group,
        prover: Option<Identity>,
        proofs: ProofStrategy,
    ) -> Result<DestinationHash, RegisterError> {
        let owner: IdentityHash = group.owner.hash();
        let prover = prover.filter(|prover| prover.hash() == owner);
        self.listen(group.hash(), Listener::Group(Box::new(Member { group, prover, proofs })))
    }

    /// Listens to a PLAIN destination: whatever anybody nearby sends to this name, unencrypted and unproved.
    ///
    /// # Errors
    /// When a destination of the same hash is registered already. Those of the protocol itself always are.
    pub fn register_plain(&mut self, name: &DestinationName) -> Result<DestinationHash, RegisterError> {
        self.listen(name.plain(), Listener::Plain)
    }

    fn listen(&mut self, hash: DestinationHash, listener: Listener) -> Result<DestinationHash, RegisterError> {
        if self.is_registered(hash) {
            return Err(RegisterError::Exists(hash));
        }
        self.listeners.insert(hash, listener);
        Ok(hash)
    }

    /// Whether a destination of this node has this address.
    pub(super) fn is_registered(&self, hash: DestinationHash) -> bool {
        self.locals.contains_key(&hash) || self.listeners.contains_key(&hash) || self.is_of_the_protocol(hash)
    }

    fn is_of_the_protocol(&self, hash: DestinationHash) -> bool {
        hash == self.path_request_destination || hash == self.tunnel_destination
    }

    /// Data for a GROUP or PLAIN destination. The address alone does not tell which: the type must be that of the
    /// destination registered.
    pub(super) fn receive_broadcast(&mut self, now: Now, arrived: &Arrived<'_>) {
        let address = arrived.packet.destination();
        let kind = arrived.packet.flags().destination();
        let Some(listener) = self.listeners.get(&address).filter(|listener| listener.kind() == kind) else {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        };
        let (plaintext, proofs) = match listener {
            Listener::Plain => (Ok(arrived.packet.data().to_vec()), ProofStrategy::None),
            Listener::Group(member) => {
                let proofs = if member.prover.is_some() { member.proofs } else { ProofStrategy::None };
                (member.group.key.open(arrived.packet.data()), proofs)
            }
        };
        match plaintext {
            Ok(plaintext) => self.deliver(now, arrived, Delivery { plaintext, ratchet: None, proofs }),
            Err(_) => self.drop_frame(arrived.on, DropReason::Undecryptable),
        }
    }
}
