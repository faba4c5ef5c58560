//! Randomness that follows from one seed: a stream of its own for every node and for the media.

use std::time::Duration;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The stream of one user of randomness. Streams of different names or numbers have nothing in common.
pub(crate) fn stream(seed: u64, name: &str, number: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(name.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// From 0 up to, not including, 1.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// True with the given chance, from 0 to 1. Takes no randomness where the answer is sure.
pub(crate) fn chance(rng: &mut ChaCha8Rng, of: f64) -> bool {
    of > 0.0 && (of >= 1.0 || unit(rng) < of)
}

/// From 0 up to, not including, `limit`; 0 when the limit is.
pub fn below(rng: &mut ChaCha8Rng, limit: usize) -> usize {
    let scaled = (u128::from(rng.next_u64()) * limit as u128) >> 64;
    usize::try_from(scaled).unwrap_or_default()
}

/// From zero up to `limit`.
pub(crate) fn duration_below(rng: &mut ChaCha8Rng, limit: Duration) -> Duration {
    if limit.is_zero() { Duration::ZERO } else { limit.mul_f64(unit(rng)) }
}

/// Times between things that happen independently of each other.
pub(crate) fn exponential(rng: &mut ChaCha8Rng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - unit(rng)).ln())
}

/// A stream of its own that follows from another.
pub(crate) fn fork(rng: &mut ChaCha8Rng) -> ChaCha8Rng {
    ChaCha8Rng::from_rng(rng)
}
