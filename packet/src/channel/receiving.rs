//! The receiving half of a channel. docs/protocol/2-link.md, sections 7.2 and 7.5.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{ChannelEvent, Envelope, MessageType, RECEIVE_WINDOW, STREAM_DATA, StreamId, StreamMessage};

/// A message that waits for its turn.
#[derive(Debug)]
enum Held {
    Message { kind: MessageType, body: Bytes },
    Stream(StreamMessage),
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Message { body, .. } => body.len(),
            Self::Stream(message) => message.data.len(),
        }
    }
}

/// Puts messages in order. It holds at most [`RECEIVE_WINDOW`] of them.
#[derive(Debug)]
pub(crate) struct Receiver {
    next: u16,
    held: BTreeMap<u16, Held>,
    held_bytes: usize,
    /// Streams that somebody reads; `None` until streams are used at all.
    readers: Option<BTreeSet<StreamId>>,
}

impl Receiver {
    pub(crate) const fn new() -> Self {
        Self { next: 0, held: BTreeMap::new(), held_bytes: 0, readers: None }
    }

    /// Stream data is understood from now on.
    pub(crate) fn use_streams(&mut self) -> &mut BTreeSet<StreamId> {
        self.readers.get_or_insert_default()
    }

    /// Bytes of messages that wait for one before them.
    pub(crate) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes in an envelope. What is not understood does not use up its sequence number.
    pub(crate) fn receive(
        &mut self,
        types: &BTreeSet<MessageType>,
        plaintext: &Bytes,
        mut deliver: impl FnMut(ChannelEvent),
    ) {
        let Some(Envelope { kind, sequence, message }) = Envelope::parse(plaintext) else { return };
        if !accepts(self.next, sequence) || self.held.contains_key(&sequence) {
            return;
        }
        let known = MessageType::new(kind).filter(|kind| types.contains(kind));
        let arrived = match known {
            Some(kind) => Held::Message { kind, body: message },
            None if kind == STREAM_DATA && self.readers.is_some() => {
                let Some(message) = StreamMessage::decode(&message) else { return };
                Held::Stream(message)
            }
            None => return,
        };
        if sequence != self.next {
            self.held_bytes += arrived.len();
            self.held.insert(sequence, arrived);
            return;
        }
        self.pass_on(arrived, &mut deliver);
        while let Some(held) = self.held.remove(&self.next) {
            self.held_bytes -= held.len();
            self.pass_on(held, &mut deliver);
        }
    }

    fn pass_on(&mut self, message: Held, deliver: &mut impl FnMut(ChannelEvent)) {
        self.next = self.next.wrapping_add(1);
        match message {
            Held::Message { kind, body } => deliver(ChannelEvent::Message { kind, body }),
            Held::Stream(StreamMessage { stream, eof, data }) => {
                if self.readers.as_ref().is_some_and(|readers| readers.contains(&stream)) {
                    deliver(ChannelEvent::Stream { stream, data, eof });
                }
            }
        }
    }
}

/// Whether a sequence number is among those that may come while `next` is expected, across the wrap as well.
fn accepts(next: u16, sequence: u16) -> bool {
    match sequence.checked_sub(next) {
        Some(ahead) => ahead <= RECEIVE_WINDOW,
        None => {
            let wrapped = next.wrapping_add(RECEIVE_WINDOW);
            wrapped < next && sequence <= wrapped
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Receiver {
    /// The sequence number that comes next, and how many messages are held.
    pub(crate) fn state(&self) -> (u16, usize) {
        (self.next, self.held.len())
    }

    pub(crate) fn start_at(&mut self, next: u16) {
        self.next = next;
    }
}
