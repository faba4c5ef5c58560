//! What a link knows of the resources that go over it.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::bounded::Bounded;
use crate::hash::{PacketHash, RequestId, ResourceHash};
use crate::resource::{Advertisement, Incoming, Outgoing, Prepare, SEGMENT_MAX, TRANSFER_MAX};
use crate::wire::Packet;

/// Most resources that arrive at once. A sender has one on its way at a time.
pub const INCOMING_MAX: usize = 4;
/// Most bytes that all arriving resources of a link may announce together.
pub const INCOMING_BYTES_MAX: usize = 2 * TRANSFER_MAX;
/// Most resources that wait to be sent.
pub const OUTGOING_MAX: usize = 16;
/// Most bytes that wait to be sent.
pub const OUTGOING_BYTES_MAX: usize = 4 * SEGMENT_MAX;
/// Proofs of arrived resources that are kept to be sent again.
const PROOFS_KEPT: usize = 16;
/// Round trips an advertisement may stay unanswered.
pub(super) const RTT_FACTOR: u32 = 6;

/// Which resources outside requests are taken. docs/protocol/2-link.md, section 9.4.
#[derive(Debug, Clone, Copy, Default)]
pub enum ResourceStrategy {
    /// None; senders get no answer.
    #[default]
    None,
    /// Those for which the function says yes; the others are refused.
    Choose(fn(&Advertisement) -> bool),
    /// All.
    All,
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
    pub(super) purpose: Purpose,
    pub(super) metadata: Option<Bytes>,
    pub(super) body: Bytes,
    pub(super) compress: bool,
    /// How long its advertisement may stay unanswered; `None` is six round trips.
    pub(super) patience: Option<Duration>,
}

impl Transfer {
    pub(super) fn new(purpose: Purpose, body: Bytes) -> Self {
        Self { purpose, metadata: None, body, compress: true, patience: None }
    }

    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    pub(super) fn len(&self) -> usize {
        Prepare::content_len(self.metadata.as_ref(), &self.body)
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    Preparing { number: u64 },
    Sending(Box<Outgoing>),
}

#[derive(Debug)]
pub(super) struct Current {
    pub(super) purpose: Purpose,
    pub(super) patience: Duration,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) purpose: Purpose,
    pub(super) limit: usize,
    pub(super) incoming: Incoming,
}

#[derive(Debug)]
pub(super) struct Transfers {
    pub(super) current: Option<Current>,
    pub(super) waiting: VecDeque<Transfer>,
    pub(super) incoming: BTreeMap<ResourceHash, Receiving>,
    pub(super) proofs: Bounded<ResourceHash, (PacketHash, Packet)>,
    /// Window and rate of the last resource that arrived.
    pub(super) window: Option<usize>,
    pub(super) rate_bps: Option<f64>,
    pub(super) jobs: u64,
}

impl Transfers {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            waiting: VecDeque::new(),
            incoming: BTreeMap::new(),
            proofs: Bounded::new(PROOFS_KEPT),
            window: None,
            rate_bps: None,
            jobs: 0,
        }
    }

    pub(super) fn outgoing(&mut self) -> Option<&mut Outgoing> {
        match &mut self.current.as_mut()?.stage {
            Stage::Sending(outgoing) => Some(outgoing),
            Stage::Preparing { .. } => None,
        }
    }

    pub(super) fn outgoing_named(&mut self, plaintext: &[u8]) -> Option<&mut Outgoing> {
        let hash = ResourceHash::from_slice(plaintext)?;
        self.outgoing().filter(|outgoing| outgoing.hash() == hash)
    }
}

#[cfg(any(test, feature = "testing"))]
impl Transfers {
    pub(super) fn outgoing_count(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    pub(super) fn windows(&self) -> Vec<[usize; 5]> {
        let windows = self.incoming.values().map(|receiving| &receiving.incoming.window);
        windows
            .map(|window| [window.size, window.min, window.max, window.fast.into(), window.very_slow.into()])
            .collect()
    }
}
