//! Time as the machines of this crate see it: handed in, never asked for.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point of monotonic time, in microseconds since the node (or the simulation) started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start.
    pub const ZERO: Self = Self(0);

    /// The instant this many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`, zero when `earlier` lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time in whole seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The time `by` later, in whole seconds.
    #[must_use]
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()))
    }
}

/// Both clocks, read once per wake-up by the shell.
///
/// Deadlines use `mono`; what peers or the disk see uses `unix`. A wall clock that jumps changes no timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic time.
    pub mono: Instant,
    /// Wall-clock time.
    pub unix: UnixTime,
}

impl Now {
    /// Both clocks moved on by `by`; for tests and simulations.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        let mono = self.mono + by;
        let whole = mono.as_micros() / 1_000_000 - self.mono.as_micros() / 1_000_000;
        Self { mono, unix: UnixTime(self.unix.0.saturating_add(whole)) }
    }
}
