//! Where the data of an outgoing resource comes from.

use bytes::Bytes;

/// The body of an outgoing resource.
#[derive(Debug)]
pub(super) enum Source {
    /// All of it is here.
    Whole(Bytes),
    /// The application supplies it, segment by segment.
    Supplied {
        /// Bytes in all.
        len: u64,
    },
}

impl Source {
    /// Bytes of the body.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Whole(body) => u64::try_from(body.len()).unwrap_or(u64::MAX),
            Self::Supplied { len } => *len,
        }
    }

    /// Bytes that are held here.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Whole(body) => body.len(),
            Self::Supplied { .. } => 0,
        }
    }

    /// `len` bytes from `offset` on, if they are here.
    pub(super) fn slice(&self, offset: u64, len: usize) -> Option<Bytes> {
        match self {
            Self::Whole(body) => {
                let start = usize::try_from(offset).ok()?.min(body.len());
                Some(body.slice(start..start.saturating_add(len).min(body.len())))
            }
            Self::Supplied { .. } => None,
        }
    }
}

impl From<Vec<u8>> for Source {
    fn from(body: Vec<u8>) -> Self {
        Self::Whole(body.into())
    }
}
