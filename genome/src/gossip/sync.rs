//! The sync dialogue: requests and responses of the command `genome/sync`. docs/protocol/mesh.md, Catalog sync.
//!
//! The [asker](SyncAsker) sends coded symbols of what it has; the [answerer](SyncAnswerer) finds the difference, sends the
//! cards that the asker lacks and names those that it wants. Neither does I/O, and neither puts anything into a catalog:
//! cards go through the [intake](super::intake).

mod answerer;
mod asker;
#[cfg(test)]
mod tests;

pub use answerer::{Answer, SyncAnswerer};
pub use asker::{Limits, SyncAsker, SyncError, Traffic};

use super::reconcile::SYMBOLS_MAX;

/// Differences that one comparison may settle; beyond them the ids are shared out into parts.
const DIFFERENCES_MAX: usize = 200;
/// Differences aimed at in a part.
const DIFFERENCES_PART: usize = 128;
/// The first symbols of a comparison of unknown outcome: enough for ten differences every second time.
const SYMBOLS_FIRST: usize = 16;
/// The first symbols of a part, which is known to hold some hundred differences.
const SYMBOLS_PART: usize = 96;

/// How many symbols settle about `differences`, with a little to spare.
fn symbols_for(differences: usize) -> usize {
    (differences + differences / 2 + 7).clamp(SYMBOLS_FIRST, SYMBOLS_MAX)
}

/// How many bits share out so many differences well.
fn bits_for(differences: usize) -> u8 {
    let parts = differences.div_ceil(DIFFERENCES_PART).max(2).next_power_of_two();
    u8::try_from(parts.ilog2()).unwrap_or(u8::MAX).min(super::reconcile::Part::BITS_MAX)
}

/// Whether somebody with `own` entries asks a node of `count` for everything, rather than for a comparison.
fn is_newcomer(own: usize, count: usize) -> bool {
    own <= super::message::HAVE_MAX && count > own + DIFFERENCES_MAX
}
