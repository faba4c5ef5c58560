//! Costly work as values: taken from the stack, run wherever there is a processor, handed back as a result.

use bytes::Bytes;

use crate::announce::{AnnounceRef, InvalidAnnounce};
use crate::hash::{LinkId, PacketHash};
use crate::link::{LinkJob, LinkJobResult};
use crate::wire::PacketRef;

/// Work the stack wants done. Opaque: [`Job::run`] it anywhere and hand the result back as
/// [`Input::JobDone`](crate::stack::Input::JobDone).
#[derive(Debug)]
pub struct Job(pub(crate) Work);

/// What [`Job::run`] found.
#[derive(Debug)]
pub struct JobResult(pub(crate) Outcome);

/// Which announce a verification is about. The context flag is no part of a packet's hash, yet decides how the announce is
/// read, so it belongs to the key.
pub(crate) type AnnounceKey = (PacketHash, bool);

#[derive(Debug)]
pub(crate) enum Work {
    VerifyAnnounce { key: AnnounceKey, frame: Bytes },
    Link { link: LinkId, job: LinkJob },
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Announce { key: AnnounceKey, verdict: Result<(), InvalidAnnounce> },
    Link { link: LinkId, result: LinkJobResult },
}

impl Job {
    /// Does the work. Pure: the same job gives the same result, on any thread, at any time.
    pub fn run(self) -> JobResult {
        JobResult(match self.0 {
            Work::VerifyAnnounce { key, frame } => Outcome::Announce { key, verdict: verify_announce(&frame) },
            Work::Link { link, job } => Outcome::Link { link, result: job.run() },
        })
    }
}

fn verify_announce(frame: &[u8]) -> Result<(), InvalidAnnounce> {
    let packet = PacketRef::parse(frame).map_err(|_| InvalidAnnounce::Malformed)?;
    AnnounceRef::parse(&packet)?.verify().map(drop)
}
