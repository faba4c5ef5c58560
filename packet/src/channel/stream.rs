//! Streams of bytes as messages of a channel. docs/protocol/2-link.md, section 7.5.

use bytes::Bytes;

use crate::compression::{self, Effort, Sample};

/// Bytes of one message's data at most, before compression and after decompression.
pub const STREAM_CHUNK_MAX: usize = 16_384;
/// Bytes before the data of a message.
pub const STREAM_HEADER_LEN: usize = 2;
/// What is not longer is never compressed.
const COMPRESS_MIN: usize = 32;
/// How much of a chunk is tried: all, a half, a third.
const ATTEMPTS: usize = 3;
const EOF: u16 = 0x8000;
const COMPRESSED: u16 = 0x4000;
const ID_MASK: u16 = 0x3fff;

/// Names a stream at its receiver, 0 to 16383.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u16);

impl StreamId {
    /// The largest.
    pub const MAX: Self = Self(ID_MASK);

    /// The stream of this number; `None` above 16383.
    pub const fn new(number: u16) -> Option<Self> {
        if number <= ID_MASK { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A message of a stream, its data decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMessage {
    /// Which stream.
    pub stream: StreamId,
    /// Whether the writer has nothing more to say.
    pub eof: bool,
    /// The data, at most 16384 bytes if it was compressed.
    pub data: Bytes,
}

impl StreamMessage {
    /// Reads a message. `None` when it is too short, or its data does not decompress to at most 16384 bytes.
    pub fn decode(message: &Bytes) -> Option<Self> {
        let header = u16::from_be_bytes(*message.first_chunk::<STREAM_HEADER_LEN>()?);
        let data = message.slice(STREAM_HEADER_LEN..);
        let data = match header & COMPRESSED {
            0 => data,
            _ => compression::decompress(&data, STREAM_CHUNK_MAX).ok()?.into(),
        };
        Some(Self { stream: StreamId(header & ID_MASK), eof: header & EOF != 0, data })
    }
}

/// The next message of a stream, and how many bytes of its data it takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamChunk {
    /// The message.
    pub message: Vec<u8>,
    /// Bytes it takes in.
    pub consumed: usize,
}

/// Cuts the next message of a stream from `data`, with at most `max` bytes after its header.
pub fn next_chunk(stream: StreamId, data: &[u8], max: usize) -> StreamChunk {
    let data = data.get(..STREAM_CHUNK_MAX).unwrap_or(data);
    if data.len() > COMPRESS_MIN {
        for attempt in 1..=ATTEMPTS {
            let piece = data.get(..data.len() / attempt).unwrap_or_default();
            // Data that cannot shrink enough is not worth three attempts for each message.
            if Sample::of(piece).may_shrink_to(max)
                && let Some(compressed) =
                    compression::bzip2(piece, max.min(piece.len()).saturating_sub(1), Effort::Thorough)
            {
                let header = (stream.0 | COMPRESSED).to_be_bytes();
                return StreamChunk { message: [&header[..], &compressed].concat(), consumed: piece.len() };
            }
        }
    }
    let plain = data.get(..max).unwrap_or(data);
    StreamChunk { message: [&stream.0.to_be_bytes()[..], plain].concat(), consumed: plain.len() }
}

/// The message that ends a stream.
pub fn end_of_stream(stream: StreamId) -> [u8; STREAM_HEADER_LEN] {
    (stream.0 | EOF).to_be_bytes()
}
