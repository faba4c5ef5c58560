//! Hashing of table keys with a seed that strangers do not know: who chooses keys cannot choose where they land.

use core::hash::{BuildHasher, Hash};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// Fixed, since only the seed of each table has to be secret.
static SHARED: SharedSeed = SharedSeed::from_u64(0x7765_6e64);

/// Where keys land in one table. The seed decides places, never an order that can be seen from outside.
#[derive(Debug, Clone)]
pub(crate) struct KeyHasher(SeedableRandomState);

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeedableRandomState::with_seed(seed, &SHARED))
    }

    pub(crate) fn hash(&self, key: &impl Hash) -> u64 {
        self.0.hash_one(key)
    }
}
