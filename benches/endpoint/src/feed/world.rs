//! Two connections to a node that knows the way from one to the other.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::FeedError;
use super::frames::{Address, addressed, data, frame};
use super::process::Process;
use super::tap::Tap;

/// How long the node may take to send the first announce on.
const PATIENCE: Duration = Duration::from_secs(20);
/// Numbers of probes begin here, far from those of other packets.
const PROBES: u64 = 1 << 40;
/// Size of a probe.
const PROBE: usize = 91;
/// Probes in flight while counting.
const PROBED_AT_ONCE: usize = 100;
/// How long probes may take to come out while counting.
const PROBED_WITHIN: Duration = Duration::from_secs(1);

/// The node and what is attached to it.
#[derive(Debug)]
pub(crate) struct World {
    /// Where announces go in and data comes out.
    pub(crate) a: Tap,
    /// Where data goes in and announces come out.
    pub(crate) b: Tap,
    /// The node.
    pub(crate) via: Address,
    /// The destination at A.
    pub(crate) home: Address,
    probes: u64,
    sent: u64,
}

impl World {
    /// Connects, announces the destination at A and learns from what comes out at B who the node is.
    pub(crate) fn open(a: u16, b: u16, announce: &[u8]) -> Result<Self, FeedError> {
        let (home, _) = addressed(announce).ok_or(FeedError::Announce)?;
        let (mut a, b) = (Tap::open(a)?, Tap::open(b)?);
        // Both connections must be interfaces of the node before the announce comes in.
        thread::sleep(Duration::from_millis(500));
        let mut framed = Vec::new();
        frame(announce, &mut framed);
        a.send(&framed)?;
        let until = Instant::now() + PATIENCE;
        let via = loop {
            if let Some(via) = b.seen().transport {
                break via;
            }
            if Instant::now() > until {
                return Err(FeedError::NotRebroadcast);
            }
            thread::park_timeout(Duration::from_millis(20));
        };
        Ok(Self { a, b, via, home, probes: PROBES, sent: 0 })
    }

    /// Frames of so many data packets for the destination at A, none of which was sent before, and where each ends.
    pub(crate) fn packets(&mut self, count: usize, size: usize) -> (Vec<u8>, Vec<usize>) {
        let (mut framed, mut ends) = (Vec::with_capacity(count * (size + 4)), Vec::with_capacity(count));
        for _ in 0..count {
            frame(&data(&self.via, &self.home, size, self.sent), &mut framed);
            self.sent += 1;
            ends.push(framed.len());
        }
        (framed, ends)
    }

    /// Sends packets for these destinations into B; those the node knows come out at A.
    pub(crate) fn probe(&mut self, of: &[Address]) -> io::Result<()> {
        let mut framed = Vec::new();
        for to in of {
            self.probes += 1;
            frame(&data(&self.via, to, PROBE, self.probes), &mut framed);
        }
        self.b.send(&framed)
    }

    /// Whether a probe for this destination came out.
    pub(crate) fn knows(&self, destination: &Address) -> bool {
        self.a.seen().data.contains_key(destination)
    }

    /// How many of these destinations the node knows the way to.
    pub(crate) fn count_known(&mut self, of: &[Address]) -> io::Result<usize> {
        self.a.seen().data.clear();
        for part in of.chunks(PROBED_AT_ONCE) {
            self.probe(part)?;
            let until = Instant::now() + PROBED_WITHIN;
            while Instant::now() < until && !part.iter().all(|to| self.knows(to)) {
                thread::park_timeout(Duration::from_millis(5));
            }
        }
        let known: HashSet<Address> = self.a.seen().data.keys().copied().collect();
        Ok(of.iter().filter(|to| known.contains(*to)).count())
    }

    /// Waits until the node has sent nothing and done almost nothing for so long. Announces are sent on later than they are
    /// taken in.
    pub(crate) fn quiet(&self, process: Process, look: Duration, within: Duration) -> io::Result<()> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            let (cpu, frames) = (process.cpu_s()?, self.b.frames());
            thread::sleep(look);
            if process.cpu_s()? - cpu < look.as_secs_f64() / 10.0 && self.b.frames() == frames {
                break;
            }
        }
        Ok(())
    }
}
