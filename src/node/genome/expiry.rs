//! Cards and time: what has expired rests on the disk, what was published here is renewed.
//!
//! A clock can be wrong, by years on a machine without a battery. So expiry decides what is shown and synced, but
//! destroys nothing that was published here, and nothing of others at once.

use std::collections::BTreeMap;
use std::time::Duration;

use wend_genome::card::{Card, CardFields, CardRef, short_name};
use wend_genome::catalog::{Applied, CAPACITY_STANDARD, CLOCK_SET, LIFETIME_MAX, Refused};
use wend_genome::entry::{EntryId, Kind};
use wend_genome::verified::Verified;
use wend_packet::IdentityHash;
use wend_packet::time::{Now, UnixTime};

use super::curator::Curator;
use crate::node::store::Change;

/// How long an expired card of somebody else stays on the disk.
const GRACE: Duration = Duration::from_secs(30 * 86_400);
/// Cards of others that rest; the one that expires first leaves for another.
const RESTING_MAX: usize = CAPACITY_STANDARD;

/// A card that is on the disk and takes no part.
#[derive(Debug, Clone)]
struct Rest {
    publisher: IdentityHash,
    name: Box<str>,
    expiry: UnixTime,
}

/// The cards that are on the disk but not in the catalog: expired, or too far ahead for the clock of this node.
#[derive(Debug, Default)]
pub(super) struct Resting(BTreeMap<EntryId, Rest>);

impl Resting {
    /// Whether a card rests.
    pub(super) fn contains(&self, id: &EntryId) -> bool {
        self.0.contains_key(id)
    }

    /// It rests no more.
    pub(super) fn remove(&mut self, id: &EntryId) {
        self.0.remove(id);
    }

    /// Whether a card of `publisher` rests, so that the key is kept.
    pub(super) fn has_publisher(&self, publisher: &IdentityHash) -> bool {
        self.0.values().any(|rest| rest.publisher == *publisher)
    }

    /// The card of `publisher` under a name as cards carry it.
    pub(super) fn by_name(&self, publisher: IdentityHash, name: &str) -> Option<EntryId> {
        let found = self.0.iter().find(|(_, rest)| rest.publisher == publisher && *rest.name == *name);
        found.map(|(id, _)| *id)
    }

    fn of(&self, publisher: IdentityHash) -> Vec<EntryId> {
        self.0.iter().filter(|(_, rest)| rest.publisher == publisher).map(|(id, _)| *id).collect()
    }
}

/// The sequence after `before`. A name without one begins with the minutes since 1970, so that it goes on upwards where the
/// last one is forgotten, as after a damaged disk.
pub(super) fn next_sequence(before: Option<u32>, now: Now) -> u32 {
    let first = || u32::try_from(now.unix.0 / 60).unwrap_or(u32::MAX);
    before.map_or_else(first, |before| before.saturating_add(1))
}

impl Curator {
    /// Puts a card to rest that may not be in the catalog now, when it belongs on the disk all the same.
    pub(super) fn rest(&mut self, now: Now, card: &CardRef<'_>, why: Refused) -> bool {
        let own = card.publisher() == self.identity.hash() && card.kind() != Kind::TOMBSTONE;
        let stays = own
            || match why {
                Refused::Expired(expiry) => expiry.plus(GRACE) > now.unix,
                Refused::TooFarAhead(_) => true,
                Refused::Full { .. } => false,
            };
        if stays {
            let (publisher, name) = (card.publisher(), card.name().into());
            self.resting.0.insert(card.id(), Rest { publisher, name, expiry: card.expiry() });
        }
        stays
    }

    /// Brings everything up to date with the clock: own entries are renewed, expired cards leave the catalog, and those
    /// come back that a wrong clock had sent away.
    pub(super) fn keep_time(&mut self, now: Now) {
        self.wake(now);
        self.renew(now);
        let mut gone = Vec::new();
        for id in self.catalog.expire(now) {
            self.search.remove(id);
            let Some(card) = self.card(&id) else { continue };
            if !self.rest(now, &card.view(), Refused::Expired(card.view().expiry())) {
                gone.push(id);
            }
        }
        gone.extend(self.surplus());
        self.forget(&gone);
        self.show();
    }

    /// Back into the catalog with what is good by this clock, off the disk with what expired long ago.
    fn wake(&mut self, now: Now) {
        let own = self.identity.hash();
        let too_late = now.unix.plus(LIFETIME_MAX);
        let due = self.resting.0.iter().filter(|(_, rest)| {
            let good = rest.expiry > now.unix && (now.unix < CLOCK_SET || rest.expiry <= too_late);
            let over = rest.publisher != own && rest.expiry.plus(GRACE) <= now.unix;
            good || over
        });
        let due: Vec<EntryId> = due.map(|(id, _)| *id).collect();
        let mut gone = Vec::new();
        for id in due {
            let Some(card) = self.card(&id) else {
                self.resting.remove(&id);
                continue;
            };
            match self.catalog.restore(now, &card.view()) {
                Applied::New { evicted } => gone.extend(evicted),
                Applied::Newer { replaced } => gone.push(replaced),
                Applied::Duplicate => {}
                Applied::Stale => gone.push(id),
                Applied::Refused(why) => {
                    if !self.rest(now, &card.view(), why) {
                        gone.push(id);
                    }
                    continue;
                }
            }
            self.resting.remove(&id);
            self.list_for_search(id);
        }
        self.forget(&gone);
    }

    /// What rests beyond the bound, those first that expired or will expire first.
    fn surplus(&self) -> Vec<EntryId> {
        let own = self.identity.hash();
        let mut others: Vec<_> = self
            .resting
            .0
            .iter()
            .filter(|(_, rest)| rest.publisher != own)
            .map(|(id, rest)| (rest.expiry, *id))
            .collect();
        others.sort_unstable();
        let surplus = others.len().saturating_sub(RESTING_MAX);
        others.into_iter().take(surplus).map(|(_, id)| id).collect()
    }

    /// Signs own entries anew whose time is half over, or was never right: what somebody published and did not withdraw is
    /// meant to stay. Only entries whose manifest is here, for the others nobody could be given.
    fn renew(&mut self, now: Now) {
        if now.unix < CLOCK_SET {
            return;
        }
        let own = self.identity.hash();
        let half = now.unix.plus(self.expiry / 2);
        let live = self.catalog.ids().filter(|id| {
            let listing = self.catalog.get(id).filter(|listing| listing.publisher == own);
            listing.is_some_and(|listing| listing.expiry <= half || listing.expiry > now.unix.plus(LIFETIME_MAX))
        });
        let due: Vec<EntryId> = live.chain(self.resting.of(own)).collect();
        let mut renewed: Vec<(EntryId, Verified<Card>)> = Vec::new();
        for id in due {
            let Some(card) = self.card(&id) else { continue };
            let card = card.view();
            let replaced = self.resting.contains(&id) && self.catalog.by_name(own, short_name(card.name())).is_some();
            if card.kind() == Kind::TOMBSTONE || replaced || self.manifest_of(&card).is_none() {
                continue;
            }
            let fields = CardFields {
                sequence: next_sequence(Some(card.sequence()), now),
                expiry: u32::try_from(now.unix.plus(self.expiry).0).unwrap_or(u32::MAX),
                ..card.to_fields()
            };
            renewed.push((id, fields.sign(&self.identity)));
        }
        let changes = renewed.iter().map(|(_, card)| Change::Card(*card.id().as_bytes(), card.as_bytes().to_vec()));
        // What is not stored is tried again with the next tick; the cards there are stay as they are.
        if renewed.is_empty() || self.commit(changes.collect()).is_err() {
            return;
        }
        let mut gone = Vec::new();
        for (old, card) in &renewed {
            self.count(&card.view());
            match self.catalog.apply(now, card) {
                Applied::New { evicted } => gone.extend(evicted),
                Applied::Newer { .. } => {}
                Applied::Duplicate => continue,
                Applied::Stale | Applied::Refused(_) => {
                    gone.push(card.id());
                    continue;
                }
            }
            gone.push(*old);
            self.list_for_search(card.id());
        }
        tracing::info!(entries = renewed.len(), "own entries renewed");
        self.forget(&gone);
    }
}
