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
        let named = self.table.iter().filter(|(_, peer)| peer.data.name() == text).map(|(hash, _)| *hash);
        let mut found: BTreeSet<_> = named.collect();
        // A node that calls itself like the head of another's hash must not get what is meant for that one.
        if text.len() >= PREFIX_MIN {
            let prefix = text.to_ascii_lowercase();
            let known = self.table.iter().filter(|(hash, peer)| {
                hash.to_string().starts_with(&prefix) || peer.identity.to_string().starts_with(&prefix)
            });
            found.extend(known.map(|(hash, _)| *hash));
            found.extend(others.filter(|hash| hash.to_string().starts_with(&prefix)));
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (None, _) => Resolved::Nobody,
            (Some(one), None) => Resolved::One(one),
            (Some(first), Some(second)) => Resolved::Several([first, second].into_iter().chain(found).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wend_commands::announce_data::{Capabilities, Roles};

    use super::*;

    fn peers(names: &[&str]) -> Peers {
        let mut peers = Peers::new();
        for (number, name) in (1_u8..).zip(names) {
            let data = AnnounceData::new(name, Roles::default(), Capabilities::default(), Vec::new(), None);
            let peer = Peer {
                identity: IdentityHash::new([number | 0x80; 16]),
                data: data.expect("a short name"),
                hops: 1,
                heard: Now::default(),
            };
            peers.heard(DestinationHash::new([number; 16]), peer);
        }
        peers
    }

    fn resolve(peers: &Peers, text: &str) -> Resolved {
        peers.resolve(text, std::iter::empty())
    }

    #[test]
    fn a_node_is_named_by_name_hash_or_head_of_a_hash() {
        let peers = peers(&["workshop", "field"]);
        let workshop = DestinationHash::new([1; 16]);
        for text in ["workshop", "0101", "8181", &workshop.to_string(), &IdentityHash::new([0x81; 16]).to_string()] {
            assert_eq!(resolve(&peers, text), Resolved::One(workshop), "{text}");
        }
        assert_eq!(resolve(&peers, "01"), Resolved::Nobody, "too short to mean anything");
        let unheard = DestinationHash::new([0x77; 16]);
        assert_eq!(resolve(&peers, &unheard.to_string()), Resolved::One(unheard), "a whole hash needs no announce");
    }

    #[test]
    fn ten_times_as_many_nodes_as_are_remembered_leave_those_heard_last() {
        let mut peers = peers(&["workshop"]);
        let workshop = peers.get(&DestinationHash::new([1; 16])).cloned().expect("heard");
        let number = |hash: u32| {
            let [a, b, c, d] = hash.to_be_bytes();
            DestinationHash::new([a, b, c, d, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9])
        };
        for stranger in 0..u32::try_from(10 * PEERS_MAX).expect("a small number") {
            let identity = IdentityHash::new(*number(stranger).as_bytes());
            peers.heard(number(stranger), Peer { identity, ..workshop.clone() });
            if stranger % 1000 == 0 {
                peers.heard(DestinationHash::new([1; 16]), workshop.clone());
            }
        }
        assert_eq!(peers.table.len(), PEERS_MAX);
        assert!(peers.knows(workshop.identity), "who goes on announcing stays");
    }

    #[test]
    fn a_name_that_looks_like_the_head_of_a_hash_catches_nothing() {
        let peers = peers(&["workshop", "0101"]);
        assert_eq!(resolve(&peers, "0101"), Resolved::Several(vec![[1; 16].into(), [2; 16].into()]));
    }
}
