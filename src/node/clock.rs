//! The clocks and the randomness of the machine, asked for in this one place.

use std::time::{SystemTime, UNIX_EPOCH};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use wend_packet::time::{Instant, Now, UnixTime};

/// The randomness of the operating system. It panics when the system has none to give, which no key can do without.
pub fn randomness() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Reads both clocks; instants count from when this was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Both clocks.
    pub(super) fn now(&self) -> Now {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { mono: Instant::from_micros(micros), unix: unix_now() }
    }

    /// Whole seconds since it was started.
    pub(super) fn uptime_s(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    /// When an instant of this clock comes.
    pub(super) fn at(&self, instant: Instant) -> tokio::time::Instant {
        self.start + std::time::Duration::from_micros(instant.as_micros())
    }
}

/// Wall-clock time; zero on a machine whose clock stands before 1970.
pub fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
