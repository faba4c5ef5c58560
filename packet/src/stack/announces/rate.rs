//! Destinations that announce too often are not passed on for a while. docs/protocol/1-core.md, section 4.4.

use core::time::Duration;

use super::Valid;
use crate::hash::DestinationHash;
use crate::stack::Stack;
use crate::time::{Instant, Now};

/// Time that is to lie between two announces of a destination where a transport node is not told otherwise.
pub const ANNOUNCE_RATE_TARGET: Duration = Duration::from_secs(3600);
/// How many announces may come too soon, likewise.
pub const ANNOUNCE_RATE_GRACE: u32 = 5;

/// Times that are kept of the announces of a destination.
const TIMES_KEPT: usize = 16;

/// What the configuration of an interface says of the rate of announces. What it leaves out has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnnounceRate {
    /// Time that is to lie between two announces of a destination; not set and zero are the same.
    pub target: Option<Duration>,
    /// How many announces may come too soon before they are not passed on any more.
    pub grace: Option<u32>,
    /// Time added to the target while they are not passed on.
    pub penalty: Option<Duration>,
}

/// The rule for one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    target: Duration,
    grace: u32,
    penalty: Duration,
}

impl AnnounceRate {
    /// With a target of its own, what is missing is zero. Else a transport node has defaults, and others no limit.
    fn limit(self, transport_enabled: bool) -> Option<Limit> {
        let penalty = self.penalty.unwrap_or_default();
        match self.target.filter(|target| !target.is_zero()) {
            Some(target) => Some(Limit { target, grace: self.grace.unwrap_or_default(), penalty }),
            None if transport_enabled => {
                let grace = self.grace.unwrap_or(ANNOUNCE_RATE_GRACE);
                Some(Limit { target: ANNOUNCE_RATE_TARGET, grace, penalty })
            }
            None => None,
        }
    }
}

/// When a destination announced itself, the last times, in whole seconds since the start: nobody asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    seconds: [u32; TIMES_KEPT],
    len: usize,
}

impl Times {
    const fn new() -> Self {
        Self { seconds: [0; TIMES_KEPT], len: 0 }
    }

    fn push(&mut self, at: Instant) {
        if self.len == TIMES_KEPT {
            self.seconds.rotate_left(1);
            self.len -= 1;
        }
        if let Some(next) = self.seconds.get_mut(self.len) {
            *next = u32::try_from(at.as_micros() / 1_000_000).unwrap_or(u32::MAX);
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Instant> {
        self.seconds.iter().take(self.len).map(|seconds| Instant::from_micros(u64::from(*seconds) * 1_000_000))
    }
}

/// How often a destination announced itself lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stack) struct Rate {
    last: Instant,
    violations: u32,
    blocked_until: Instant,
    /// Only of destinations that announced themselves more than once: most do not while they are remembered.
    times: Option<Box<Times>>,
}

impl Rate {
    const fn first(now: Instant) -> Self {
        Self { last: now, violations: 0, blocked_until: Instant::ZERO, times: None }
    }

    fn note(&mut self, now: Instant) {
        let first = self.last;
        let times = self.times.get_or_insert_with(|| {
            let mut times = Times::new();
            times.push(first);
            Box::new(times)
        });
        times.push(now);
    }

    fn times(&self) -> Vec<Instant> {
        self.times.as_ref().map_or_else(|| vec![self.last], |times| times.iter().collect())
    }

    fn view(&self, destination: DestinationHash) -> AnnounceRateView {
        AnnounceRateView {
            destination,
            last: self.last,
            violations: self.violations,
            blocked_until: self.blocked_until,
            times: self.times(),
        }
    }

    /// Counts an announce, and says whether it is one too many.
    fn count(&mut self, now: Instant, limit: &Limit) -> bool {
        self.note(now);
        if now <= self.blocked_until {
            return true;
        }
        self.violations = if now.since(self.last) < limit.target {
            self.violations.saturating_add(1)
        } else {
            self.violations.saturating_sub(1)
        };
        let blocked = self.violations > limit.grace;
        if blocked {
            self.blocked_until = self.last + limit.target + limit.penalty;
        } else {
            self.last = now;
        }
        blocked
    }
}

/// How often a destination announces itself, for those who want to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceRateView {
    /// Which.
    pub destination: DestinationHash,
    /// When it was last passed on, or could have been.
    pub last: Instant,
    /// How many announces came too soon, less those that came in time.
    pub violations: u32,
    /// Until when it is not passed on; [`Instant::ZERO`] when it never was too often.
    pub blocked_until: Instant,
    /// When it announced itself, at most the last 16 times, oldest first, to the second.
    pub times: Vec<Instant>,
}

impl Stack {
    /// The destinations whose announces are counted.
    pub fn announce_rates(&self) -> impl Iterator<Item = AnnounceRateView> {
        let once = self.paths.iter().filter(|(of, path)| path.counted > Instant::ZERO && !self.rates.contains_key(of));
        let once = once.map(|(of, path)| Rate::first(path.counted).view(*of));
        self.rates.iter().map(|(of, rate)| rate.view(*of)).chain(once)
    }

    /// Counts an announce that was accepted, and says whether its destination announces too often to be passed on.
    pub(super) fn exceeds_rate(&mut self, now: Now, valid: &Valid<'_>) -> bool {
        let interface = self.interfaces.get(&valid.on);
        let limit = interface.and_then(|on| on.profile.announce_rate.limit(self.config.transport_enabled));
        let Some(limit) = limit else { return false };
        let destination = valid.announce.destination;
        // Most are not heard again while they are remembered: of the first, the path keeps the time.
        let time = now.mono.max(Instant::from_micros(1));
        let path = self.paths.get_mut(&destination);
        let before = path.map_or(Instant::ZERO, |path| core::mem::replace(&mut path.counted, time));
        if let Some(rate) = self.rates.use_mut(&destination) {
            return rate.count(now.mono, &limit);
        }
        if before == Instant::ZERO {
            return false;
        }
        let mut rate = Rate::first(before);
        let exceeds = rate.count(now.mono, &limit);
        self.rates.insert(destination, rate);
        exceeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_told_nothing_has_the_defaults_of_a_transport_node() {
        let seconds = Duration::from_secs;
        let unset = AnnounceRate::default();
        assert_eq!(unset.limit(false), None);
        let default = Limit { target: seconds(3600), grace: 5, penalty: seconds(0) };
        assert_eq!(unset.limit(true), Some(default));
        let zero = AnnounceRate { target: Some(Duration::ZERO), ..unset };
        assert_eq!((zero.limit(true), zero.limit(false)), (Some(default), None));
        let set = AnnounceRate { target: Some(seconds(60)), ..unset };
        assert_eq!(set.limit(false), Some(Limit { target: seconds(60), grace: 0, penalty: seconds(0) }));
    }

    #[test]
    fn the_last_sixteen_times_are_kept_also_of_announces_that_came_too_soon() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let limit = Limit { target: Duration::from_secs(60), grace: 1, penalty: Duration::ZERO };
        let mut rate = Rate::first(at(1));
        assert_eq!((rate.times(), &rate.times), (vec![at(1)], &None), "one needs no list");
        let blocked = (2..=40).filter(|second| rate.count(at(*second), &limit)).count();
        assert!(blocked > 30);
        assert_eq!(rate.times(), (25..=40).map(at).collect::<Vec<_>>());
    }
}
