//! Replies kept for callers that ask again: a call is delivered at least once and takes effect at most once.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wend_packet::IdentityHash;
use wend_packet::time::{Instant, Now};

use crate::access::Caller;
use crate::octets::MessageId;

/// Whose call, and which.
type Key = (Option<IdentityHash>, MessageId);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Calls remembered at once, running ones included.
    pub calls: usize,
    /// Calls of one caller among them. Beyond that his own oldest one leaves, so that he cannot push out those of others.
    pub per_caller: usize,
    /// Bytes of replies kept at once.
    pub bytes: usize,
    /// How long a call is remembered at least, counted from its arrival. A call with a longer deadline is remembered until
    /// that has passed.
    pub keep: Duration,
}

impl Default for Bounds {
    /// 1,024 calls, 128 of one caller, 4 MiB, ten minutes.
    fn default() -> Self {
        Self { calls: 1024, per_caller: 128, bytes: 4 << 20, keep: Duration::from_mins(10) }
    }
}

/// What is known about a call that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it is remembered from now on. Run it and hand the reply to [`Replies::finish`].
    First,
    /// It is running. Its reply will come; do not run it again.
    Running,
    /// It has run, and this is the encoded reply.
    Answered(Bytes),
    /// It has run, and its reply had to make room. Do not run it again; answer `expired`.
    Forgotten,
    /// Too many calls are running. It is not remembered; answer `busy`.
    Full,
}

#[derive(Debug, Clone)]
enum State {
    Running,
    Answered(Bytes),
    Forgotten,
}

#[derive(Debug, Clone)]
struct Record {
    state: State,
    expires: Instant,
}

/// The reply cache: encoded replies by caller and [`MessageId`].
///
/// Whoever repeats an id gets the reply of the first call with it, whatever the second one says. When replies need room,
/// the oldest ones give up their bytes first and are remembered as forgotten; when calls need room, what expired leaves,
/// then the call answered longest ago. A running call is never dropped before its expiry.
#[derive(Debug, Clone)]
pub struct Replies {
    bounds: Bounds,
    records: BTreeMap<Key, Record>,
    /// Finished calls that hold bytes, oldest first; may name calls that are gone.
    answered: VecDeque<Key>,
    /// Finished calls that hold none, oldest first; may name calls that are gone.
    forgotten: VecDeque<Key>,
    bytes: usize,
}

impl Replies {
    /// An empty cache.
    pub fn new(bounds: Bounds) -> Self {
        let (answered, forgotten) = (VecDeque::new(), VecDeque::new());
        Self { bounds, records: BTreeMap::new(), answered, forgotten, bytes: 0 }
    }

    /// A call arrived that `caller` may make and will wait `deadline` for.
    pub fn begin(&mut self, now: Now, caller: &Caller, id: MessageId, deadline: Duration) -> Seen {
        let key = key(caller, id);
        if let Some(record) = self.records.get(&key) {
            if record.expires > now.mono {
                return match &record.state {
                    State::Running => Seen::Running,
                    State::Answered(reply) => Seen::Answered(reply.clone()),
                    State::Forgotten => Seen::Forgotten,
                };
            }
            self.drop_record(&key);
        }
        if !self.make_room(now) || !self.make_room_for(key.0) {
            return Seen::Full;
        }
        let expires = now.mono + deadline.max(self.bounds.keep);
        self.records.insert(key, Record { state: State::Running, expires });
        Seen::First
    }

    /// The call is answered. Does nothing when it was not begun or has expired meanwhile.
    pub fn finish(&mut self, caller: &Caller, id: MessageId, reply: Bytes) {
        let key = key(caller, id);
        let Some(record) = self.records.get_mut(&key) else { return };
        if !matches!(record.state, State::Running) {
            return;
        }
        if reply.len() > self.bounds.bytes {
            record.state = State::Forgotten;
            self.forgotten.push_back(key);
            return;
        }
        self.bytes += reply.len();
        record.state = State::Answered(reply);
        self.answered.push_back(key);
        while self.bytes > self.bounds.bytes {
            let Some(oldest) = self.answered.pop_front() else { break };
            if let Some(Record { state, .. }) = self.records.get_mut(&oldest)
                && let State::Answered(reply) = &*state
            {
                self.bytes -= reply.len();
                *state = State::Forgotten;
                self.forgotten.push_back(oldest);
            }
        }
    }

    /// A call that was begun will not be run after all: the next one of its id is the first again.
    pub fn abandon(&mut self, caller: &Caller, id: MessageId) {
        self.drop_record(&key(caller, id));
    }

    /// How many calls are remembered.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of replies held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn make_room(&mut self, now: Now) -> bool {
        if self.records.len() < self.bounds.calls {
            return true;
        }
        let expired: Vec<Key> =
            self.records.iter().filter(|(_, record)| record.expires <= now.mono).map(|(key, _)| *key).collect();
        for key in expired {
            self.drop_record(&key);
        }
        while self.records.len() >= self.bounds.calls {
            // What is forgotten was answered before all that still holds its bytes, or was too long to be held at all.
            let Some(oldest) = self.forgotten.pop_front().or_else(|| self.answered.pop_front()) else { return false };
            self.drop_record(&oldest);
        }
        true
    }

    fn make_room_for(&mut self, caller: Option<IdentityHash>) -> bool {
        let (first, last) = (MessageId::new([0; 16]), MessageId::new([0xff; 16]));
        let held = self.records.range((caller, first)..=(caller, last)).count();
        if held < self.bounds.per_caller {
            return true;
        }
        let of_caller = |key: &&Key| key.0 == caller;
        let oldest = self.forgotten.iter().find(of_caller).or_else(|| self.answered.iter().find(of_caller)).copied();
        if let Some(oldest) = oldest {
            self.drop_record(&oldest);
        }
        oldest.is_some()
    }

    /// Also takes the key out of its queue, so that the queues are never longer than the table.
    fn drop_record(&mut self, key: &Key) {
        match self.records.remove(key).map(|record| record.state) {
            Some(State::Answered(reply)) => {
                self.bytes -= reply.len();
                self.answered.retain(|other| other != key);
            }
            Some(State::Forgotten) => self.forgotten.retain(|other| other != key),
            Some(State::Running) | None => {}
        }
    }
}

fn key(caller: &Caller, id: MessageId) -> Key {
    match caller {
        Caller::Local => (None, id),
        Caller::Remote { identity, .. } => (Some(*identity), id),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::Level;

    const BOUNDS: Bounds = Bounds { calls: 3, per_caller: 3, bytes: 10, keep: Duration::from_secs(60) };
    const NOW: Now = Now { mono: Instant::ZERO, unix: wend_packet::time::UnixTime(0) };
    const WAIT: Duration = Duration::from_secs(5);

    fn caller(n: u8) -> Caller {
        Caller::Remote { identity: IdentityHash::new([n; 16]), level: Level::Unknown }
    }

    fn id(n: u8) -> MessageId {
        MessageId::new([n; 16])
    }

    fn reply(len: usize) -> Bytes {
        vec![0; len].into()
    }

    #[test]
    fn a_repeated_call_gets_the_stored_reply_until_it_expires() {
        let mut replies = Replies::new(BOUNDS);
        assert_eq!(replies.begin(NOW, &caller(1), id(1), WAIT), Seen::First);
        assert_eq!(replies.begin(NOW, &caller(1), id(1), WAIT), Seen::Running);
        replies.finish(&caller(1), id(1), reply(4));
        let late = NOW.later(Duration::from_secs(59));
        assert_eq!(replies.begin(late, &caller(1), id(1), WAIT), Seen::Answered(reply(4)));
        assert_eq!(replies.begin(NOW.later(Duration::from_secs(60)), &caller(1), id(1), WAIT), Seen::First);
        assert_eq!(replies.bytes(), 0);
    }

    #[test]
    fn another_callers_call_with_the_same_id_is_another_call() {
        let mut replies = Replies::new(BOUNDS);
        assert_eq!(replies.begin(NOW, &caller(1), id(1), WAIT), Seen::First);
        assert_eq!(replies.begin(NOW, &caller(2), id(1), WAIT), Seen::First);
        assert_eq!(replies.begin(NOW, &Caller::Local, id(1), WAIT), Seen::First);
    }

    #[test]
    fn a_long_deadline_keeps_a_call_for_longer() {
        let mut replies = Replies::new(BOUNDS);
        assert_eq!(replies.begin(NOW, &caller(1), id(1), Duration::from_secs(500)), Seen::First);
        assert_eq!(replies.begin(NOW.later(Duration::from_secs(499)), &caller(1), id(1), WAIT), Seen::Running);
    }

    #[test]
    fn replies_that_need_room_take_it_from_the_oldest_whose_effect_stays_known() {
        let mut replies = Replies::new(BOUNDS);
        for n in 1..=2 {
            replies.begin(NOW, &caller(1), id(n), WAIT);
            replies.finish(&caller(1), id(n), reply(6));
        }
        assert_eq!(replies.begin(NOW, &caller(1), id(1), WAIT), Seen::Forgotten);
        assert_eq!(replies.begin(NOW, &caller(1), id(2), WAIT), Seen::Answered(reply(6)));
        replies.begin(NOW, &caller(1), id(3), WAIT);
        replies.finish(&caller(1), id(3), reply(11));
        assert_eq!(replies.begin(NOW, &caller(1), id(3), WAIT), Seen::Forgotten);
        assert_eq!(replies.bytes(), 6);
    }

    #[test]
    fn calls_that_need_room_take_it_from_the_answered_never_from_the_running() {
        let mut replies = Replies::new(BOUNDS);
        for n in 1..=3 {
            assert_eq!(replies.begin(NOW, &caller(1), id(n), WAIT), Seen::First);
        }
        assert_eq!(replies.begin(NOW, &caller(1), id(4), WAIT), Seen::Full);
        replies.finish(&caller(1), id(2), reply(1));
        assert_eq!(replies.begin(NOW, &caller(1), id(4), WAIT), Seen::First);
        assert_eq!(replies.begin(NOW, &caller(1), id(1), WAIT), Seen::Running);
        assert_eq!(replies.begin(NOW.later(Duration::from_secs(60)), &caller(1), id(5), WAIT), Seen::First);
        assert_eq!(replies.len(), 1);
    }

    #[test]
    fn one_caller_pushes_out_his_own_replies_only() {
        let mut replies = Replies::new(Bounds { calls: 10, per_caller: 2, ..BOUNDS });
        for (number, n) in [(1, 1), (2, 2), (2, 3), (2, 4)] {
            assert_eq!(replies.begin(NOW, &caller(number), id(n), WAIT), Seen::First);
            replies.finish(&caller(number), id(n), reply(1));
        }
        assert_eq!(replies.begin(NOW, &caller(1), id(1), WAIT), Seen::Answered(reply(1)));
        assert_eq!(replies.begin(NOW, &caller(2), id(4), WAIT), Seen::Answered(reply(1)));
        assert_eq!(replies.len(), 3);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_whatever_happens(steps in proptest::collection::vec((0_u8..3, 0_u8..6, 0_usize..14, 0_u64..40), 0..200)) {
            let mut replies = Replies::new(BOUNDS);
            let mut now = NOW;
            for (who, which, len, seconds) in steps {
                now = now.later(Duration::from_secs(seconds));
                if replies.begin(now, &caller(who), id(which), WAIT) == Seen::First && len < 13 {
                    replies.finish(&caller(who), id(which), reply(len));
                }
                prop_assert!(replies.len() <= 3 && replies.bytes() <= 10);
                prop_assert!(replies.answered.len() + replies.forgotten.len() <= replies.len());
            }
        }
    }
}
