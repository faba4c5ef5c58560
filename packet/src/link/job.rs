//! Costly work of a link, as values that run anywhere.

use super::TransferId;
use super::keys::Agreement;
use crate::crypto::TokenKey;
use crate::hash::ResourceHash;
use crate::resource::{Assemble, Content, Corrupt, Prepare, Segment};

/// Work on a resource segment, or the key of a link. [`LinkJob::run`] it anywhere and hand the result to
/// [`Link::handle_job`](super::Link::handle_job) of the same link. It holds a copy of the link's key or of
/// what that is made from, wiped on drop.
pub struct LinkJob(pub(super) Work);

pub(super) enum Work {
    Prepare { transfer: TransferId, number: u64, segment: Prepare },
    Assemble(Assemble),
    Agree(Agreement),
}

/// What [`LinkJob::run`] made.
pub struct LinkJobResult(pub(super) Outcome);

pub(super) enum Outcome {
    Prepared { transfer: TransferId, number: u64, segment: Option<Segment> },
    Assembled { resource: ResourceHash, len: usize, content: Result<Content, Corrupt> },
    Agreed(Option<TokenKey>),
}

impl LinkJob {
    /// Whether it takes less time than handing it to another thread does.
    pub(crate) fn is_brief(&self) -> bool {
        matches!(self.0, Work::Agree(_))
    }

    /// Does the work. Pure: the same job gives the same result, on any thread, at any time.
    pub fn run(self) -> LinkJobResult {
        LinkJobResult(match self.0 {
            Work::Agree(agreement) => Outcome::Agreed(agreement.run()),
            Work::Prepare { transfer, number, segment } => {
                Outcome::Prepared { transfer, number, segment: segment.run() }
            }
            Work::Assemble(assemble) => {
                let (resource, len) = (assemble.hash, assemble.stream.len());
                Outcome::Assembled { resource, len, content: assemble.run() }
            }
        })
    }
}

// Both hold plaintext, which has no place in a log.
impl core::fmt::Debug for LinkJob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self.0 {
            Work::Prepare { .. } => "LinkJob(prepare)",
            Work::Assemble(_) => "LinkJob(assemble)",
            Work::Agree(_) => "LinkJob(agree)",
        })
    }
}

impl core::fmt::Debug for LinkJobResult {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self.0 {
            Outcome::Prepared { .. } => "LinkJobResult(prepared)",
            Outcome::Assembled { .. } => "LinkJobResult(assembled)",
            Outcome::Agreed(_) => "LinkJobResult(agreed)",
        })
    }
}
