//! Destinations of this node, and what arrives for them. docs/protocol/1-core.md, sections 2 and 3.8.

use bytes::Bytes;

use super::egress::Class;
use super::inbound::Arrived;
use super::{DropReason, Event, Stack};
use crate::channel::MessageType;
use crate::destination::DestinationName;
use crate::hash::DestinationHash;
use crate::identity::Identity;
use crate::link::{ProofStrategy, ResourceStrategy};
use crate::proof::prove;
use crate::resource::SEGMENT_MAX;
use crate::time::Instant;
use crate::wire::Packet;

/// A SINGLE destination of this node.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Whose it is.
    pub identity: Identity,
    /// Its name.
    pub name: DestinationName,
    /// Whether links to it are accepted.
    pub accepts_links: bool,
    /// Which packets are proved, those on its links included.
    pub proofs: ProofStrategy,
    /// Paths of requests that are taken on its links. Every request for one of them becomes an
    /// [`Event::Requested`]; who may ask what is for the application to decide. Other paths are met with silence.
    pub request_paths: Vec<String>,
    /// Which resources outside requests are taken on its links.
    pub resources: ResourceStrategy,
    /// Largest request that is taken on its links, in bytes of its packed form; it is held in memory as a whole. From peers
    /// who have not identified, at most [`MAX_REQUEST_UNIDENTIFIED`](crate::link::MAX_REQUEST_UNIDENTIFIED).
    pub max_request: usize,
    /// Opens the channel of its links from the start, for messages of these types.
    pub channel: Option<Vec<MessageType>>,
    /// What its announces carry until [`Stack::announce`] says otherwise.
    pub app_data: Bytes,
}

impl Destination {
    /// A destination that accepts links, proves nothing and takes neither requests nor resources.
    pub const fn new(identity: Identity, name: DestinationName) -> Self {
        Self {
            identity,
            name,
            accepts_links: true,
            proofs: ProofStrategy::None,
            request_paths: Vec::new(),
            resources: ResourceStrategy::None,
            max_request: SEGMENT_MAX,
            channel: None,
            app_data: Bytes::new(),
        }
    }

    /// Its address.
    pub fn hash(&self) -> DestinationHash {
        self.name.of(self.identity.hash())
    }
}

/// Why a destination cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is one with this hash already.
    #[error("{0} is registered already")]
    Exists(DestinationHash),
}

#[derive(Debug)]
pub(super) struct Local {
    pub(super) destination: Destination,
    /// The newest announce made, and when.
    pub(super) announced: Option<(Instant, Packet)>,
}

impl Stack {
    /// Registers a destination of this node. It is not announced by that.
    ///
    /// # Errors
    /// When one of the same hash is registered already.
    pub fn register(&mut self, destination: Destination) -> Result<DestinationHash, RegisterError> {
        let hash = destination.hash();
        if self.locals.contains_key(&hash) {
            return Err(RegisterError::Exists(hash));
        }
        self.locals.insert(hash, Local { destination, announced: None });
        Ok(hash)
    }

    /// Data for a destination of this node: decrypted, handed over, proved.
    pub(super) fn receive_data(&mut self, arrived: &Arrived<'_>) {
        let address = arrived.packet.destination();
        let Some(local) = self.locals.get(&address) else {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        };
        let identity = &local.destination.identity;
        let Ok(decrypted) = identity.decrypt(arrived.packet.data(), &[], false) else {
            return self.drop_frame(arrived.on, DropReason::Undecryptable);
        };
        let proof = match local.destination.proofs {
            ProofStrategy::All => Some(prove(identity, arrived.packet.hash(), self.config.proof_form)),
            ProofStrategy::None => None,
        };
        self.event(Event::Received { destination: address, payload: decrypted.plaintext.into() });
        if let Some(proof) = proof {
            let frame = self.with_own_hops(proof, arrived.on).encode();
            self.transmit(arrived.on, Class::Data, frame);
        }
    }
}
