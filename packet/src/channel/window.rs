//! How many messages may be unproven at once, and how long each is waited for. docs/protocol/2-link.md, sections 7.3 and 7.4.

use core::time::Duration;

const RTT_FAST: Duration = Duration::from_millis(180);
const RTT_MEDIUM: Duration = Duration::from_millis(750);
const RTT_SLOW: Duration = Duration::from_millis(1450);
const ROUNDS: u32 = 10;
const INITIAL: usize = 2;
const INITIAL_MAX: usize = 5;
const FLEXIBILITY: usize = 4;
/// Minimum and maximum on links of medium and of short round trip.
const MEDIUM: (usize, usize) = (5, 12);
const FAST: (usize, usize) = (16, 48);
const TIMEOUT_RTTS: f64 = 2.5;
const TIMEOUT_MIN: f64 = 0.025;
const TIMEOUT_GROWTH: f64 = 1.5;
const TIMEOUT_MESSAGES: f64 = 1.5;
/// No wait is longer, however slow the link.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The sending window of a channel. It grows with each delivery and shrinks with each timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Messages that may be unproven.
    pub size: usize,
    /// It does not shrink below.
    pub min: usize,
    /// It does not grow above.
    pub max: usize,
    /// How far the maximum stays above the minimum at least.
    pub flexibility: usize,
    /// Deliveries on a fast link in a row.
    pub fast: u32,
    /// Deliveries on a medium link; fast ones do not end the count.
    pub medium: u32,
}

impl Window {
    /// The window of a channel on a link of this round trip.
    pub fn new(rtt: Duration) -> Self {
        if rtt > RTT_SLOW {
            return Self { size: 1, min: 1, max: 1, flexibility: 1, fast: 0, medium: 0 };
        }
        Self { size: INITIAL, min: INITIAL, max: INITIAL_MAX, flexibility: FLEXIBILITY, fast: 0, medium: 0 }
    }

    /// A message was proved to have arrived.
    pub fn delivered(&mut self, rtt: Duration) {
        if self.size < self.max {
            self.size += 1;
        }
        if rtt.is_zero() {
            return;
        }
        if rtt <= RTT_FAST {
            self.fast = self.fast.saturating_add(1);
            self.widen(self.fast, FAST);
        } else if rtt <= RTT_MEDIUM {
            self.fast = 0;
            self.medium = self.medium.saturating_add(1);
            self.widen(self.medium, MEDIUM);
        } else {
            self.fast = 0;
            self.medium = 0;
        }
    }

    fn widen(&mut self, rounds: u32, (min, max): (usize, usize)) {
        if rounds == ROUNDS && self.max < max {
            (self.min, self.max) = (min, max);
        }
    }

    /// A message has to be sent again.
    pub fn timed_out(&mut self) {
        if self.size > self.min {
            self.size -= 1;
            if self.max > self.min + self.flexibility {
                self.max -= 1;
            }
        }
    }
}

/// How long a message is waited for that was sent `tries` times, with `waiting` messages unproven, itself included.
pub fn timeout(rtt: Duration, tries: u32, waiting: usize) -> Duration {
    let once = (rtt.as_secs_f64() * TIMEOUT_RTTS).max(TIMEOUT_MIN);
    let growth = TIMEOUT_GROWTH.powi(i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX));
    let seconds = growth * once * (waiting as f64 + TIMEOUT_MESSAGES);
    Duration::try_from_secs_f64(seconds).unwrap_or(TIMEOUT_MAX).min(TIMEOUT_MAX)
}
