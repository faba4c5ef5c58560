//! SINGLE destinations of this node, and what arrives for them. docs/protocol/1-core.md, section 2.

use bytes::Bytes;
use rand_core::CryptoRng;

use super::inbound::Arrived;
use super::{DropReason, Event, Stack};
use crate::channel::MessageType;
use crate::destination::DestinationName;
use crate::hash::{DestinationHash, RatchetId};
use crate::identity::{Decrypted, Identity};
use crate::link::{ProofStrategy, ResourceStrategy};
use crate::ratchet::Ratchets;
use crate::resource::SEGMENT_MAX;
use crate::time::{Instant, Now};
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
    /// Keys that change and are announced, for packets to be encrypted to instead of the identity's own. Without any,
    /// announces are 32 bytes shorter.
    pub ratchets: Option<Ratchets>,
}

impl Destination {
    /// A destination of a new identity, whose hash is the last part of its name, as one gets who names no identity.
    pub fn of_nobody(rng: &mut dyn CryptoRng, name: &DestinationName) -> Self {
        let identity = Identity::generate(rng);
        let name = name.with_identity(identity.hash());
        Self::new(identity, name)
    }

    /// A destination that accepts links, proves nothing, takes neither requests nor resources and has no ratchets.
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
            ratchets: None,
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

/// What was opened, and how it is to be proved.
pub(super) struct Delivery {
    pub(super) plaintext: Vec<u8>,
    pub(super) ratchet: Option<RatchetId>,
    pub(super) proofs: ProofStrategy,
}

impl Stack {
    /// Registers a destination of this node. It is not announced by that.
    ///
    /// # Errors
    /// When one of the same hash is registered already.
    pub fn register(&mut self, destination: Destination) -> Result<DestinationHash, RegisterError> {
        let hash = destination.hash();
        if self.is_registered(hash) {
            return Err(RegisterError::Exists(hash));
        }
        self.locals.insert(hash, Local { destination, announced: None });
        Ok(hash)
    }

    /// Data for a SINGLE destination of this node.
    pub(super) fn receive_data(&mut self, now: Now, arrived: &Arrived<'_>) {
        let address = arrived.packet.destination();
        let Some(proofs) = self.locals.get(&address).map(|local| local.destination.proofs) else {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        };
        let Some(Decrypted { plaintext, ratchet }) = self.open_single(now, address, arrived.packet.data()) else {
            return self.drop_frame(arrived.on, DropReason::Undecryptable);
        };
        self.deliver(now, arrived, Delivery { plaintext, ratchet, proofs });
    }

    /// Hands over what was opened, and sees to its proof.
    pub(super) fn deliver(&mut self, now: Now, arrived: &Arrived<'_>, delivery: Delivery) {
        let (destination, packet) = (arrived.packet.destination(), arrived.packet.hash());
        let Delivery { plaintext, ratchet, proofs } = delivery;
        let wants_proof = proofs == ProofStrategy::Application;
        if wants_proof {
            self.await_decision(now, destination, packet, arrived.on);
        }
        self.event(Event::Received { destination, payload: plaintext.into(), packet, ratchet, wants_proof });
        if proofs == ProofStrategy::All {
            self.send_proof(destination, packet, arrived.on);
        }
    }
}
