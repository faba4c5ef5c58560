//! Messages on the wire. docs/protocol/2-link.md, section 7.1.

use bytes::Bytes;

/// Bytes before a message: type, sequence, length.
pub const ENVELOPE_LEN: usize = 6;
/// Types from here on are reserved.
const RESERVED: u16 = 0xf000;
/// The type of stream data.
pub(crate) const STREAM_DATA: u16 = 0xff00;

/// The type of an application's messages, below 0xf000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(u16);

impl MessageType {
    /// The type of this number; `None` when it is reserved.
    pub const fn new(number: u16) -> Option<Self> {
        if number < RESERVED { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A message as it came. The length it states is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: u16,
    pub(crate) sequence: u16,
    pub(crate) message: Bytes,
}

impl Envelope {
    /// Reads the plaintext of a channel packet.
    pub(crate) fn parse(plaintext: &Bytes) -> Option<Self> {
        let [kind_high, kind_low, sequence_high, sequence_low, _, _] = *plaintext.first_chunk::<ENVELOPE_LEN>()?;
        Some(Self {
            kind: u16::from_be_bytes([kind_high, kind_low]),
            sequence: u16::from_be_bytes([sequence_high, sequence_low]),
            message: plaintext.slice(ENVELOPE_LEN..),
        })
    }

    /// The plaintext for a message of at most 65535 bytes.
    pub(crate) fn encode(kind: u16, sequence: u16, message: &[u8]) -> Vec<u8> {
        let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
        [&kind.to_be_bytes()[..], &sequence.to_be_bytes(), &len.to_be_bytes(), message].concat()
    }
}
