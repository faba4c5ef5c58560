//! Costly work as values: taken from the stack, run wherever there is a processor, handed back as a result.

use std::sync::Arc;

use crate::announce::{AnnounceRef, InvalidAnnounce};
use crate::bounded::Bounded;
use crate::ephemeral::{KeysMade, KeysToMake};
use crate::exchange::{Preparation, PreparedKeys};
use crate::hash::{LinkId, PacketHash};
use crate::link::{LinkJob, LinkJobResult};

/// Announces that one job checks. So many signatures cost about half as much each as one alone; more save little.
pub(crate) const ANNOUNCES_PER_JOB: usize = 32;

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
    VerifyAnnounces(Vec<(AnnounceKey, Arc<[u8]>)>),
    Link { link: LinkId, job: LinkJob },
    Prepare(Preparation),
    MakeKeys(KeysToMake),
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Announces(Vec<(AnnounceKey, Result<(), InvalidAnnounce>)>),
    Link { link: LinkId, result: LinkJobResult },
    Prepared(PreparedKeys),
    KeysMade(KeysMade),
}

/// Operations on curves that take less time together than handing them to another thread and back does.
const FEW: usize = 4;

impl Job {
    /// Whether the work takes about as long as handing it to another thread: who has sent what there was to send may as well
    /// do it on the spot.
    pub fn is_brief(&self) -> bool {
        match &self.0 {
            Work::VerifyAnnounces(_) => false,
            Work::Link { job, .. } => job.is_brief(),
            Work::Prepare(preparation) => preparation.operations().is_some_and(|operations| operations <= FEW),
            Work::MakeKeys(keys) => keys.operations() <= FEW,
        }
    }

    /// Does the work. Pure: the same job gives the same result, on any thread, at any time.
    pub fn run(self) -> JobResult {
        JobResult(match self.0 {
            Work::VerifyAnnounces(announces) => Outcome::Announces(verify_announces(&announces)),
            Work::Link { link, job } => Outcome::Link { link, result: job.run() },
            Work::Prepare(preparation) => Outcome::Prepared(preparation.run()),
            Work::MakeKeys(keys) => Outcome::KeysMade(keys.run()),
        })
    }
}

/// Announces that were checked before. Where many stacks run in one process, as in a simulation, each of them checks what
/// all hear; a verdict is the same for all. At most 65536 are remembered, and the one used longest ago is forgotten.
#[derive(Debug)]
pub struct Memo(Bounded<AnnounceKey, Result<(), InvalidAnnounce>>);

impl Default for Memo {
    fn default() -> Self {
        Self(Bounded::new(1 << 16))
    }
}

impl Memo {
    /// The result of [`Job::run`], with only those announces checked that were not checked before.
    pub fn run(&mut self, job: Job) -> JobResult {
        let Work::VerifyAnnounces(announces) = job.0 else { return job.run() };
        let (known, new): (Vec<_>, Vec<_>) = announces.into_iter().partition(|(key, _)| self.0.contains_key(key));
        let found = verify_announces(&new);
        let known = known.iter().filter_map(|(key, _)| Some((*key, *self.0.get(key)?)));
        let verdicts: Vec<_> = known.chain(found).collect();
        for (key, verdict) in &verdicts {
            self.0.insert(*key, *verdict);
        }
        JobResult(Outcome::Announces(verdicts))
    }
}

fn verify_announces(announces: &[(AnnounceKey, Arc<[u8]>)]) -> Vec<(AnnounceKey, Result<(), InvalidAnnounce>)> {
    let mut verdicts: Vec<_> = announces.iter().map(|(key, _)| (*key, Err(InvalidAnnounce::Malformed))).collect();
    let parsed = announces.iter().map(|(_, frame)| AnnounceRef::of(frame));
    let (places, readable): (Vec<_>, Vec<_>) =
        verdicts.iter_mut().zip(parsed).filter_map(|(place, announce)| Some((place, announce?))).unzip();
    for ((_, place), verdict) in places.into_iter().zip(AnnounceRef::verify_all(&readable)) {
        *place = verdict;
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::{RandomHash, announce};
    use crate::hash::NameHash;
    use crate::identity::Identity;
    use crate::testing::TestRng;
    use crate::time::UnixTime;
    use crate::wire::{Context, PacketRef};

    /// A good announce, with its key.
    fn made(of: u8) -> (AnnounceKey, Vec<u8>) {
        let identity = Identity::generate(&mut TestRng::seeded(u64::from(of)));
        let random = RandomHash::new([of; 5], UnixTime(7));
        let packet = announce(&identity, NameHash::new([of; 10]), random, None, &[of], Context::NONE).unwrap();
        ((packet.hash(), false), packet.encode().to_vec())
    }

    #[test]
    fn the_bad_ones_of_a_batch_are_found_wherever_they_are() {
        const SIGNATURE: usize = 19 + 64 + 10 + 10;
        for bad in [vec![], vec![0], vec![31], vec![3, 4, 17], (0..32).collect::<Vec<_>>()] {
            let mut announces: Vec<_> = (0..32).map(made).collect();
            for at in &bad {
                // One bit of the signature, at the half that is a point for some and at the half that is a number for others.
                announces[*at].1[SIGNATURE + at * 2] ^= 1;
            }
            announces[9].1[2] ^= 1;
            announces[10].1.truncate(100);
            // An address that does not follow from the key was signed over as well, so this is a bad signature too.
            let batch: Vec<_> = announces.into_iter().map(|(key, frame)| (key, Arc::from(frame))).collect();
            for (at, ((key, verdict), (asked, frame))) in verify_announces(&batch).iter().zip(&batch).enumerate() {
                let packet = PacketRef::parse(frame).unwrap();
                let alone = AnnounceRef::parse(&packet).and_then(|announce| announce.verify().map(drop));
                assert_eq!((key, *verdict), (asked, alone), "{at}");
                assert_eq!(verdict.is_ok(), !bad.contains(&at) && at != 9 && at != 10, "{at}");
            }
        }
    }
}
