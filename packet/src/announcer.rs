//! When the node announces itself, and where. docs/protocol/mesh.md, Announce app data.
//!
//! Relays stop carrying a destination's announces after six in an hour, and anyone can make interfaces of a server come
//! and go. So announces are counted: some for interfaces that come up, some for a catalog that changed, and one is left
//! for whoever types `wend announce`. An interface that comes up beyond that is greeted with the answer to a path request
//! that nobody made: its neighbour learns who is here, and passes nothing on.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::stack::InterfaceId;
use crate::time::Instant;

/// How long after an interface came up the node announces itself, so that several make one announce.
const SETTLE: Duration = Duration::from_secs(1);
/// Announces are repeated this often, give or take a tenth.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Links below this many bit/s are announced on only every [`INTERVAL_SLOW`].
const SLOW_BPS: u64 = 64_000;
/// Least time between two announces on a slow link that nobody asked for.
const INTERVAL_SLOW: Duration = Duration::from_secs(6 * 3600);
/// Least time between two announces because the catalog changed.
const CHANGED: Duration = Duration::from_secs(900);
/// In which the announces below are counted.
const HOUR: Duration = Duration::from_secs(3600);
/// Announces in an hour that interfaces coming up may cause.
const FOR_NEWCOMERS: usize = 3;
/// Announces in an hour without those somebody asked for.
const UNASKED: usize = 5;

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Announce on these interfaces.
    pub announce: BTreeSet<InterfaceId>,
    /// Greet the neighbours on these.
    pub greet: BTreeSet<InterfaceId>,
}

/// Plans announces. It is told what happens and asked what is due.
#[derive(Debug, Default)]
pub struct Announcer {
    regular: Option<Instant>,
    changed: Option<Instant>,
    newcomers: BTreeMap<InterfaceId, Instant>,
    made: VecDeque<Instant>,
    last_on: BTreeMap<InterfaceId, Instant>,
}

impl Announcer {
    /// An interface came up.
    pub fn up(&mut self, now: Instant, id: InterfaceId) {
        self.newcomers.insert(id, now + SETTLE);
    }

    /// An interface is gone for good.
    pub fn gone(&mut self, id: InterfaceId) {
        self.newcomers.remove(&id);
        self.last_on.remove(&id);
    }

    /// The catalog changed.
    pub fn changed(&mut self, now: Instant) {
        let earliest = self.made.back().map_or(now, |last| *last + CHANGED).max(now + SETTLE);
        self.changed.get_or_insert(earliest);
    }

    /// When to ask [`Announcer::due`].
    pub fn next(&self) -> Option<Instant> {
        let newcomer = self.newcomers.values().min().copied();
        [self.regular, self.changed, newcomer].into_iter().flatten().min()
    }

    /// What is due now, of the interfaces that are up with their bit/s. `spread` is a random number that keeps nodes from
    /// announcing in step.
    pub fn due(&mut self, now: Instant, up: &BTreeMap<InterfaceId, u64>, spread: u32) -> Due {
        while self.made.front().is_some_and(|oldest| *oldest + HOUR <= now) {
            self.made.pop_front();
        }
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let newcomers: BTreeSet<InterfaceId> =
            self.newcomers.keys().copied().filter(|id| up.contains_key(id)).collect();
        if passed(self.regular) || (passed(self.changed) && self.made.len() < UNASKED) {
            let quick = |(id, bps): (&InterfaceId, &u64)| {
                let recent = self.last_on.get(id).is_some_and(|last| now.since(*last) < INTERVAL_SLOW);
                (*bps >= SLOW_BPS || !recent).then_some(*id)
            };
            let announce = up.iter().filter_map(quick).chain(newcomers).collect();
            return self.announce(now, announce, spread);
        }
        if passed(self.changed) {
            // The hour's announces are used up: the oldest of them makes room.
            self.changed = self.made.front().map(|oldest| *oldest + HOUR);
        }
        if !self.newcomers.values().any(|at| *at <= now) {
            return Due::default();
        }
        if self.made.len() < FOR_NEWCOMERS {
            return self.announce(now, newcomers, spread);
        }
        self.newcomers.clear();
        Due { greet: newcomers, ..Due::default() }
    }

    /// Somebody wants an announce on all interfaces that are up.
    pub fn asked(&mut self, now: Instant, up: &BTreeMap<InterfaceId, u64>, spread: u32) -> BTreeSet<InterfaceId> {
        self.announce(now, up.keys().copied().collect(), spread).announce
    }

    fn announce(&mut self, now: Instant, on: BTreeSet<InterfaceId>, spread: u32) -> Due {
        let tenths = Duration::from_millis(u64::from(spread % 7200) * 100);
        self.regular = Some(now + INTERVAL * 9 / 10 + tenths);
        self.newcomers.clear();
        if !on.is_empty() {
            self.changed = None;
            self.made.push_back(now);
            self.last_on.extend(on.iter().map(|id| (*id, now)));
        }
        Due { announce: on, greet: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: InterfaceId = InterfaceId(1);
    const RADIO: InterfaceId = InterfaceId(2);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn up() -> BTreeMap<InterfaceId, u64> {
        [(TCP, 10_000_000), (RADIO, 1200)].into()
    }

    fn both() -> BTreeSet<InterfaceId> {
        [TCP, RADIO].into()
    }

    /// A node whose two interfaces came up at the start and were announced on.
    fn started() -> Announcer {
        let mut announcer = Announcer::default();
        announcer.up(at(0), TCP);
        announcer.up(at(0), RADIO);
        assert_eq!(announcer.next(), Some(at(1)));
        assert_eq!(announcer.due(at(1), &up(), 0).announce, both());
        announcer
    }

    #[test]
    fn it_announces_at_the_start_and_every_hour_on_slow_links_every_six() {
        let mut announcer = started();
        for hour in 1..=7 {
            let next = announcer.next().expect("planned");
            assert_eq!(next, at(1 + hour * 3240));
            let announce = announcer.due(next, &up(), 0).announce;
            assert_eq!(announce.contains(&RADIO), hour == 7, "hour {hour}");
            assert!(announce.contains(&TCP));
        }
    }

    #[test]
    fn a_changed_catalog_is_announced_at_most_every_quarter_of_an_hour() {
        let mut announcer = started();
        announcer.changed(at(10));
        announcer.changed(at(20));
        assert_eq!(announcer.next(), Some(at(901)));
        assert_eq!(announcer.due(at(901), &up(), 0).announce, [TCP].into());
        assert!(announcer.next() > Some(at(3600)), "once");
    }

    #[test]
    fn interfaces_that_come_and_go_do_not_use_up_the_announces() {
        let mut announcer = started();
        let mut up = up();
        let (mut announces, mut greetings) = (0, 0);
        for peer in 10..30 {
            let id = InterfaceId(peer);
            up.insert(id, 10_000_000);
            announcer.up(at(u64::from(peer)), id);
            let due = announcer.due(at(u64::from(peer) + 1), &up, 0);
            assert_eq!(due.announce.len() + due.greet.len(), 1, "the newcomer alone");
            announces += due.announce.len();
            greetings += due.greet.len();
        }
        assert_eq!((announces, greetings), (2, 18));
        announcer.changed(at(60));
        let next = announcer.next().expect("planned");
        assert!(!announcer.due(next, &up, 0).announce.is_empty(), "a changed catalog still has its announce");
    }

    #[test]
    fn who_asks_is_always_obeyed() {
        let mut announcer = started();
        for second in 2..12 {
            assert_eq!(announcer.asked(at(second), &up(), 0), both());
        }
    }

    #[test]
    fn nothing_is_announced_without_an_interface() {
        let mut announcer = Announcer::default();
        assert_eq!(announcer.next(), None);
        assert_eq!(announcer.asked(at(1), &BTreeMap::new(), 0), BTreeSet::new());
    }
}
