//! What goes over the pipes between a node and its embedder: a length (u32, big-endian), then so many bytes.
//!
//! To the embedder go texts, UTF-8. From it come answers, of which the first byte says what they are; the first answer
//! comes unasked and names the space. Both sides are the same binary, so nothing is versioned.

use std::io::{self, Read, Write};

use crate::entry::SpaceId;

/// Longest frame in either direction. A text is at most [`TEXT_MAX`](super::TEXT_MAX), a vector of 384 values 1,537.
pub(super) const FRAME_MAX: usize = 16 * 1024;
/// Longest explanation an embedder gives.
#[cfg(any(test, feature = "embeddings"))]
const REASON_MAX: usize = 1024;

const READY: u8 = 0;
const VECTOR: u8 = 1;
const REFUSED: u8 = 2;

/// An answer of the embedder.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The model is loaded.
    Ready { space: SpaceId, dims: u16 },
    /// The vector of the text.
    Vector(Vec<f32>),
    /// There is none, for this reason.
    Refused(String),
}

impl Answer {
    #[cfg(any(test, feature = "embeddings"))]
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready { space, dims } => [&[READY][..], &space.0, &dims.to_be_bytes()].concat(),
            Self::Vector(values) => {
                let mut bytes = Vec::with_capacity(1 + values.len() * 4);
                bytes.push(VECTOR);
                values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
                bytes
            }
            Self::Refused(reason) => {
                let end = reason.floor_char_boundary(REASON_MAX);
                [&[REFUSED][..], reason.get(..end).unwrap_or_default().as_bytes()].concat()
            }
        }
    }

    /// `None` for what no embedder of ours says.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            READY => {
                let (space, dims) = rest.split_first_chunk::<4>()?;
                Some(Self::Ready { space: SpaceId(*space), dims: u16::from_be_bytes(dims.try_into().ok()?) })
            }
            VECTOR => {
                let (values, odd) = rest.as_chunks::<4>();
                odd.is_empty().then(|| Self::Vector(values.iter().map(|value| f32::from_le_bytes(*value)).collect()))
            }
            REFUSED => Some(Self::Refused(String::from_utf8_lossy(rest).into_owned())),
            _ => None,
        }
    }
}

/// Writes one frame and flushes.
pub(super) fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "frame too long");
    let length = u32::try_from(bytes.len()).map_err(too_long)?;
    to.write_all(&[&length.to_be_bytes(), bytes].concat())?;
    to.flush()
}

/// Reads one frame; `None` where the stream ends between two.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let mut have = 0;
    while let Some(room) = length.get_mut(have..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_survive_the_pipe() {
        for answer in [
            Answer::Ready { space: SpaceId([1, 2, 3, 4]), dims: 384 },
            Answer::Vector(vec![0.5, -1.0, f32::MIN_POSITIVE]),
            Answer::Refused("no such file".to_owned()),
        ] {
            let mut pipe = Vec::new();
            write(&mut pipe, &answer.encode()).unwrap();
            let mut reading = pipe.as_slice();
            let frame = read(&mut reading).unwrap().unwrap();
            assert_eq!(Answer::decode(&frame), Some(answer));
            assert_eq!(read(&mut reading).unwrap(), None);
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let encoded = Answer::Refused("ä".repeat(REASON_MAX)).encode();
        assert!(encoded.len() <= REASON_MAX + 1);
        assert!(matches!(Answer::decode(&encoded), Some(Answer::Refused(reason)) if !reason.contains('\u{fffd}')));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::decode(&bytes);
            let mut reading = bytes.as_slice();
            while let Ok(Some(frame)) = read(&mut reading) {
                prop_assert!(frame.len() <= FRAME_MAX);
            }
        }
    }
}
