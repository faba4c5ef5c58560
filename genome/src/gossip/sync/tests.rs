use std::collections::BTreeMap;

use chacha20::ChaCha8Rng;
use proptest::prelude::*;
use rand_core::SeedableRng;
use wend_packet::IdentityHash;
use wend_packet::identity::PublicIdentity;

use super::*;
use crate::card::{Card, LEN_MAX};
use crate::catalog::{Applied, Catalog};
use crate::entry::EntryId;
use crate::gossip::intake::Intake;
use crate::gossip::message::{Bundle, Request, Response, Shelf};
use crate::testing::{card, expiring, identity, now};
use crate::verified::Verified;

#[derive(Default)]
struct Disk {
    cards: BTreeMap<EntryId, Vec<u8>>,
    keys: BTreeMap<IdentityHash, PublicIdentity>,
}

impl Shelf for Disk {
    fn card(&self, id: &EntryId) -> Option<Vec<u8>> {
        self.cards.get(id).cloned()
    }

    fn key(&self, publisher: &IdentityHash) -> Option<PublicIdentity> {
        self.keys.get(publisher).copied()
    }
}

struct Node {
    who: IdentityHash,
    catalog: Catalog,
    disk: Disk,
    intake: Intake,
    answerer: SyncAnswerer,
    repeated: usize,
}

impl Node {
    fn new(seed: u8) -> Self {
        Self {
            who: identity(seed).hash(),
            catalog: Catalog::new(10_000, []),
            disk: Disk::default(),
            intake: Intake::default(),
            answerer: SyncAnswerer::default(),
            repeated: 0,
        }
    }

    fn publish(&mut self, publisher: u8, card: &Verified<Card>) {
        self.disk.keys.insert(identity(publisher).hash(), *identity(publisher).public());
        self.keep(card);
    }

    fn keep(&mut self, card: &Verified<Card>) {
        if matches!(self.catalog.apply(now(), card), Applied::New { .. } | Applied::Newer { .. }) {
            self.disk.cards.insert(card.id(), card.as_bytes().to_vec());
        }
    }

    fn take(&mut self, bundle: &Bundle) {
        self.repeated += self.intake.handle_bundle(now(), bundle, &self.catalog, &self.disk).known;
        while let Some(check) = self.intake.poll_check() {
            let checked = check.run().expect("honest cards");
            self.disk.keys.insert(checked.key.hash(), checked.key);
            self.keep(&checked.card);
        }
    }

    fn answer(&mut self, peer: IdentityHash, request: &rmpv::Value) -> rmpv::Value {
        let request = Request::from_value(request).expect("well-formed");
        let answer = self.answerer.answer(peer, request, &self.catalog, &self.disk).expect("consistent");
        if let Some(bundle) = answer.received {
            self.take(&bundle);
        }
        answer.response.to_value()
    }

    fn ask(&self, announced: bool, other: &Self, seed: u64, limits: Limits) -> Option<SyncAsker> {
        let announced = announced.then(|| other.catalog.summary());
        SyncAsker::start(&mut ChaCha8Rng::seed_from_u64(seed), &self.catalog, announced, limits)
    }
}

/// Runs a dialogue to its end. `fate` says, for each request, whether it and its response arrive.
fn run(asker: &mut SyncAsker, one: &mut Node, other: &mut Node, mut fate: impl FnMut() -> (bool, bool)) {
    while let Some(request) = asker.poll_request(&one.disk) {
        let (there, back) = fate();
        let response = there.then(|| other.answer(one.who, &request));
        match response.filter(|_| back) {
            None => asker.handle_lost(),
            Some(response) => {
                if let Some(bundle) = asker.handle_response(&response).expect("an honest peer") {
                    one.take(&bundle);
                }
            }
        }
        assert!(asker.traffic().requests < 3000, "no end");
    }
    assert!(asker.is_done());
}

fn always() -> (bool, bool) {
    (true, true)
}

/// Two nodes with `shared` entries of four publishers in common, and some more each, of `lifetime` seconds.
fn pair(shared: u32, ours: u32, theirs: u32, lifetime: impl Fn(u32) -> u32) -> (Node, Node) {
    let (mut one, mut other) = (Node::new(101), Node::new(102));
    for number in 0..shared + ours + theirs {
        let publisher = (number % 4) as u8 + 1;
        let card = expiring(publisher, &format!("entry-number-{number}"), 1, lifetime(number));
        if number < shared + ours {
            one.publish(publisher, &card);
        }
        if number < shared || number >= shared + ours {
            other.publish(publisher, &card);
        }
    }
    (one, other)
}

fn agree(one: &Node, other: &Node) -> bool {
    one.catalog.summary() == other.catalog.summary()
}

#[test]
fn ten_new_entries_among_400_cost_at_most_700_bytes() {
    let (one, other) = pair(400, 0, 0, |number| 1000 + number * 60);
    let mut costs = Vec::new();
    for seed in 0..12 {
        // All new ones on one side, on the other, or mixed; the newest, the oldest, or in between.
        for (ours, theirs) in [(10, 0), (0, 10), (5, 5)] {
            let lifetime = [40_000, 500, 12_345][seed as usize % 3];
            let (mut one, mut other) = (clone(&one), clone(&other));
            for number in 0..ours + theirs {
                let card = expiring(5, &format!("new-{seed}-{number}"), 1, lifetime);
                if number < ours { one.publish(5, &card) } else { other.publish(5, &card) }
            }
            for announced in [true, false] {
                let (mut one, mut other) = (clone(&one), clone(&other));
                let mut asker = one.ask(announced, &other, seed * 2 + u64::from(announced), Limits::default()).unwrap();
                run(&mut asker, &mut one, &mut other, always);
                assert!(agree(&one, &other) && one.catalog.len() == 410, "{ours} + {theirs}");
                let traffic = asker.traffic();
                assert_eq!(traffic.keys, 64 * (u64::from(ours > 0) + u64::from(theirs > 0)));
                assert!(traffic.other <= 700, "{traffic:?}");
                assert_eq!((asker.received(), asker.pushed()), (theirs, ours));
                costs.push((traffic.other, traffic.requests));
            }
        }
    }
    costs.sort_unstable();
    let requests = costs.iter().map(|(_, requests)| *requests).sum::<u64>() as f64 / costs.len() as f64;
    eprintln!(
        "beyond cards and keys: median {}, 95th {}, most {} bytes; {requests:.1} requests on average",
        costs[costs.len() / 2].0,
        costs[costs.len() * 95 / 100].0,
        costs[costs.len() - 1].0
    );
}

fn clone(node: &Node) -> Node {
    let disk = Disk { cards: node.disk.cards.clone(), keys: node.disk.keys.clone() };
    Node { who: node.who, catalog: node.catalog.clone(), disk, ..Node::new(0) }
}

#[test]
fn equal_catalogs_cost_nothing_and_a_dialogue_begun_anyway_under_60_bytes() {
    let (mut one, mut other) = pair(50, 0, 0, |_| 1000);
    assert!(one.ask(true, &other, 1, Limits::default()).is_none());
    let mut asker = one.ask(false, &other, 1, Limits::default()).unwrap();
    run(&mut asker, &mut one, &mut other, always);
    assert!(asker.traffic().total() < 60, "{:?}", asker.traffic());
    assert_eq!(asker.traffic().requests, 1);
}

#[test]
fn a_newcomer_gets_everything_newest_first() {
    let (mut one, mut other) = pair(0, 0, 400, |number| 1000 + number);
    for number in 0..20 {
        // What the newcomer has: some of it the other has too.
        let card = card(7, &format!("own-{number}"), 1);
        one.publish(7, &card);
        if number < 15 {
            other.publish(7, &card);
        }
    }
    let mut asker = one.ask(false, &other, 3, Limits::default()).unwrap();
    let mut last = u64::MAX;
    while let Some(request) = asker.poll_request(&one.disk) {
        let response = other.answer(one.who, &request);
        if let Some(bundle) = asker.handle_response(&response).unwrap() {
            for card in bundle.cards() {
                assert!(card.view().expiry().0 <= last);
                last = card.view().expiry().0;
            }
            one.take(&bundle);
        }
    }
    assert!(agree(&one, &other));
    assert_eq!((asker.received(), asker.pushed(), one.repeated, other.repeated), (400, 5, 0, 0));
    assert_eq!(asker.traffic().keys, 64 * 4 + 64);
    assert!(asker.traffic().other < 3000, "{:?}", asker.traffic());
}

#[test]
fn large_differences_are_settled_part_by_part() {
    for (shared, ours, theirs, announced) in [(70, 0, 280, true), (20, 150, 140, false), (50, 100, 0, true)] {
        {
            let (mut one, mut other) = pair(shared, ours, theirs, |number| 1000 + number);
            let mut asker = one.ask(announced, &other, 3, Limits::default()).unwrap();
            run(&mut asker, &mut one, &mut other, always);
            assert!(agree(&one, &other) && !asker.is_unsettled());
            assert_eq!((one.repeated, other.repeated), (0, 0));
            let each = asker.traffic().other as f64 / f64::from(ours + theirs);
            eprintln!("{ours} + {theirs} of {shared}: {each:.1} bytes each, {:?}", asker.traffic());
            assert!(each < 45.0, "{each}");
        }
    }
}

#[test]
fn an_interrupted_dialogue_goes_on_where_it_was_and_repeats_nothing() {
    for seed in 0..4 {
        let (mut one, mut other) = pair(40, 60, 50, |number| 1000 + number);
        let limits = Limits { page_bytes: 2000, ..Limits::default() };
        let mut asker = one.ask(true, &other, seed, limits).unwrap();
        let mut turn = seed;
        run(&mut asker, &mut one, &mut other, || {
            turn += 1;
            (turn % 3 != 0, turn % 4 != 0)
        });
        assert!(agree(&one, &other));
        // A response that was lost is given again; a card that was received is not.
        assert_eq!(one.repeated, 0);
    }
}

#[test]
fn a_dialogue_that_dies_leaves_less_for_the_next_one() {
    let (mut one, mut other) = pair(80, 0, 100, |number| 1000 + number);
    let limits = Limits { page_bytes: 2000, ..Limits::default() };
    let mut rounds = 0;
    while let Some(mut asker) = one.ask(true, &other, rounds, limits) {
        for _ in 0..4 {
            let Some(request) = asker.poll_request(&one.disk) else { break };
            let response = other.answer(one.who, &request);
            if let Some(bundle) = asker.handle_response(&response).unwrap() {
                one.take(&bundle);
            }
        }
        rounds += 1;
        assert!(rounds < 30);
    }
    assert!(agree(&one, &other) && one.repeated == 0);
}

#[test]
fn an_answerer_that_forgot_the_dialogue_is_told_again() {
    let (mut one, mut other) = pair(50, 20, 20, |number| 1000 + number);
    let limits = Limits { page_bytes: 1000, ..Limits::default() };
    let mut asker = one.ask(true, &other, 5, limits).unwrap();
    let mut turns = 0;
    while let Some(request) = asker.poll_request(&one.disk) {
        turns += 1;
        if turns == 2 || turns == 4 {
            other.answerer = SyncAnswerer::default();
        }
        let response = other.answer(one.who, &request);
        if let Some(bundle) = asker.handle_response(&response).unwrap() {
            one.take(&bundle);
        }
    }
    assert!(agree(&one, &other) && one.repeated == 0);
}

#[test]
fn pages_keep_to_their_limit_and_the_budget_ends_the_dialogue() {
    let (mut one, mut other) = pair(50, 0, 60, |number| 1000 + number);
    let limits = Limits { page_bytes: 700, budget_bytes: 3000 };
    let mut asker = one.ask(true, &other, 5, limits).unwrap();
    while let Some(request) = asker.poll_request(&one.disk) {
        let response = other.answer(one.who, &request);
        if let Some(bundle) = asker.handle_response(&response).unwrap() {
            assert!(bundle.cards_len() + bundle.keys_len() <= 700);
            one.take(&bundle);
        }
    }
    assert!(asker.is_done() && asker.is_unsettled());
    assert!((3000..4000).contains(&asker.traffic().total()), "{:?}", asker.traffic());
    assert!(one.catalog.len() > 55);
}

#[test]
fn keys_travel_once_per_publisher() {
    let (mut one, mut other) = pair(10, 40, 40, |number| 1000 + number);
    let limits = Limits { page_bytes: 1000, ..Limits::default() };
    let mut asker = one.ask(true, &other, 5, limits).unwrap();
    run(&mut asker, &mut one, &mut other, always);
    assert_eq!(asker.traffic().keys, 2 * 4 * 64);
}

#[test]
fn cards_without_a_key_wait_and_at_most_64_of_them() {
    let (mut one, mut other) = pair(0, 0, 70, |number| 1000 + number);
    let stranger = card(9, "stranger", 1);
    other.keep(&stranger);
    other.disk.keys.clear();
    let mut asker = one.ask(true, &other, 5, Limits::default()).unwrap();
    run(&mut asker, &mut one, &mut other, always);
    assert_eq!((one.catalog.len(), one.intake.waiting()), (0, 64));
    one.intake.handle_key(identity(9).public());
    let checked: Vec<_> = std::iter::from_fn(|| one.intake.poll_check()).map(|check| check.run().unwrap()).collect();
    assert!(checked.len() <= 1 && one.intake.waiting() >= 63);
    for publisher in 1..=4 {
        one.intake.handle_key(identity(publisher).public());
    }
    let released = std::iter::from_fn(|| one.intake.poll_check()).count();
    assert_eq!((released + checked.len(), one.intake.waiting()), (64, 0));
}

#[test]
fn what_the_catalog_would_refuse_is_not_checked() {
    let mut node = Node::new(1);
    let cards = [expiring(2, "expired", 1, 0), expiring(2, "for ever", 1, 401 * 24 * 3600), card(2, "good", 1)];
    let cards = cards.iter().flat_map(|card| card.as_bytes().to_vec()).collect();
    let bundle = Bundle { cards, keys: identity(2).public().as_bytes().to_vec() };
    let count = node.intake.handle_bundle(now(), &bundle, &node.catalog, &node.disk);
    assert_eq!((count.queued, count.refused), (1, 2));
}

#[test]
fn a_forged_card_does_not_pass_its_check() {
    let mut node = Node::new(1);
    let mut forged = card(2, "forged", 1).as_bytes().to_vec();
    forged[50] ^= 1;
    let bundle = Bundle { cards: forged, keys: identity(2).public().as_bytes().to_vec() };
    assert_eq!(node.intake.handle_bundle(now(), &bundle, &node.catalog, &node.disk).queued, 1);
    assert!(node.intake.poll_check().unwrap().run().is_err());
}

#[test]
fn a_stranger_cannot_grow_what_the_answerer_remembers() {
    let (mut one, _) = pair(30, 0, 0, |_| 1000);
    let (mut other, _) = pair(30, 40, 0, |_| 1000);
    for seed in 0..200_u8 {
        one.who = identity(seed).hash();
        let asker = &mut one.ask(true, &other, u64::from(seed), Limits::default()).unwrap();
        let request = asker.poll_request(&one.disk).unwrap();
        other.answer(one.who, &request);
    }
    assert!(other.answerer.remembered() <= 16);
}

#[test]
fn dishonest_answers_end_the_dialogue() {
    let (one, other) = pair(30, 2, 2, |_| 1000);
    let bundle = || Bundle { cards: card(1, "x", 1).as_bytes().to_vec(), keys: Vec::new() };
    let cards = |remaining| Response::Cards { bundle: bundle(), remaining, want: vec![] };
    for answers in [
        vec![Response::Received(1)],
        vec![Response::Lost],
        vec![Response::More { symbols: 0, count: 1 }],
        vec![Response::Cards { bundle: Bundle::default(), remaining: 2, want: vec![] }],
        vec![cards(5), cards(5)],
        vec![Response::More { symbols: 400, count: 1 }, Response::More { symbols: 5, count: 1 }],
    ] {
        let mut asker = one.ask(true, &other, 1, Limits::default()).unwrap();
        let last = answers.len() - 1;
        for (turn, answer) in answers.iter().enumerate() {
            asker.poll_request(&one.disk).unwrap();
            assert_eq!(asker.handle_response(&answer.to_value()).is_err(), turn == last, "{answer:?}");
        }
        assert!(asker.is_done() && asker.poll_request(&one.disk).is_none());
        assert_eq!(asker.handle_response(&Response::Equal.to_value()), Err(SyncError::Unexpected));
    }
    // Splitting for ever comes to an end too.
    let mut asker = one.ask(true, &other, 1, Limits { budget_bytes: 50_000, ..Limits::default() }).unwrap();
    while asker.poll_request(&one.disk).is_some() {
        asker.handle_response(&Response::Split { bits: 3, count: 1 }.to_value()).unwrap();
    }
    assert!(asker.is_unsettled() && asker.is_done());
}

#[test]
fn three_cards_fit_the_answer_to_a_slow_radio() {
    let (mut one, mut other) = pair(30, 0, 9, |_| 1000);
    let limits = Limits { page_bytes: 3 * LEN_MAX + 64, budget_bytes: 900 };
    let mut asker = one.ask(true, &other, 1, limits).unwrap();
    run(&mut asker, &mut one, &mut other, always);
    assert!((1..=6).contains(&asker.received()), "{}", asker.received());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_two_catalogs_agree_in_the_end(
        seed in any::<u64>(), shared in 0_u32..40, ours in 0_u32..60, theirs in 0_u32..60, page in 300_usize..5000, announced in any::<bool>(),
    ) {
        let (mut one, mut other) = pair(shared, ours, theirs, |number| 1000 + number % 7);
        if let Some(mut asker) = one.ask(announced, &other, seed, Limits { page_bytes: page, ..Limits::default() }) {
            run(&mut asker, &mut one, &mut other, always);
        }
        prop_assert!(agree(&one, &other));
        prop_assert_eq!((one.repeated, other.repeated), (0, 0));
    }
}
