//! The world: nodes, media, and the clock that jumps from one thing that happens to the next.

mod act;
mod air;
mod build;
mod errand;
mod intruder;
mod life;
mod node;
mod queue;
mod seek;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha8Rng;
use wend_packet::DestinationHash;
use wend_packet::job::Memo;
use wend_packet::stack::{Stack, TableSize, path_request_destination};
use wend_packet::time::{Instant, Now, UnixTime};

pub use build::NodeKind;
pub use errand::Ask;
pub use node::{MediumId, NodeId, Reaction};

use crate::measure::{HOUR, Ledger, Log, MINUTE, Outcome, Trace};
use crate::medium::Medium;
use crate::random;
use node::{Node, Place};
use queue::Queue;

/// Bits of the longest announce.
const FRAME_BITS: u64 = 8 * 500;
/// The date on which every simulation begins.
const BEGINNING: UnixTime = UnixTime(1_700_000_000);
/// Things that happen between two looks at whether somebody wants to stop.
const LOOK_EVERY: u32 = 4096;

type Script = Box<dyn FnOnce(&mut World)>;
/// Told how far a run is; may end it.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Virtual time since the start.
    pub elapsed: Duration,
    /// Frames delivered so far.
    pub frames: u64,
    /// Share of pairs of nodes with a path, 0 to 1.
    pub reach: f64,
}

enum Happening {
    /// A node has a deadline.
    Wake(usize),
    /// A sender's airtime is over.
    Sent {
        place: Place,
        transmission: u64,
    },
    /// A frame reaches a receiver; void when the port has come and gone meanwhile.
    Arrive {
        place: Place,
        epoch: u32,
        frame: Bytes,
    },
    /// A station of a radio channel tries to send.
    Attempt {
        place: Place,
        turn: u64,
    },
    Script(Script),
}

/// What was measured at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) reach: f64,
}

/// Nodes and what joins them, in virtual time. The same seed and the same calls give the same run, to the byte.
pub struct World {
    pub(crate) now: Now,
    seed: u64,
    pub(crate) rng: ChaCha8Rng,
    queue: Queue<Happening>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) media: Vec<Medium>,
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) log: Log,
    pub(crate) trace: Trace,
    pub(crate) samples: Vec<Sample>,
    memo: Memo,
    path_requests: DestinationHash,
    /// The destinations that count for convergence.
    counted: BTreeMap<DestinationHash, usize>,
    transmissions: u64,
    stopped: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("elapsed", &self.elapsed())
            .field("nodes", &self.nodes.len())
            .field("media", &self.media.len())
            .finish_non_exhaustive()
    }
}

impl World {
    /// An empty world whose randomness follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Now { mono: Instant::ZERO, unix: BEGINNING },
            seed,
            rng: random::stream(seed, "media", 0),
            queue: Queue::default(),
            nodes: Vec::new(),
            media: Vec::new(),
            ledgers: Vec::new(),
            log: Log::default(),
            trace: Trace::default(),
            samples: Vec::new(),
            memo: Memo::default(),
            path_requests: path_request_destination(),
            counted: BTreeMap::new(),
            transmissions: 0,
            stopped: false,
        }
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.mono.since(Instant::ZERO)
    }

    /// The date.
    pub fn date(&self) -> UnixTime {
        self.now.unix
    }

    /// Randomness for a scenario, independent of that of nodes and media.
    pub fn randomness(&self, of: &str) -> ChaCha8Rng {
        random::stream(self.seed, of, 1)
    }

    /// Calls `what` at this time since the start, or at once when that is past.
    pub fn at(&mut self, time: Duration, what: impl FnOnce(&mut Self) + 'static) {
        let at = (Instant::ZERO + time).max(self.now.mono);
        self.queue.push(at, Happening::Script(Box::new(what)));
    }

    /// Calls `what` at `first` and then again and again.
    pub fn every(&mut self, first: Duration, period: Duration, mut what: impl FnMut(&mut Self) + 'static) {
        self.at(first, move |world| {
            what(world);
            world.every(first + period, period, what);
        });
    }

    /// Share of pairs of counted nodes where the first has a path to the second that it can use now, 0 to 1.
    pub fn reach(&self) -> f64 {
        let pairs = self.counted.len() * self.counted.len().saturating_sub(1);
        let reached: usize = self.nodes.iter().filter_map(|node| node.honest()).map(|honest| honest.reach.count).sum();
        if pairs == 0 { 0.0 } else { reached as f64 / pairs as f64 }
    }

    /// The same, for pairs of these nodes only.
    pub fn reach_between(&self, from: &[NodeId], to: &[NodeId]) -> f64 {
        let index = |node: &NodeId| self.counted.get(&self.nodes[node.0].destination()?).copied();
        let targets: Vec<_> = to.iter().filter_map(|node| index(node).map(|index| (*node, index))).collect();
        let (mut pairs, mut reached) = (0_usize, 0_usize);
        for node in from {
            for (_, index) in targets.iter().filter(|(target, _)| target != node) {
                pairs += 1;
                let honest = self.nodes[node.0].honest();
                reached += usize::from(honest.is_some_and(|honest| honest.reach.contains(*index)));
            }
        }
        if pairs == 0 { 0.0 } else { reached as f64 / pairs as f64 }
    }

    /// Whether a node has a path to another that it can use now.
    pub fn knows(&self, node: NodeId, other: NodeId) -> bool {
        self.reach_between(&[node], &[other]) > 0.0
    }

    /// A node's stack, to look at it; `None` while the node is switched off.
    pub fn stack(&self, node: NodeId) -> Option<&Stack> {
        self.nodes[node.0].honest().map(|honest| &honest.stack)
    }

    /// The requests that ended so far, in the order they did.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.log.outcomes
    }

    /// Share of the requests made within this span that were answered, 0 to 1; 0 when there were none.
    pub fn answered(&self, from: Duration, until: Duration) -> f64 {
        let made: Vec<_> = self.outcomes().iter().filter(|o| (from..until).contains(&o.asked)).collect();
        let answered = made.iter().filter(|outcome| outcome.took.is_some()).count();
        if made.is_empty() { 0.0 } else { answered as f64 / made.len() as f64 }
    }

    /// For each kind of table the fullest of all nodes, by share of its bound.
    pub fn fullest_tables(&self) -> Vec<TableSize> {
        let mut fullest = BTreeMap::<&str, TableSize>::new();
        for size in self.nodes.iter().filter_map(|node| node.honest()).flat_map(|honest| honest.stack.table_sizes()) {
            let entry = fullest.entry(size.name).or_insert(size);
            if size.entries * entry.bound > entry.entries * size.bound {
                *entry = size;
            }
        }
        fullest.into_values().collect()
    }

    /// How long somebody was sending on a medium in each minute of a span, as a share of the minute.
    pub fn busy(&self, medium: MediumId, from: Duration, until: Duration) -> Vec<f64> {
        let minute = |time: Duration| usize::try_from(time.as_secs() / MINUTE.as_secs()).unwrap_or(usize::MAX);
        let share = |minute| self.ledgers[medium.0].busy_in(minute).as_secs_f64() / MINUTE.as_secs_f64();
        (minute(from)..minute(until)).map(share).collect()
    }

    /// Whether somebody ended the run early.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Runs until this time since the start, or until `watch` ends it. A stopped world stays as it is.
    pub fn run_until(&mut self, time: Duration, watch: Watch<'_>) {
        let end = Instant::ZERO + time;
        let mut countdown = LOOK_EVERY;
        while !self.stopped {
            let Some((at, happening)) = self.queue.pop(end) else {
                self.now = self.now.later(end.since(self.now.mono));
                return;
            };
            self.now = self.now.later(at.since(self.now.mono));
            self.happen(happening);
            countdown -= 1;
            if countdown == 0 {
                countdown = LOOK_EVERY;
                let progress = Progress { elapsed: self.elapsed(), frames: self.trace.frames(), reach: self.reach() };
                self.stopped = watch(&progress).is_break();
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(node) => self.wake(node),
            Happening::Sent { place, transmission } => self.sent(place, transmission),
            Happening::Arrive { place, epoch, frame } => {
                let port = &self.media[place.medium].ports[place.port];
                if port.up && port.epoch == epoch {
                    self.deliver(place, &frame);
                }
            }
            Happening::Attempt { place, turn } => self.attempt(place, turn),
            Happening::Script(script) => script(self),
        }
    }
}

impl World {
    /// Most relayed announces that one interface of any medium sent within any hour, as a share of what it can send. One
    /// frame is not counted: an hour may begin with one that was paid for before.
    pub fn relayed_peak(&self) -> f64 {
        let shares = self.media.iter().zip(&self.ledgers).map(|(medium, ledger)| {
            ledger.relayed_peak_bits().saturating_sub(FRAME_BITS) as f64
                / (medium.kind.profile.bitrate_bps as f64 * HOUR.as_secs_f64())
        });
        shares.fold(0.0, f64::max)
    }
}
