//! The nodes this node has heard of, by announce: who they are, what they are called, what their catalog is.

use std::collections::BTreeSet;

use wend_commands::announce_data::AnnounceData;
use wend_packet::bounded::Bounded;
use wend_packet::time::Now;
use wend_packet::{DestinationHash, IdentityHash};

/// Nodes remembered; the one heard longest ago leaves.
const PEERS_MAX: usize = 4096;
/// Fewest digits of a hash that name a node: fewer are guessed too easily.
const PREFIX_MIN: usize = 4;

/// A node that announced itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Peer {
    /// Who.
    pub identity: IdentityHash,
    /// What it announced.
    pub data: AnnounceData,
    /// Distance when it was heard last.
    pub hops: u8,
    /// When it was heard last.
    pub heard: Now,
}

/// How a name was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resolved {
    /// One node.
    One(DestinationHash),
    /// Nothing known is called that.
    Nobody,
    /// Several nodes fit.
    Several(Vec<DestinationHash>),
}

/// The nodes heard of.
#[derive(Debug)]
pub(super) struct Peers {
    table: Bounded<DestinationHash, Peer>,
}

impl Peers {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        Self { table: Bounded::new(PEERS_MAX) }
    }

    /// Notes an announce.
    pub(super) fn heard(&mut self, destination: DestinationHash, peer: Peer) {
        self.table.insert(destination, peer);
    }

    /// What is known of a node.
    pub(super) fn get(&self, destination: &DestinationHash) -> Option<&Peer> {
        self.table.get(destination)
    }

    /// Whether a node of this identity has announced itself.
    pub(super) fn knows(&self, identity: IdentityHash) -> bool {
        self.table.iter().any(|(_, peer)| peer.identity == identity)
    }

    /// The destination of the node with this identity.
    pub(super) fn destination_of(&self, identity: IdentityHash) -> Option<DestinationHash> {
        self.table.iter().find(|(_, peer)| peer.identity == identity).map(|(destination, _)| *destination)
    }

    /// What a person means by `text`: a whole destination hash, the announced name, or the head of a destination or
    /// identity hash. `others` are destinations known by path only.
    pub(super) fn resolve(&self, text: &str, others: impl Iterator<Item = DestinationHash>) -> Resolved {
        if let Ok(identity) = text.parse()
            && let Some(destination) = self.destination_of(identity)
        {
            return Resolved::One(destination);
        }
        // A whole destination hash needs no announce: its path is asked for.
        if let Ok(destination) = text.parse() {
            return Resolved::One(destination);
        }
        let named: BTreeSet<_> =
            self.table.iter().filter(|(_, peer)| peer.data.name() == text).map(|(hash, _)| *hash).collect();
        let found = if named.is_empty() && text.len() >= PREFIX_MIN {
            let prefix = text.to_ascii_lowercase();
            let known = self.table.iter().filter(|(hash, peer)| {
                hash.to_string().starts_with(&prefix) || peer.identity.to_string().starts_with(&prefix)
            });
            let by_path = others.filter(|hash| hash.to_string().starts_with(&prefix));
            known.map(|(hash, _)| *hash).chain(by_path).collect()
        } else {
            named
        };
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (None, _) => Resolved::Nobody,
            (Some(one), None) => Resolved::One(one),
            (Some(first), Some(second)) => Resolved::Several([first, second].into_iter().chain(found).collect()),
        }
    }
}
