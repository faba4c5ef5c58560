//! Who is who: what announces said of destinations, and how long it is worth keeping. docs/protocol/1-core.md, sections 1.4
//! and 1.5.

use core::cell::OnceCell;
use core::time::Duration;
use std::sync::Arc;

use super::Valid;
use crate::announce::AnnounceRef;
use crate::hash::{DestinationHash, IdentityHash};
use crate::identity::{PublicIdentity, RATCHET_LEN};
use crate::persist::known::LastUse;
use crate::ratchet::RATCHET_EXPIRY;
use crate::stack::{Output, PathRecord, Stack, Standing, TimerKey};
use crate::time::{Instant, Now, UnixTime};

/// Time between two looks for what is not worth keeping any more.
pub const KNOWN_SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// Destinations looked at in one go: a look at all that a hub knows would hold up packets.
const SWEPT_AT_ONCE: usize = 4096;
/// Time between two goes.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What is known of a destination: the announce of it that was made last, among those heard. Shared with the path that it
/// taught; nothing of it is copied.
#[derive(Debug)]
pub(in crate::stack) struct Known {
    announce: Arc<[u8]>,
    heard: Instant,
    /// The same by the wall clock, which goes on while the node is off.
    heard_at: UnixTime,
    /// In seconds since the start of the node.
    last_use: LastUse,
    /// That of an earlier announce while the last one has none, and when it was heard.
    earlier_ratchet: Option<Box<([u8; RATCHET_LEN], UnixTime)>>,
    /// Made when it is needed: most are heard of and never used.
    identity: OnceCell<Box<PublicIdentity>>,
}

impl Known {
    fn new(now: Now, announce: Arc<[u8]>) -> Self {
        Self {
            announce,
            heard: now.mono,
            heard_at: now.unix,
            last_use: LastUse::Never,
            earlier_ratchet: None,
            identity: OnceCell::new(),
        }
    }

    fn read(&self) -> Option<AnnounceRef<'_>> {
        AnnounceRef::of(&self.announce)
    }

    pub(super) fn emitted(&self) -> UnixTime {
        self.read().map_or_else(UnixTime::default, |announce| announce.random.emitted())
    }

    pub(in crate::stack) fn app_data(&self) -> &[u8] {
        self.read().map_or(&[], |announce| announce.app_data)
    }

    pub(in crate::stack) fn owner(&self) -> Option<IdentityHash> {
        self.read().map(|announce| announce.identity_hash())
    }

    /// Costs a decompression each time.
    pub(in crate::stack) fn make_identity(&self) -> Option<PublicIdentity> {
        PublicIdentity::from_slice(self.read()?.public_key).ok()
    }

    /// Kept until the destination is out of use: costs a decompression once.
    pub(in crate::stack) fn identity(&self) -> Option<&PublicIdentity> {
        match self.identity.get() {
            Some(identity) => Some(identity),
            None => {
                let identity = Box::new(self.make_identity()?);
                Some(self.identity.get_or_init(|| identity))
            }
        }
    }

    /// The ratchet heard last, and when.
    fn last_ratchet(&self) -> Option<([u8; RATCHET_LEN], UnixTime)> {
        let own = self.read().and_then(|announce| announce.ratchet.copied());
        own.map(|ratchet| (ratchet, self.heard_at)).or_else(|| self.earlier_ratchet.as_deref().copied())
    }

    /// The ratchet to encrypt to, unless it was heard so long ago that its owner may have forgotten it.
    pub(in crate::stack) fn ratchet(&self, now: UnixTime) -> Option<[u8; RATCHET_LEN]> {
        let (ratchet, heard) = self.last_ratchet()?;
        (now < heard.plus(RATCHET_EXPIRY)).then_some(ratchet)
    }

    /// A newer announce of the same key. One without ratchet leaves the one heard before in place.
    fn hear(&mut self, now: Now, valid: &Valid<'_>) {
        let same = self.read().is_some_and(|before| before.is_copy_of(&valid.announce));
        if !same {
            self.earlier_ratchet = match valid.announce.ratchet {
                Some(_) => None,
                None => self.last_ratchet().map(Box::new),
            };
            self.announce = valid.frame.clone();
        }
        (self.heard, self.heard_at) = (now.mono, now.unix);
    }

    pub(super) fn standing(&self) -> Standing {
        match self.last_use {
            LastUse::Never => Standing::Heard,
            LastUse::At(_) => Standing::Used,
            LastUse::Retained => Standing::Retained,
        }
    }

    fn record(&self, destination: DestinationHash) -> PathRecord {
        PathRecord { destination, announce: self.announce.clone(), heard: self.heard_at, standing: self.standing() }
    }

    /// Whether this is worth keeping without a path.
    fn is_kept(&self, now: Instant) -> bool {
        self.last_use.keeps(seconds(self.heard), seconds(now))
    }
}

/// As the rule counts them.
fn seconds(at: Instant) -> f64 {
    at.since(Instant::ZERO).as_secs_f64()
}

impl Stack {
    /// Whose destination this is: heard in an announce, or of this node.
    pub fn identity_of(&self, destination: DestinationHash) -> Option<&PublicIdentity> {
        let heard = self.known.get(&destination).and_then(Known::identity);
        heard.or_else(|| self.locals.get(&destination).map(|local| local.destination.identity.public()))
    }

    /// The hash of the identity whose destination this is. Costs less than [`Stack::identity_of`] where many are asked for.
    pub fn owner_of(&self, destination: DestinationHash) -> Option<IdentityHash> {
        let heard = self.known.get(&destination).and_then(Known::owner);
        heard.or_else(|| self.locals.get(&destination).map(|local| local.destination.identity.hash()))
    }

    /// App data of the last announce heard of a destination, empty when there was none.
    pub fn app_data_of(&self, destination: DestinationHash) -> Option<&[u8]> {
        self.known.get(&destination).map(Known::app_data)
    }

    /// The application has use for what is known of this destination: it is kept for 8.75 days more without a path. What
    /// this node sends, and links it opens or carries, count by themselves.
    pub fn note_use(&mut self, now: Now, destination: DestinationHash) {
        let Some(known) = self.known.use_mut(&destination) else { return };
        let first = known.last_use == LastUse::Never;
        if known.last_use != LastUse::Retained {
            known.last_use = LastUse::At(seconds(now.mono));
        }
        if first {
            let record = known.record(destination);
            self.outputs.push_back(Output::Persist(record));
        }
    }

    /// Keeps what is known of every destination of this identity for good. Says of how many that is; beyond a quarter of what
    /// this node can know, none is kept.
    pub fn retain_identity(&mut self, identity: IdentityHash) -> usize {
        let theirs = |(_, known): &(&DestinationHash, &Known)| known.owner() == Some(identity);
        let found: Vec<_> = self.known.iter().filter(theirs).map(|(destination, _)| *destination).collect();
        found.into_iter().filter(|destination| self.retain_destination(*destination)).count()
    }

    /// The same for one destination. Says whether it is kept.
    pub fn retain_destination(&mut self, destination: DestinationHash) -> bool {
        let room = self.retained < self.config.capacities.known / 4;
        let Some(known) = self.known.get_mut(&destination) else { return false };
        match known.last_use {
            LastUse::Retained => true,
            _ if room => {
                known.last_use = LastUse::Retained;
                let record = known.record(destination);
                self.retained += 1;
                self.outputs.push_back(Output::Persist(record));
                true
            }
            _ => false,
        }
    }

    /// Remembers what a valid announce says, unless something newer is known (section 9, trap 13). Says whether it may be
    /// believed: a destination that is known under another key is not.
    pub(super) fn update_known(&mut self, now: Now, valid: &Valid<'_>) -> bool {
        let (destination, emitted) = (valid.announce.destination, valid.announce.random.emitted());
        let Some(known) = self.known.get_mut(&destination) else {
            self.insert_known(now, destination, Known::new(now, valid.frame.clone()));
            return true;
        };
        if known.read().is_none_or(|before| before.public_key != valid.announce.public_key) {
            return false;
        }
        if known.emitted() <= emitted {
            known.hear(now, valid);
            self.known.refresh(&destination);
        }
        true
    }

    /// Takes a destination in that was not known. What leaves for it is forgotten on the disk too.
    fn insert_known(&mut self, now: Now, destination: DestinationHash, known: Known) {
        let full = self.known.len() >= self.config.capacities.known && !self.known.contains_key(&destination);
        while full && let Some(kept) = self.oldest_if_retained() {
            self.known.refresh(&kept);
        }
        if let Some((left, known)) = self.known.insert(destination, known) {
            self.retained -= usize::from(known.last_use == LastUse::Retained);
            if left != destination {
                self.outputs.push_back(Output::Forget(left));
            }
        }
        if self.timers.deadline(TimerKey::Known).is_none() {
            self.timers.set(TimerKey::Known, now.mono + KNOWN_SWEEP_INTERVAL);
        }
    }

    fn oldest_if_retained(&self) -> Option<DestinationHash> {
        let (destination, known) = self.known.iter().next()?;
        (known.last_use == LastUse::Retained).then_some(*destination)
    }

    /// What a stored announce says of its destination. A record that does not parse is skipped. Times of an earlier run mean
    /// nothing to the clock of this one: whatever was of use then counts as used now, the rest as just heard.
    pub(in crate::stack) fn restore_known(&mut self, record: &PathRecord) {
        let now = Now { mono: Instant::ZERO, unix: record.heard };
        let Some(announce) = AnnounceRef::of(&record.announce) else { return };
        let destination = announce.destination;
        if self.known.get(&destination).is_some_and(|known| known.emitted() > announce.random.emitted()) {
            return;
        }
        let room = self.retained < self.config.capacities.known / 4;
        let mut known = Known::new(now, record.announce.clone());
        known.last_use = match record.standing {
            Standing::Heard => LastUse::Never,
            Standing::Retained if room => {
                self.retained += 1;
                LastUse::Retained
            }
            Standing::Used | Standing::Retained => LastUse::At(seconds(now.mono)),
        };
        self.insert_known(now, destination, known);
    }

    /// Forgets what is not worth keeping, some thousands at a time. docs/protocol/1-core.md, section 1.5.
    pub(in crate::stack) fn sweep_known(&mut self, now: Now) {
        let look_at: Vec<_> = self.known.iter().skip(self.swept).take(SWEPT_AT_ONCE).map(|(of, _)| *of).collect();
        let looked_at = look_at.len();
        let mut forgotten = 0;
        for destination in look_at {
            let Some(known) = self.known.get_mut(&destination) else { continue };
            let in_use = matches!(known.last_use, LastUse::At(at) if seconds(now.mono) - at < KNOWN_SWEEP_INTERVAL.as_secs_f64());
            if !in_use {
                // It is made again when it is needed again.
                known.identity.take();
            }
            if !known.is_kept(now.mono) && !self.paths.contains_key(&destination) {
                self.known.remove(&destination);
                self.outputs.push_back(Output::Forget(destination));
                forgotten += 1;
            }
        }
        let done = looked_at < SWEPT_AT_ONCE;
        self.swept = if done { 0 } else { self.swept + looked_at - forgotten };
        if !done {
            self.timers.set(TimerKey::Known, now.mono + SWEEP_PAUSE);
        } else if !self.known.is_empty() {
            self.timers.set(TimerKey::Known, now.mono + KNOWN_SWEEP_INTERVAL);
        }
    }
}
