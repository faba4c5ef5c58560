//! Ratchets of this node's destinations, and those heard from others. docs/protocol/1-core.md, sections 1.3 and 1.4.

use zeroize::Zeroizing;

use super::{Output, Stack};
use crate::hash::DestinationHash;
use crate::identity::{Decrypted, RATCHET_LEN};
use crate::persist;
use crate::ratchet::Ratchets;
use crate::time::{Instant, Now};

/// Ratchets that are tried with every packet, the newest ones. What is encrypted to an older one comes from somebody who has
/// not heard this node for long.
const TRIED_ALWAYS: usize = 8;
/// How many older ratchets are tried in a second, and at most at once. Trying takes about 40 µs each, and anybody can send
/// what no ratchet opens: beyond this, such packets are tried with the newest only.
const TRIES_PER_SECOND: u64 = 512;
const TRIES_AT_ONCE: u64 = 1024;

/// How many older ratchets may be tried now.
#[derive(Debug)]
pub(super) struct Tries {
    left: u64,
    counted: Instant,
}

impl Tries {
    pub(super) const fn new() -> Self {
        Self { left: TRIES_AT_ONCE, counted: Instant::ZERO }
    }

    /// Takes this many, if there are as many.
    fn take(&mut self, now: Instant, tries: usize) -> bool {
        let gained = now.since(self.counted).as_millis().saturating_mul(u128::from(TRIES_PER_SECOND)) / 1000;
        if gained > 0 {
            self.left = self.left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(TRIES_AT_ONCE);
            self.counted = now;
        }
        let left = u64::try_from(tries).ok().and_then(|tries| self.left.checked_sub(tries));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

impl Stack {
    /// The ratchets of a destination of this node, if it has any.
    pub fn ratchets(&self, of: DestinationHash) -> Option<&Ratchets> {
        self.locals.get(&of)?.destination.ratchets.as_ref()
    }

    /// The same, to change their settings.
    pub fn ratchets_mut(&mut self, of: DestinationHash) -> Option<&mut Ratchets> {
        self.locals.get_mut(&of)?.destination.ratchets.as_mut()
    }

    /// The ratchets of a destination of this node as they are to be kept, signed: the reference's file, secret. To be asked
    /// for after [`Output::RatchetsChanged`], and read with [`persist::ratchets::open`].
    pub fn ratchet_file(&self, of: DestinationHash) -> Option<Zeroizing<Vec<u8>>> {
        let destination = &self.locals.get(&of)?.destination;
        let ratchets = destination.ratchets.as_ref()?;
        Some(persist::ratchets::seal(&destination.identity, ratchets.newest_first()))
    }

    /// Makes a new ratchet for an announce if it is time, and gives the one to announce.
    pub(super) fn ratchet_to_announce(&mut self, now: Now, of: DestinationHash) -> Option<[u8; RATCHET_LEN]> {
        let ratchets = self.locals.get_mut(&of)?.destination.ratchets.as_mut()?;
        if ratchets.rotate(now.mono, &mut *self.rng) {
            self.outputs.push_back(Output::RatchetsChanged(of));
        }
        ratchets.public()
    }

    /// The ratchet to encrypt to, if one is known for the destination.
    pub(super) fn ratchet_of(&self, now: Now, to: DestinationHash) -> Option<[u8; RATCHET_LEN]> {
        let heard = self.known.get(&to).and_then(|known| known.ratchet(now.unix));
        heard.or_else(|| self.ratchets(to)?.public())
    }

    /// Opens what came for a SINGLE destination of this node, without counting on who sent it.
    pub(super) fn open_single(&mut self, now: Now, of: DestinationHash, ciphertext: &[u8]) -> Option<Decrypted> {
        let destination = &self.locals.get(&of)?.destination;
        let identity = &destination.identity;
        let Some(ratchets) = &destination.ratchets else { return identity.decrypt(ciphertext, &[], false).ok() };
        let keys = ratchets.newest_first();
        let (newest, older) = keys.split_at_checked(TRIED_ALWAYS).unwrap_or((keys, &[]));
        if let Ok(opened) = identity.decrypt(ciphertext, newest, ratchets.enforced()) {
            return Some(opened);
        }
        let may = !older.is_empty() && self.ratchet_tries.take(now.mono, older.len());
        may.then(|| identity.decrypt(ciphertext, older, true).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn old_ratchets_are_tried_so_often_and_no_more() {
        let mut tries = Tries::new();
        let start = Instant::ZERO;
        assert!(tries.take(start, 1000) && tries.take(start, 24) && !tries.take(start, 1));
        let later = start + Duration::from_millis(500);
        assert!(!tries.take(later, 257) && tries.take(later, 256));
        let much_later = start + Duration::from_secs(86_400);
        assert!(tries.take(much_later, 1024) && !tries.take(much_later, 1));
    }
}
