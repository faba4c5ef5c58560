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
/// Fewest samples that can end a burst of announces.
pub const BURST_SAMPLES_MIN: usize = 2;
/// How many good evaluations in a row do not yet end a burst of path requests.
const COOLDOWN: u8 = 3;

/// Arrivals lately.
#[derive(Debug, Default)]
struct Frequency {
    samples: VecDeque<Instant>,
}

impl Frequency {
    fn count(&mut self, now: Instant) {
        if self.samples.len() >= FREQUENCY_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(now);
    }

    /// Arrivals per second. Looking at it sheds one sample that has become too old.
    fn hz(&mut self, now: Instant) -> f64 {
        let Some(oldest) = self.samples.front() else { return 0.0 };
        let (samples, span) = (self.samples.len(), now.since(*oldest));
        if samples <= 2 || span.is_zero() {
            return 0.0;
        }
        if span > FREQUENCY_DECAY {
            self.samples.pop_front();
        }
        u32::try_from(samples).map_or(0.0, f64::from) / span.as_secs_f64()
    }
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
    threshold_hz: (f64, f64),
    ending: Ending,
}

impl Burst {
    pub(super) fn new(threshold_hz: (f64, f64), ending: Ending) -> Self {
        Self { frequency: Frequency::default(), active: None, threshold_hz, ending }
    }

    pub(super) fn count(&mut self, now: Instant) {
        self.frequency.count(now);
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    fn threshold(&self, up_since: Instant, now: Instant) -> f64 {
        let (new, later) = self.threshold_hz;
        if now.since(up_since) < INTERFACE_NEW { new } else { later }
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
        let good = hz < threshold && now > active.since + BURST_HOLD && now > active.sustained + BURST_HOLD;
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
