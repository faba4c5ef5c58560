//! The header of a safetensors file: a length (8 bytes, little-endian), then JSON that says where each tensor lies in the
//! data behind it.

use serde::Deserialize;

use super::{Fault, json};

/// The longest header that is read: some 40,000 tensors.
pub const HEADER_MAX: u64 = 8 << 20;
/// The most tensors of an adapter.
pub const TENSORS_MAX: usize = 50_000;
/// Bytes at the start of a file that say how long the header is.
pub const PREFIX: usize = 8;

/// The type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754, 16 bits.
    F16,
    /// The upper half of an `F32`.
    Bf16,
    /// IEEE 754, 32 bits.
    F32,
}

impl Dtype {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            "F32" => Some(Self::F32),
            _ => None,
        }
    }

    /// As the header writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
        }
    }

    /// Bytes of a number.
    pub fn width(self) -> u64 {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A tensor, its place within the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Where it begins.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
}

/// How many bytes of header follow the first eight bytes of a file of `file_len` bytes.
///
/// # Errors
/// When this is a pickle, or the header would be longer than the file or than [`HEADER_MAX`].
pub fn header_len(head: &[u8], file_len: u64) -> Result<u64, Fault> {
    // Protocols 2 to 5 of pickle, and the zip archive that holds one.
    if matches!(head, [0x80, 2..=5, ..] | [b'P', b'K', 3, 4, ..]) {
        return Err(Fault::Pickle);
    }
    let claimed = u64::from_le_bytes(*head.first_chunk().ok_or(Fault::TooShort { len: file_len })?);
    if claimed > file_len.saturating_sub(8) {
        return Err(Fault::HeaderBeyondEnd { claimed, len: file_len });
    }
    if claimed > HEADER_MAX {
        return Err(Fault::HeaderTooLong { claimed, max: HEADER_MAX });
    }
    Ok(claimed)
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Reads a header and checks that its tensors fill `data_len` bytes without overlap and without holes. They come back in
/// the order in which they lie.
///
/// # Errors
/// The first [`Fault`] that was found.
pub fn read_header(header: &[u8], data_len: u64) -> Result<Vec<Tensor>, Fault> {
    let pairs = json::object::<Entry>(header, "__metadata__")?;
    if pairs.len() > TENSORS_MAX {
        return Err(Fault::TooManyTensors { count: pairs.len(), max: TENSORS_MAX });
    }
    let mut tensors = pairs.into_iter().map(|(name, entry)| read_entry(name, entry)).collect::<Result<Vec<_>, _>>()?;
    if tensors.is_empty() {
        return Err(Fault::Empty);
    }
    tensors.sort_by(|one, other| (one.begin, one.end, &one.name).cmp(&(other.begin, other.end, &other.name)));
    check_places(&tensors, data_len)?;
    Ok(tensors)
}

fn read_entry(name: String, entry: Entry) -> Result<Tensor, Fault> {
    let Entry { dtype, shape, data_offsets: [begin, end] } = entry;
    let Some(known) = Dtype::from_name(&dtype) else { return Err(Fault::Dtype { tensor: name, dtype }) };
    let found = end.checked_sub(begin).ok_or_else(|| Fault::Backwards { tensor: name.clone(), begin, end })?;
    let wanted = shape.iter().try_fold(known.width(), |len, dimension| len.checked_mul(*dimension));
    if wanted != Some(found) {
        let wanted = wanted.map_or_else(|| "more than 2^64".into(), |wanted| wanted.to_string());
        return Err(Fault::Size { tensor: name, dtype, shape, wanted, found });
    }
    Ok(Tensor { name, dtype: known, shape, begin, end })
}

fn check_places(tensors: &[Tensor], data_len: u64) -> Result<(), Fault> {
    let mut before: Option<&Tensor> = None;
    for tensor in tensors {
        let expected = before.map_or(0, |before| before.end);
        if let Some(before) = before.filter(|_| tensor.begin < expected) {
            let (first, second) = (before.name.clone(), tensor.name.clone());
            return Err(Fault::Overlap { first, second, at: tensor.begin });
        }
        if tensor.begin > expected {
            return Err(Fault::Hole { tensor: tensor.name.clone(), len: tensor.begin - expected });
        }
        if tensor.end > data_len {
            return Err(Fault::BeyondEnd { tensor: tensor.name.clone(), end: tensor.end, len: data_len });
        }
        before = Some(tensor);
    }
    let end = before.map_or(0, |last| last.end);
    if end < data_len { Err(Fault::TrailingBytes { len: data_len - end }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(entries: &[(&str, &str, &[u64], u64, u64)]) -> Vec<u8> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, dtype, shape, begin, end)| {
                format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
            })
            .collect();
        format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, entries.join(",")).into_bytes()
    }

    #[test]
    fn a_sound_header_lists_its_tensors_as_they_lie() {
        let header =
            header(&[("b", "F32", &[2, 2], 12, 28), ("a", "F16", &[6], 0, 12), ("none", "BF16", &[0, 4], 12, 12)]);
        let names: Vec<_> = read_header(&header, 28).unwrap().into_iter().map(|tensor| tensor.name).collect();
        assert_eq!(names, ["a", "none", "b"]);
    }

    #[test]
    fn each_fault_has_its_name() {
        let fault = |entries: &[(&str, &str, &[u64], u64, u64)], len| read_header(&header(entries), len).unwrap_err();
        let a = ("a", "F16", &[6_u64][..], 0, 12);
        assert!(matches!(fault(&[("a", "F16", &[6], 0, 13)], 13), Fault::Size { found: 13, .. }));
        assert!(matches!(fault(&[("a", "F16", &[u64::MAX, 3], 0, 12)], 12), Fault::Size { .. }));
        assert!(matches!(fault(&[("a", "I64", &[6], 0, 48)], 48), Fault::Dtype { .. }));
        assert!(matches!(fault(&[("a", "F16", &[6], 12, 0)], 12), Fault::Backwards { begin: 12, end: 0, .. }));
        assert!(matches!(fault(&[a, ("b", "F16", &[6], 10, 22)], 22), Fault::Overlap { at: 10, .. }));
        assert!(matches!(fault(&[a, ("b", "F16", &[6], 14, 26)], 26), Fault::Hole { len: 2, .. }));
        assert!(matches!(fault(&[a], 11), Fault::BeyondEnd { end: 12, len: 11, .. }));
        assert!(matches!(fault(&[a], 14), Fault::TrailingBytes { len: 2 }));
        assert_eq!(fault(&[a, a], 12), Fault::DuplicateKey { key: "a".into() });
        assert_eq!(read_header(b"{}", 0), Err(Fault::Empty));
        assert!(matches!(read_header(b"{", 0), Err(Fault::Json { .. })));
        assert!(matches!(
            read_header(br#"{"a":{"dtype":"F16","dtype":"F32","shape":[],"data_offsets":[0,2]}}"#, 2),
            Err(Fault::Json { .. })
        ));
    }

    #[test]
    fn the_first_bytes_tell_pickles_and_absurd_lengths() {
        assert_eq!(header_len(b"\x80\x02}q\x00X...", 100), Err(Fault::Pickle));
        assert_eq!(header_len(b"PK\x03\x04aaaa", 100), Err(Fault::Pickle));
        assert_eq!(header_len(&[1, 2], 2), Err(Fault::TooShort { len: 2 }));
        assert_eq!(header_len(&100_u64.to_le_bytes(), 107), Err(Fault::HeaderBeyondEnd { claimed: 100, len: 107 }));
        assert!(matches!(header_len(&u64::MAX.to_le_bytes(), 107), Err(Fault::HeaderBeyondEnd { .. })));
        let claimed = HEADER_MAX + 1;
        assert_eq!(header_len(&claimed.to_le_bytes(), 1 << 40), Err(Fault::HeaderTooLong { claimed, max: HEADER_MAX }));
        assert_eq!(header_len(&100_u64.to_le_bytes(), 108), Ok(100));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(header in "\\PC{0,200}", len in any::<u64>(), offsets in any::<[u64; 4]>()) {
            let _ = read_header(header.as_bytes(), len);
            let [a, b, c, d] = offsets;
            let made = format!(r#"{{"x":{{"dtype":"F16","shape":[{a},{b}],"data_offsets":[{c},{d}]}}}}"#);
            let _ = read_header(made.as_bytes(), len);
        }
    }
}
