//! Receptions that fail in bursts: a Gilbert-Elliott channel in continuous time.

use std::time::Duration;

use chacha20::ChaCha8Rng;
use wend_packet::time::Instant;

use crate::random;

/// How receptions fail. A receiver is in a good or a bad state, stays there for a random time (exponential, with the given
/// means), and loses a share of what it hears, which differs between the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Share lost in the good state, 0 to 1.
    pub good: f64,
    /// Share lost in the bad state, 0 to 1.
    pub bad: f64,
    /// Mean stay in the good state.
    pub stays_good: Duration,
    /// Mean stay in the bad state.
    pub stays_bad: Duration,
}

impl Loss {
    /// Nothing is lost.
    pub const NONE: Self = Self::even(0.0);

    /// Every reception fails with the same chance.
    pub const fn even(share: f64) -> Self {
        Self { good: share, bad: share, stays_good: Duration::MAX, stays_bad: Duration::MAX }
    }

    /// Bursts in which everything is lost, `stays_bad` long on average and `stays_good` apart; between them `good` of all
    /// is lost.
    pub const fn bursts(good: f64, stays_good: Duration, stays_bad: Duration) -> Self {
        Self { good, bad: 1.0, stays_good, stays_bad }
    }
}

/// The state of one receiver.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fading {
    bad: bool,
    until: Instant,
}

impl Fading {
    /// Whether a frame that ends now is lost.
    pub(crate) fn loses(&mut self, now: Instant, loss: &Loss, rng: &mut ChaCha8Rng) -> bool {
        if loss.stays_good == Duration::MAX {
            return random::chance(rng, loss.good);
        }
        if self.until == Instant::ZERO {
            self.until = now + random::exponential(rng, loss.stays_good);
        }
        while self.until <= now {
            self.bad = !self.bad;
            let mean = if self.bad { loss.stays_bad } else { loss.stays_good };
            self.until = self.until + random::exponential(rng, mean).max(Duration::from_micros(1));
        }
        random::chance(rng, if self.bad { loss.bad } else { loss.good })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share lost and mean length of a run of losses, of frames one second apart.
    fn measure(loss: &Loss) -> (f64, f64) {
        let mut rng = random::stream(1, "test", 0);
        let mut fading = Fading::default();
        let lost: Vec<_> =
            (1..=200_000_u64).map(|s| fading.loses(Instant::from_micros(s * 1_000_000), loss, &mut rng)).collect();
        let total = lost.iter().filter(|lost| **lost).count() as f64;
        let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        (total / lost.len() as f64, total / runs)
    }

    #[test]
    fn loss_comes_in_bursts_of_the_given_length() {
        let (share, run) = measure(&Loss::bursts(0.0, Duration::from_secs(90), Duration::from_secs(10)));
        assert!((0.09..0.11).contains(&share), "{share}");
        assert!((9.0..12.0).contains(&run), "{run}");
    }

    #[test]
    fn even_loss_has_no_bursts() {
        let (share, run) = measure(&Loss::even(0.1));
        assert!((0.095..0.105).contains(&share), "{share}");
        assert!((1.0..1.2).contains(&run), "{run}");
    }
}
