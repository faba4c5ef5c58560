//! Links that wait for their proof. Whoever asks for many of them pays with their own: finding who gives way takes no look
//! at all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Relay;
use crate::bounded::Bounded;
use crate::hash::LinkId;
use crate::stack::InterfaceId;
use crate::time::Instant;

/// A bounded table. When it is full, the link that would go first on the interface that asked most makes room.
#[derive(Debug)]
pub(super) struct Asked {
    links: Bounded<LinkId, Relay>,
    /// The same by the interface that asked, those that go first at the front.
    lines: BTreeMap<InterfaceId, BTreeSet<(Instant, LinkId)>>,
    /// How long the lines are.
    lens: BTreeSet<(usize, InterfaceId)>,
}

impl Asked {
    pub(super) fn keyed(capacity: usize, seed: u64) -> Self {
        Self { links: Bounded::keyed(capacity, seed), lines: BTreeMap::new(), lens: BTreeSet::new() }
    }

    pub(super) fn get(&self, link: &LinkId) -> Option<&Relay> {
        self.links.get(link)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&LinkId, &Relay)> {
        self.links.iter()
    }

    /// Takes a link in. Returns the one that had to leave.
    pub(super) fn insert(&mut self, link: LinkId, relay: Relay) -> Option<LinkId> {
        self.remove(&link);
        let leaves = if self.links.len() >= self.links.capacity() { self.first_of_busiest() } else { None };
        if let Some(leaves) = leaves {
            self.remove(&leaves);
        }
        let refused = self.links.insert(link, relay).is_some();
        if !refused {
            self.change_line(relay.received, |line| line.insert((relay.deadline, link)));
        }
        leaves
    }

    fn first_of_busiest(&self) -> Option<LinkId> {
        let (_, on) = self.lens.last()?;
        self.lines.get(on)?.first().map(|(_, link)| *link)
    }

    pub(super) fn remove(&mut self, link: &LinkId) {
        if let Some(relay) = self.links.remove(link) {
            self.change_line(relay.received, |line| line.remove(&(relay.deadline, *link)));
        }
    }

    fn change_line(&mut self, on: InterfaceId, change: impl FnOnce(&mut BTreeSet<(Instant, LinkId)>) -> bool) {
        let line = self.lines.entry(on).or_default();
        self.lens.remove(&(line.len(), on));
        change(line);
        if line.is_empty() {
            self.lines.remove(&on);
        } else {
            self.lens.insert((line.len(), on));
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&LinkId, &Relay) -> bool) {
        let leaving: Vec<_> =
            self.links.iter().filter(|(link, relay)| !keep(link, relay)).map(|(link, _)| *link).collect();
        leaving.iter().for_each(|link| self.remove(link));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::relay;
    use super::*;

    fn link(number: u64) -> LinkId {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        LinkId::new([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn at(second: u64) -> Instant {
        Instant::from_micros(second * 1_000_000)
    }

    /// The same operations on a plain list, where everything is searched for.
    #[test]
    fn who_gives_way_is_the_first_of_the_interface_that_has_most() {
        let (mut asked, mut list) = (Asked::keyed(20, 7), Vec::<(u64, u32, u64)>::new());
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for step in 0..5000 {
            if random(4) == 0 && !list.is_empty() {
                let (gone, ..) = list.remove(random(list.len() as u64) as usize);
                asked.remove(&link(gone));
            } else {
                let (on, deadline) = (random(4) as u32, 10 * random(500) + step % 10);
                let count = |on: u32| list.iter().filter(|(_, of, _)| *of == on).count();
                let busiest = (0..4).max_by_key(|on| count(*on)).unwrap();
                let of_busiest = list.iter().filter(|(_, on, _)| *on == busiest);
                let first = of_busiest.min_by_key(|(number, _, deadline)| (*deadline, *number)).copied();
                let leaves = first.filter(|_| list.len() == 20);
                list.retain(|entry| Some(*entry) != leaves);
                list.push((step, on, deadline));
                let left = asked.insert(link(step), relay(InterfaceId(on), at(deadline)));
                assert_eq!(left, leaves.map(|(number, ..)| link(number)));
            }
            assert_eq!(asked.len(), list.len());
            assert!(list.iter().all(|(number, ..)| asked.get(&link(*number)).is_some()));
        }
        asked.retain(|_, relay| relay.received != InterfaceId(2));
        list.retain(|(_, on, _)| *on != 2);
        assert_eq!(asked.len(), list.len());
        assert_eq!(asked.lines.values().map(BTreeSet::len).sum::<usize>(), list.len());
        assert_eq!(asked.lens.len(), asked.lines.len());
    }

    #[test]
    fn a_table_of_no_capacity_takes_nothing() {
        let mut asked = Asked::keyed(0, 7);
        assert_eq!(asked.insert(link(1), relay(InterfaceId(1), at(1))), None);
        assert!(asked.len() == 0 && asked.lines.is_empty() && asked.lens.is_empty());
    }
}
