//! bzip2 for resources and streams: when it is worth trying, and how much it may grow to.
//! docs/protocol/2-link.md, sections 7.5, 9.2 and 9.9.

use std::io::Read as _;

use bzip2::read::BzEncoder;
use bzip2::{Decompress, Status};

/// Bytes looked at in each sample, and how many samples are spread over longer data.
const SAMPLE_LEN: usize = 8192;
const SAMPLES: usize = 4;
/// Sequences of four bytes that are remembered while looking for repetitions.
const MEMORY_MIN: usize = 1 << 8;
const MEMORY_MAX: usize = 1 << 14;
/// One position in so many has to repeat an earlier one for data to count as repetitive.
const REPEATS_ONE_IN: usize = 32;
/// Below so many bits per byte, letters alone say that data will shrink. Text has 4 to 5, machine code about 6; what is
/// encrypted or compressed already has more than 7.9, less what small samples make it seem.
const BITS_PER_BYTE: f64 = 7.2;
/// How many times better than its entropy says data without many repetitions is hoped to compress.
const BEYOND_LETTERS: f64 = 4.0;
const DECOMPRESS_STEP: usize = 65_536;
/// What the digit in the header of bzip2 data counts, in bytes.
const BLOCK_STEP: usize = 100_000;
/// Bytes at the end of a block that are never used.
const BLOCK_END: usize = 19;

/// Why compressed data cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecompressable {
    /// It is not bzip2, or damaged.
    Malformed,
    /// It does not end within the limit, or is cut short.
    Endless,
}

/// How much of the data is sorted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Blocks that fit the caches of a processor: for both ends together two thirds of the work, and up to a tenth more bytes.
    Quick,
    /// The largest blocks there are.
    Thorough,
}

impl Effort {
    fn level(self) -> bzip2::Compression {
        match self {
            Self::Quick => bzip2::Compression::new(4),
            Self::Thorough => bzip2::Compression::best(),
        }
    }
}

/// Compresses when that makes it smaller than it is. Data that a sample calls incompressible is not tried: the sample costs
/// a thousandth of the attempt.
pub(crate) fn compress(data: &[u8], effort: Effort) -> Option<Vec<u8>> {
    if Sample::of(data).may_shrink() { bzip2(data, data.len().saturating_sub(1), effort) } else { None }
}

/// Compresses to at most `max` bytes, or not at all.
pub(crate) fn bzip2(data: &[u8], max: usize, effort: Effort) -> Option<Vec<u8>> {
    let limit = u64::try_from(max).ok()?.saturating_add(1);
    let mut out = Vec::new();
    BzEncoder::new(data, effort.level()).take(limit).read_to_end(&mut out).ok()?;
    (out.len() <= max).then_some(out)
}

/// What a few pieces of some data say about how well it compresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Bytes of the data.
    of: usize,
    /// Bytes that were looked at.
    len: usize,
    /// Entropy, in bits, of each.
    bits: f64,
    /// Positions where four bytes came that had come before.
    repeats: usize,
}

impl Sample {
    /// Looks at up to four pieces that are spread over the data.
    pub(crate) fn of(data: &[u8]) -> Self {
        let stride = if data.len() > SAMPLES * SAMPLE_LEN { data.len() / SAMPLES } else { SAMPLE_LEN };
        let memory = data.len().next_power_of_two().clamp(MEMORY_MIN, MEMORY_MAX);
        let shift = u32::BITS - memory.ilog2();
        let mut counts = [0_u32; 256];
        let mut seen = vec![0_u32; memory];
        let (mut len, mut repeats) = (0, 0);
        for sample in data.chunks(stride).take(SAMPLES) {
            let sample = sample.get(..SAMPLE_LEN).unwrap_or(sample);
            for byte in sample {
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                }
            }
            for window in sample.windows(4) {
                let word = window.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                // The upper bits of a multiplicative hash.
                let slot = usize::try_from(word.wrapping_mul(0x9e37_79b1) >> shift).unwrap_or_default();
                if let Some(last) = seen.get_mut(slot) {
                    repeats += usize::from(*last == word);
                    *last = word;
                }
            }
            len += sample.len();
        }
        Self { of: data.len(), len, bits: bits_per_byte(&counts, len), repeats }
    }

    /// Whether there are few enough different bytes, or enough repetitions, for an attempt. Repetitions further apart than
    /// the pieces are long go unseen.
    pub(crate) fn may_shrink(&self) -> bool {
        self.repeats * REPEATS_ONE_IN > self.len || self.bits < BITS_PER_BYTE
    }

    /// Whether it may shrink to `max` bytes: letters alone seldom gain more than this.
    pub(crate) fn may_shrink_to(&self, max: usize) -> bool {
        let by_letters = self.of as f64 * self.bits / 8.0 / BEYOND_LETTERS;
        self.may_shrink() && (self.repeats * 2 > self.len || by_letters <= max as f64)
    }
}

/// Entropy of the bytes, with the usual correction for what few of them hide.
fn bits_per_byte(counts: &[u32; 256], len: usize) -> f64 {
    let total = (len as f64).max(1.0);
    let present = counts.iter().filter(|count| **count > 0);
    let (mut bits, mut kinds) = (0.0, 0.0);
    for count in present {
        let share = f64::from(*count) / total;
        bits -= share * share.log2();
        kinds += 1.0;
    }
    bits + (kinds - 1.0) / (2.0 * total * core::f64::consts::LN_2)
}

/// The size of blocks, in steps of 100,000 bytes, that data of at most so many bytes may need. Runs of four bytes may take
/// five in a block.
fn block_steps(limit: usize) -> usize {
    limit.saturating_mul(5).div_ceil(4).saturating_add(BLOCK_END).div_ceil(BLOCK_STEP).clamp(1, 9)
}

/// Decompresses to at most `limit` bytes.
///
/// Work and memory go by the size of the blocks, which the data claims: a few bytes can stand for a block of 900,000 that
/// is unpacked whole before its first byte comes out. So the claim is cut down to what the limit allows, and a block that is
/// larger all the same is malformed.
pub(crate) fn decompress(mut input: &[u8], limit: usize) -> Result<Vec<u8>, Undecompressable> {
    let mut stream = Decompress::new(false);
    let mut out = Vec::new();
    if let Some((&[b'B', b'Z', b'h', steps @ b'1'..=b'9'], rest)) = input.split_first_chunk() {
        let steps = usize::from(steps - b'0').min(block_steps(limit));
        let digit = b'0' + u8::try_from(steps).unwrap_or(9);
        stream.decompress_vec(&[b'B', b'Z', b'h', digit], &mut out).map_err(|_| Undecompressable::Malformed)?;
        input = rest;
    }
    loop {
        // One byte over the limit is enough to see that the stream is too long.
        let room = limit.saturating_add(1).saturating_sub(out.len());
        if out.len() == out.capacity() {
            // Twice as much each time, but never more than may come.
            out.reserve_exact(out.len().max(DECOMPRESS_STEP).min(room));
        }
        let (before_in, before_out) = (stream.total_in(), out.len());
        let status = stream.decompress_vec(input, &mut out).map_err(|_| Undecompressable::Malformed)?;
        let used =
            usize::try_from(stream.total_in().saturating_sub(before_in)).map_err(|_| Undecompressable::Malformed)?;
        input = input.get(used..).unwrap_or_default();
        if out.len() > limit {
            return Err(Undecompressable::Endless);
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if used == 0 && out.len() == before_out {
            return Err(Undecompressable::Endless);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    fn noise(len: usize) -> Vec<u8> {
        (0_u64..).flat_map(|n| sha256(&[&n.to_be_bytes()])).take(len).collect()
    }

    #[test]
    fn noise_is_not_tried_and_everything_that_shrinks_is() {
        for len in [1000, 8192, 40_000, 1_048_575] {
            assert!(!Sample::of(&noise(len)).may_shrink(), "{len}");
        }
        let words = b"the same words over and over, more or less ".repeat(3000);
        let repeated = noise(3000).repeat(4);
        let counters: Vec<u8> = (0_u32..20_000).flat_map(u32::to_be_bytes).collect();
        for data in [&words[..], &words[..400], &repeated, &counters] {
            assert!(compress(data, Effort::Quick).is_some());
        }
        assert_eq!(compress(b"", Effort::Quick), None);
    }

    #[test]
    fn a_stream_longer_than_the_limit_or_without_an_end_is_endless() {
        let whole = compress(&[b'A'; 5000], Effort::Quick).unwrap();
        assert_eq!(decompress(&whole, 5000).unwrap(), [b'A'; 5000]);
        assert_eq!(decompress(&whole, 4999), Err(Undecompressable::Endless));
        assert_eq!(decompress(&whole[..whole.len() - 1], 9999), Err(Undecompressable::Endless));
        assert_eq!(decompress(b"no bzip2 at all", 9999), Err(Undecompressable::Malformed));
        assert_eq!(decompress(b"", 9999), Err(Undecompressable::Endless));
    }

    #[test]
    fn decompression_holds_no_more_than_it_may() {
        let whole = compress(&vec![b'A'; 1_000_000], Effort::Thorough).unwrap();
        let out = decompress(&whole, 1_000_000).unwrap();
        assert!(out.len() == 1_000_000 && out.capacity() <= 1_200_000, "{}", out.capacity());
    }

    #[test]
    fn a_block_larger_than_what_may_come_out_is_not_unpacked() {
        // A few bytes that stand for a block of 900,000: nothing but one byte, in runs that a block keeps as they are.
        let bomb = bzip2(
            &(0..720_000_u32).map(|at| u8::try_from(at / 4 % 2).unwrap()).collect::<Vec<_>>(),
            1000,
            Effort::Thorough,
        )
        .unwrap();
        assert_eq!(decompress(&bomb, 16_384), Err(Undecompressable::Malformed));
        assert!(decompress(&bomb, 720_000).is_ok());
        // The worst for a block is what has all its runs just long enough.
        for len in [1, 16_384, 79_999, 80_000, 80_001, 720_000, 1_048_575] {
            let worst: Vec<u8> = (0..len).map(|at| u8::try_from(at / 4 % 251).unwrap()).collect();
            let packed = bzip2(&worst, 2 * len + 1000, Effort::Thorough).unwrap();
            assert!(decompress(&packed, len).is_ok_and(|out| out == worst), "{len}");
        }
    }
}
