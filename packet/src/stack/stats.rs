//! Counters. Bytes from the network never become errors: they become one of these.

use std::collections::BTreeMap;

use super::InterfaceId;

/// Why a frame went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Two bytes or fewer.
    TooShort,
    /// It carries an access code, and the interface has none.
    AccessCode,
    /// It carries no access code, and the interface requires one.
    AccessCodeMissing,
    /// Its access code does not match, or nothing is left beside it.
    AccessCodeInvalid,
    /// Longer than the MTU of the medium it came from or was to go to.
    OverMtu,
    /// Addresses, context or data are missing, or the hop byte is 128 or more.
    Malformed,
    /// It came from an interface that is not up.
    UnknownInterface,
    /// Addressed to another transport node.
    OtherTransport,
    /// PLAIN or GROUP from too far away.
    PlainHops,
    /// An announce of a type that cannot announce.
    AnnounceKind,
    /// Seen before.
    Duplicate,
    /// An announce of more than 500 bytes.
    AnnounceTooLarge,
    /// An announce by an identity that is shut out.
    Blackholed,
    /// An announce whose fields, signature or address are wrong.
    AnnounceInvalid,
    /// An announce under another key than the one known for the destination.
    KeyConflict,
    /// An announce that tells nothing new, found out before its signature was checked.
    AnnounceStale,
    /// An announce that arrived while too many waited for their signature check.
    AdmissionFull,
    /// An announce from a burst that could not be held for later either.
    BurstFull,
    /// A relayed announce for which the queue of an interface had no room.
    AnnounceQueueFull,
    /// A path request without a target or without a tag.
    PathRequestMalformed,
    /// A path request seen before.
    PathRequestSeen,
    /// A packet for a tunnel of wrong length or signature.
    TunnelInvalid,
    /// A packet for a tunnel that stands already, or right after another one.
    TunnelRepeated,
    /// To be carried on, but no path is known.
    NoPath,
    /// Not for this node.
    NotAddressed,
    /// For a destination of this node, but no key opens it.
    Undecryptable,
    /// A link request that its destination refuses or that is malformed.
    LinkRefused,
    /// A link request whose link stands already: a copy with other signalling, which the duplicate filter cannot tell.
    LinkExists,
    /// A link request beyond the number of links this node keeps.
    LinksFull,
    /// Link traffic on another interface than the link's.
    LinkInterface,
    /// Link traffic with another hop count than the link's.
    LinkHops,
    /// Link traffic before the link was proved.
    LinkUnproved,
    /// A link proof whose signature is wrong or cannot be checked.
    LinkProofInvalid,
    /// A proof of nothing this node sent or carried.
    ProofUnmatched,
    /// The queue of the interface to send on is full.
    QueueFull,
}

/// What passed through one interface since it came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceStats {
    /// Frames received.
    pub received_frames: u64,
    /// Bytes in them.
    pub received_bytes: u64,
    /// Frames handed to the driver.
    pub sent_frames: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// Frames received and dropped, for whatever reason.
    pub dropped_frames: u64,
    /// Those of them dropped for their access code: the far end has another key, another length, or none.
    pub access_violations: u64,
}

/// What passed through a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Frames that parsed and passed the filter and, for announces, the signature check.
    pub processed: u64,
    /// Frames carried on for others, announces not counted.
    pub forwarded: u64,
    /// Path requests that were well-formed and seen for the first time.
    pub path_requests: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<DropReason, u64>,
    /// By interface; those that are gone are forgotten after [`INTERFACE_LINGER`](super::INTERFACE_LINGER).
    pub interfaces: BTreeMap<InterfaceId, InterfaceStats>,
}

impl DropReason {
    /// Whether the access code, or its absence, is the reason.
    pub const fn is_access_violation(self) -> bool {
        matches!(self, Self::AccessCode | Self::AccessCodeMissing | Self::AccessCodeInvalid)
    }
}

impl Stats {
    /// How many frames were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or_default()
    }
}
