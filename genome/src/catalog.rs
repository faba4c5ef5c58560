//! The catalog: which cards are live here. docs/protocol/mesh.md, Catalog.
//!
//! Bodies stay on disk; this holds what decides about a card and what sync needs, about 300 bytes each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core::time::Duration;

use wend_packet::IdentityHash;
use wend_packet::time::{Now, UnixTime};

use crate::card::{Card, CardRef};
use crate::entry::{EntryId, Kind};
use crate::verified::Verified;

/// How many cards a standard node keeps.
pub const CAPACITY_STANDARD: usize = 100_000;
/// How far ahead a card's expiry may lie.
pub const LIFETIME_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// A clock before 2024 was never set: it decides about no expiry that lies ahead, and nothing is published by it.
pub const CLOCK_SET: UnixTime = UnixTime(1_704_067_200);

/// What [`Catalog::apply`] did with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The first card of this publisher under this name.
    New {
        /// The card that had to leave because the catalog was full.
        evicted: Option<EntryId>,
    },
    /// It took the place of a card with a lower sequence. When it is a tombstone, the entry is withdrawn.
    Newer {
        /// The card that is gone.
        replaced: EntryId,
    },
    /// A card with this or a higher sequence is there already.
    Stale,
    /// This very card is there already.
    Duplicate,
    /// It may not enter.
    Refused(Refused),
}

/// Why a card may not enter the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no longer true.
    #[error("expired at {}", .0.0)]
    Expired(UnixTime),
    /// It would stay longer than cards may.
    #[error("its expiry {} lies more than 400 days ahead", .0.0)]
    TooFarAhead(UnixTime),
    /// No room: nobody else has more cards here than this publisher, and all of those expire later.
    #[error("the catalog of {capacity} cards is full")]
    Full {
        /// How many fit.
        capacity: usize,
    },
}

/// What decides about a card that is in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Who published it.
    pub publisher: IdentityHash,
    /// What it is.
    pub kind: Kind,
    /// Its sequence.
    pub sequence: u32,
    /// When it leaves.
    pub expiry: UnixTime,
}

impl Listing {
    fn of(card: &CardRef<'_>) -> Self {
        Self { publisher: card.publisher(), kind: card.kind(), sequence: card.sequence(), expiry: card.expiry() }
    }
}

/// A publisher's name for something: later cards with the same slot replace earlier ones.
type Slot = (IdentityHash, Arc<str>);

#[derive(Debug, Clone)]
struct Live {
    listing: Listing,
    slot: Slot,
    root: u64,
}

/// What announces say about a catalog, so that neighbours see whether a dialogue is worth it.
///
/// The root is the sum, modulo 2^64, of a keyed hash of every id: cheap to keep up to date and the same in whatever order
/// the cards came. Somebody who publishes thousands of cards for it could make two different catalogs look alike; all
/// that gains is a dialogue that starts later. Which cards are missing is never taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many cards, tombstones included.
    pub count: u32,
    /// The sum over their ids.
    pub root: [u8; 8],
}

impl Summary {
    /// Length in an announce: count (3 bytes, saturating), root.
    pub const LEN: usize = 11;

    /// As an announce carries it.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [_, c0, c1, c2] = self.count.min(0x00ff_ffff).to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7] = self.root;
        [c0, c1, c2, r0, r1, r2, r3, r4, r5, r6, r7]
    }

    /// Reads what an announce carries; `None` when the length differs.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [c0, c1, c2, root @ ..]: [u8; Self::LEN] = bytes.try_into().ok()?;
        Some(Self { count: u32::from_be_bytes([0, c0, c1, c2]), root })
    }
}

/// The live cards of a node, tombstones included. At most one per publisher and name: the one with the highest sequence,
/// and of equal ones the one whose id is larger, so that all nodes keep the same.
///
/// When it is full, the publisher with the most cards loses the one that expires first: a stranger who floods displaces
/// his own. Cards of `own` publishers always stay.
#[derive(Debug, Clone)]
pub struct Catalog {
    capacity: usize,
    own: BTreeSet<IdentityHash>,
    live: BTreeMap<EntryId, Live>,
    slots: BTreeMap<Slot, EntryId>,
    by_expiry: BTreeSet<(UnixTime, EntryId)>,
    publishers: BTreeMap<IdentityHash, BTreeSet<(UnixTime, EntryId)>>,
    by_share: BTreeSet<(usize, IdentityHash)>,
    root: u64,
    evicted: u64,
}

impl Catalog {
    /// An empty catalog for `capacity` cards, that never evicts those of `own`.
    pub fn new(capacity: usize, own: impl IntoIterator<Item = IdentityHash>) -> Self {
        Self {
            capacity,
            own: own.into_iter().collect(),
            live: BTreeMap::new(),
            slots: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            publishers: BTreeMap::new(),
            by_share: BTreeSet::new(),
            root: 0,
            evicted: 0,
        }
    }

    /// Takes a card in, if it is news.
    pub fn apply(&mut self, now: Now, card: &Verified<Card>) -> Applied {
        self.admit(now, &card.view())
    }

    /// Takes back a card that was in the catalog before and comes from this node's own disk, where only verified cards go.
    pub fn restore(&mut self, now: Now, card: &CardRef<'_>) -> Applied {
        self.admit(now, card)
    }

    /// What [`Catalog::apply`] would do with a card: ask before its signature is checked and it goes to disk.
    pub fn preview(&self, now: Now, card: &CardRef<'_>) -> Applied {
        let id = card.id();
        if self.live.contains_key(&id) {
            return Applied::Duplicate;
        }
        let listing = Listing::of(card);
        if listing.expiry <= now.unix {
            return Applied::Refused(Refused::Expired(listing.expiry));
        }
        if now.unix >= CLOCK_SET && listing.expiry > now.unix.plus(LIFETIME_MAX) {
            return Applied::Refused(Refused::TooFarAhead(listing.expiry));
        }
        if let Some(old) = self.by_name(listing.publisher, card.name()) {
            let held = self.live.get(&old).map_or(0, |live| live.listing.sequence);
            let later = (listing.sequence, id) > (held, old);
            return if later { Applied::Newer { replaced: old } } else { Applied::Stale };
        }
        if self.live.len() < self.capacity {
            return Applied::New { evicted: None };
        }
        match self.victim(&listing, id) {
            Some(victim) => Applied::New { evicted: Some(victim) },
            None => Applied::Refused(Refused::Full { capacity: self.capacity }),
        }
    }

    fn admit(&mut self, now: Now, card: &CardRef<'_>) -> Applied {
        let applied = self.preview(now, card);
        let leaves = match applied {
            Applied::New { evicted } => {
                self.evicted += u64::from(evicted.is_some());
                evicted
            }
            Applied::Newer { replaced } => Some(replaced),
            Applied::Stale | Applied::Duplicate | Applied::Refused(_) => return applied,
        };
        if let Some(leaves) = leaves {
            self.remove(leaves);
        }
        let listing = Listing::of(card);
        self.insert(card.id(), listing, (listing.publisher, Arc::from(card.name())));
        applied
    }

    /// Who leaves for a card: of the publisher with the most cards, the newcomer counted, the one that expires first.
    fn victim(&self, newcomer: &Listing, id: EntryId) -> Option<EntryId> {
        let newcomers = self.publishers.get(&newcomer.publisher).map_or(0, BTreeSet::len) + 1;
        let (most, publisher) = self.by_share.iter().rev().find(|(_, publisher)| !self.own.contains(publisher))?;
        let own = self.own.contains(&newcomer.publisher);
        let publisher = if newcomers >= *most && !own { &newcomer.publisher } else { publisher };
        let (expiry, victim) = *self.publishers.get(publisher)?.first()?;
        let spared = *publisher == newcomer.publisher && (expiry, victim) > (newcomer.expiry, id);
        (!spared).then_some(victim)
    }

    fn insert(&mut self, id: EntryId, listing: Listing, slot: Slot) {
        let root = root_term(&id);
        self.root = self.root.wrapping_add(root);
        self.by_expiry.insert((listing.expiry, id));
        self.slots.insert(slot.clone(), id);
        self.change_share(listing.publisher, |cards| cards.insert((listing.expiry, id)));
        self.live.insert(id, Live { listing, slot, root });
    }

    fn remove(&mut self, id: EntryId) {
        let Some(Live { listing, slot, root }) = self.live.remove(&id) else { return };
        self.root = self.root.wrapping_sub(root);
        self.by_expiry.remove(&(listing.expiry, id));
        self.slots.remove(&slot);
        self.change_share(listing.publisher, |cards| cards.remove(&(listing.expiry, id)));
    }

    fn change_share(
        &mut self,
        publisher: IdentityHash,
        change: impl FnOnce(&mut BTreeSet<(UnixTime, EntryId)>) -> bool,
    ) {
        let cards = self.publishers.entry(publisher).or_default();
        self.by_share.remove(&(cards.len(), publisher));
        change(cards);
        if cards.is_empty() {
            self.publishers.remove(&publisher);
        } else {
            self.by_share.insert((cards.len(), publisher));
        }
    }

    /// Takes out what is no longer true; returns the ids. Call it when [`Catalog::next_expiry`] has come.
    pub fn expire(&mut self, now: Now) -> Vec<EntryId> {
        let gone: Vec<_> =
            self.by_expiry.iter().take_while(|(expiry, _)| *expiry <= now.unix).map(|(_, id)| *id).collect();
        gone.iter().for_each(|id| self.remove(*id));
        gone
    }

    /// When the next card stops being true.
    pub fn next_expiry(&self) -> Option<UnixTime> {
        self.by_expiry.first().map(|(expiry, _)| *expiry)
    }

    /// What announces say about this catalog.
    pub fn summary(&self) -> Summary {
        Summary { count: u32::try_from(self.live.len()).unwrap_or(u32::MAX), root: self.root.to_be_bytes() }
    }

    /// The live card of `publisher` under `name` (as cards carry it: [`short_name`](crate::card::short_name)).
    pub fn by_name(&self, publisher: IdentityHash, name: &str) -> Option<EntryId> {
        self.slots.get(&(publisher, Arc::from(name))).copied()
    }

    /// What decides about a card.
    pub fn get(&self, id: &EntryId) -> Option<&Listing> {
        self.live.get(id).map(|live| &live.listing)
    }

    /// Whether a card is live.
    pub fn contains(&self, id: &EntryId) -> bool {
        self.live.contains_key(id)
    }

    /// Everybody who has a live card here.
    pub fn publishers(&self) -> impl Iterator<Item = IdentityHash> {
        self.publishers.keys().copied()
    }

    /// Whether there is a live card of `publisher`, so that his key must be kept.
    pub fn has_publisher(&self, publisher: &IdentityHash) -> bool {
        self.publishers.contains_key(publisher)
    }

    /// All ids in their order.
    pub fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.live.keys().copied()
    }

    /// All ids, newest first: the later a card expires, the fresher it is, for publishers renew their cards. It is the
    /// only time in a card, and the same on every node.
    pub fn newest_first(&self) -> impl Iterator<Item = (UnixTime, EntryId)> {
        self.by_expiry.iter().rev().copied()
    }

    /// The ids that come after `mark` in [`Catalog::newest_first`].
    pub fn older_than(&self, mark: (UnixTime, EntryId)) -> impl Iterator<Item = (UnixTime, EntryId)> {
        self.by_expiry.range(..mark).rev().copied()
    }

    /// How many cards there are, tombstones included.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The most cards that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many cards had to leave for others so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

fn root_term(id: &EntryId) -> u64 {
    const CONTEXT: &str = "wend 1 catalog root";
    let hash = blake3::derive_key(CONTEXT, id.as_bytes());
    hash.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{card, expiring, identity, now};
    use proptest::prelude::*;

    fn catalog(capacity: usize) -> Catalog {
        Catalog::new(capacity, [])
    }

    #[test]
    fn the_highest_sequence_of_a_name_holds() {
        let mut catalog = catalog(10);
        let cards: Vec<_> = [2, 3, 1].map(|sequence| card(1, "a", sequence)).into();
        assert_eq!(catalog.apply(now(), &cards[0]), Applied::New { evicted: None });
        assert_eq!(catalog.apply(now(), &cards[0]), Applied::Duplicate);
        assert_eq!(catalog.apply(now(), &cards[1]), Applied::Newer { replaced: cards[0].id() });
        assert_eq!(catalog.apply(now(), &cards[2]), Applied::Stale);
        assert_eq!(catalog.apply(now(), &cards[0]), Applied::Stale);
        // The same name of somebody else is something else.
        assert_eq!(catalog.apply(now(), &card(2, "a", 1)), Applied::New { evicted: None });
        assert_eq!(catalog.by_name(identity(1).hash(), "a"), Some(cards[1].id()));
        assert_eq!(catalog.len(), 2);
    }

    #[test]
    fn of_equal_sequences_every_node_keeps_the_same() {
        let (one, other) = (expiring(1, "a", 1, 1000), expiring(1, "a", 1, 2000));
        let kept = |first: &Verified<Card>, second: &Verified<Card>| {
            let mut catalog = catalog(10);
            catalog.apply(now(), first);
            catalog.apply(now(), second);
            catalog.summary()
        };
        assert_eq!(kept(&one, &other), kept(&other, &one));
    }

    #[test]
    fn a_tombstone_takes_the_place_of_the_entry_and_keeps_older_ones_out() {
        let mut catalog = catalog(10);
        let entry = card(1, "a", 1);
        catalog.apply(now(), &entry);
        let tombstone = crate::testing::tombstone(1, "a", 2, entry.id());
        assert_eq!(catalog.apply(now(), &tombstone), Applied::Newer { replaced: entry.id() });
        assert_eq!(catalog.apply(now(), &entry), Applied::Stale);
        assert_eq!(catalog.get(&tombstone.id()).map(|listing| listing.kind), Some(Kind::TOMBSTONE));
    }

    #[test]
    fn cards_leave_when_they_expire() {
        let mut catalog = catalog(10);
        let (soon, later) = (expiring(1, "a", 1, 100), expiring(1, "b", 1, 200));
        catalog.apply(now(), &later);
        let before = catalog.summary();
        catalog.apply(now(), &soon);
        assert_eq!(catalog.next_expiry(), Some(now().unix.plus(Duration::from_secs(100))));
        let at = now().later(Duration::from_secs(100));
        assert_eq!(catalog.expire(at), vec![soon.id()]);
        assert_eq!(catalog.summary(), before);
        assert!(matches!(catalog.apply(at, &soon), Applied::Refused(Refused::Expired(_))));
    }

    #[test]
    fn cards_for_ever_are_refused_unless_the_clock_was_never_set() {
        let long = expiring(1, "a", 1, 401 * 24 * 3600);
        assert!(matches!(catalog(10).apply(now(), &long), Applied::Refused(Refused::TooFarAhead(_))));
        let unset = Now { unix: UnixTime(5000), ..now() };
        assert_eq!(catalog(10).apply(unset, &long), Applied::New { evicted: None });
    }

    #[test]
    fn who_floods_displaces_his_own_cards() {
        let mut catalog = Catalog::new(4, [identity(9).hash()]);
        let quiet = expiring(1, "quiet", 1, 10);
        catalog.apply(now(), &quiet);
        let flood: Vec<_> = (0..5).map(|number| expiring(2, &format!("f{number}"), 1, 1000 + number)).collect();
        for card in flood.iter().take(3) {
            assert_eq!(catalog.apply(now(), card), Applied::New { evicted: None });
        }
        assert_eq!(catalog.preview(now(), &flood[4].view()), Applied::New { evicted: Some(flood[0].id()) });
        assert!(catalog.contains(&flood[0].id()), "looking changes nothing");
        assert_eq!(catalog.apply(now(), &flood[4]), Applied::New { evicted: Some(flood[0].id()) });
        // It would be the first of its publisher to leave.
        let short = expiring(2, "short", 1, 5);
        assert_eq!(catalog.apply(now(), &short), Applied::Refused(Refused::Full { capacity: 4 }));
        // Own cards come in and stay.
        for name in ["x", "y"] {
            assert!(matches!(catalog.apply(now(), &expiring(9, name, 1, 5)), Applied::New { evicted: Some(_) }));
        }
        assert!(catalog.contains(&quiet.id()));
        assert_eq!((catalog.len(), catalog.evicted()), (4, 3));
    }

    #[test]
    fn newest_first_is_latest_expiry_first() {
        let mut catalog = catalog(10);
        let cards: Vec<_> = [300, 100, 200].map(|lifetime| expiring(1, &lifetime.to_string(), 1, lifetime)).into();
        cards.iter().for_each(|card| assert_eq!(catalog.apply(now(), card), Applied::New { evicted: None }));
        let order: Vec<_> = catalog.newest_first().collect();
        assert_eq!(
            order.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
            [0, 2, 1].map(|index: usize| cards[index].id())
        );
        assert_eq!(catalog.older_than(order[0]).collect::<Vec<_>>(), order[1..]);
    }

    #[test]
    fn a_summary_survives_the_announce() {
        let mut catalog = catalog(10);
        catalog.apply(now(), &card(1, "a", 1));
        let summary = catalog.summary();
        assert_eq!(Summary::from_bytes(&summary.to_bytes()), Some(summary));
        assert_eq!(summary.to_bytes()[..3], [0, 0, 1]);
        assert_eq!(Summary::from_bytes(&[0; 10]), None);
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_show(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let cards: Vec<_> = (0..12).map(|n| card(n as u8 % 2 + 1, ["a", "b", "c"][n % 3], n as u32 / 4 + 1)).collect();
            let mut straight = catalog(20);
            let mut shuffled = catalog(20);
            cards.iter().for_each(|card| { straight.apply(now(), card); });
            order.iter().for_each(|index| { shuffled.apply(now(), &cards[*index]); });
            prop_assert_eq!(straight.summary(), shuffled.summary());
            prop_assert_eq!(straight.len(), 6);
        }
    }
}
