//! Keys that are encrypted to again and again: agreements made before there is something to encrypt.
//! docs/protocol/1-core.md, section 1.3.

use std::collections::VecDeque;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::bounded::Bounded;
use crate::crypto::{self, FixedKey};
use crate::hash::IdentityHash;
use crate::identity::Prepared;

/// Agreements prepared for one key.
const MOST: usize = 32;
/// Agreements with one key after which a table of its multiples pays.
const USES: u32 = 50;

/// An X25519 public key, and the identity it is of.
type Target = ([u8; 32], IdentityHash);

#[derive(Debug, Default)]
struct Entry {
    ready: Vec<Prepared>,
    /// How many there should be: twice as many each time there was none.
    wanted: usize,
    /// Whether a job makes more, or waits to.
    asked: bool,
    uses: u32,
    table: Table,
}

#[derive(Debug, Default, Clone)]
enum Table {
    /// Not tried.
    #[default]
    None,
    Made(Arc<FixedKey>),
    /// The key is on the twist, as none is that somebody has the private half of.
    Impossible,
}

/// What is prepared for the few keys in use; the one used longest ago leaves. Only keys that this node sends to get in.
#[derive(Debug)]
pub(crate) struct Exchanges {
    entries: Bounded<Target, Entry>,
    /// Keys for which `asked` is true and no job was handed out: each is in `entries`.
    waiting: VecDeque<Target>,
}

impl Exchanges {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Bounded::new(capacity), waiting: VecDeque::new() }
    }

    /// An agreement with `target`, which is used up, if one is ready.
    pub(crate) fn take(&mut self, target: &[u8; 32], of: IdentityHash) -> Option<Prepared> {
        let target = (*target, of);
        let Some(entry) = self.entries.use_mut(&target) else {
            // What is sent once has nothing prepared: that starts with the second time.
            if let Some((gone, _)) = self.entries.insert(target, Entry::default()) {
                self.waiting.retain(|waiting| *waiting != gone);
            }
            return None;
        };
        entry.uses = entry.uses.saturating_add(1);
        let ready = entry.ready.pop();
        if ready.is_none() {
            entry.wanted = (entry.wanted * 2).clamp(1, MOST);
        }
        self.ask(target);
        ready
    }

    fn ask(&mut self, target: Target) {
        if let Some(entry) = self.entries.get_mut(&target)
            && !entry.asked
            && entry.ready.len() <= entry.wanted / 2
            && entry.ready.len() < entry.wanted
        {
            entry.asked = true;
            self.waiting.push_back(target);
        }
    }

    /// The next preparation to make.
    pub(crate) fn next_job(&mut self, rng: &mut dyn CryptoRng) -> Option<Preparation> {
        let target = self.waiting.pop_front()?;
        let entry = self.entries.get_mut(&target)?;
        let ephemerals = (entry.ready.len()..entry.wanted).map(|_| {
            let mut ephemeral = Zeroizing::new([0; 32]);
            rng.fill_bytes(ephemeral.as_mut());
            ephemeral
        });
        let (ephemerals, table) = (ephemerals.collect(), entry.table.clone());
        Some(Preparation { target, ephemerals, table, make_table: entry.uses >= USES })
    }

    /// Takes what a job made. What is for a key that left is dropped.
    pub(crate) fn prepared(&mut self, keys: PreparedKeys) {
        let Some(entry) = self.entries.get_mut(&keys.target).filter(|entry| entry.asked) else { return };
        entry.asked = false;
        entry.table = keys.table;
        if matches!(entry.table, Table::Made(_)) {
            // In steady use: few jobs that make many, not one for each packet.
            entry.wanted = MOST;
        }
        if keys.ready.is_empty() {
            // The key is of low order: nothing is ever ready for it.
            entry.wanted = 0;
        }
        let room = MOST.saturating_sub(entry.ready.len());
        entry.ready.extend(keys.ready.into_iter().take(room));
        self.ask(keys.target);
    }
}

/// Agreements to make, as a job.
#[derive(Debug)]
pub(crate) struct Preparation {
    target: Target,
    ephemerals: Vec<Zeroizing<[u8; 32]>>,
    table: Table,
    make_table: bool,
}

/// What a [`Preparation`] made.
#[derive(Debug)]
pub(crate) struct PreparedKeys {
    target: Target,
    ready: Vec<Prepared>,
    table: Table,
}

impl Preparation {
    /// Agreements it makes; none is said where it makes a table, which is more work than any of them.
    pub(crate) fn operations(&self) -> Option<usize> {
        let makes_table = self.make_table && matches!(self.table, Table::None);
        (!makes_table).then_some(self.ephemerals.len())
    }

    pub(crate) fn run(self) -> PreparedKeys {
        let (public, of) = &self.target;
        let table = match self.table {
            Table::None if self.make_table => {
                FixedKey::new(public).map_or(Table::Impossible, |table| Table::Made(Arc::new(table)))
            }
            table => table,
        };
        let agree = |ephemeral: &[u8; 32]| match &table {
            Table::Made(table) => table.agree(ephemeral),
            Table::None | Table::Impossible => crypto::agree(ephemeral, public),
        };
        let public = crypto::x25519_public_all(&self.ephemerals);
        let each = self.ephemerals.iter().zip(public);
        let ready = each.filter_map(|(private, public)| Prepared::new(public, &*agree(private)?, *of)).collect();
        PreparedKeys { target: self.target, ready, table }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::testing::TestRng;

    fn identity(seed: u64) -> Identity {
        Identity::generate(&mut TestRng::seeded(seed))
    }

    /// Does all the work that waits.
    fn work(exchanges: &mut Exchanges, rng: &mut TestRng) {
        while let Some(job) = exchanges.next_job(rng) {
            exchanges.prepared(job.run());
        }
    }

    fn take(exchanges: &mut Exchanges, of: &Identity) -> Option<Prepared> {
        exchanges.take(of.public().exchange_key(), of.hash())
    }

    fn tables(exchanges: &Exchanges) -> usize {
        exchanges.entries.iter().filter(|(_, entry)| matches!(entry.table, Table::Made(_))).count()
    }

    #[test]
    fn what_is_prepared_opens_with_and_without_a_table_and_no_ephemeral_key_comes_twice() {
        let (mut exchanges, mut rng, to) = (Exchanges::new(2), TestRng::seeded(1), identity(2));
        let (mut seen, mut prepared_ones) = (std::collections::BTreeSet::new(), 0);
        for round in 0..=255u8 {
            if let Some(prepared) = take(&mut exchanges, &to) {
                let sealed = prepared.encrypt(&[round; 16], &[round; 40]);
                assert_eq!(to.decrypt(&sealed, &[], false).unwrap().plaintext, [round; 40]);
                assert!(seen.insert(sealed[..32].to_vec()));
                prepared_ones += 1;
            }
            work(&mut exchanges, &mut rng);
        }
        assert_eq!((tables(&exchanges), prepared_ones), (1, 254));
    }

    #[test]
    fn a_key_sent_to_once_costs_nothing_more() {
        let (mut exchanges, mut rng) = (Exchanges::new(2), TestRng::seeded(1));
        assert!(take(&mut exchanges, &identity(2)).is_none());
        assert!(exchanges.next_job(&mut rng).is_none());
    }

    #[test]
    fn as_many_are_prepared_as_are_sent_at_once_up_to_a_bound() {
        let (mut exchanges, mut rng, to) = (Exchanges::new(2), TestRng::seeded(1), identity(2));
        for _ in 0..1_000 {
            take(&mut exchanges, &to);
        }
        work(&mut exchanges, &mut rng);
        let (_, entry) = exchanges.entries.iter().next().unwrap();
        assert_eq!((entry.ready.len(), entry.wanted), (MOST, MOST));
    }

    #[test]
    fn ten_times_as_many_keys_as_fit_leave_the_bound_alone_and_a_busy_key_keeps_what_it_has() {
        let (mut exchanges, mut rng, busy) = (Exchanges::new(4), TestRng::seeded(1), identity(2));
        for _ in 0..=USES + 2 {
            take(&mut exchanges, &busy);
            work(&mut exchanges, &mut rng);
        }
        for other in 0..40 {
            for _ in 0..3 {
                take(&mut exchanges, &identity(100 + other));
            }
            assert!(take(&mut exchanges, &busy).is_some());
            assert!(exchanges.entries.len() <= 4 && exchanges.waiting.len() <= 4);
            work(&mut exchanges, &mut rng);
        }
        assert_eq!(tables(&exchanges), 1);
        // The same when nobody does the work.
        for other in 0..40 {
            for _ in 0..3 {
                take(&mut exchanges, &identity(100 + other));
            }
            assert!(exchanges.entries.len() <= 4 && exchanges.waiting.len() <= 4);
        }
    }

    #[test]
    fn results_for_keys_that_left_are_dropped() {
        let (mut exchanges, mut rng, first) = (Exchanges::new(1), TestRng::seeded(1), identity(2));
        take(&mut exchanges, &first);
        take(&mut exchanges, &first);
        let job = exchanges.next_job(&mut rng).unwrap();
        take(&mut exchanges, &identity(3));
        exchanges.prepared(job.run());
        assert!(exchanges.entries.iter().all(|(_, entry)| entry.ready.is_empty()));
    }

    #[test]
    fn a_key_that_agrees_on_nothing_is_not_prepared_for_for_ever() {
        let (mut exchanges, mut rng, of) = (Exchanges::new(1), TestRng::seeded(1), identity(2).hash());
        for _ in 0..3 {
            assert!(exchanges.take(&[0; 32], of).is_none());
        }
        let job = exchanges.next_job(&mut rng).unwrap();
        exchanges.prepared(job.run());
        assert!(exchanges.next_job(&mut rng).is_none());
    }
}
