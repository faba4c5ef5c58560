//! What comes out of a link, and why a call on it may be refused.

use core::time::Duration;

use bytes::Bytes;

use crate::hash::{IdentityHash, PacketHash, RequestId, ResourceHash};
use crate::identity::PublicIdentity;
use crate::stack::{LinkCloseReason, RequestError};

/// What happened on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link is active. Comes once, before every other event but [`LinkEvent::Down`].
    Up {
        /// Round trip.
        rtt: Duration,
    },
    /// The initiator said who it is, and proved it. Comes at most once, at the responder only.
    Identified {
        /// Who.
        identity: PublicIdentity,
    },
    /// The link is closed, or could not be established. The last event.
    Down {
        /// Why.
        reason: LinkCloseReason,
    },
    /// A request arrived for a registered path; answer it with [`Link::respond`](super::Link::respond).
    Requested {
        /// What the response must name.
        request: RequestId,
        /// Who asks, when the caller identified.
        caller: Option<IdentityHash>,
        /// The path, as registered.
        path: String,
        /// The request's data: one MessagePack value.
        body: Bytes,
    },
    /// The response to a request of this node is arriving. Only the newest one is kept until it is taken.
    Responding {
        /// Which request.
        request: RequestId,
        /// Bytes so far, as they travel.
        received: usize,
        /// Bytes in all, as they travel.
        total: usize,
    },
    /// A request of this node is answered or has failed. Comes exactly once for each.
    Responded {
        /// Which request.
        request: RequestId,
        /// One MessagePack value, or why there is none. The body of a file response is a `bin` value.
        response: Result<Bytes, RequestError>,
    },
    /// Data arrived.
    Data {
        /// The plaintext.
        payload: Bytes,
    },
    /// A packet sent with [`Link::send`](super::Link::send) was proved to have arrived.
    Delivered {
        /// Which.
        packet: PacketHash,
        /// From sending to proof.
        rtt: Duration,
    },
    /// A packet sent with [`Link::send`](super::Link::send) was not proved in time.
    Undelivered {
        /// Which.
        packet: PacketHash,
    },
    /// A resource outside requests ended, in either direction.
    Resource {
        /// Which.
        resource: ResourceHash,
        /// How.
        outcome: ResourceOutcome,
    },
}

/// How a resource outside requests ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceOutcome {
    /// It arrived whole and was proved.
    Received {
        /// One MessagePack value, when the sender attached one.
        metadata: Option<Bytes>,
        /// The data.
        body: Bytes,
    },
    /// The peer proved that it arrived.
    Delivered,
    /// It was given up: no answer in time, or cancelled.
    Failed,
    /// All parts came, but they are not what was advertised.
    Corrupt,
    /// The receiver refused it.
    Rejected,
}

/// Why a call on a link cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link is not established yet, or closed.
    #[error("the link is not active")]
    NotActive,
    /// More than one packet or one resource segment can carry.
    #[error("{len} bytes, at most {max} can be sent")]
    TooLarge {
        /// Length given, with its framing.
        len: usize,
        /// Length allowed, with its framing.
        max: usize,
    },
    /// Too much is waiting to be sent or to be answered already.
    #[error("the link has no room for more")]
    Full,
    /// The data is not exactly one MessagePack value.
    #[error("the body is not one MessagePack value")]
    Body,
    /// No such request waits for a response; it may have been answered, or dropped for younger ones.
    #[error("no request with this id waits for a response")]
    UnknownRequest,
}

/// Why a link request is not answered. docs/protocol/2-link.md, section 2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body has 64 or 67 bytes.
    #[error("a link request has 64 or 67 bytes, not {len}")]
    Length {
        /// The length found.
        len: usize,
    },
    /// Only mode 1 is enabled.
    #[error("link mode {mode} is not enabled")]
    Mode {
        /// The mode asked for.
        mode: u8,
    },
    /// A key is no key.
    #[error("the link request has an unusable key")]
    Key,
}
