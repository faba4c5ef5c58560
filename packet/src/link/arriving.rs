//! A resource that is arriving, segment by segment. docs/protocol/2-link.md, sections 9.2, 9.4 and 9.9.

use bytes::{Bytes, BytesMut};

use super::transfer::{Purpose, TransferId};
use crate::hash::ResourceHash;
use crate::resource::{Advertisement, Content, Incoming, METADATA_LEN_SIZE, ResourceFlags, SEGMENT_MAX, Unsealing};
use crate::time::Instant;

/// A segment on its way here, and the resource it is of.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) transfer: TransferId,
    pub(super) incoming: Incoming,
    /// What of it is opened; `None` once it is handed over to be assembled.
    pub(super) unsealing: Option<Unsealing>,
}

impl Receiving {
    /// Opens what is there and was not yet.
    pub(super) fn unseal(&mut self) {
        if let Some(unsealing) = &mut self.unsealing {
            let (stream, here, len) = self.incoming.in_order();
            unsealing.advance(stream, here, len);
        }
    }
}

/// A resource of which at least one segment was accepted.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) purpose: Purpose,
    /// Most bytes of body that may be collected; what is handed on segment by segment is not collected.
    pub(super) limit: usize,
    pub(super) original: ResourceHash,
    segments: u64,
    /// Number of the segment that is arriving or comes next.
    next: u64,
    has_metadata: bool,
    /// Bytes of all segments, as advertised.
    total: u64,
    /// Bytes of the segments that came, metadata block included.
    done: u64,
    /// Bytes of body that came.
    pub(super) offset: u64,
    metadata: Option<Bytes>,
    collected: BytesMut,
    /// When the last segment came; while one is arriving, that one counts.
    pub(super) last: Instant,
}

/// What is left of a resource once its last segment is here.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) metadata: Option<Bytes>,
    pub(super) body: Bytes,
}

impl Arriving {
    pub(super) fn new(now: Instant, purpose: Purpose, limit: usize, first: &Advertisement) -> Self {
        Self {
            purpose,
            limit,
            original: first.hash,
            segments: first.segments.max(1),
            next: 1,
            has_metadata: first.flags.contains(ResourceFlags::METADATA),
            total: first.total_size,
            done: 0,
            offset: 0,
            metadata: None,
            collected: BytesMut::new(),
            last: now,
        }
    }

    /// Whether this segment is the one that comes next.
    pub(super) fn continues_with(&self, segment: &Advertisement) -> bool {
        self.original == segment.original && self.segments == segment.segments && self.next == segment.segment
    }

    /// Whether the segment that is arriving begins with metadata. The flag is set on all of them.
    pub(super) fn begins_with_metadata(&self) -> bool {
        self.has_metadata && self.next == 1
    }

    /// Bytes of body that may still be collected.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.collected.len())
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.collected.len()
    }

    /// Bytes that came and bytes in all, as far as one can tell: compressed segments do not say how long they are.
    pub(super) fn progress(&self, incoming: &Incoming) -> (u64, u64) {
        let to_u64 = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let rest = self.total.saturating_sub(self.done).min(to_u64(SEGMENT_MAX));
        let arrived = rest * to_u64(incoming.received()) / to_u64(incoming.transfer_size()).max(1);
        (self.done.saturating_add(arrived).min(self.total), self.total)
    }

    /// Takes in a segment. Says whether it was the last.
    pub(super) fn take(&mut self, now: Instant, content: &Content) -> bool {
        let to_u64 = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let block = content.metadata.as_ref().map_or(0, |metadata| METADATA_LEN_SIZE + metadata.len());
        self.done = self.done.saturating_add(to_u64(block + content.body.len()));
        self.offset = self.offset.saturating_add(to_u64(content.body.len()));
        self.last = now;
        let is_last = self.next >= self.segments;
        self.next = self.next.saturating_add(1);
        if self.purpose != Purpose::Plain && self.segments > 1 {
            self.metadata = content.metadata.clone().or(self.metadata.take());
            self.collected.extend_from_slice(&content.body);
        }
        is_last
    }

    /// All of it, when the last segment was taken in.
    pub(super) fn whole(self, last: Content) -> Whole {
        if self.segments > 1 {
            Whole { metadata: self.metadata, body: self.collected.freeze() }
        } else {
            Whole { metadata: last.metadata, body: last.body }
        }
    }
}
