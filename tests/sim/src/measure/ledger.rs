//! Airtime, by medium and by kind of traffic.

use std::collections::VecDeque;
use std::time::Duration;

use wend_packet::time::Instant;

use super::Kind;

/// Width of a bucket.
pub const MINUTE: Duration = Duration::from_secs(60);
/// What relayed announces are counted over.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Airtime of each kind.
pub type Airtime = [Duration; Kind::ALL.len()];

/// One frame that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) airtime: Duration,
    pub(crate) kind: Kind,
    pub(crate) bytes: usize,
}

/// What one interface sent.
#[derive(Debug, Default)]
struct Sender {
    relayed: VecDeque<(Instant, u64)>,
    relayed_bits: u64,
    relayed_peak_bits: u64,
}

/// What passed over one medium.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    senders: Vec<Sender>,
    minutes: Vec<Airtime>,
    busy: Vec<Duration>,
    frames: [u64; Kind::ALL.len()],
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) collided: u64,
}

fn minute_of(at: Instant) -> usize {
    usize::try_from(at.as_micros() / 60_000_000).unwrap_or(usize::MAX)
}

impl Ledger {
    pub(crate) fn sent(&mut self, sender: usize, sent: Sent) {
        let minute = minute_of(sent.at);
        if self.minutes.len() <= minute {
            self.minutes.resize(minute + 1, Airtime::default());
        }
        self.minutes[minute][sent.kind.index()] += sent.airtime;
        self.frames[sent.kind.index()] += 1;
        if sent.kind == Kind::RelayedAnnounce {
            if self.senders.len() <= sender {
                self.senders.resize_with(sender + 1, Sender::default);
            }
            self.senders[sender].relayed(sent.at, 8 * sent.bytes as u64);
        }
    }

    /// Somebody sent, from one time to another.
    pub(crate) fn busy(&mut self, from: Instant, until: Instant) {
        let mut from = from;
        while from < until {
            let minute = minute_of(from);
            let next = Instant::from_micros((minute as u64 + 1) * 60_000_000).min(until);
            if self.busy.len() <= minute {
                self.busy.resize(minute + 1, Duration::ZERO);
            }
            self.busy[minute] += next.since(from);
            from = next;
        }
    }

    /// Most bits of relayed announces that one interface sent within any hour, without the frame that the hour ends with.
    pub(crate) fn relayed_peak_bits(&self) -> u64 {
        self.senders.iter().map(|sender| sender.relayed_peak_bits).max().unwrap_or_default()
    }

    /// Airtime of each kind in one minute, of all senders together.
    pub(crate) fn airtime_in(&self, minute: usize) -> Airtime {
        self.minutes.get(minute).copied().unwrap_or_default()
    }

    /// How long somebody was sending in one minute.
    pub(crate) fn busy_in(&self, minute: usize) -> Duration {
        self.busy.get(minute).copied().unwrap_or_default()
    }

    pub(crate) fn frames(&self) -> [u64; Kind::ALL.len()] {
        self.frames
    }
}

impl Sender {
    fn relayed(&mut self, at: Instant, bits: u64) {
        while let Some((_, old)) = self.relayed.pop_front_if(|(oldest, _)| at.since(*oldest) >= HOUR) {
            self.relayed_bits -= old;
        }
        // The frame that an hour ends with is paid for after it.
        self.relayed_peak_bits = self.relayed_peak_bits.max(self.relayed_bits);
        self.relayed.push_back((at, bits));
        self.relayed_bits += bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_peak_of_relayed_announces_is_taken_over_every_hour_not_only_whole_ones() {
        let mut ledger = Ledger::default();
        let send = |seconds: u64, kind: Kind| Sent { at: at(seconds), airtime: MINUTE, kind, bytes: 1 };
        for seconds in [0, 3000, 4000, 6500, 6700] {
            ledger.sent(0, send(seconds, Kind::RelayedAnnounce));
            ledger.sent(0, send(seconds, Kind::Data));
        }
        ledger.sent(1, send(4000, Kind::RelayedAnnounce));
        assert_eq!(ledger.relayed_peak_bits(), 2 * 8);
    }

    #[test]
    fn time_that_spans_minutes_is_divided_among_them() {
        let mut ledger = Ledger::default();
        ledger.busy(at(50), at(130));
        let seconds: Vec<_> = (0..4).map(|minute| ledger.busy_in(minute).as_secs()).collect();
        assert_eq!(seconds, [10, 60, 10, 0]);
    }
}
