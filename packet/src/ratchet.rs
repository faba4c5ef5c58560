//! Ratchets: keys that a destination changes, so that what was sent to it cannot be read by whoever gets hold of its
//! identity later. docs/protocol/1-core.md, section 1.4.

use core::fmt;
use core::time::Duration;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto;
use crate::hash::{RatchetId, sha256_head};
use crate::time::Instant;

/// Length of a ratchet key, private or public.
pub const RATCHET_LEN: usize = 32;
/// Least time between two new ratchets of one destination, unless it says otherwise.
pub const RATCHET_INTERVAL: Duration = Duration::from_secs(1800);
/// Ratchets a destination keeps to decrypt with, unless it says otherwise.
pub const RATCHETS_RETAINED: usize = 512;
/// How long a ratchet heard from somebody else is encrypted to.
pub const RATCHET_EXPIRY: Duration = Duration::from_secs(2_592_000);

/// A ratchet's private key, in the hands of the destination that made it. It is not compared, as that would take time
/// that tells about it.
///
/// ```compile_fail,E0277
/// fn compare<T: PartialEq>() {}
/// compare::<wend_packet::ratchet::RatchetKey>();
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RatchetKey([u8; RATCHET_LEN]);

impl fmt::Debug for RatchetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl RatchetKey {
    /// The ratchet with this private key.
    pub const fn new(private: [u8; RATCHET_LEN]) -> Self {
        Self(private)
    }

    fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut private = Zeroizing::new([0; RATCHET_LEN]);
        rng.fill_bytes(private.as_mut());
        Self(*private)
    }

    /// The private key.
    pub fn private(&self) -> &[u8; RATCHET_LEN] {
        &self.0
    }

    /// The public half, as announces carry it.
    pub fn public(&self) -> [u8; RATCHET_LEN] {
        crypto::x25519_public(&self.0)
    }

    /// Short name of the ratchet.
    pub fn id(&self) -> RatchetId {
        RatchetId::of(&self.public())
    }
}

impl RatchetId {
    /// The name of the ratchet with this public half.
    pub fn of(public: &[u8; RATCHET_LEN]) -> Self {
        Self::new(sha256_head(&[public]))
    }
}

/// The ratchets of one destination of this node.
///
/// A new one is made by an announce, when the newest is older than the interval; the first announce after a start always
/// makes one.
#[derive(Debug, Clone)]
pub struct Ratchets {
    newest_first: Vec<RatchetKey>,
    interval: Duration,
    retained: usize,
    enforced: bool,
    rotated: Option<Instant>,
}

impl Default for Ratchets {
    fn default() -> Self {
        Self {
            newest_first: Vec::new(),
            interval: RATCHET_INTERVAL,
            retained: RATCHETS_RETAINED,
            enforced: false,
            rotated: None,
        }
    }
}

impl Ratchets {
    /// None yet, with the usual settings: the destination's own key still opens what comes for it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of an earlier run, newest first, cut to the usual number.
    pub fn restored(newest_first: Vec<RatchetKey>) -> Self {
        let mut ratchets = Self { newest_first, ..Self::default() };
        ratchets.trim();
        ratchets
    }

    /// Least time between two new ratchets.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// How many are kept, at least 1. Older ones are forgotten at once.
    pub fn set_retained(&mut self, retained: usize) {
        self.retained = retained.max(1);
        self.trim();
    }

    /// Whether packets are refused that were encrypted to the destination's own key instead of a ratchet.
    pub fn set_enforced(&mut self, enforced: bool) {
        self.enforced = enforced;
    }

    /// Whether packets for the destination's own key are refused.
    pub fn enforced(&self) -> bool {
        self.enforced
    }

    /// The ratchets that decrypt, newest first.
    pub fn newest_first(&self) -> &[RatchetKey] {
        &self.newest_first
    }

    /// The one to encrypt to, as announces carry it.
    pub fn public(&self) -> Option<[u8; RATCHET_LEN]> {
        self.newest_first.first().map(RatchetKey::public)
    }

    /// Makes a new one if the newest is older than the interval; says whether it did.
    pub(crate) fn rotate(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> bool {
        if self.rotated.is_some_and(|rotated| now <= rotated + self.interval) {
            return false;
        }
        self.newest_first.insert(0, RatchetKey::generate(rng));
        self.rotated = Some(now);
        self.trim();
        true
    }

    fn trim(&mut self) {
        self.newest_first.truncate(self.retained);
    }
}
