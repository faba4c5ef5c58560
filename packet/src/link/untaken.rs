//! Segments that the application was given and has not dealt with yet: what makes a fast sender wait for a slow reader.

use std::collections::VecDeque;

use rand_core::CryptoRng;

use super::transfer::TransferId;
use super::{Link, LinkError};
use crate::hash::ResourceHash;
use crate::resource::{IncomingStep, SEGMENT_MAX};
use crate::time::Now;

/// With so many bytes not taken, no further segment is taken in. Those that are arriving by then, at most
/// [`INCOMING_MAX`](super::INCOMING_MAX) of them, come in whole.
pub const UNTAKEN_BYTES_MAX: usize = SEGMENT_MAX;
/// The same for so many segments, however short.
pub const UNTAKEN_MAX: usize = 16;

/// What the application holds of a link's resources, oldest first.
#[derive(Debug, Default)]
pub(super) struct Untaken {
    segments: VecDeque<(TransferId, u64, usize)>,
    bytes: usize,
}

impl Untaken {
    pub(super) fn push(&mut self, resource: TransferId, offset: u64, len: usize) {
        self.segments.push_back((resource, offset, len));
        self.bytes += len;
    }

    fn take(&mut self, resource: TransferId, offset: u64) -> bool {
        let is_it = |(of, at, _): &(TransferId, u64, usize)| (*of, *at) == (resource, offset);
        let taken = self.segments.iter().position(is_it).and_then(|index| self.segments.remove(index));
        self.bytes -= taken.map_or(0, |(.., len)| len);
        taken.is_some()
    }

    /// Whether the peer has to wait.
    pub(super) fn is_much(&self) -> bool {
        self.bytes >= UNTAKEN_BYTES_MAX || self.segments.len() >= UNTAKEN_MAX
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Link {
    /// The application has dealt with a [segment](super::ResourceEvent::Segment) that it was given. While it has
    /// [`UNTAKEN_BYTES_MAX`] bytes or [`UNTAKEN_MAX`] segments, no further segment is asked for; one that waits so for ten
    /// minutes ends its resource with [`ResourceOutcome::Unread`](super::ResourceOutcome::Unread).
    ///
    /// # Errors
    /// When no such segment was given, or it was taken already.
    pub fn segment_taken(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        resource: TransferId,
        offset: u64,
    ) -> Result<(), LinkError> {
        if !self.transfers.untaken.take(resource, offset) {
            return Err(LinkError::UnknownResource);
        }
        if !self.transfers.untaken.is_much() {
            let incoming = self.transfers.incoming.iter_mut();
            let released = incoming.filter_map(|(hash, receiving)| receiving.incoming.release().then_some(*hash));
            for hash in released.collect::<Vec<ResourceHash>>() {
                self.handle_incoming_step(now, rng, hash, IncomingStep::Request);
            }
        }
        Ok(())
    }
}
