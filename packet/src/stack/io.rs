//! What goes into the stack and what comes out of it.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use crate::access_code::AccessKey;
use crate::channel::ChannelEvent;
use crate::hash::{DestinationHash, IdentityHash, InterfaceHash, LinkId, PacketHash, RatchetId, RequestId};
use crate::link::{ResourceEvent, TransferId};
use crate::time::UnixTime;

/// An interface, named by the shell. Ids are never reused while a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u32);

/// How an interface takes part in the network. Local policy, never transmitted. docs/protocol/1-core.md, section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything passes.
    #[default]
    Full,
    /// As full.
    #[serde(alias = "pointtopoint", alias = "ptp")]
    PointToPoint,
    /// Quiet: no announces go out, unknown paths are searched for on behalf of those who ask here.
    #[serde(alias = "access_point", alias = "accesspoint", alias = "ap")]
    AccessPoint,
    /// A node that moves about.
    Roaming,
    /// The border to a network of another kind.
    Boundary,
    /// Unknown paths are searched for on behalf of those who ask here.
    #[serde(alias = "gw")]
    Gateway,
    /// Inside a network that keeps boundary announces out.
    Internal,
}

/// What the stack has to know of an interface that is up.
#[derive(Debug, Clone, PartialEq)]
pub struct InterfaceProfile {
    /// Mode.
    pub mode: Mode,
    /// Bits per second, measured or configured; at least 1.
    pub bitrate_bps: u64,
    /// Largest frame the medium carries, in bytes, without access code. `None` counts as 500.
    pub hw_mtu: Option<usize>,
    /// Whether links may use `hw_mtu` (interfaces of fixed or negotiated MTU). Elsewhere links stay at 500.
    pub negotiates_mtu: bool,
    /// Bytes an access code takes beside `hw_mtu`: room for it is kept on reception even where none is used.
    pub access_code_len: usize,
    /// Key of the closed network on this interface, with codes of `access_code_len` bytes (1 to 64). `None`: it is open.
    /// docs/protocol/1-core.md, section 7.
    pub access_key: Option<AccessKey>,
    /// Preference among paths of the same announce, higher wins.
    pub gravity: i64,
    /// Whether bursts of announces for unknown destinations are held back. docs/protocol/1-core.md, section 4.7.
    pub ingress_control: bool,
    /// What counts as a burst, of announces and of path requests.
    pub burst_limits: super::BurstLimits,
    /// Most requests per second that are passed on here in search of paths; not limited when not set.
    /// docs/protocol/1-core.md, section 5.6.
    pub path_request_egress_hz: Option<f64>,
    /// Whether paths asked for here are searched for whatever the mode (`recursive_prs`).
    pub searches_always: bool,
    /// Share of the bitrate for relayed announces and searches for paths, in millionths.
    /// docs/protocol/1-core.md, section 4.6.
    pub announce_cap_ppm: u32,
    /// How often a destination may announce itself here and be passed on. docs/protocol/1-core.md, section 4.4.
    pub announce_rate: super::AnnounceRate,
    /// Whether internal interfaces take announces learned here although this is a boundary.
    /// docs/protocol/1-core.md, section 4.5.
    pub announces_to_internal: bool,
    /// Whether announces learned on internal interfaces go out here.
    pub announces_from_internal: bool,
    /// Whether it is a program on the same machine that uses this node's interfaces.
    /// docs/protocol/1-core.md, section 5.10.
    pub local_client: bool,
    /// Name of this end of the connection, when this end makes a tunnel of it each time it comes up.
    /// docs/protocol/1-core.md, section 5.8.
    pub tunnel: Option<InterfaceHash>,
    /// Whether nothing is ever sent here (`outgoing = no`).
    pub receive_only: bool,
}

impl InterfaceProfile {
    /// An interface of mode full that carries frames of 500 bytes at `bitrate_bps`, with everything else as it is by
    /// default. Others are made from it: `InterfaceProfile { mode, ..InterfaceProfile::new(bitrate_bps) }`.
    pub const fn new(bitrate_bps: u64) -> Self {
        Self {
            mode: Mode::Full,
            bitrate_bps,
            hw_mtu: None,
            negotiates_mtu: false,
            access_code_len: 0,
            access_key: None,
            gravity: 0,
            ingress_control: true,
            burst_limits: super::BurstLimits::DEFAULT,
            path_request_egress_hz: None,
            searches_always: false,
            announce_cap_ppm: super::ANNOUNCE_CAP_PPM,
            announce_rate: super::AnnounceRate { target: None, grace: None, penalty: None },
            announces_to_internal: false,
            announces_from_internal: true,
            local_client: false,
            tunnel: None,
            receive_only: false,
        }
    }
}

/// What happens to the stack.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// One deframed packet arrived.
    Frame {
        /// Where.
        on: InterfaceId,
        /// The frame.
        bytes: &'a [u8],
    },
    /// An interface came up, or its profile changed.
    InterfaceUp {
        /// Which.
        id: InterfaceId,
        /// What it is like.
        profile: InterfaceProfile,
    },
    /// An interface is gone.
    InterfaceDown {
        /// Which.
        id: InterfaceId,
    },
    /// A job taken from [`poll_job`](super::Stack::poll_job) is done.
    JobDone(crate::job::JobResult),
    /// A deadline of [`poll_timeout`](super::Stack::poll_timeout) has passed. Early or repeated ones are harmless.
    Timeout,
}

/// What the stack wants done.
#[expect(clippy::large_enum_variant, reason = "outputs are few and taken at once; a box each would cost more")]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// The queue of this interface stopped being empty: call [`poll_transmit`](super::Stack::poll_transmit).
    Ready(InterfaceId),
    /// Something the node may want to know.
    Event(Event),
    /// A path was learned or changed and is worth keeping across restarts.
    Persist(PathRecord),
    /// What was kept of this destination is not worth keeping any more.
    Forget(DestinationHash),
    /// This destination of the node has a new ratchet: [`ratchet_file`](super::Stack::ratchet_file) is worth keeping across
    /// restarts, or what is sent to it meanwhile cannot be read after one.
    RatchetsChanged(DestinationHash),
    /// Tunnels keep other paths than before: [`take_tunnel_changes`](super::Stack::take_tunnel_changes) has what is worth
    /// keeping across restarts. Comes once until that is called.
    TunnelsChanged,
}

/// A path as it is kept across restarts, with the announce that taught it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRecord {
    /// Whose path.
    pub destination: DestinationHash,
    /// Announce frame as it was received.
    pub announce: Arc<[u8]>,
    /// When it was heard.
    pub heard: UnixTime,
    /// Of how much use it has been.
    pub standing: Standing,
}

impl PathRecord {
    /// Of a destination that has been of no use yet.
    pub fn heard(destination: DestinationHash, announce: impl Into<Arc<[u8]>>, heard: UnixTime) -> Self {
        Self { destination, announce: announce.into(), heard, standing: Standing::Heard }
    }
}

/// Of how much use a known destination has been: what is kept of it without a path, and how long.
/// docs/protocol/1-core.md, section 1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It was heard of.
    #[default]
    Heard,
    /// This node had to do with it, or carried a link to it.
    Used,
    /// Its owner's identity is to be kept for good.
    Retained,
}

/// A frame for the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The frame, unframed.
    pub frame: Bytes,
}

/// Which end of a link this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It sent the link request.
    Initiator,
    /// It owns the destination.
    Responder,
}

/// Why a link is closed. docs/protocol/2-link.md, section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkCloseReason {
    /// Not established in time, or silent for too long.
    Timeout,
    /// The initiator closed it.
    InitiatorClosed,
    /// The owner of the destination closed it.
    DestinationClosed,
    /// The interface it was bound to is gone.
    InterfaceDown,
    /// The peer broke the protocol so that the link cannot go on.
    Violation,
}

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing came in time. Refusal, unknown path and no answer all look like this.
    #[error("no response in time")]
    Timeout,
    /// The link closed first.
    #[error("the link closed before the response was complete")]
    LinkClosed,
    /// The response began and could not be completed, or was larger than accepted.
    #[error("the response failed on the way")]
    Failed,
}

/// What a node may want to know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A destination made itself known, and its path was taken.
    Announced {
        /// Whose destination.
        destination: DestinationHash,
        /// X25519 public key, then Ed25519 public key of whoever it belongs to.
        public_key: [u8; crate::identity::KEY_LEN],
        /// Hash of the destination's name.
        name: crate::hash::NameHash,
        /// The application's data, empty when there was none.
        app_data: Bytes,
        /// Distance; 1 is a direct neighbour.
        hops: u8,
        /// Where it was heard.
        on: InterfaceId,
        /// When it was made, by its maker's clock.
        emitted: UnixTime,
    },
    /// The path to a destination is new, other, or (`None`) gone.
    PathChanged {
        /// Whose path.
        destination: DestinationHash,
        /// Distance.
        hops: Option<u8>,
    },
    /// Data arrived for a destination of this node.
    Received {
        /// Which.
        destination: DestinationHash,
        /// The plaintext.
        payload: Bytes,
        /// The packet it came in.
        packet: PacketHash,
        /// The ratchet it was encrypted to, if it was one.
        ratchet: Option<RatchetId>,
        /// Whether the sender gets its proof from [`prove`](super::Stack::prove) only: so with
        /// [`ProofStrategy::Application`](super::ProofStrategy::Application).
        wants_proof: bool,
    },
    /// A packet was proved to have arrived.
    Delivered {
        /// Which.
        packet: PacketHash,
        /// From sending to proof.
        rtt: Duration,
    },
    /// A packet was not proved in time.
    Undelivered {
        /// Which.
        packet: PacketHash,
    },
    /// Nobody waits for the proof of a packet any more, because too many others are waited for.
    ReceiptCulled {
        /// Which.
        packet: PacketHash,
    },
    /// A link is active.
    LinkUp {
        /// Which.
        link: LinkId,
        /// The destination it leads to (initiator) or belongs to (responder).
        destination: DestinationHash,
        /// Which end this node is.
        role: Role,
        /// Round trip.
        rtt: Duration,
    },
    /// The initiator of a link said who it is, and proved it.
    Identified {
        /// Which link.
        link: LinkId,
        /// Who.
        identity: crate::identity::PublicIdentity,
    },
    /// A link is closed, or could not be established.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        reason: LinkCloseReason,
    },
    /// A request arrived on a link of this node's destination, for a registered path.
    Requested {
        /// On which link.
        link: LinkId,
        /// What the response must name.
        request: RequestId,
        /// Who asks, when the caller identified.
        caller: Option<IdentityHash>,
        /// The path, as registered.
        path: String,
        /// The request's data: one MessagePack value.
        body: Bytes,
    },
    /// The response to a request of this node is arriving.
    Responding {
        /// Which request.
        request: RequestId,
        /// Bytes of its content so far, as far as one can tell.
        received: u64,
        /// Bytes of its content in all.
        total: u64,
    },
    /// A request of this node is answered or has failed.
    Responded {
        /// Which request.
        request: RequestId,
        /// One MessagePack value, or, with metadata, the bytes of a file; or why there is none.
        response: Result<Bytes, RequestError>,
        /// What came with a file: one MessagePack value.
        metadata: Option<Bytes>,
    },
    /// Something happened to a resource outside requests, in either direction.
    Resource {
        /// On which link.
        link: LinkId,
        /// Which resource.
        resource: TransferId,
        /// What.
        event: ResourceEvent,
    },
    /// Something happened on the channel of a link.
    Channel {
        /// On which link.
        link: LinkId,
        /// What.
        event: ChannelEvent,
    },
    /// Data arrived on a link.
    LinkData {
        /// Which link.
        link: LinkId,
        /// The plaintext.
        payload: Bytes,
    },
}
