//! Scenarios: a world, what happens in it, what is expected of it.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

use crate::measure::MINUTE;
use crate::report::Report;
use crate::world::{Sample, Watch, World};

/// A scenario, by name.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What is simulated and what is expected, in a sentence or two.
    pub summary: &'static str,
    /// Virtual time it runs.
    pub duration: Duration,
    /// Least virtual time in which its expectations can be tested.
    pub shortest: Duration,
    pub(crate) play: fn(&mut Run<'_>),
}

/// What is varied from run to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// All randomness follows from it.
    pub seed: u64,
    /// Virtual time; `None`: the scenario's own.
    pub duration: Option<Duration>,
}

/// Why there is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Somebody ended it.
    #[error("the simulation was stopped after {elapsed:?} of virtual time")]
    Stopped {
        /// How far it came.
        elapsed: Duration,
    },
    /// The time given is too short for it.
    #[error("{name} needs at least {shortest:?} of virtual time")]
    TooShort {
        /// Which.
        name: &'static str,
        /// How long.
        shortest: Duration,
    },
}

impl Scenario {
    /// Runs it. `watch` is told now and then how far it is, and can end it.
    ///
    /// # Errors
    /// When it was ended, or the duration is too short for what it expects.
    pub fn run(&self, options: Options, watch: Watch<'_>) -> Result<Report, Failed> {
        let duration = options.duration.unwrap_or(self.duration);
        if duration < self.shortest {
            return Err(Failed::TooShort { name: self.name, shortest: self.shortest });
        }
        let mut world = World::new(options.seed);
        world.every(Duration::ZERO, MINUTE, |world| {
            let sample = Sample { at: world.elapsed(), reach: world.reach() };
            world.samples.push(sample);
        });
        let mut run = Run { world, duration, checks: Vec::new(), notes: Vec::new(), watch };
        (self.play)(&mut run);
        run.until(duration);
        if run.world.is_stopped() {
            return Err(Failed::Stopped { elapsed: run.world.elapsed() });
        }
        Ok(Report::of(self, options.seed, &run.world, run.checks, run.notes))
    }

    /// Runs it to its end without being watched.
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub fn run_quietly(&self, options: Options) -> Result<Report, Failed> {
        self.run(options, &mut |_| ControlFlow::Continue(()))
    }
}

/// A scenario that runs.
pub struct Run<'a> {
    /// Where it runs.
    pub world: World,
    /// Virtual time it is to run.
    pub duration: Duration,
    checks: Vec<Check>,
    notes: Vec<Note>,
    watch: Watch<'a>,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("world", &self.world).field("checks", &self.checks).finish_non_exhaustive()
    }
}

impl Run<'_> {
    /// Lets time pass until this time since the start.
    pub fn until(&mut self, time: Duration) {
        self.world.run_until(time, self.watch);
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, time: Duration) {
        self.until(self.world.elapsed() + time);
    }

    /// Lets time pass until `done` says so, looking every `step`, for at most `limit`. Gives how long it took.
    pub fn until_true(&mut self, limit: Duration, step: Duration, done: impl Fn(&World) -> bool) -> Option<Duration> {
        let start = self.world.elapsed();
        while !done(&self.world) {
            if self.world.elapsed() >= start + limit || self.world.is_stopped() {
                return None;
            }
            self.pass(step);
        }
        Some(self.world.elapsed() - start)
    }

    /// Expects something of a figure.
    pub fn expect(&mut self, what: &str, measured: f64, unit: Unit, wanted: Wanted) {
        let passed = match wanted {
            Wanted::AtLeast(least) => measured >= least,
            Wanted::AtMost(most) => measured <= most,
        };
        self.checks.push(Check { what: what.to_owned(), measured, unit, wanted, passed });
    }

    /// Reports a figure of which nothing is expected.
    pub fn note(&mut self, what: &str, measured: f64, unit: Unit) {
        self.notes.push(Note { what: what.to_owned(), measured, unit });
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share, 0 to 1.
    Share,
    /// Seconds.
    Seconds,
    /// Things.
    Count,
}

/// What is expected of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

/// An expectation, and whether it held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub measured: f64,
    /// What it counts.
    pub unit: Unit,
    /// What was expected.
    pub wanted: Wanted,
    /// Whether it held.
    pub passed: bool,
}

/// A figure of which nothing is expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Note {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub measured: f64,
    /// What it counts.
    pub unit: Unit,
}
