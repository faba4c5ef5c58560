//! MessagePack from strangers: every value is walked once, under limits, before anything acts on it.
//!
//! The flavour is that of docs/protocol/1-core.md, section 0.3. Extension types are not part of it and are refused.

use std::collections::BTreeSet;

/// How much one value may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and maps may nest; a scalar has depth 1.
    pub depth: u8,
    /// How many values there may be in all, counting each key and each array and map.
    pub values: u32,
}

/// Why bytes are not an acceptable MessagePack value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// A marker byte that has no meaning here: the unused one, or an extension type.
    #[error("marker {0:#04x} is not accepted")]
    Marker(u8),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A map has the same key twice.
    #[error("a map has the same key twice")]
    DuplicateKey,
    /// More than [`Limits::depth`] levels.
    #[error("nested too deep")]
    TooDeep,
    /// More than [`Limits::values`] values.
    #[error("made of too many values")]
    TooMany,
    /// The value is acceptable MessagePack, but not what stands here.
    #[error("expected {0}")]
    Expected(&'static str),
}

/// The head of a value: a scalar in full, or how many elements follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head<'a> {
    /// Nil.
    Nil,
    /// True or false.
    Boolean(bool),
    /// An integer from 0 up.
    Unsigned(u64),
    /// An integer below 0.
    Negative(i64),
    /// A float of either width.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An array; this many values follow.
    Array(u32),
    /// A map; this many pairs follow.
    Map(u32),
}

/// Reads values one after the other. No input makes it panic, recurse deeper than its limits or allocate more than in
/// proportion to the bytes it was given.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    rest: &'a [u8],
    limits: Limits,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `bytes`. `limits` count over everything it reads.
    pub fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { rest: bytes, limits }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn len8(&mut self) -> Result<usize, Malformed> {
        Ok(usize::from(u8::from_be_bytes(self.array()?)))
    }

    fn len16(&mut self) -> Result<usize, Malformed> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn len32(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Malformed::Truncated)
    }

    fn text(&mut self, len: usize) -> Result<Head<'a>, Malformed> {
        core::str::from_utf8(self.take(len)?).map(Head::Text).map_err(|_| Malformed::NotUtf8)
    }

    fn bytes(&mut self, len: usize) -> Result<Head<'a>, Malformed> {
        self.take(len).map(Head::Bytes)
    }

    /// The head of the next value. The elements of an array or map are read by further calls.
    pub fn head(&mut self) -> Result<Head<'a>, Malformed> {
        self.limits.values = self.limits.values.checked_sub(1).ok_or(Malformed::TooMany)?;
        let [marker] = self.array()?;
        match marker {
            0x00..=0x7f => Ok(Head::Unsigned(u64::from(marker))),
            0x80..=0x8f => Ok(Head::Map(u32::from(marker & 0x0f))),
            0x90..=0x9f => Ok(Head::Array(u32::from(marker & 0x0f))),
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f)),
            0xc0 => Ok(Head::Nil),
            0xc2 => Ok(Head::Boolean(false)),
            0xc3 => Ok(Head::Boolean(true)),
            0xc4 => self.len8().and_then(|len| self.bytes(len)),
            0xc5 => self.len16().and_then(|len| self.bytes(len)),
            0xc6 => self.len32().and_then(|len| self.bytes(len)),
            0xca => Ok(Head::Float(f64::from(f32::from_be_bytes(self.array()?)))),
            0xcb => Ok(Head::Float(f64::from_be_bytes(self.array()?))),
            0xcc => Ok(Head::Unsigned(u64::from(u8::from_be_bytes(self.array()?)))),
            0xcd => Ok(Head::Unsigned(u64::from(u16::from_be_bytes(self.array()?)))),
            0xce => Ok(Head::Unsigned(u64::from(u32::from_be_bytes(self.array()?)))),
            0xcf => Ok(Head::Unsigned(u64::from_be_bytes(self.array()?))),
            0xd0 => Ok(signed(i64::from(i8::from_be_bytes(self.array()?)))),
            0xd1 => Ok(signed(i64::from(i16::from_be_bytes(self.array()?)))),
            0xd2 => Ok(signed(i64::from(i32::from_be_bytes(self.array()?)))),
            0xd3 => Ok(signed(i64::from_be_bytes(self.array()?))),
            0xd9 => self.len8().and_then(|len| self.text(len)),
            0xda => self.len16().and_then(|len| self.text(len)),
            0xdb => self.len32().and_then(|len| self.text(len)),
            0xdc => Ok(Head::Array(u32::from(u16::from_be_bytes(self.array()?)))),
            0xdd => Ok(Head::Array(u32::from_be_bytes(self.array()?))),
            0xde => Ok(Head::Map(u32::from(u16::from_be_bytes(self.array()?)))),
            0xdf => Ok(Head::Map(u32::from_be_bytes(self.array()?))),
            0xe0..=0xff => Ok(Head::Negative(i64::from(i8::from_be_bytes([marker])))),
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => Err(Malformed::Marker(marker)),
        }
    }

    /// The bytes of the next value, which is walked to its end and found acceptable.
    pub fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        self.skip(self.limits.depth)?;
        let len = start.len() - self.rest.len();
        start.get(..len).ok_or(Malformed::Truncated)
    }

    fn skip(&mut self, depth: u8) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        match self.head()? {
            Head::Array(len) => (0..len).try_for_each(|_| self.skip(depth)),
            Head::Map(len) => {
                let mut keys = BTreeSet::new();
                for _ in 0..len {
                    let start = self.rest;
                    self.skip(depth)?;
                    let key = start.get(..start.len() - self.rest.len()).ok_or(Malformed::Truncated)?;
                    if !keys.insert(key) {
                        return Err(Malformed::DuplicateKey);
                    }
                    self.skip(depth)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads the head of an array that must have exactly `len` elements.
    pub fn array_of(&mut self, len: u32, expected: &'static str) -> Result<(), Malformed> {
        if self.head()? == Head::Array(len) { Ok(()) } else { Err(Malformed::Expected(expected)) }
    }

    /// Reads an integer from 0 up.
    pub fn unsigned(&mut self, expected: &'static str) -> Result<u64, Malformed> {
        if let Head::Unsigned(value) = self.head()? { Ok(value) } else { Err(Malformed::Expected(expected)) }
    }

    /// Reads text.
    pub fn str(&mut self, expected: &'static str) -> Result<&'a str, Malformed> {
        if let Head::Text(text) = self.head()? { Ok(text) } else { Err(Malformed::Expected(expected)) }
    }

    /// Reads bytes of exactly this length.
    pub fn bin<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], Malformed> {
        let Head::Bytes(bytes) = self.head()? else { return Err(Malformed::Expected(expected)) };
        bytes.try_into().map_err(|_| Malformed::Expected(expected))
    }
}

/// A signed marker may carry a value that is not negative; it means the same number.
fn signed(value: i64) -> Head<'static> {
    u64::try_from(value).map_or(Head::Negative(value), Head::Unsigned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { depth: 4, values: 100 };

    fn value(bytes: &[u8]) -> Result<usize, Malformed> {
        Scanner::new(bytes, LIMITS).value().map(<[u8]>::len)
    }

    #[test]
    fn a_value_ends_where_it_ends_and_what_follows_is_left() {
        let bytes = [0x93, 0x01, 0xa1, b'x', 0x81, 0xc4, 0x01, 0xff, 0xc0, 0x2a];
        let mut scanner = Scanner::new(&bytes, LIMITS);
        assert_eq!(scanner.value().unwrap().len(), 9);
        assert_eq!(scanner.head(), Ok(Head::Unsigned(42)));
        assert!(scanner.rest().is_empty());
    }

    #[test]
    fn every_defect_has_its_own_answer() {
        assert_eq!(value(&[]), Err(Malformed::Truncated));
        assert_eq!(value(&[0xa5, b'x']), Err(Malformed::Truncated));
        assert_eq!(value(&[0xc1]), Err(Malformed::Marker(0xc1)));
        assert_eq!(value(&[0xd4, 0x01, 0x02]), Err(Malformed::Marker(0xd4)));
        assert_eq!(value(&[0xa1, 0xff]), Err(Malformed::NotUtf8));
        assert_eq!(value(&[0x82, 0x01, 0x02, 0x01, 0x02]), Err(Malformed::DuplicateKey));
        assert_eq!(value(&[0x91, 0x91, 0x91, 0x91]), Err(Malformed::TooDeep));
        assert_eq!(value(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err(Malformed::Truncated));
        let mut many = vec![0xdc, 0x00, 0x64];
        many.extend([0xc0; 100]);
        assert_eq!(value(&many), Err(Malformed::TooMany));
    }

    #[test]
    fn a_signed_marker_with_a_positive_number_is_that_number() {
        assert_eq!(Scanner::new(&[0xd0, 0x05], LIMITS).head(), Ok(Head::Unsigned(5)));
        assert_eq!(Scanner::new(&[0xd0, 0xfb], LIMITS).head(), Ok(Head::Negative(-5)));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_value_or_a_defect(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(len) = value(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
