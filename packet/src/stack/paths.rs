//! The table of paths: what gets in, what is found, what leaves. docs/protocol/1-core.md, section 5.2.

use core::time::Duration;

use super::path::{Path, PathEntry};
use super::{Event, Mode, Stack, TimerKey};
use crate::hash::DestinationHash;
use crate::time::{Instant, Now};

/// Time between two looks for paths whose time is up, at least. There is no deadline for each: with many paths that would
/// take more memory than the paths.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// "Later than the lifetime" is a microsecond later.
const LATER: Duration = Duration::from_micros(1);

impl Stack {
    /// All paths that can be used now, by destination.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.paths
            .iter()
            .filter(|(_, path)| self.interfaces.contains_key(&path.on))
            .map(|(destination, path)| path.view(*destination))
    }

    /// The path to a destination, when one is known that can be used now.
    pub fn path(&self, to: DestinationHash) -> Option<Path> {
        self.route(to).map(|path| path.view(to))
    }

    /// The path to a destination, when its interface is up.
    pub(super) fn route(&self, to: DestinationHash) -> Option<&PathEntry> {
        self.paths.get(&to).filter(|path| self.interfaces.contains_key(&path.on))
    }

    /// Takes a path into the table, in place of the one before. It was learned or used just now: the table is in the order
    /// in which paths were used.
    pub(super) fn insert_path(&mut self, destination: DestinationHash, entry: PathEntry) {
        let end = entry.used + self.path_lifetime(&entry) + LATER;
        if let Some((evicted, _)) = self.paths.insert(destination, entry).filter(|(left, _)| *left != destination) {
            self.event(Event::PathChanged { destination: evicted, hops: None });
        }
        if self.timers.deadline(TimerKey::Paths).is_none_or(|sweep| end < sweep) {
            self.timers.set(TimerKey::Paths, end);
        }
    }

    pub(super) fn drop_path(&mut self, destination: DestinationHash) {
        if self.paths.remove(&destination).is_some() {
            self.event(Event::PathChanged { destination, hops: None });
        }
    }

    /// How long a path lives without use: what its interface's mode says.
    fn path_lifetime(&self, path: &PathEntry) -> Duration {
        self.interfaces.get(&path.on).map_or(Mode::Full, |interface| interface.profile.mode).path_lifetime()
    }

    /// Paths go that were not used for their lifetime. Those used longest ago are looked at first, and no more than may be
    /// due: use only moves a path to the end of the table.
    pub(super) fn sweep_paths(&mut self, now: Now) {
        let modes = self.interfaces.values().map(|interface| interface.profile.mode);
        let shortest = modes.map(Mode::path_lifetime).fold(Mode::Full.path_lifetime(), Duration::min);
        let (mut ended, mut next) = (Vec::new(), None::<Instant>);
        for (destination, path) in self.paths.iter() {
            let due = path.used + self.path_lifetime(path) + LATER;
            if due <= now.mono {
                ended.push(*destination);
                continue;
            }
            let first_of_rest = path.used + shortest + LATER;
            let rest = first_of_rest > now.mono;
            let found = if rest { first_of_rest } else { due };
            next = Some(next.map_or(found, |next| next.min(found)));
            if rest {
                break;
            }
        }
        for destination in ended {
            self.drop_path(destination);
        }
        if let Some(next) = next {
            self.timers.set(TimerKey::Paths, next.max(now.mono + SWEEP_INTERVAL));
        }
    }
}
