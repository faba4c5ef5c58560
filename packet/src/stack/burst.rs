//! How often something comes, and whether that is too often. docs/protocol/1-core.md, sections 4.7 and 5.6.

use core::time::Duration;
use std::collections::VecDeque;

use crate::time::Instant;

/// Samples kept for a frequency.
pub const FREQUENCY_SAMPLES: usize = 48;
/// A span of samples longer than this sheds its oldest.
pub const FREQUENCY_DECAY: Duration = Duration::from_secs(10);
/// An interface counts as new for this long after it came up.
pub const INTERFACE_NEW: Duration = Duration::from_secs(7200);
/// Announces per second that begin a burst, on a new interface and later.
pub const ANNOUNCE_BURST_HZ: (f64, f64) = (3.0, 10.0);
/// Path requests per second that begin a burst, on a new interface and later.
pub const PATH_REQUEST_BURST_HZ: (f64, f64) = (3.0, 8.0);
/// How long a burst lasts at least, since it began and since it was last above its threshold.
pub const BURST_HOLD: Duration = Duration::from_secs(15);
/// How long after the beginning of a burst nothing held is released.
pub const BURST_PENALTY: Duration = Duration::from_secs(15);
/// Time between two announces released after a burst.
pub const HELD_RELEASE_INTERVAL: Duration = Duration::from_secs(5);
/// Announces held back on one interface at most, whatever room there is.
pub const HELD_MAX: usize = 256;
/// Path requests per second that are passed on to an interface with egress control.
pub const PATH_REQUEST_EGRESS_HZ: f64 = 5.0;
/// Fewest samples that can end a burst of announces.
pub const BURST_SAMPLES_MIN: usize = 2;
/// How many good evaluations in a row do not yet end a burst of path requests.
const COOLDOWN: u8 = 3;

/// What counts as a burst on an interface, and what follows. docs/protocol/1-core.md, section 4.7.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurstLimits {
    /// How long the interface counts as new (`ic_new_time`).
    pub new_for: Duration,
    /// Announces per second that begin a burst while it is new, and later (`ic_burst_freq_new`, `ic_burst_freq`).
    pub announce_hz: (f64, f64),
    /// Path requests per second, likewise (`ic_pr_burst_freq_new`, `ic_pr_burst_freq`).
    pub path_request_hz: (f64, f64),
    /// How long a burst lasts at least (`ic_burst_hold`).
    pub hold: Duration,
    /// How long after its beginning nothing held is released (`ic_burst_penalty`).
    pub penalty: Duration,
    /// Time between two announces released (`ic_held_release_interval`).
    pub release_interval: Duration,
    /// Announces held at most (`ic_max_held_announces`), as far as the table has room.
    pub held_max: usize,
}

impl BurstLimits {
    /// What is not configured.
    pub const DEFAULT: Self = Self {
        new_for: INTERFACE_NEW,
        announce_hz: ANNOUNCE_BURST_HZ,
        path_request_hz: PATH_REQUEST_BURST_HZ,
        hold: BURST_HOLD,
        penalty: BURST_PENALTY,
        release_interval: HELD_RELEASE_INTERVAL,
        held_max: HELD_MAX,
    };
}

/// Arrivals lately, or departures.
#[derive(Debug, Default)]
pub(super) struct Frequency {
    samples: VecDeque<Instant>,
}

impl Frequency {
    pub(super) fn count(&mut self, now: Instant) {
        if self.samples.len() >= FREQUENCY_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(now);
    }

    /// Whether one more would make it more than `limit_hz` per second.
    pub(super) fn would_exceed(&self, now: Instant, limit_hz: f64) -> bool {
        let Some(oldest) = self.samples.front() else { return false };
        let (with_this, span) = (self.samples.len().saturating_add(1), now.since(*oldest));
        !span.is_zero() && per_second(with_this, span) > limit_hz
    }

    /// Arrivals per second. Looking at it sheds one sample that has become too old.
    fn hz(&mut self, now: Instant) -> f64 {
        let hz = self.peek_hz(now);
        let stale = |oldest: &Instant| now.since(*oldest) > FREQUENCY_DECAY;
        if self.samples.len() > 2 && self.samples.front().is_some_and(stale) {
            self.samples.pop_front();
        }
        hz
    }

    fn peek_hz(&self, now: Instant) -> f64 {
        let span = self.samples.front().map(|oldest| now.since(*oldest)).unwrap_or_default();
        if self.samples.len() <= 2 || span.is_zero() {
            return 0.0;
        }
        per_second(self.samples.len(), span)
    }
}

fn per_second(samples: usize, span: Duration) -> f64 {
    u32::try_from(samples).map_or(0.0, f64::from) / span.as_secs_f64()
}

/// When a burst ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// At the first good evaluation, as for announces.
    AtOnce,
    /// At the fourth good evaluation in a row, as for path requests.
    AfterCooldown,
}

#[derive(Debug)]
struct Active {
    since: Instant,
    sustained: Instant,
    cooldown: u8,
}

/// Watches one kind of arrival on one interface.
#[derive(Debug)]
pub(super) struct Burst {
    frequency: Frequency,
    active: Option<Active>,
    ending: Ending,
    hz: (f64, f64),
    new_for: Duration,
    hold: Duration,
}

impl Burst {
    pub(super) fn new(ending: Ending, limits: &BurstLimits) -> Self {
        let mut new = Self {
            frequency: Frequency::default(),
            active: None,
            ending,
            hz: (0.0, 0.0),
            new_for: limits.new_for,
            hold: limits.hold,
        };
        new.set_limits(limits);
        new
    }

    pub(super) fn set_limits(&mut self, limits: &BurstLimits) {
        (self.new_for, self.hold) = (limits.new_for, limits.hold);
        self.hz = match self.ending {
            Ending::AtOnce => limits.announce_hz,
            Ending::AfterCooldown => limits.path_request_hz,
        };
    }

    pub(super) fn count(&mut self, now: Instant) {
        self.frequency.count(now);
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    fn threshold(&self, up_since: Instant, now: Instant) -> f64 {
        let (new, later) = self.hz;
        if now.since(up_since) < self.new_for { new } else { later }
    }

    /// Arrivals per second now, without changing anything.
    pub(super) fn hz(&self, now: Instant) -> f64 {
        self.frequency.peek_hz(now)
    }

    /// Whether arrivals are rarer than the threshold now.
    pub(super) fn is_calm(&mut self, up_since: Instant, now: Instant) -> bool {
        self.frequency.hz(now) < self.threshold(up_since, now)
    }

    /// Evaluates: whether what arrives now is to be limited. Begins, sustains and ends the burst; an evaluation that ends it
    /// still limits.
    pub(super) fn limits(&mut self, up_since: Instant, now: Instant) -> bool {
        let (hz, threshold) = (self.frequency.hz(now), self.threshold(up_since, now));
        let Some(active) = &mut self.active else {
            if hz > threshold {
                self.active = Some(Active { since: now, sustained: now, cooldown: COOLDOWN });
            }
            return self.active.is_some();
        };
        let good = hz < threshold && now > active.since + self.hold && now > active.sustained + self.hold;
        if hz >= threshold {
            active.sustained = now;
        }
        let over = match self.ending {
            Ending::AtOnce => good && self.frequency.samples.len() >= BURST_SAMPLES_MIN,
            Ending::AfterCooldown if !good => {
                active.cooldown = COOLDOWN;
                false
            }
            Ending::AfterCooldown => {
                let over = active.cooldown == 0;
                active.cooldown = active.cooldown.saturating_sub(1);
                over
            }
        };
        if over {
            self.active = None;
        }
        true
    }

    /// When the burst began.
    pub(super) fn active_since(&self) -> Option<Instant> {
        self.active.as_ref().map(|active| active.since)
    }
}
