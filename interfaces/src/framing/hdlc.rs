//! HDLC-style framing, used on TCP and on serial lines. docs/protocol/3-interfaces.md, section 1.3.
//!
//! There is one decoder, the one that lets two frames share a flag, and each medium gives it its own [`Limits`]. It
//! accepts everything a correct sender can produce and, on damaged input, loses no more than the damaged frame.

use bytes::{BufMut, BytesMut};
use memchr::{memchr, memchr2};

/// Begins and ends a frame.
const FLAG: u8 = 0x7e;
/// Announces that the next byte is masked.
const ESC: u8 = 0x7d;
/// What is XORed to a byte that would otherwise look like a flag or an escape.
const MASK: u8 = 0x20;
const MASKED_FLAG: u8 = FLAG ^ MASK;
const MASKED_ESC: u8 = ESC ^ MASK;

/// Largest receive limit of a medium whose MTU is not set. docs/protocol/3-interfaces.md, section 20, trap 7.
const HW_MTU_UNSET: usize = 500;
/// A frame on TCP is longer than the shortest packet header. docs/protocol/3-interfaces.md, section 1.3.
const TCP_MIN: usize = 20;
/// Largest frame on a serial line. docs/protocol/3-interfaces.md, section 1.5.
pub(crate) const SERIAL_MAX: usize = 564;

/// Lengths, in bytes and after unescaping, of the frames a decoder lets through. Others are dropped, not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Shortest. Frames without any byte are never delivered, whatever this says.
    pub min: usize,
    /// Longest.
    pub max: usize,
}

impl Limits {
    /// Of serial lines: anything up to 564 bytes.
    pub const SERIAL: Self = Self { min: 1, max: SERIAL_MAX };

    /// Of TCP: at least 20 bytes, at most the MTU and an access code beside it. Without an MTU, 500 takes its place.
    #[must_use]
    pub fn tcp(hw_mtu: Option<usize>, access_code_len: usize) -> Self {
        Self { min: TCP_MIN, max: hw_mtu.unwrap_or(HW_MTU_UNSET).saturating_add(access_code_len) }
    }
}

/// Appends `frame` to `out` as it goes on the wire: escaped, with a flag before and a flag after.
///
/// Both flags are always there, because there are receivers that need a pair for every frame.
pub fn encode(frame: &[u8], out: &mut BytesMut) {
    out.reserve(frame.len().saturating_mul(2).saturating_add(2));
    out.put_u8(FLAG);
    let mut rest = frame;
    while let Some(at) = memchr2(FLAG, ESC, rest) {
        let (plain, tail) = rest.split_at(at);
        out.put_slice(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        out.put_slice(&[ESC, special ^ MASK]);
        rest = tail;
    }
    out.put_slice(rest);
    out.put_u8(FLAG);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Skipping bytes until a flag.
    Hunting,
    /// After a flag.
    InFrame,
    /// After an escape in a frame.
    Escaped,
}

/// An incremental decoder.
///
/// # Memory and chunks
///
/// The reference keeps raw bytes and throws its buffer away when, at the end of a chunk, an unfinished frame has grown
/// beyond twice the MTU. What that drops depends on where the chunks end. Here the rule is stated without chunks: *a
/// frame is given up at the byte that makes its unescaped text longer than [`Limits::max`]; everything up to the next
/// flag is skipped, and that flag opens the next frame.* Nothing that could still become a valid frame is given up, so
/// this accepts every frame the reference accepts, and what follows a runaway frame comes through in the same way. The
/// decoder never holds more than `max` bytes of text.
#[derive(Debug)]
pub struct Hdlc {
    limits: Limits,
    state: State,
    frame: Vec<u8>,
    dropped: u64,
}

impl Hdlc {
    /// A decoder that has seen nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Hunting, frame: Vec::new(), dropped: 0 }
    }

    /// Takes the next bytes of the stream and gives every frame completed by them to `sink`, in order.
    ///
    /// An escape that is followed by neither masked byte stays in the text as it is. Empty frames (idle flags) are
    /// ignored.
    pub fn push(&mut self, chunk: &[u8], mut sink: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match self.state {
                State::Hunting => self.hunt(rest),
                State::InFrame => self.take_plain(rest, &mut sink),
                State::Escaped => self.take_escaped(rest),
            };
        }
    }

    /// Gives up the unfinished frame, if there is one, and skips to the next flag.
    ///
    /// For media on which silence means that the rest will not come. Flags that stand alone are not a frame: after
    /// them nothing is given up and the next byte still begins one.
    pub fn reset(&mut self) {
        if self.has_partial() {
            self.give_up();
        }
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        !self.frame.is_empty() || self.state == State::Escaped
    }

    /// How many frames were dropped: too short, too long, or given up by [`reset`](Self::reset).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn hunt<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(flag) = memchr(FLAG, bytes) else { return &[] };
        self.state = State::InFrame;
        bytes.get(flag.saturating_add(1)..).unwrap_or_default()
    }

    fn take_plain<'a>(&mut self, bytes: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let plain_len = memchr2(FLAG, ESC, bytes).unwrap_or(bytes.len());
        let (plain, rest) = bytes.split_at(plain_len);
        if let (true, Some((&FLAG, after))) =
            (self.frame.is_empty() && plain_len <= self.limits.max, rest.split_first())
        {
            // A whole frame without an escape needs no copy.
            self.judge(plain.len()).then(|| sink(plain));
            return after;
        }
        if !self.append(plain) {
            return rest;
        }
        let Some((special, rest)) = rest.split_first() else { return rest };
        if *special == FLAG {
            self.finish(sink);
        } else {
            self.state = State::Escaped;
        }
        rest
    }

    fn take_escaped<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return bytes };
        self.state = State::InFrame;
        match *byte {
            MASKED_FLAG => {
                self.append(&[FLAG]);
                rest
            }
            MASKED_ESC => {
                self.append(&[ESC]);
                rest
            }
            // Not an escape after all. The byte may be a flag, or an escape of its own: look at it afresh.
            _ => {
                self.append(&[ESC]);
                bytes
            }
        }
    }

    /// Adds text to the frame; `false` when that made it too long and it was given up.
    fn append(&mut self, text: &[u8]) -> bool {
        if self.frame.len().saturating_add(text.len()) > self.limits.max {
            self.give_up();
            return false;
        }
        self.frame.extend_from_slice(text);
        true
    }

    fn give_up(&mut self) {
        self.frame.clear();
        self.state = State::Hunting;
        self.dropped = self.dropped.saturating_add(1);
    }

    fn finish(&mut self, sink: &mut impl FnMut(&[u8])) {
        if self.judge(self.frame.len()) {
            sink(&self.frame);
        }
        self.frame.clear();
    }

    /// Whether a frame of this length, not too long, goes to the sink; counts it if it is dropped.
    fn judge(&mut self, len: usize) -> bool {
        let goes = len >= self.limits.min.max(1);
        if !goes && len > 0 {
            self.dropped = self.dropped.saturating_add(1);
        }
        goes
    }
}

#[cfg(test)]
mod tests;
