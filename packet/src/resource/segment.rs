//! The costly and pure work on one segment: making it ready to send, and putting it together again.
//! docs/protocol/2-link.md, sections 9.2 and 9.9.

use std::collections::{BTreeSet, VecDeque};
use std::io::Read as _;

use bytes::Bytes;
use bzip2::{Decompress, Status, read::BzEncoder};

use super::{MAP_HASH_LEN, MapHash, PREFIX_LEN, SEARCH_SCOPE};
use crate::crypto::TokenKey;
use crate::hash::{ResourceHash, sha256, sha256_head};

const METADATA_LEN_SIZE: usize = 3;
/// Attempts to find a random hash without collisions. One in ten thousand fails for the largest segment at MTU 500.
const RANDOM_HASH_ATTEMPTS: usize = 16;
/// What is longer than four of these is sampled before it is compressed as a whole.
const SAMPLE_LEN: usize = 8192;
const SAMPLES: usize = 4;
const DECOMPRESS_STEP: usize = 65_536;

/// Makes a segment ready to send. All randomness is drawn before, so that running it is pure.
pub(crate) struct Prepare {
    /// One MessagePack value, put before the body.
    pub(crate) metadata: Option<Bytes>,
    pub(crate) body: Bytes,
    /// Whether to try compression; a sample may say that it does not help.
    pub(crate) compress: bool,
    pub(crate) key: TokenKey,
    pub(crate) part_size: usize,
    pub(crate) prefix: [u8; PREFIX_LEN],
    pub(crate) iv: [u8; 16],
    /// The first random hash to try.
    pub(crate) random: [u8; 4],
}

/// A segment that is ready to send.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) hash: ResourceHash,
    pub(crate) expected_proof: [u8; 32],
    pub(crate) random: [u8; 4],
    /// The encrypted stream that is cut into parts.
    pub(crate) stream: Bytes,
    pub(crate) map: Vec<MapHash>,
    pub(crate) compressed: bool,
    pub(crate) has_metadata: bool,
    /// Length of the content, metadata block included.
    pub(crate) total: usize,
    pub(crate) part_size: usize,
}

impl Prepare {
    /// Length of the content: what counts against [`SEGMENT_MAX`](super::SEGMENT_MAX).
    pub(crate) fn content_len(metadata: Option<&Bytes>, body: &Bytes) -> usize {
        body.len() + metadata.map_or(0, |metadata| METADATA_LEN_SIZE + metadata.len())
    }

    /// `None` when parts cannot be told apart, which happens only when they are a few bytes long.
    pub(crate) fn run(self) -> Option<Segment> {
        let content: Bytes = match &self.metadata {
            None => self.body.clone(),
            Some(metadata) => {
                let len = u32::try_from(metadata.len()).ok()?.to_be_bytes();
                [len.get(4 - METADATA_LEN_SIZE..)?, metadata, &self.body].concat().into()
            }
        };
        let compressed = if self.compress { compress(&content) } else { None };
        let payload = compressed.as_deref().unwrap_or(&content);
        let plain = zeroize::Zeroizing::new([&self.prefix[..], payload].concat());
        let mut stream = Vec::new();
        self.key.seal(&self.iv, &plain, &mut stream);
        let (random, map) = map_hashes(&stream, self.part_size, self.random)?;
        let hash = sha256(&[&content, &random]);
        Some(Segment {
            hash: ResourceHash::new(hash),
            expected_proof: sha256(&[&content, &hash]),
            random,
            stream: stream.into(),
            map,
            compressed: compressed.is_some(),
            has_metadata: self.metadata.is_some(),
            total: content.len(),
            part_size: self.part_size,
        })
    }
}

impl Segment {
    /// The part with this number.
    pub(crate) fn part(&self, index: usize) -> Option<Bytes> {
        let start = index.checked_mul(self.part_size).filter(|start| *start < self.stream.len())?;
        let end = start.saturating_add(self.part_size).min(self.stream.len());
        Some(self.stream.slice(start..end))
    }
}

/// The name of a part.
pub(crate) fn map_hash(part: &[u8], random: [u8; 4]) -> MapHash {
    sha256_head::<MAP_HASH_LEN>(&[part, &random])
}

/// Names all parts, with another random hash whenever two close ones would have the same name.
fn map_hashes(stream: &[u8], part_size: usize, mut random: [u8; 4]) -> Option<([u8; 4], Vec<MapHash>)> {
    if part_size == 0 {
        return None;
    }
    for _ in 0..RANDOM_HASH_ATTEMPTS {
        let mut recent = BTreeSet::new();
        let mut order = VecDeque::new();
        let mut map = Vec::with_capacity(stream.len().div_ceil(part_size));
        for part in stream.chunks(part_size) {
            let name = map_hash(part, random);
            if !recent.insert(name) {
                break;
            }
            order.push_back(name);
            if order.len() > SEARCH_SCOPE
                && let Some(oldest) = order.pop_front()
            {
                recent.remove(&oldest);
            }
            map.push(name);
        }
        if map.len() == stream.len().div_ceil(part_size) {
            return Some((random, map));
        }
        random = sha256_head(&[&random]);
    }
    None
}

/// Compresses when that makes it smaller. A sample decides whether long content is worth the work.
fn compress(content: &[u8]) -> Option<Vec<u8>> {
    if content.len() > SAMPLES * SAMPLE_LEN {
        let stride = content.len() / SAMPLES;
        let sample: Vec<u8> = content.chunks(stride).flat_map(|chunk| chunk.iter().take(SAMPLE_LEN)).copied().collect();
        bzip2_smaller(&sample)?;
    }
    bzip2_smaller(content)
}

fn bzip2_smaller(content: &[u8]) -> Option<Vec<u8>> {
    let limit = u64::try_from(content.len()).ok()?;
    let mut out = Vec::new();
    BzEncoder::new(content, bzip2::Compression::best()).take(limit).read_to_end(&mut out).ok()?;
    (out.len() < content.len()).then_some(out)
}

/// Puts a segment together again.
pub(crate) struct Assemble {
    pub(crate) hash: ResourceHash,
    pub(crate) random: [u8; 4],
    /// All parts joined.
    pub(crate) stream: Vec<u8>,
    pub(crate) compressed: bool,
    pub(crate) has_metadata: bool,
    pub(crate) key: TokenKey,
    /// Most bytes the content may have.
    pub(crate) limit: usize,
}

/// What was in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) metadata: Option<Bytes>,
    pub(crate) body: Bytes,
    /// What proves to the sender that it arrived.
    pub(crate) proof: [u8; 32],
}

/// Why a segment is not what was advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corrupt {
    /// It does not decrypt, decompress or hash to what was promised.
    Mismatch,
    /// Its compressed stream does not end within the limit. This closes the link.
    Endless,
}

impl Assemble {
    pub(crate) fn run(self) -> Result<Content, Corrupt> {
        let plain = self.key.open(&self.stream).map_err(|_| Corrupt::Mismatch)?;
        drop(self.stream);
        let mut content: Bytes = if self.compressed {
            decompress(plain.get(PREFIX_LEN..).ok_or(Corrupt::Mismatch)?, self.limit)?.into()
        } else {
            let mut plain = Bytes::from(plain);
            if plain.len() < PREFIX_LEN {
                return Err(Corrupt::Mismatch);
            }
            plain.split_off(PREFIX_LEN)
        };
        if sha256(&[&content, &self.random]) != *self.hash.as_bytes() {
            return Err(Corrupt::Mismatch);
        }
        let proof = sha256(&[&content, self.hash.as_ref()]);
        let metadata = if self.has_metadata { Some(split_metadata(&mut content)?) } else { None };
        Ok(Content { metadata, body: content, proof })
    }
}

fn split_metadata(content: &mut Bytes) -> Result<Bytes, Corrupt> {
    let [high, middle, low] = *content.first_chunk::<METADATA_LEN_SIZE>().ok_or(Corrupt::Mismatch)?;
    let len = usize::try_from(u32::from_be_bytes([0, high, middle, low])).map_err(|_| Corrupt::Mismatch)?;
    if content.len() < METADATA_LEN_SIZE + len {
        return Err(Corrupt::Mismatch);
    }
    let body = content.split_off(METADATA_LEN_SIZE + len);
    let metadata = content.split_off(METADATA_LEN_SIZE);
    *content = body;
    Ok(metadata)
}

fn decompress(mut input: &[u8], limit: usize) -> Result<Vec<u8>, Corrupt> {
    let mut stream = Decompress::new(false);
    let mut out = Vec::new();
    loop {
        // One byte over the limit is enough to see that the stream is too long.
        let room = limit.saturating_add(1).saturating_sub(out.len()).min(DECOMPRESS_STEP);
        out.reserve_exact(room);
        let (before_in, before_out) = (stream.total_in(), out.len());
        let status = stream.decompress_vec(input, &mut out).map_err(|_| Corrupt::Mismatch)?;
        let used = usize::try_from(stream.total_in().saturating_sub(before_in)).map_err(|_| Corrupt::Mismatch)?;
        input = input.get(used..).unwrap_or_default();
        if out.len() > limit {
            return Err(Corrupt::Endless);
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if used == 0 && out.len() == before_out {
            return Err(Corrupt::Endless);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepare(body: Bytes, metadata: Option<Bytes>, part_size: usize) -> Prepare {
        let key = TokenKey::from_slice(&[7; 64]).unwrap();
        Prepare { metadata, body, compress: true, key, part_size, prefix: [1; 4], iv: [2; 16], random: [3; 4] }
    }

    fn assemble(segment: &Segment, limit: usize) -> Result<Content, Corrupt> {
        let parts: Vec<Bytes> = (0..segment.map.len()).map(|index| segment.part(index).unwrap()).collect();
        Assemble {
            hash: segment.hash,
            random: segment.random,
            stream: parts.concat(),
            compressed: segment.compressed,
            has_metadata: segment.has_metadata,
            key: TokenKey::from_slice(&[7; 64]).unwrap(),
            limit,
        }
        .run()
    }

    #[test]
    fn long_content_that_a_sample_calls_random_is_not_compressed() {
        let noise: Vec<u8> = (0_u32..2000).flat_map(|n| sha256(&[&n.to_be_bytes()])).collect();
        assert!(!prepare(noise.into(), None, 464).run().unwrap().compressed);
        let text = b"the same words over and over ".repeat(3000);
        assert!(prepare(text.into(), None, 464).run().unwrap().compressed);
    }

    #[test]
    fn a_stream_longer_than_the_limit_or_without_an_end_is_endless() {
        let segment = prepare(vec![b'A'; 5000].into(), None, 464).run().unwrap();
        assert!(segment.compressed);
        assert_eq!(assemble(&segment, 4999), Err(Corrupt::Endless));
        assert_eq!(assemble(&segment, 5000).unwrap().body, vec![b'A'; 5000]);
        let whole = bzip2_smaller(&[b'A'; 5000]).unwrap();
        assert_eq!(decompress(&whole[..whole.len() - 1], 9999), Err(Corrupt::Endless));
        assert_eq!(decompress(b"no bzip2 at all", 9999), Err(Corrupt::Mismatch));
        assert_eq!(decompress(b"", 9999), Err(Corrupt::Endless));
    }

    #[test]
    fn parts_of_one_byte_cannot_be_told_apart() {
        assert!(prepare(vec![0; 2000].into(), None, 1).run().is_none());
        assert!(prepare(vec![0; 2000].into(), None, 0).run().is_none());
    }

    proptest! {
        #[test]
        fn a_segment_comes_back_as_it_was(
            body in proptest::collection::vec(any::<u8>(), 0..3000),
            metadata in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
            part_size in 183_usize..2000,
        ) {
            let (body, metadata) = (Bytes::from(body), metadata.map(Bytes::from));
            let segment = prepare(body.clone(), metadata.clone(), part_size).run().unwrap();
            let content = assemble(&segment, 4000).unwrap();
            prop_assert_eq!(content.proof, segment.expected_proof);
            prop_assert_eq!((content.body, content.metadata), (body, metadata));
        }
    }
}
