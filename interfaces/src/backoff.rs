//! How long to wait before a lost medium is opened again.

use std::time::Duration;

/// Waiting times that double from `first` to `max`, each shortened at random by up to half.
///
/// The reference waits five seconds flat, so that all clients of a server that comes back arrive at the same moment.
/// docs/protocol/3-interfaces.md, section 2.2.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// From `first` to `max`; equal seeds give equal waits.
    #[must_use]
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, next: first.min(max), random: seed }
    }

    /// For TCP: from 1 s to 60 s.
    #[must_use]
    pub fn tcp(seed: u64) -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60), seed)
    }

    /// For serial lines: from 1 s to 5 s, because looking for a device costs nobody anything.
    #[must_use]
    pub fn serial(seed: u64) -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(5), seed)
    }

    /// The next wait: between half and all of the current step. The step then doubles.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        let half = step / 2;
        let share = u32::try_from(self.draw() >> 32).unwrap_or(u32::MAX);
        half + half.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// Starts again at the first step: the medium was good for a while.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.max);
    }

    /// SplitMix64: spreads a seed, secret from nobody.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_are_shortened_by_at_most_half() {
        let mut backoff = Backoff::tcp(7);
        for step in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let wait = backoff.next_wait();
            assert!(wait >= Duration::from_secs(step) / 2 && wait <= Duration::from_secs(step), "{step}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_secs(1));
    }

    #[test]
    fn equal_seeds_give_equal_waits_and_others_do_not() {
        let waits = |seed| {
            let mut backoff = Backoff::tcp(seed);
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
