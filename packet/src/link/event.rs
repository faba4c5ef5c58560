//! What comes out of a link, and why a call on it may be refused.

use core::time::Duration;

use bytes::Bytes;

use super::TransferId;
use crate::channel::ChannelEvent;
use crate::hash::{IdentityHash, PacketHash, RequestId};
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
        /// Bytes of its content so far, as far as one can tell.
        received: u64,
        /// Bytes of its content in all.
        total: u64,
    },
    /// A request of this node is answered or has failed. Comes exactly once for each.
    Responded {
        /// Which request.
        request: RequestId,
        /// One MessagePack value, or, with metadata, the bytes of a file; or why there is none.
        response: Result<Bytes, RequestError>,
        /// What came with a file: one MessagePack value.
        metadata: Option<Bytes>,
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
    /// Something happened to a resource outside requests, in either direction.
    Resource {
        /// Which.
        resource: TransferId,
        /// What.
        event: ResourceEvent,
    },
    /// Something happened on the channel.
    Channel(ChannelEvent),
}

impl LinkEvent {
    /// The request of this end that it is about.
    pub(super) fn request(&self) -> Option<RequestId> {
        match self {
            Self::Responding { request, .. } | Self::Responded { request, .. } => Some(*request),
            _ => None,
        }
    }
}

/// What happens to a resource outside requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceEvent {
    /// The peer offers it; it is to be accepted or cancelled. Comes only under
    /// [`ResourceStrategy::Ask`](super::ResourceStrategy::Ask).
    Offered {
        /// Bytes of all segments, as the peer says.
        size: u64,
        /// How many segments it takes.
        segments: u64,
        /// Whether metadata comes with it.
        has_metadata: bool,
    },
    /// Its next segment arrived and was proved. Segments come in order, each at most
    /// [`SEGMENT_MAX`](crate::resource::SEGMENT_MAX) bytes from peers who keep to the protocol and three times that from any
    /// peer; nothing of them is kept here. Say when it is dealt with, by
    /// [`Link::segment_taken`](super::Link::segment_taken): when too much is not, the peer has to wait.
    Segment {
        /// Where in the data it belongs.
        offset: u64,
        /// With the first segment: one MessagePack value, when the sender attached one.
        metadata: Option<Bytes>,
        /// The data.
        data: Bytes,
    },
    /// So much came, or went out. Only the newest is kept until it is taken.
    Progress {
        /// Bytes of its content so far, as far as one can tell.
        done: u64,
        /// Bytes of its content in all.
        total: u64,
    },
    /// A resource of [`Link::stream_resource`](super::Link::stream_resource) needs these bytes next.
    Wanted {
        /// Where in the data they begin.
        offset: u64,
        /// How many there are.
        len: usize,
    },
    /// It is over. The last event of a resource.
    Ended(ResourceOutcome),
}

/// How a resource outside requests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceOutcome {
    /// It arrived whole and was proved.
    Received,
    /// The peer proved that it arrived.
    Delivered,
    /// It was given up: no answer in time, or cancelled by its sender.
    Failed,
    /// All parts of a segment came, but they are not what was advertised.
    Corrupt,
    /// The receiver refused it, or wants no more of it.
    Rejected,
    /// This end cancelled it.
    Cancelled,
    /// The application of this end did not decide about an offer while it stood, or did not take what came within ten
    /// minutes.
    Unread,
    /// The application of this end did not supply the next bytes in time.
    Unsupplied,
}

/// Why a call on a link cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link is not established yet, or closed.
    #[error("the link is not active")]
    NotActive,
    /// More than one packet can carry, or more metadata than one resource segment can.
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
    /// No such resource is offered, on its way or waiting for data; it may have ended.
    #[error("no resource of this name waits for that")]
    UnknownResource,
    /// Not as many bytes of a resource as were asked for.
    #[error("{len} bytes given, {wanted} are wanted")]
    Length {
        /// Length given.
        len: usize,
        /// Length asked for.
        wanted: usize,
    },
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
