//! How many parts a receiver asks for at once. docs/protocol/2-link.md, sections 9.1, 9.7 and 9.8.

use super::WINDOW_MAX_FAST;

const INITIAL: usize = 4;
const MIN: usize = 2;
const MAX_SLOW: usize = 10;
const MAX_VERY_SLOW: usize = 4;
/// Distance that window, minimum and maximum keep from each other at most, less one.
const FLEXIBILITY: usize = 4 - 1;
const RATE_FAST: f64 = 6250.0;
const RATE_VERY_SLOW: f64 = 250.0;
const FAST_ROUNDS: u8 = 4;
const VERY_SLOW_ROUNDS: u8 = 2;

/// The window of a receiver. It grows with each full round and shrinks with each retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) size: usize,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) fast: u8,
    pub(crate) very_slow: u8,
}

impl Window {
    /// Starts with the last window of the link's previous resource, if there was one.
    pub(crate) fn new(previous: Option<usize>) -> Self {
        let size = previous.unwrap_or(INITIAL).clamp(MIN, WINDOW_MAX_FAST);
        Self { size, min: MIN, max: MAX_SLOW, fast: 0, very_slow: 0 }
    }

    /// Counts a rate, in bytes per second, towards the fast maximum.
    pub(crate) fn measure(&mut self, rate: f64) {
        if rate > RATE_FAST && self.fast < FAST_ROUNDS {
            self.fast += 1;
            if self.fast == FAST_ROUNDS {
                self.max = WINDOW_MAX_FAST;
            }
        }
    }

    /// All parts of a round came.
    pub(crate) fn grow(&mut self) {
        if self.size < self.max {
            self.size += 1;
            if self.size.saturating_sub(self.min) > FLEXIBILITY {
                self.min += 1;
            }
        }
    }

    /// Counts the rate of a whole round. A slow link keeps the window it has, but gets no larger one.
    pub(crate) fn finish_round(&mut self, rate: f64) {
        self.measure(rate);
        if self.fast == 0 && rate < RATE_VERY_SLOW && self.very_slow < VERY_SLOW_ROUNDS {
            self.very_slow += 1;
            if self.very_slow == VERY_SLOW_ROUNDS {
                self.max = MAX_VERY_SLOW;
            }
        }
    }

    /// A round stalled.
    pub(crate) fn shrink(&mut self) {
        if self.size > self.min {
            self.size -= 1;
            if self.max > self.min {
                self.max -= 1;
                if self.max.saturating_sub(self.size) > FLEXIBILITY {
                    self.max -= 1;
                }
            }
        }
    }
}
