//! The sending half of a channel. docs/protocol/2-link.md, sections 7.3 and 7.4.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use super::{RECEIVE_WINDOW, StreamId, Window, timeout};
use crate::hash::PacketHash;
use crate::time::Instant;

/// Transmissions of one message at most.
pub const TRIES_MAX: u32 = 5;
/// A message is not given up earlier. The reference looks at its messages once a second, so it takes at least as long; peers
/// that are busy for a moment must not lose their link to a more exact clock.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message that is not proved yet.
#[derive(Debug)]
struct Unproved {
    sequence: u16,
    /// How many messages were sent before it.
    order: u64,
    /// Type and message, to be sent again.
    kind: u16,
    message: Vec<u8>,
    /// All its transmissions: a proof of any says that it arrived.
    packets: Vec<PacketHash>,
    first_sent: Instant,
    sent: Instant,
    timeout: Duration,
    /// The stream that ends with it.
    ends: Option<StreamId>,
}

impl Unproved {
    fn tries(&self) -> u32 {
        u32::try_from(self.packets.len()).unwrap_or(u32::MAX)
    }

    fn deadline(&self) -> Instant {
        let at = self.sent + self.timeout;
        if self.tries() >= TRIES_MAX { at.max(self.first_sent + PATIENCE) } else { at }
    }
}

/// What has to be done about a message that was not proved in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send it again, and tell with [`Sender::sent_again`].
    Again { sequence: u16, kind: u16, message: Vec<u8> },
    /// It was sent as often as may be: the link is of no use.
    GiveUp,
}

/// Sends messages, as many at a time as the window says.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) window: Window,
    next: u16,
    sent: u64,
    unproved: VecDeque<Unproved>,
    /// Ends of streams that were proved before something that was sent before them.
    proved_ends: VecDeque<(u64, StreamId)>,
    /// Ends of streams that wait for room in the window.
    ending: VecDeque<StreamId>,
    /// Streams that were ended here.
    closed: BTreeSet<StreamId>,
    /// Something was refused since there was room the last time.
    refused: bool,
}

impl Sender {
    pub(crate) fn new(rtt: Duration) -> Self {
        Self {
            window: Window::new(rtt),
            next: 0,
            sent: 0,
            unproved: VecDeque::new(),
            proved_ends: VecDeque::new(),
            ending: VecDeque::new(),
            closed: BTreeSet::new(),
            refused: false,
        }
    }

    /// Whether another message may be sent: the window has room, and the receiver would take it though the oldest one was
    /// lost. Receivers prove what is too far ahead, and drop it.
    pub(crate) fn has_room(&self) -> bool {
        let ahead = self.unproved.front().map_or(0, |oldest| self.next.wrapping_sub(oldest.sequence));
        self.unproved.len() < self.window.size && ahead <= RECEIVE_WINDOW
    }

    /// Something was refused for want of room.
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Whether there is room again after something was refused; says so once.
    pub(crate) fn take_ready(&mut self) -> bool {
        self.refused && self.has_room() && self.ending.is_empty() && core::mem::take(&mut self.refused)
    }

    /// The sequence number of the next message.
    pub(crate) fn next(&self) -> u16 {
        self.next
    }

    /// The next message was sent as `packet`.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        rtt: Duration,
        packet: PacketHash,
        (kind, message): (u16, Vec<u8>),
        ends: Option<StreamId>,
    ) -> u16 {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        self.sent += 1;
        self.unproved.push_back(Unproved {
            sequence,
            order: self.sent,
            kind,
            message,
            packets: vec![packet],
            first_sent: now,
            sent: now,
            timeout: Duration::ZERO,
            ends,
        });
        self.raise_timeouts(rtt);
        sequence
    }

    /// A message of [`Due::Again`] was sent again as `packet`.
    pub(crate) fn sent_again(&mut self, now: Instant, rtt: Duration, sequence: u16, packet: PacketHash) {
        if let Some(message) = self.unproved.iter_mut().find(|message| message.sequence == sequence) {
            message.packets.push(packet);
            message.sent = now;
            message.timeout = Duration::ZERO;
        }
        self.raise_timeouts(rtt);
    }

    /// The more is under way, the longer all of it takes.
    fn raise_timeouts(&mut self, rtt: Duration) {
        let waiting = self.unproved.len();
        for message in &mut self.unproved {
            message.timeout = message.timeout.max(timeout(rtt, message.tries(), waiting));
        }
    }

    /// Whether a packet carried one of the messages that are not proved.
    pub(crate) fn is_waiting_for(&self, packet: &PacketHash) -> bool {
        self.unproved.iter().any(|message| message.packets.contains(packet))
    }

    /// A packet was proved to have arrived: which message it carried.
    pub(crate) fn proved(&mut self, rtt: Duration, packet: &PacketHash) -> Option<u16> {
        let index = self.unproved.iter().position(|message| message.packets.contains(packet))?;
        let message = self.unproved.remove(index)?;
        self.window.delivered(rtt);
        if let Some(stream) = message.ends {
            let later = self.proved_ends.iter().position(|(order, _)| *order > message.order);
            self.proved_ends.insert(later.unwrap_or(self.proved_ends.len()), (message.order, stream));
        }
        Some(message.sequence)
    }

    /// The next stream whose end was proved, with everything that was sent before.
    pub(crate) fn take_finished(&mut self) -> Option<StreamId> {
        let (order, stream) = *self.proved_ends.front()?;
        if self.unproved.front().is_some_and(|message| message.order < order) {
            return None;
        }
        self.proved_ends.pop_front();
        Some(stream)
    }

    /// When to ask [`Sender::next_due`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.unproved.iter().map(Unproved::deadline).min()
    }

    /// When the message that was sent last is to be sent again.
    pub(crate) fn last_deadline(&self) -> Option<Instant> {
        self.unproved.back().map(Unproved::deadline)
    }

    /// The next message whose time is over. Each time costs the window something, unless all is over.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Due> {
        let message = self.unproved.iter().find(|message| message.deadline() <= now)?;
        if message.tries() >= TRIES_MAX {
            return Some(Due::GiveUp);
        }
        self.window.timed_out();
        Some(Due::Again { sequence: message.sequence, kind: message.kind, message: message.message.clone() })
    }

    /// Whether this end has closed a stream.
    pub(crate) fn is_closed(&self, stream: StreamId) -> bool {
        self.closed.contains(&stream)
    }

    /// No more is written to a stream; its end goes out with [`Sender::next_ending`].
    pub(crate) fn close(&mut self, stream: StreamId) {
        if self.closed.insert(stream) {
            self.ending.push_back(stream);
        }
    }

    /// A stream whose end can be sent now.
    pub(crate) fn next_ending(&self) -> Option<StreamId> {
        self.ending.front().copied().filter(|_| self.has_room())
    }

    /// The end of [`Sender::next_ending`] was sent.
    pub(crate) fn ended(&mut self) {
        self.ending.pop_front();
    }

    /// Whether any message is not proved.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unproved.is_empty()
    }
}
