//! The costly and pure work on one segment: making it ready to send, and putting it together again.
//! docs/protocol/2-link.md, sections 9.2 and 9.9.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::unsealing::Unsealing;
use super::{MAP_HASH_LEN, MapHash, PREFIX_LEN, SEARCH_SCOPE};
use crate::compression::{self, Effort, Undecompressable};
use crate::crypto::{Token, TokenKey};
use crate::hash::{ResourceHash, sha256_head};

/// Bytes before the metadata, which say how long it is.
pub(crate) const METADATA_LEN_SIZE: usize = 3;
/// Attempts to find a random hash without collisions. One in ten thousand fails for the largest segment at MTU 500.
const RANDOM_HASH_ATTEMPTS: usize = 16;

/// Makes a segment ready to send. All randomness is drawn before, so that running it is pure.
pub(crate) struct Prepare {
    /// One MessagePack value, put before the body of the first segment.
    pub(crate) metadata: Option<Bytes>,
    /// This segment's share of the body.
    pub(crate) body: Bytes,
    /// Whether to try compression; a sample may say that it does not help.
    pub(crate) compress: Option<Effort>,
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
    /// Length of the content, metadata block included.
    pub(crate) content_len: usize,
    pub(crate) part_size: usize,
}

/// SHA-256 over `content` and something after it, for several of the latter: the content is read once.
fn content_hash(content: &Sha256, after: &[u8]) -> [u8; 32] {
    content.clone().chain_update(after).finalize().into()
}

impl Prepare {
    /// `None` when parts cannot be told apart, which happens only when they are a few bytes long.
    pub(crate) fn run(self) -> Option<Segment> {
        let content: Bytes = match &self.metadata {
            None => self.body.clone(),
            Some(metadata) => {
                let len = u32::try_from(metadata.len()).ok()?.to_be_bytes();
                [len.get(4 - METADATA_LEN_SIZE..)?, metadata, &self.body].concat().into()
            }
        };
        let compressed = self.compress.and_then(|effort| compression::compress(&content, effort));
        let payload = compressed.as_deref().unwrap_or(&content);
        let mut stream = Vec::with_capacity(Token::sealed_len(PREFIX_LEN + payload.len()));
        self.key.seal_pieces(&self.iv, &[&self.prefix, payload], &mut stream);
        let (random, map) = map_hashes(&stream, self.part_size, self.random)?;
        let digest = Sha256::new_with_prefix(&content);
        let hash = content_hash(&digest, &random);
        Some(Segment {
            hash: ResourceHash::new(hash),
            expected_proof: content_hash(&digest, &hash),
            random,
            stream: stream.into(),
            map,
            compressed: compressed.is_some(),
            content_len: content.len(),
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

/// Puts a segment together again.
pub(crate) struct Assemble {
    pub(crate) hash: ResourceHash,
    pub(crate) random: [u8; 4],
    /// All parts joined, opened as far as `unsealing` says.
    pub(crate) stream: Vec<u8>,
    pub(crate) unsealing: Unsealing,
    /// Whether the content begins with metadata: the first segment of a resource that has some.
    pub(crate) has_metadata: bool,
    /// Most bytes the content may have when it is decompressed.
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

impl From<Undecompressable> for Corrupt {
    fn from(why: Undecompressable) -> Self {
        match why {
            Undecompressable::Malformed => Self::Mismatch,
            Undecompressable::Endless => Self::Endless,
        }
    }
}

impl Assemble {
    /// What is decrypted stands where the parts stood, so that content which was not compressed is never copied.
    pub(crate) fn run(mut self) -> Result<Content, Corrupt> {
        let (payload, digest) = self.unsealing.finish(&mut self.stream).map_err(|_| Corrupt::Mismatch)?;
        let (mut content, digest): (Bytes, _) = match digest {
            Some(digest) => (Bytes::from(self.stream).slice(payload), digest),
            None => {
                let packed = self.stream.get(payload).unwrap_or_default();
                let content = compression::decompress(packed, self.limit)?;
                let digest = Sha256::new_with_prefix(&content);
                (content.into(), digest)
            }
        };
        if content_hash(&digest, &self.random) != *self.hash.as_bytes() {
            return Err(Corrupt::Mismatch);
        }
        let proof = content_hash(&digest, self.hash.as_ref());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;
    use proptest::prelude::*;

    fn prepare(body: Bytes, metadata: Option<Bytes>, part_size: usize) -> Prepare {
        let key = TokenKey::from_slice(&[7; 64]).unwrap();
        Prepare {
            metadata,
            body,
            compress: Some(Effort::Quick),
            key,
            part_size,
            prefix: [1; 4],
            iv: [2; 16],
            random: [3; 4],
        }
    }

    fn assemble(segment: &Segment, has_metadata: bool, limit: usize) -> Result<Content, Corrupt> {
        let parts: Vec<Bytes> = (0..segment.map.len()).map(|index| segment.part(index).unwrap()).collect();
        Assemble {
            hash: segment.hash,
            random: segment.random,
            stream: parts.concat(),
            unsealing: Unsealing::new(&TokenKey::from_slice(&[7; 64]).unwrap(), segment.compressed),
            has_metadata,
            limit,
        }
        .run()
    }

    #[test]
    fn noise_is_sent_as_it_is_and_text_compressed() {
        let noise: Vec<u8> = (0_u32..2000).flat_map(|n| sha256(&[&n.to_be_bytes()])).collect();
        assert!(!prepare(noise.into(), None, 464).run().unwrap().compressed);
        let text = b"the same words over and over ".repeat(3000);
        assert!(prepare(text.into(), None, 464).run().unwrap().compressed);
    }

    #[test]
    fn a_stream_longer_than_the_limit_is_endless() {
        let segment = prepare(vec![b'A'; 5000].into(), None, 464).run().unwrap();
        assert!(segment.compressed);
        assert_eq!(assemble(&segment, false, 4999), Err(Corrupt::Endless));
        assert_eq!(assemble(&segment, false, 5000).unwrap().body, vec![b'A'; 5000]);
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
            let content = assemble(&segment, metadata.is_some(), 4000).unwrap();
            prop_assert_eq!(content.proof, segment.expected_proof);
            prop_assert_eq!((content.body, content.metadata), (body, metadata));
        }
    }
}
