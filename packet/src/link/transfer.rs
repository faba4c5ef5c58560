//! What a link knows of the resources that go over it.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::arriving::{Arriving, Receiving};
use super::source::Source;
use super::untaken::Untaken;
use crate::bounded::Bounded;
use crate::compression::Effort;
use crate::hash::{PacketHash, RequestId, ResourceHash};
use crate::resource::{Advertisement, METADATA_LEN_SIZE, Outgoing, SEGMENT_MAX, Segment, TRANSFER_MAX};
use crate::wire::Packet;

/// Most resources that arrive at once, those between two segments included. A sender has one on its way at a time.
pub const INCOMING_MAX: usize = 4;
/// Most bytes that all arriving segments of a link may announce together.
pub const INCOMING_BYTES_MAX: usize = 2 * TRANSFER_MAX;
/// Most resources that wait to be sent.
pub const OUTGOING_MAX: usize = 16;
/// Most bytes that wait to be sent. What is supplied piece by piece counts for nothing until it is there.
pub const OUTGOING_BYTES_MAX: usize = 64 * SEGMENT_MAX;
/// Proofs of arrived resources that are kept to be sent again.
const PROOFS_KEPT: usize = 16;
/// Round trips an advertisement may stay unanswered.
pub(super) const RTT_FACTOR: u32 = 6;
/// Segments that are made ready while one is on its way. Two keep two processors busy when segments are compressed.
pub(super) const PREPARED_AHEAD: u64 = 2;
/// Largest body that peers compress, and that is compressed unless told otherwise. docs/protocol/2-link.md, section 9.1.
pub const COMPRESS_MAX: u64 = 67_108_864;
/// Bytes per second that bzip2 makes ready on one processor, on the low side. A link that carries more is only slowed down
/// by compression.
pub const COMPRESSION_RATE: f64 = 8_000_000.0;
/// Bytes per second from which on a link waits for a processor rather than for its medium.
const QUICK_RATE: f64 = 1_000_000.0;

/// Names a resource on its link, as this end counts them, in both directions. It is not on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Which resources outside requests are taken. docs/protocol/2-link.md, section 9.4.
#[derive(Debug, Clone, Copy, Default)]
pub enum ResourceStrategy {
    /// None; senders get no answer.
    #[default]
    None,
    /// Those for which the function says yes; the others are refused.
    Choose(fn(&Advertisement) -> bool),
    /// Each comes as [`ResourceEvent::Offered`](super::ResourceEvent::Offered) and waits to be accepted or cancelled.
    Ask,
    /// All.
    All,
}

/// Whether the segments of a resource are compressed. What a sample calls incompressible never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// They are not.
    Never,
    /// They are, up to [`COMPRESS_MAX`] bytes of body, unless the link was measured to carry more than
    /// [`COMPRESSION_RATE`] bytes per second.
    #[default]
    Auto,
    /// They are when the whole body has at most so many bytes.
    UpTo(u64),
}

impl Compression {
    /// Whether to try it for a segment of a body of `len` bytes, on a link of this rate in bytes per second, and how hard.
    pub(super) fn effort(self, len: u64, rate: Option<f64>) -> Option<Effort> {
        let tried = match self {
            Self::Never => false,
            Self::Auto => len <= COMPRESS_MAX && rate.is_none_or(|rate| rate < COMPRESSION_RATE),
            Self::UpTo(limit) => len <= limit,
        };
        let effort = if rate.is_some_and(|rate| rate >= QUICK_RATE) { Effort::Quick } else { Effort::Thorough };
        tried.then_some(effort)
    }
}

/// How a resource is sent.
#[derive(Debug, Clone, Default)]
pub struct ResourceOptions {
    /// One MessagePack value that goes before the data. With it, it must fit into the first segment.
    pub metadata: Option<Bytes>,
    /// Whether it is compressed.
    pub compression: Compression,
}

/// What a resource is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Request(RequestId),
    Response(RequestId),
    Plain,
}

/// A resource to be sent.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) id: TransferId,
    pub(super) purpose: Purpose,
    pub(super) metadata: Option<Bytes>,
    pub(super) source: Source,
    pub(super) compression: Compression,
    /// How long its advertisement may stay unanswered; `None` is six round trips.
    pub(super) patience: Option<Duration>,
}

impl Transfer {
    pub(super) fn new(id: TransferId, purpose: Purpose, source: Source, options: ResourceOptions) -> Self {
        let ResourceOptions { metadata, compression } = options;
        Self { id, purpose, metadata, source, compression, patience: None }
    }

    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Bytes of metadata before the body of the first segment.
    pub(super) fn block_len(&self) -> usize {
        self.metadata.as_ref().map_or(0, |metadata| METADATA_LEN_SIZE + metadata.len())
    }

    /// Bytes of all segments.
    pub(super) fn total(&self) -> u64 {
        self.source.len().saturating_add(u64::try_from(self.block_len()).unwrap_or(u64::MAX))
    }

    /// How many segments it takes.
    pub(super) fn segments(&self) -> u64 {
        self.total().div_ceil(SEGMENT_MAX as u64).max(1)
    }

    /// Which bytes of the body go into a segment, counted from 1: where they begin, and how many there are.
    pub(super) fn share(&self, segment: u64) -> (u64, usize) {
        let first = u64::try_from(SEGMENT_MAX.saturating_sub(self.block_len())).unwrap_or_default();
        let (offset, most) = match segment {
            0 | 1 => (0, first),
            later => (first.saturating_add((later - 2).saturating_mul(SEGMENT_MAX as u64)), SEGMENT_MAX as u64),
        };
        (offset, usize::try_from(self.source.len().saturating_sub(offset).min(most)).unwrap_or_default())
    }
}

/// The resource that is on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) transfer: Transfer,
    pub(super) patience: Duration,
    /// Hash of the first segment, once it was sent.
    pub(super) original: Option<ResourceHash>,
    /// Segments whose data is here or was.
    pub(super) begun: u64,
    /// The application is asked for the data of the next one.
    pub(super) wanted: bool,
    /// Segments that wait for their turn, by number.
    pub(super) ready: BTreeMap<u64, Segment>,
    /// The segment on its way.
    pub(super) current: Option<Box<Outgoing>>,
    /// Segments that were proved to have arrived, and the bytes in them.
    pub(super) proved: u64,
    pub(super) done: u64,
}

impl Sending {
    pub(super) fn new(transfer: Transfer, patience: Duration) -> Self {
        Self {
            transfer,
            patience,
            original: None,
            begun: 0,
            wanted: false,
            ready: BTreeMap::new(),
            current: None,
            proved: 0,
            done: 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Transfers {
    pub(super) sending: Option<Sending>,
    pub(super) waiting: VecDeque<Transfer>,
    /// Segments that are arriving.
    pub(super) incoming: BTreeMap<ResourceHash, Receiving>,
    /// Bytes of segments in jobs that put them together, whether or not anybody still wants those.
    pub(super) assembling: usize,
    /// The resources they belong to, also between two segments.
    pub(super) arriving: BTreeMap<TransferId, Arriving>,
    /// Advertisements the application has to decide about.
    pub(super) offers: BTreeMap<TransferId, Advertisement>,
    /// Segments that the application was given and still works on.
    pub(super) untaken: Untaken,
    pub(super) proofs: Bounded<ResourceHash, (PacketHash, Packet)>,
    /// Window and rate, in bits per second, of the last segment that arrived.
    pub(super) window: Option<usize>,
    pub(super) rate_bps: Option<f64>,
    /// Bytes per second of the last segment that was sent.
    pub(super) sent_rate: Option<f64>,
    next: u64,
}

impl Transfers {
    pub(super) fn new() -> Self {
        Self {
            sending: None,
            waiting: VecDeque::new(),
            incoming: BTreeMap::new(),
            assembling: 0,
            arriving: BTreeMap::new(),
            offers: BTreeMap::new(),
            untaken: Untaken::default(),
            proofs: Bounded::new(PROOFS_KEPT),
            window: None,
            rate_bps: None,
            sent_rate: None,
            next: 0,
        }
    }

    /// A name that no resource had on this link.
    pub(super) fn next_id(&mut self) -> TransferId {
        self.next += 1;
        TransferId(self.next)
    }

    pub(super) fn outgoing(&mut self) -> Option<&mut Outgoing> {
        self.sending.as_mut()?.current.as_deref_mut()
    }

    /// Whether the peer means what is being sent: by the hash of its segment, or of the first one.
    pub(super) fn is_sending(&self, plaintext: &[u8]) -> bool {
        let Some(sending) = &self.sending else { return false };
        let named = |hash: Option<ResourceHash>| hash.is_some_and(|hash| hash.as_ref() == plaintext);
        named(sending.original) || named(sending.current.as_ref().map(|outgoing| outgoing.hash()))
    }

    /// Bytes that are held for the peer, those that the application has not taken yet among them.
    pub(super) fn held_bytes(&self) -> usize {
        let arriving: usize = self.incoming.values().map(|receiving| receiving.incoming.held_bytes()).sum();
        arriving
            + self.assembling
            + self.untaken.bytes()
            + self.arriving.values().map(Arriving::held_bytes).sum::<usize>()
    }
}

#[cfg(any(test, feature = "testing"))]
impl Transfers {
    pub(super) fn outgoing_count(&self) -> usize {
        self.waiting.len() + usize::from(self.sending.is_some())
    }

    pub(super) fn windows(&self) -> Vec<[usize; 5]> {
        let windows = self.incoming.values().map(|receiving| &receiving.incoming.window);
        windows
            .map(|window| [window.size, window.min, window.max, window.fast.into(), window.very_slow.into()])
            .collect()
    }
}
