//! MessagePack in the flavour peers write, without recursion and without trusting a length.
//! docs/protocol/1-core.md, section 0.3.
//!
//! [`Reader`] takes typed values off the front of a slice; nothing is allocated for what a header promises.
//! [`Writer`] writes integers in their shortest form, floats with 64 bits, byte strings as `bin`, text as `str`.

use rmp::Marker;

/// Deepest nesting a value may have. Who passes a value on to a recursive decoder can rely on it.
pub const DEPTH_MAX: usize = 64;

/// Why bytes are not the MessagePack that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The value goes on after the last byte.
    #[error("MessagePack value is cut short")]
    Truncated,
    /// A value of another type, or the marker that means nothing.
    #[error("MessagePack value of an unexpected type")]
    Type,
    /// Text that is not UTF-8.
    #[error("MessagePack text is not UTF-8")]
    Utf8,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("MessagePack value is nested too deep")]
    Depth,
    /// A number that does not fit the type asked for.
    #[error("MessagePack number is out of range")]
    Range,
    /// Bytes after the value, where only one value was expected.
    #[error("bytes follow the MessagePack value")]
    Trailing,
}

/// What stands at the front of a value: all of it, or for containers and byte strings the length.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Str(usize),
    Bin(usize),
    Array(usize),
    Map(usize),
    /// With the type byte that follows.
    Extension(usize),
}

/// Takes values off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Invalid> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Invalid::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Invalid::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn len_of<const N: usize>(&mut self) -> Result<usize, Invalid> {
        let value = self.array_of::<N>()?.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| Invalid::Range)
    }

    fn head(&mut self) -> Result<Head, Invalid> {
        let [marker] = self.array_of()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::FixPos(value) => Head::Unsigned(value.into()),
            Marker::FixNeg(value) => Head::Signed(value.into()),
            Marker::U8 => Head::Unsigned(u8::from_be_bytes(self.array_of()?).into()),
            Marker::U16 => Head::Unsigned(u16::from_be_bytes(self.array_of()?).into()),
            Marker::U32 => Head::Unsigned(u32::from_be_bytes(self.array_of()?).into()),
            Marker::U64 => Head::Unsigned(u64::from_be_bytes(self.array_of()?)),
            Marker::I8 => Head::Signed(i8::from_be_bytes(self.array_of()?).into()),
            Marker::I16 => Head::Signed(i16::from_be_bytes(self.array_of()?).into()),
            Marker::I32 => Head::Signed(i32::from_be_bytes(self.array_of()?).into()),
            Marker::I64 => Head::Signed(i64::from_be_bytes(self.array_of()?)),
            Marker::F32 => Head::Float(f32::from_be_bytes(self.array_of()?).into()),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.array_of()?)),
            Marker::FixStr(len) => Head::Str(len.into()),
            Marker::Str8 => Head::Str(self.len_of::<1>()?),
            Marker::Str16 => Head::Str(self.len_of::<2>()?),
            Marker::Str32 => Head::Str(self.len_of::<4>()?),
            Marker::Bin8 => Head::Bin(self.len_of::<1>()?),
            Marker::Bin16 => Head::Bin(self.len_of::<2>()?),
            Marker::Bin32 => Head::Bin(self.len_of::<4>()?),
            Marker::FixArray(len) => Head::Array(len.into()),
            Marker::Array16 => Head::Array(self.len_of::<2>()?),
            Marker::Array32 => Head::Array(self.len_of::<4>()?),
            Marker::FixMap(len) => Head::Map(len.into()),
            Marker::Map16 => Head::Map(self.len_of::<2>()?),
            Marker::Map32 => Head::Map(self.len_of::<4>()?),
            Marker::FixExt1 => Head::Extension(1 + 1),
            Marker::FixExt2 => Head::Extension(1 + 2),
            Marker::FixExt4 => Head::Extension(1 + 4),
            Marker::FixExt8 => Head::Extension(1 + 8),
            Marker::FixExt16 => Head::Extension(1 + 16),
            Marker::Ext8 => Head::Extension(self.len_of::<1>()?.saturating_add(1)),
            Marker::Ext16 => Head::Extension(self.len_of::<2>()?.saturating_add(1)),
            Marker::Ext32 => Head::Extension(self.len_of::<4>()?.saturating_add(1)),
            Marker::Reserved => return Err(Invalid::Type),
        })
    }

    /// Reads with `read`, and puts everything back when that fails.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Invalid>) -> Result<T, Invalid> {
        let mut ahead = *self;
        let value = read(&mut ahead)?;
        *self = ahead;
        Ok(value)
    }

    /// Takes a nil if one stands in front; says whether it did.
    pub fn nil(&mut self) -> bool {
        self.attempt(|ahead| matches!(ahead.head()?, Head::Nil).then_some(()).ok_or(Invalid::Type)).is_ok()
    }

    /// Takes a boolean.
    ///
    /// # Errors
    /// When another value stands in front, or it is cut short; then nothing is taken. So for all typed reads.
    pub fn bool(&mut self) -> Result<bool, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Bool(value) => Ok(value),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes an integer that is not negative.
    ///
    /// # Errors
    /// As [`Reader::bool`]; [`Invalid::Range`] for a negative one.
    pub fn uint(&mut self) -> Result<u64, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Unsigned(value) => Ok(value),
            Head::Signed(value) => u64::try_from(value).map_err(|_| Invalid::Range),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes an integer.
    ///
    /// # Errors
    /// As [`Reader::bool`]; [`Invalid::Range`] above `i64::MAX`.
    pub fn int(&mut self) -> Result<i64, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Unsigned(value) => i64::try_from(value).map_err(|_| Invalid::Range),
            Head::Signed(value) => Ok(value),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes a number of any kind, as a float.
    ///
    /// # Errors
    /// As [`Reader::bool`].
    pub fn number(&mut self) -> Result<f64, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Float(value) => Ok(value),
            Head::Unsigned(value) => Ok(value as f64),
            Head::Signed(value) => Ok(value as f64),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes a byte string.
    ///
    /// # Errors
    /// As [`Reader::bool`]; text is no byte string.
    pub fn bin(&mut self) -> Result<&'a [u8], Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Bin(len) => ahead.take(len),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes text.
    ///
    /// # Errors
    /// As [`Reader::bool`]; [`Invalid::Utf8`] when it is not UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Str(len) => core::str::from_utf8(ahead.take(len)?).map_err(|_| Invalid::Utf8),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes the header of an array: how many values are said to follow. Trust it for counting, not for allocating.
    ///
    /// # Errors
    /// As [`Reader::bool`].
    pub fn array(&mut self) -> Result<usize, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Array(len) => Ok(len),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes the header of a map: how many pairs are said to follow. Trust it for counting, not for allocating.
    ///
    /// # Errors
    /// As [`Reader::bool`].
    pub fn map(&mut self) -> Result<usize, Invalid> {
        self.attempt(|ahead| match ahead.head()? {
            Head::Map(len) => Ok(len),
            _ => Err(Invalid::Type),
        })
    }

    /// Takes one value of any type and returns its bytes. Duplicate map keys inside it are not looked for.
    ///
    /// # Errors
    /// When it is cut short, holds text that is not UTF-8, or is nested deeper than [`DEPTH_MAX`].
    pub fn value(&mut self) -> Result<&'a [u8], Invalid> {
        let start = self.rest;
        self.attempt(|ahead| {
            // How many values each open container still wants, innermost last.
            let mut open: Vec<usize> = Vec::new();
            loop {
                let children = match ahead.head()? {
                    Head::Nil | Head::Bool(_) | Head::Unsigned(_) | Head::Signed(_) | Head::Float(_) => 0,
                    Head::Str(len) => {
                        core::str::from_utf8(ahead.take(len)?).map_err(|_| Invalid::Utf8)?;
                        0
                    }
                    Head::Bin(len) | Head::Extension(len) => {
                        ahead.take(len)?;
                        0
                    }
                    Head::Array(len) => len,
                    Head::Map(len) => len.saturating_mul(2),
                };
                if children > 0 {
                    if open.len() >= DEPTH_MAX {
                        return Err(Invalid::Depth);
                    }
                    open.push(children);
                    continue;
                }
                // A value ended, and with it every container whose last one it was.
                loop {
                    let Some(wanted) = open.last_mut() else {
                        let len = start.len().saturating_sub(ahead.rest.len());
                        return start.get(..len).ok_or(Invalid::Truncated);
                    };
                    *wanted = wanted.saturating_sub(1);
                    if *wanted > 0 {
                        break;
                    }
                    open.pop();
                }
            }
        })
    }
}

/// Checks that `bytes` are exactly one value.
///
/// # Errors
/// As [`Reader::value`]; [`Invalid::Trailing`] when bytes are left over.
pub fn check_single(bytes: &[u8]) -> Result<(), Invalid> {
    let mut reader = Reader::new(bytes);
    reader.value()?;
    if reader.rest().is_empty() { Ok(()) } else { Err(Invalid::Trailing) }
}

/// Appends values to a buffer.
///
/// Lengths have at most 32 bits on the wire; longer strings and containers cannot be written.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn put(mut self, marker: Marker, bytes: &[u8]) -> Self {
        self.out.push(marker.to_u8());
        self.out.extend_from_slice(bytes);
        self
    }

    /// Appends nil.
    #[must_use]
    pub fn nil(self) -> Self {
        self.put(Marker::Null, &[])
    }

    /// Appends a boolean.
    #[must_use]
    pub fn bool(self, value: bool) -> Self {
        self.put(if value { Marker::True } else { Marker::False }, &[])
    }

    /// Appends an integer.
    #[must_use]
    pub fn uint(self, value: u64) -> Self {
        match (u8::try_from(value), u16::try_from(value), u32::try_from(value)) {
            (Ok(value @ 0..=0x7f), ..) => self.put(Marker::FixPos(value), &[]),
            (Ok(value), ..) => self.put(Marker::U8, &value.to_be_bytes()),
            (_, Ok(value), _) => self.put(Marker::U16, &value.to_be_bytes()),
            (.., Ok(value)) => self.put(Marker::U32, &value.to_be_bytes()),
            _ => self.put(Marker::U64, &value.to_be_bytes()),
        }
    }

    /// Appends a signed integer; what is not negative is written unsigned.
    #[must_use]
    pub fn int(self, value: i64) -> Self {
        if let Ok(value) = u64::try_from(value) {
            return self.uint(value);
        }
        match (i8::try_from(value), i16::try_from(value), i32::try_from(value)) {
            (Ok(value @ -32..), ..) => self.put(Marker::FixNeg(value), &[]),
            (Ok(value), ..) => self.put(Marker::I8, &value.to_be_bytes()),
            (_, Ok(value), _) => self.put(Marker::I16, &value.to_be_bytes()),
            (.., Ok(value)) => self.put(Marker::I32, &value.to_be_bytes()),
            _ => self.put(Marker::I64, &value.to_be_bytes()),
        }
    }

    /// Appends a float with 64 bits.
    #[must_use]
    pub fn float(self, value: f64) -> Self {
        self.put(Marker::F64, &value.to_be_bytes())
    }

    /// Appends a length: in the marker up to the length `fixed` can hold, else in 1 (where that form exists), 2 or 4 bytes.
    fn len(self, len: usize, fixed: Option<Marker>, short: Option<Marker>, middle: Marker, long: Marker) -> Self {
        if let Some(marker) = fixed {
            return self.put(marker, &[]);
        }
        match (u8::try_from(len), u16::try_from(len), short) {
            (Ok(len), _, Some(short)) => self.put(short, &len.to_be_bytes()),
            (_, Ok(len), _) => self.put(middle, &len.to_be_bytes()),
            _ => self.put(long, &u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()),
        }
    }

    /// Appends the header of a byte string of `len` bytes, which are to follow as they are.
    #[must_use]
    pub fn bin_header(self, len: usize) -> Self {
        self.len(len, None, Some(Marker::Bin8), Marker::Bin16, Marker::Bin32)
    }

    /// Appends a byte string.
    #[must_use]
    pub fn bin(self, bytes: &[u8]) -> Self {
        self.bin_header(bytes.len()).raw(bytes)
    }

    /// Appends text.
    #[must_use]
    pub fn str(self, text: &str) -> Self {
        let fixed = u8::try_from(text.len()).ok().filter(|len| *len < 32).map(Marker::FixStr);
        self.len(text.len(), fixed, Some(Marker::Str8), Marker::Str16, Marker::Str32).raw(text.as_bytes())
    }

    /// Appends the header of an array of `len` values, which are to follow.
    #[must_use]
    pub fn array(self, len: usize) -> Self {
        let fixed = u8::try_from(len).ok().filter(|len| *len < 16).map(Marker::FixArray);
        self.len(len, fixed, None, Marker::Array16, Marker::Array32)
    }

    /// Appends the header of a map of `len` pairs, which are to follow.
    #[must_use]
    pub fn map(self, len: usize) -> Self {
        let fixed = u8::try_from(len).ok().filter(|len| *len < 16).map(Marker::FixMap);
        self.len(len, fixed, None, Marker::Map16, Marker::Map32)
    }

    /// Appends bytes as they are: values that are encoded already.
    #[must_use]
    pub fn raw(mut self, encoded: &[u8]) -> Self {
        self.out.extend_from_slice(encoded);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_take_the_shortest_form() {
        for (value, hex) in [
            (0, "00"),
            (127, "7f"),
            (128, "cc80"),
            (256, "cd0100"),
            (65_536, "ce00010000"),
            (-1, "ff"),
            (-32, "e0"),
            (-33, "d0df"),
            (-129, "d1ff7f"),
            (-40_000, "d2ffff63c0"),
            (i64::MIN, "d38000000000000000"),
        ] {
            let bytes = Writer::new().int(value).into_bytes();
            assert_eq!(hex::encode(&bytes), hex);
            assert_eq!(Reader::new(&bytes).int(), Ok(value));
        }
        assert_eq!(hex::encode(Writer::new().float(0.25).into_bytes()), "cb3fd0000000000000");
    }

    #[test]
    fn strings_and_containers_survive_every_length_form() {
        for len in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(len);
            let bytes = Writer::new().str(&text).bin(text.as_bytes()).array(len).map(len).nil().bool(true).into_bytes();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.str(), Ok(text.as_str()));
            assert_eq!(reader.bin(), Ok(text.as_bytes()));
            assert_eq!((reader.array(), reader.map()), (Ok(len), Ok(len)));
            assert!(reader.nil() && reader.bool() == Ok(true) && reader.rest().is_empty());
        }
    }

    #[test]
    fn a_failed_read_takes_nothing() {
        let bytes = Writer::new().str("x").into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.bin(), Err(Invalid::Type));
        assert!(!reader.nil());
        assert_eq!(reader.str(), Ok("x"));
    }

    #[test]
    fn promised_lengths_are_not_believed() {
        for bytes in ["c6ffffffff", "dbffffffff", "ddffffffff", "dfffffffff", "c9ffffffff01", "93c0", "82c0c0c0"] {
            assert_eq!(Reader::new(&hex::decode(bytes).unwrap()).value(), Err(Invalid::Truncated), "{bytes}");
        }
        assert_eq!(Reader::new(&[0xa1, 0xff]).value(), Err(Invalid::Utf8));
        assert_eq!(Reader::new(&[0xc1]).value(), Err(Invalid::Type));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(check_single(&nested(DEPTH_MAX)), Ok(()));
        assert_eq!(check_single(&nested(DEPTH_MAX + 1)), Err(Invalid::Depth));
        assert_eq!(check_single(&[0xc0, 0xc0]), Err(Invalid::Trailing));
    }

    proptest! {
        #[test]
        fn a_value_is_always_a_prefix_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.value() {
                prop_assert!(!value.is_empty() && bytes.starts_with(value));
                prop_assert_eq!(value.len() + reader.rest().len(), bytes.len());
            } else {
                prop_assert_eq!(reader.rest().len(), bytes.len());
            }
        }
    }
}
