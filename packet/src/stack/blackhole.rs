//! Identities that are shut out, and what that does. docs/protocol/1-core.md, section 4.9.

use std::collections::{BTreeMap, BTreeSet};

use super::{Stack, TimerKey};
use crate::hash::IdentityHash;
use crate::management::{BLACKHOLE_SWEEP_INTERVAL, Blackhole, BlackholeEntry, Blackholed};
use crate::time::{Instant, Now, UnixTime};

/// What a source's list changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlackholeChanges {
    /// Identities that are shut out now and were not before.
    pub added: usize,
    /// Identities that source no longer names.
    pub lifted: usize,
    /// Identities that were not shut out for want of room.
    pub refused: usize,
}

impl Stack {
    /// Shuts an identity out: paths to its destinations go, its links are closed, its announces are dropped from now on.
    /// What is known of it stays. Beside the owner's word (`source` is this node's transport identity) the list of another
    /// node is taken with [`Stack::blackhole_from`].
    pub fn blackhole(&mut self, now: Now, identity: IdentityHash, entry: BlackholeEntry) -> Blackholed {
        let outcome = self.add_to_blackhole(now.unix, identity, entry);
        if outcome == Blackholed::Added {
            self.shut_out(now, &[identity].into());
        }
        outcome
    }

    /// Takes the list that `source` publishes in place of what it published before. Entries of this node and of other
    /// sources stay as they are.
    pub fn blackhole_from(
        &mut self,
        now: Now,
        source: IdentityHash,
        list: BTreeMap<IdentityHash, BlackholeEntry>,
    ) -> BlackholeChanges {
        let mut changes = BlackholeChanges { lifted: self.blackhole.retain_of(source, &list), ..Default::default() };
        let mut added = BTreeSet::new();
        for (identity, entry) in list {
            match self.add_to_blackhole(now.unix, identity, BlackholeEntry { source, ..entry }) {
                Blackholed::Added => drop(added.insert(identity)),
                Blackholed::Full => changes.refused += 1,
                Blackholed::Already | Blackholed::Expired | Blackholed::Own => {}
            }
        }
        changes.added = added.len();
        self.shut_out(now, &added);
        changes
    }

    /// Lets an identity in again. Says whether it was shut out.
    pub fn lift_blackhole(&mut self, identity: IdentityHash) -> bool {
        self.blackhole.remove(&identity)
    }

    /// Who is shut out.
    pub fn blackholed(&self) -> &Blackhole {
        &self.blackhole
    }

    /// Nobody is shut out of their own node.
    fn add_to_blackhole(&mut self, now: UnixTime, identity: IdentityHash, entry: BlackholeEntry) -> Blackholed {
        let own = |local: &super::Local| local.destination.identity.hash() == identity;
        if identity == self.transport_id || self.locals.values().any(own) {
            return Blackholed::Own;
        }
        self.blackhole.add(now, identity, entry)
    }

    /// Takes the list of an earlier run back. Its times are looked at with the next sweep.
    pub(super) fn restore_blackhole(&mut self, saved: Vec<(IdentityHash, BlackholeEntry)>) {
        for (identity, entry) in saved {
            self.add_to_blackhole(UnixTime(0), identity, entry);
        }
        let all: BTreeSet<_> = self.blackhole.iter().map(|(identity, _)| *identity).collect();
        let start = Now { mono: Instant::ZERO, unix: UnixTime(0) };
        self.shut_out(start, &all);
    }

    fn shut_out(&mut self, now: Now, identities: &BTreeSet<IdentityHash>) {
        if identities.is_empty() {
            return;
        }
        let theirs = |owner: Option<IdentityHash>| owner.is_some_and(|of| identities.contains(&of));
        let paths = self.paths.iter().map(|(destination, _)| *destination);
        let lost: Vec<_> = paths.filter(|destination| theirs(self.owner_of(*destination))).collect();
        for destination in lost {
            self.drop_path(destination);
        }
        self.close_links_of(now, identities);
        self.plan_sweep(now);
    }

    fn plan_sweep(&mut self, now: Now) {
        if self.blackhole.has_deadlines() && self.timers.deadline(TimerKey::Blackhole).is_none() {
            self.timers.set(TimerKey::Blackhole, now.mono + BLACKHOLE_SWEEP_INTERVAL);
        }
    }

    pub(super) fn sweep_blackhole(&mut self, now: Now) {
        self.blackhole.sweep(now.unix);
        self.plan_sweep(now);
    }
}
