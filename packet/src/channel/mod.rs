//! Channels: messages in order over a link, and streams of bytes made of them. docs/protocol/2-link.md, section 7.
//!
//! This module has the machine of one channel; the link seals, proves and times its packets.

mod envelope;
mod receiving;
mod sending;
mod stream;
mod window;

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;

pub use envelope::{ENVELOPE_LEN, MessageType};
pub(crate) use envelope::{Envelope, STREAM_DATA};
pub(crate) use receiving::Receiver;
pub use sending::TRIES_MAX;
pub(crate) use sending::{Due, Sender};
pub use stream::{
    STREAM_CHUNK_MAX, STREAM_HEADER_LEN, StreamChunk, StreamId, StreamMessage, end_of_stream, next_chunk,
};
pub use window::{Window, timeout};

/// How far ahead of the next message others are taken and held.
pub const RECEIVE_WINDOW: u16 = 48;
/// Largest message, in bytes, whatever the link carries.
pub const MESSAGE_MAX: usize = 65_535;

/// What happens on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    /// The next message of the peer.
    Message {
        /// Its type, one of those registered.
        kind: MessageType,
        /// The message.
        body: Bytes,
    },
    /// A message of this end was proved to have arrived.
    Delivered {
        /// Which.
        sequence: u16,
    },
    /// Something can be sent again, after it was refused because the window was full.
    Ready,
    /// The next bytes of a stream that is open here.
    Stream {
        /// Which.
        stream: StreamId,
        /// The bytes, maybe none.
        data: Bytes,
        /// Whether the peer says that no more come.
        eof: bool,
    },
    /// The end of a stream of this end was proved to have arrived, and so was everything before it.
    StreamFinished {
        /// Which.
        stream: StreamId,
    },
}

/// Why something cannot be sent on a channel. docs/protocol/2-link.md, section 7.3, has numbers for what remains when types
/// are checked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The channel was not opened, or the link is not active.
    #[error("the channel is not open")]
    NotOpen,
    /// The type was not registered when the channel was opened or later.
    #[error("message type {:#06x} is not registered", .0.number())]
    NotRegistered(MessageType),
    /// As many messages as may be are on their way; [`ChannelEvent::Ready`] follows.
    #[error("too many messages are on their way")]
    NotReady,
    /// The message does not fit into one packet.
    #[error("message of {len} bytes, at most {max} fit")]
    TooBig {
        /// Length given.
        len: usize,
        /// Length allowed.
        max: usize,
    },
    /// The stream was ended by this end.
    #[error("the stream is closed")]
    StreamClosed,
}

/// Both directions of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) types: BTreeSet<MessageType>,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

impl Channel {
    pub(crate) fn new(rtt: Duration) -> Self {
        Self { types: BTreeSet::new(), sender: Sender::new(rtt), receiver: Receiver::new() }
    }

    /// Takes in an envelope: what it brings, in order.
    pub(crate) fn receive(&mut self, plaintext: &Bytes, deliver: impl FnMut(ChannelEvent)) {
        self.receiver.receive(&self.types, plaintext, deliver);
    }
}
