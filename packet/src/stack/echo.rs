//! What comes back on a channel that several nodes share: the copy that a relay sends on is heard by whoever sent it, and by
//! relays that carried it before. Some packets of links pass the duplicate filter unseen, so it does not stop these.
//! docs/protocol/deviations.md.

use std::collections::VecDeque;

use super::Stack;
use super::inbound::Arrived;
use crate::wire::Context;

/// Packets of a link that are remembered. An echo comes back before many more were sent: its channel is slow.
const SENT_MAX: usize = 64;
/// Bytes that tell packets of one link apart: ciphertexts begin with random bytes, and no two parts or proofs begin alike.
const HEAD_LEN: usize = 16;

/// What packets of a link are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    context: Context,
    head: [u8; HEAD_LEN],
}

impl Mark {
    fn of(context: Context, data: &[u8]) -> Self {
        let mut head = [0; HEAD_LEN];
        for (to, from) in head.iter_mut().zip(data) {
            *to = *from;
        }
        Self { context, head }
    }
}

/// What this end of a link sent lately.
#[derive(Debug, Default)]
pub(super) struct SentLately {
    marks: VecDeque<Mark>,
}

impl SentLately {
    pub(super) fn note(&mut self, context: Context, data: &[u8]) {
        let mark = Mark::of(context, data);
        if self.marks.contains(&mark) {
            return;
        }
        if self.marks.len() >= SENT_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    pub(super) fn contains(&self, context: Context, data: &[u8]) -> bool {
        self.marks.contains(&Mark::of(context, data))
    }
}

impl Stack {
    /// Whether a packet of a carried link, both of whose ways lead over one interface, went the other way before. Every
    /// packet of a link goes one way only; a relay that does not stand in the middle hears the copy of the next one with
    /// just the hop count that a packet of the other end would have.
    pub(super) fn went_the_other_way(&mut self, arrived: &Arrived<'_>, to_initiator: bool) -> bool {
        if !arrived.packet.context().bypasses_duplicate_filter() {
            return false;
        }
        let hash = arrived.truncated_hash();
        if let Some(direction) = self.carried.get(&hash) {
            return *direction != to_initiator;
        }
        self.carried.insert(hash, to_initiator);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_lately_is_known_again_and_no_more_than_that_is_kept() {
        let mut sent = SentLately::default();
        for number in 0..u8::try_from(10 * SENT_MAX % 256).unwrap() {
            sent.note(Context::RESOURCE, &[number; 40]);
        }
        sent.note(Context::KEEPALIVE, &[0xff]);
        assert!(sent.contains(Context::KEEPALIVE, &[0xff]) && !sent.contains(Context::KEEPALIVE, &[0xfe]));
        assert!(sent.contains(Context::RESOURCE, &[127; 40]) && !sent.contains(Context::CHANNEL, &[127; 40]));
        for number in 0..=u8::MAX {
            sent.note(Context::CHANNEL, &[number; 40]);
        }
        assert_eq!(sent.marks.len(), SENT_MAX);
        assert!(!sent.contains(Context::KEEPALIVE, &[0xff]));
    }
}
