//! Callers that wait for a path.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use wend_packet::DestinationHash;
use wend_packet::time::Instant;

use super::calls::tell;

/// How long a path request may stay unanswered before it is repeated, with a new tag.
const REPEAT: Duration = Duration::from_secs(7);
/// Callers that wait at once; a further one is told at once that there is no path.
const SEEKERS_MAX: usize = 256;

struct Seeker {
    to: DestinationHash,
    until: Instant,
    ask_at: Instant,
    reply: oneshot::Sender<Option<u8>>,
}

/// The callers and when their path requests are repeated.
#[derive(Default)]
pub(super) struct Seekers {
    waiting: BTreeMap<u64, Seeker>,
    next_id: u64,
}

impl Seekers {
    /// Somebody waits for a path, so long; it is asked for at once.
    pub(super) fn add(
        &mut self,
        now: Instant,
        to: DestinationHash,
        wait: Duration,
        reply: oneshot::Sender<Option<u8>>,
    ) {
        if self.waiting.len() >= SEEKERS_MAX {
            tell(reply, None);
            return;
        }
        self.waiting.insert(self.next_id, Seeker { to, until: now + wait, ask_at: now, reply });
        self.next_id += 1;
    }

    /// A path was found.
    pub(super) fn found(&mut self, destination: DestinationHash, hops: u8) {
        for (_, seeker) in self.waiting.extract_if(.., |_, seeker| seeker.to == destination) {
            tell(seeker.reply, Some(hops));
        }
    }

    /// When to ask [`Seekers::due`].
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|seeker| seeker.ask_at.min(seeker.until)).min()
    }

    /// Tells those whose time is up, and gives the destinations to ask for now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<DestinationHash> {
        let over = |seeker: &Seeker| seeker.until <= now || seeker.reply.is_closed();
        for (_, seeker) in self.waiting.extract_if(.., |_, seeker| over(seeker)) {
            tell(seeker.reply, None);
        }
        let mut ask = Vec::new();
        for seeker in self.waiting.values_mut().filter(|seeker| seeker.ask_at <= now) {
            seeker.ask_at = now + REPEAT;
            if !ask.contains(&seeker.to) {
                ask.push(seeker.to);
            }
        }
        ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: DestinationHash = DestinationHash::new([1; 16]);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn seek(seekers: &mut Seekers, wait: u64) -> oneshot::Receiver<Option<u8>> {
        let (reply, answer) = oneshot::channel();
        seekers.add(at(0), TO, Duration::from_secs(wait), reply);
        answer
    }

    #[test]
    fn a_path_is_asked_for_at_once_and_again_until_it_is_found() {
        let mut seekers = Seekers::default();
        let mut answer = seek(&mut seekers, 60);
        assert_eq!(seekers.due(at(0)), [TO]);
        assert_eq!(seekers.next(), Some(at(7)));
        assert_eq!(seekers.due(at(7)), [TO]);
        seekers.found(TO, 2);
        assert_eq!(answer.try_recv(), Ok(Some(2)));
        assert_eq!(seekers.next(), None);
    }

    #[test]
    fn two_who_seek_the_same_ask_once() {
        let mut seekers = Seekers::default();
        let _answers = [seek(&mut seekers, 60), seek(&mut seekers, 60)];
        assert_eq!(seekers.due(at(0)), [TO]);
    }

    #[test]
    fn ten_times_as_many_seekers_as_may_wait_are_told_at_once_and_the_others_are_served() {
        let mut seekers = Seekers::default();
        let mut first = seek(&mut seekers, 60);
        let mut others: Vec<_> = (0..10 * SEEKERS_MAX).map(|_| seek(&mut seekers, 60)).collect();
        assert_eq!(seekers.waiting.len(), SEEKERS_MAX);
        let told = others.iter_mut().map(oneshot::Receiver::try_recv).filter(|answer| *answer == Ok(None)).count();
        assert_eq!(told, 10 * SEEKERS_MAX - (SEEKERS_MAX - 1));
        seekers.found(TO, 3);
        assert_eq!(first.try_recv(), Ok(Some(3)));
        let mut late = seek(&mut seekers, 60);
        assert_eq!((seekers.due(at(0)), late.try_recv()), (vec![TO], Err(oneshot::error::TryRecvError::Empty)));
    }

    #[test]
    fn who_waited_long_enough_is_told_so() {
        let mut seekers = Seekers::default();
        let mut answer = seek(&mut seekers, 5);
        seekers.due(at(0));
        assert_eq!(seekers.next(), Some(at(5)));
        assert_eq!(seekers.due(at(5)), []);
        assert_eq!(answer.try_recv(), Ok(None));
    }
}
