//! Keys of links to come: each end of a link takes new ones, and making them would be most of what an answer waits for.
//! docs/protocol/2-link.md, section 2.

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::crypto;

/// Keys that wait for a link of each kind.
const MOST: usize = 16;

/// An X25519 key pair for one link, wiped when it is dropped.
#[derive(Debug)]
pub(crate) struct ExchangeKeys {
    pub(crate) private: Zeroizing<[u8; 32]>,
    pub(crate) public: [u8; 32],
}

/// What the initiator of a link needs: the other pair signs.
#[derive(Debug)]
pub(crate) struct InitiatorKeys {
    pub(crate) exchange: ExchangeKeys,
    pub(crate) signing: SigningKey,
}

type Seed = Zeroizing<[u8; 32]>;

fn seed(rng: &mut dyn CryptoRng) -> Seed {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(seed.as_mut());
    seed
}

impl ExchangeKeys {
    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let private = seed(rng);
        Self { public: crypto::x25519_public(&private), private }
    }

    fn of_all(seeds: Vec<Seed>) -> Vec<Self> {
        let public = crypto::x25519_public_all(&seeds);
        seeds.into_iter().zip(public).map(|(private, public)| Self { private, public }).collect()
    }
}

impl InitiatorKeys {
    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> Self {
        let exchange = ExchangeKeys::generate(rng);
        Self { exchange, signing: SigningKey::from_bytes(&seed(rng)) }
    }
}

/// Keys of one kind.
#[derive(Debug)]
struct Shelf<T> {
    ready: Vec<T>,
    /// How many there should be: twice as many each time more are made.
    wanted: usize,
    /// Whether keys of this kind were needed.
    used: bool,
}

impl<T> Shelf<T> {
    const fn new() -> Self {
        Self { ready: Vec::new(), wanted: 0, used: false }
    }

    fn take(&mut self) -> Option<T> {
        self.used = true;
        self.ready.pop()
    }

    /// Once half of them are gone.
    fn is_short(&self) -> bool {
        self.used && self.ready.len() <= self.wanted / 2
    }

    /// How many to make.
    fn order(&mut self) -> usize {
        if !self.is_short() {
            return 0;
        }
        self.wanted = (self.wanted * 2).clamp(1, MOST);
        self.wanted.saturating_sub(self.ready.len())
    }

    fn put(&mut self, made: Vec<T>) {
        let room = MOST.saturating_sub(self.ready.len());
        self.ready.extend(made.into_iter().take(room));
    }
}

/// Keys that were made ahead. Each is used for one link. A node without links has none; one that is flooded with requests
/// for links makes them as they come, after the first few.
#[derive(Debug)]
pub(crate) struct LinkKeys {
    initiator: Shelf<InitiatorKeys>,
    responder: Shelf<ExchangeKeys>,
    /// Whether a job makes more.
    asked: bool,
}

impl LinkKeys {
    pub(crate) const fn new() -> Self {
        Self { initiator: Shelf::new(), responder: Shelf::new(), asked: false }
    }

    /// The keys of a link that this node opens.
    pub(crate) fn for_initiator(&mut self, rng: &mut dyn CryptoRng) -> InitiatorKeys {
        self.initiator.take().unwrap_or_else(|| InitiatorKeys::generate(rng))
    }

    /// The keys of a link that this node accepts.
    pub(crate) fn for_responder(&mut self, rng: &mut dyn CryptoRng) -> ExchangeKeys {
        self.responder.take().unwrap_or_else(|| ExchangeKeys::generate(rng))
    }

    /// Keys to make, when there are too few and nobody makes more.
    pub(crate) fn next_job(&mut self, rng: &mut dyn CryptoRng) -> Option<KeysToMake> {
        if self.asked {
            return None;
        }
        let (initiator, responder) = (self.initiator.order(), self.responder.order());
        self.asked = initiator + responder > 0;
        if !self.asked {
            return None;
        }
        let mut seeds = |count| (0..count).map(|_| seed(rng)).collect();
        Some(KeysToMake { initiator: seeds(initiator), signing: seeds(initiator), responder: seeds(responder) })
    }

    /// Takes what a job made.
    pub(crate) fn made(&mut self, keys: KeysMade) {
        self.asked = false;
        self.initiator.put(keys.initiator);
        self.responder.put(keys.responder);
    }
}

/// Keys to make, as a job.
#[derive(Debug)]
pub(crate) struct KeysToMake {
    initiator: Vec<Seed>,
    signing: Vec<Seed>,
    responder: Vec<Seed>,
}

/// What [`KeysToMake`] made.
#[derive(Debug)]
pub(crate) struct KeysMade {
    initiator: Vec<InitiatorKeys>,
    responder: Vec<ExchangeKeys>,
}

impl KeysToMake {
    /// Pairs it makes.
    pub(crate) fn operations(&self) -> usize {
        self.initiator.len() + self.signing.len() + self.responder.len()
    }

    pub(crate) fn run(self) -> KeysMade {
        let signing = self.signing.iter().map(|seed| SigningKey::from_bytes(seed));
        let exchange = ExchangeKeys::of_all(self.initiator);
        let initiator =
            exchange.into_iter().zip(signing).map(|(exchange, signing)| InitiatorKeys { exchange, signing });
        KeysMade { initiator: initiator.collect(), responder: ExchangeKeys::of_all(self.responder) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::TestRng;

    fn work(keys: &mut LinkKeys, rng: &mut TestRng) {
        while let Some(job) = keys.next_job(rng) {
            keys.made(job.run());
        }
    }

    #[test]
    fn keys_are_whole_and_none_comes_twice_made_ahead_or_not() {
        let (mut keys, mut rng) = (LinkKeys::new(), TestRng::seeded(1));
        let mut seen = BTreeSet::new();
        for round in 0..60 {
            let own = keys.for_initiator(&mut rng);
            let others = keys.for_responder(&mut rng);
            for pair in [&own.exchange, &others] {
                assert_eq!(pair.public, crypto::x25519_public(&pair.private));
                assert!(seen.insert(*pair.private));
            }
            assert!(seen.insert(own.signing.to_bytes()));
            if round % 5 == 0 {
                work(&mut keys, &mut rng);
            }
        }
        assert_eq!((keys.initiator.wanted, keys.responder.wanted), (MOST, MOST));
    }

    #[test]
    fn a_node_without_links_makes_no_keys() {
        assert!(LinkKeys::new().next_job(&mut TestRng::seeded(1)).is_none());
    }

    #[test]
    fn ten_times_as_many_links_as_keys_leave_the_bound_alone() {
        let (mut keys, mut rng) = (LinkKeys::new(), TestRng::seeded(1));
        for _ in 0..10 {
            for _ in 0..MOST {
                keys.for_initiator(&mut rng);
                keys.for_responder(&mut rng);
            }
            work(&mut keys, &mut rng);
            assert!(keys.initiator.ready.len() <= MOST && keys.responder.ready.len() <= MOST);
        }
        assert_eq!((keys.initiator.ready.len(), keys.responder.ready.len()), (MOST, MOST));
    }

    #[test]
    fn one_job_at_a_time_makes_keys() {
        let (mut keys, mut rng) = (LinkKeys::new(), TestRng::seeded(1));
        keys.for_initiator(&mut rng);
        let job = keys.next_job(&mut rng).unwrap();
        (0..20).for_each(|_| drop(keys.for_responder(&mut rng)));
        assert!(keys.next_job(&mut rng).is_none());
        keys.made(job.run());
        assert_eq!(keys.next_job(&mut rng).unwrap().responder.len(), 1);
    }
}
