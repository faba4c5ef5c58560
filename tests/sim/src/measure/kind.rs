//! What a frame is for.

use serde::Serialize;
use wend_packet::DestinationHash;
use wend_packet::wire::{Context, DestinationKind, PacketKind, PacketRef};

/// Kinds of traffic, as airtime is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An announce from its own node.
    OwnAnnounce,
    /// An announce that a transport node passes on. These are held to 2 % of an interface's bitrate.
    RelayedAnnounce,
    /// A path request.
    PathRequest,
    /// An announce that answers one.
    PathResponse,
    /// Setting links up, keeping them alive, closing them.
    Link,
    /// Packets, and what travels on links.
    Data,
    /// Proofs that packets and resources arrived.
    Proof,
    /// What does not parse.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::OwnAnnounce,
        Self::RelayedAnnounce,
        Self::PathRequest,
        Self::PathResponse,
        Self::Link,
        Self::Data,
        Self::Proof,
        Self::Other,
    ];

    /// Its place in [`Kind::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OwnAnnounce => "own announces",
            Self::RelayedAnnounce => "relayed announces",
            Self::PathRequest => "path requests",
            Self::PathResponse => "path responses",
            Self::Link => "links",
            Self::Data => "data",
            Self::Proof => "proofs",
            Self::Other => "other",
        }
    }

    /// What a frame is for; `path_requests` is the destination those are addressed to.
    pub(crate) fn of(frame: &[u8], path_requests: DestinationHash) -> Self {
        let Ok(packet) = PacketRef::parse(frame) else { return Self::Other };
        let (flags, context) = (packet.flags(), packet.context());
        match (flags.packet(), flags.destination()) {
            (PacketKind::Announce, _) if context == Context::PATH_RESPONSE => Self::PathResponse,
            (PacketKind::Announce, _) if packet.hops() == 0 => Self::OwnAnnounce,
            (PacketKind::Announce, _) => Self::RelayedAnnounce,
            (PacketKind::LinkRequest, _) => Self::Link,
            (PacketKind::Proof, _) if context == Context::LINK_REQUEST_PROOF => Self::Link,
            (PacketKind::Proof, _) => Self::Proof,
            (PacketKind::Data, _) if packet.destination() == path_requests => Self::PathRequest,
            (PacketKind::Data, DestinationKind::Link) => match context {
                Context::KEEPALIVE | Context::LINK_IDENTIFY | Context::LINK_CLOSE | Context::LINK_RTT => Self::Link,
                _ => Self::Data,
            },
            (PacketKind::Data, _) => Self::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use wend_packet::stack::path_request_destination;

    use super::*;

    #[test]
    fn every_kind_stands_at_its_index() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn announces_are_told_apart_by_hops_and_context() {
        let frame = |hops: u8, context: Context| {
            let mut frame = vec![0x01, hops];
            frame.extend([7; 16]);
            frame.extend([context.0, 9]);
            Kind::of(&frame, path_request_destination())
        };
        assert_eq!(frame(0, Context::NONE), Kind::OwnAnnounce);
        assert_eq!(frame(3, Context::NONE), Kind::RelayedAnnounce);
        assert_eq!(frame(3, Context::PATH_RESPONSE), Kind::PathResponse);
        assert_eq!(Kind::of(&[1, 2, 3], path_request_destination()), Kind::Other);
    }
}
