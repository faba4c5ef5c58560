//! Cards on their way in: each waits for its publisher's key, then for its signature to be checked.
//! docs/protocol/mesh.md, Card.

use std::collections::{BTreeMap, VecDeque};

use wend_packet::IdentityHash;
use wend_packet::bounded::Bounded;
use wend_packet::identity::PublicIdentity;
use wend_packet::time::Now;

use super::message::{Bundle, Shelf};
use crate::card::{Card, VerifyError};
use crate::catalog::{Applied, Catalog};
use crate::entry::EntryId;
use crate::verified::Verified;

/// How many cards wait for a key. When a card more comes, the one that waited longest leaves.
pub const WAITING_MAX: usize = 64;
/// How many checks wait to be run: some ten pages. What comes beyond is dropped; the next dialogue brings it again.
pub const CHECKS_MAX: usize = 4096;

/// A signature to check: pure work of some 50 µs, to be run wherever there is time.
#[derive(Debug, Clone)]
pub struct Check {
    card: Card,
    key: PublicIdentity,
}

impl Check {
    /// Checks it.
    ///
    /// # Errors
    /// When the publisher did not sign this card.
    pub fn run(self) -> Result<Checked, VerifyError> {
        let Self { card, key } = self;
        card.verify(&key).map(|card| Checked { card, key })
    }
}

/// A card that may enter the catalog, with the key that vouches for it: both belong on the shelf.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The card.
    pub card: Verified<Card>,
    /// Its publisher's key.
    pub key: PublicIdentity,
}

/// What became of the cards that were handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntakeCount {
    /// To be checked.
    pub queued: usize,
    /// Without a key so far.
    pub waiting: usize,
    /// In the catalog already, or replaced there.
    pub known: usize,
    /// May not enter the catalog now: expired, too far ahead, or there is no room.
    pub refused: usize,
    /// Dropped because too much is waiting.
    pub dropped: usize,
}

/// The cards on their way in.
#[derive(Debug)]
pub struct Intake {
    waiting: Bounded<EntryId, Card>,
    checks: VecDeque<Check>,
}

impl Default for Intake {
    fn default() -> Self {
        Self { waiting: Bounded::new(WAITING_MAX), checks: VecDeque::new() }
    }
}

impl Intake {
    /// Takes what a peer sent. What the catalog would not take now goes no further.
    pub fn handle_bundle(&mut self, now: Now, bundle: &Bundle, catalog: &Catalog, shelf: &dyn Shelf) -> IntakeCount {
        let mut count = IntakeCount::default();
        // A key counts only for cards at hand, so that nobody can have us collect keys.
        let sent: BTreeMap<IdentityHash, PublicIdentity> = bundle.keys().map(|key| (key.hash(), key)).collect();
        sent.values().for_each(|key| self.handle_key(key));
        for card in bundle.cards() {
            let publisher = card.view().publisher();
            match catalog.preview(now, &card.view()) {
                Applied::Duplicate | Applied::Stale => {
                    count.known += 1;
                    continue;
                }
                Applied::Refused(_) => {
                    count.refused += 1;
                    continue;
                }
                Applied::New { .. } | Applied::Newer { .. } => {}
            }
            if self.checks.len() >= CHECKS_MAX {
                count.dropped += 1;
            } else if let Some(key) = sent.get(&publisher).copied().or_else(|| shelf.key(&publisher)) {
                self.checks.push_back(Check { card, key });
                count.queued += 1;
            } else {
                self.waiting.insert(card.id(), card);
                count.waiting += 1;
            }
        }
        count
    }

    /// Hears of a key, from an announce for example: the cards that wait for it go on to be checked.
    pub fn handle_key(&mut self, key: &PublicIdentity) {
        let publisher = key.hash();
        let checks = &mut self.checks;
        self.waiting.retain(|_, card| {
            let released = card.view().publisher() == publisher && checks.len() < CHECKS_MAX;
            if released {
                checks.push_back(Check { card: card.clone(), key: *key });
            }
            !released
        });
    }

    /// The next check to run; ask again after every bundle and key.
    pub fn poll_check(&mut self) -> Option<Check> {
        self.checks.pop_front()
    }

    /// How many cards wait for a key.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
