//! Whether an event loop looks again before it sleeps. docs/decisions/0069-look-again.md.

use std::time::Duration;

use wend_packet::time::Instant;

/// How long an event loop goes on looking after the last thing that came: about what it takes to put a processor to sleep
/// and to wake it.
const LONGEST: Duration = Duration::from_micros(60);
/// A pause that is no longer would have been worth the looking: it includes the time that waking takes.
const SHORT: Duration = Duration::from_micros(120);
/// From so many points on it looks: a short pause gives one, a longer one takes [`LOSS`].
const ENOUGH: u8 = 4;
const MOST: u8 = 8;
const LOSS: u8 = 2;

/// Watches how soon something comes after nothing was left to do. While that is mostly at once, as in a conversation over a
/// fast link, looking again costs less than sleeping does; else the loop sleeps at once, as it does at rest.
#[derive(Debug, Clone)]
pub struct Linger {
    /// Whether there is a processor to spare.
    enabled: bool,
    /// When what came last was dealt with.
    since: Instant,
    points: u8,
    looking: bool,
}

impl Linger {
    /// Never looks again where `enabled` is false: on a machine with one processor, or a small battery.
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { enabled: enabled && processors > 1, since: Instant::ZERO, points: 0, looking: false }
    }

    /// A round of the loop begins that something woke: `came` says whether that was something from outside.
    pub fn woken(&mut self, now: Instant, came: bool) {
        if !self.enabled {
            return;
        }
        let pause = now.since(self.since);
        if came {
            let short = pause <= SHORT;
            self.points = if short { (self.points + 1).min(MOST) } else { self.points.saturating_sub(LOSS) };
            self.looking = self.points >= ENOUGH;
        } else if pause > LONGEST {
            self.looking = false;
        }
    }

    /// A round of the loop is over in which something from outside was dealt with.
    pub fn idle(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether to wait for [`Linger::pause`] too, beside everything else.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        self.looking
    }

    /// Comes once everything else that waits for the processor had its turn: other threads, and other tasks of this one.
    pub async fn pause() {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Something comes every `gap` microseconds, `times` times; says when the last came.
    fn talk(linger: &mut Linger, from: u64, gap: u64, times: u64) -> u64 {
        for time in 1..=times {
            linger.woken(at(from + time * gap), true);
            linger.idle(at(from + time * gap));
        }
        from + gap * times
    }

    fn linger() -> Linger {
        Linger { enabled: true, ..Linger::new(true) }
    }

    #[test]
    fn a_quick_conversation_is_listened_to_and_a_slow_one_is_slept_through() {
        let mut linger = linger();
        assert!(!linger.is_looking());
        let end = talk(&mut linger, 1_000_000, 30, 6);
        assert!(linger.is_looking());
        talk(&mut linger, end, 5_000, 2);
        assert!(!linger.is_looking());
    }

    #[test]
    fn it_sleeps_when_nothing_came_for_a_while_and_begins_again_with_the_next() {
        let mut linger = linger();
        let end = talk(&mut linger, 1_000_000, 30, 20);
        linger.woken(at(end + 20), false);
        assert!(linger.is_looking());
        linger.woken(at(end + 70), false);
        assert!(!linger.is_looking());
        linger.woken(at(end + 900), true);
        assert!(linger.is_looking(), "one long pause in a quick conversation");
    }

    #[test]
    fn where_it_is_off_it_never_looks() {
        let mut linger = Linger::new(false);
        talk(&mut linger, 1_000_000, 30, 20);
        assert!(!linger.is_looking());
    }
}
