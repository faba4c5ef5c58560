use super::*;
use proptest::prelude::*;

fn entry(seed: u64, number: u64) -> EntryId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EntryId::new(bytes)
}

/// Two sets that share `shared` ids, the first with `ours` more, the second with `theirs` more.
fn sets(seed: u64, shared: u64, ours: u64, theirs: u64) -> (SaltedSet, SaltedSet) {
    let salt = Salt(scramble(seed).to_be_bytes());
    let second = (0..shared).chain(shared + ours..shared + ours + theirs);
    (
        SaltedSet::new(salt, (0..shared + ours).map(|number| entry(seed, number))),
        SaltedSet::new(salt, second.map(|number| entry(seed, number))),
    )
}

/// How many symbols the first set needs of the second.
fn symbols_needed(seed: u64, shared: u64, ours: u64, theirs: u64) -> usize {
    let (one, other) = sets(seed, shared, ours, theirs);
    let symbols = other.symbols(Part::WHOLE, SYMBOLS_MAX);
    let decodes = |len: &usize| one.difference(Part::WHOLE, &symbols[..*len]).is_ok();
    (1..=SYMBOLS_MAX).find(decodes).expect("decodes in time")
}

fn percentiles(mut needed: Vec<usize>) -> (usize, usize, usize) {
    needed.sort_unstable();
    let at = |share: usize| needed[(needed.len() - 1) * share / 1000] * Symbol::LEN;
    (at(500), at(950), at(998))
}

#[test]
fn ten_differences_cost_208_bytes_at_the_median_and_351_at_the_95th_percentile() {
    for (shared, ours, theirs, runs) in [(0, 10, 0, 1000), (0, 3, 7, 500), (400, 5, 5, 100), (2000, 0, 10, 30)] {
        let (median, p95, p998) =
            percentiles((0..runs).map(|seed| symbols_needed(seed, shared, ours, theirs)).collect());
        eprintln!("{shared} shared, {ours} + {theirs}: median {median}, 95th {p95}, 99.8th {p998} bytes");
        assert!(median <= 208 || runs < 500 && median <= 234, "median {median}");
        assert!(p95 <= 351 || runs < 500, "95th percentile {p95}");
        assert!(p998 <= 520, "tail {p998}");
    }
}

#[test]
fn larger_differences_cost_less_than_23_bytes_each() {
    for differences in [50, 100, 200] {
        let needed: Vec<_> = (0..15).map(|seed| symbols_needed(seed, 100, differences / 2, differences / 2)).collect();
        let each = percentiles(needed).0 as f64 / differences as f64;
        eprintln!("{differences}: {each:.1} bytes each");
        assert!(each < 23.0, "{each}");
    }
}

#[test]
fn an_id_is_mixed_into_index_i_with_a_chance_of_2_in_i_plus_2() {
    let mixer = Mixer::new(Salt([3; 8]));
    let mut held = [0_u32; 100];
    let ids = 20_000;
    for id in 0..ids {
        let positions: Vec<_> = mixer.traits(SaltedId(id)).positions(held.len()).collect();
        assert_eq!(positions.iter().collect::<BTreeSet<_>>().len(), positions.len());
        positions.iter().for_each(|at| held[*at] += 1);
    }
    for (position, count) in held.iter().enumerate() {
        let index = f64::from(index_at(position as u32));
        let (share, wanted) = (f64::from(*count) / ids as f64, 2.0 / (index + 2.0));
        assert!((share - wanted).abs() < 0.02, "position {position}: {share} instead of {wanted}");
    }
}

#[test]
fn the_estimate_is_near() {
    for differences in [1, 5, 20, 80] {
        let (one, other) = sets(9, 50, differences, 0);
        let left: Vec<_> = other
            .symbols(Part::WHOLE, 128)
            .iter()
            .zip(one.symbols(Part::WHOLE, 128))
            .map(|(theirs, ours)| theirs.minus(ours))
            .collect();
        let estimate = estimate(&left).unwrap() as u64;
        assert!(estimate >= differences / 2 && estimate <= differences * 2 + 2, "{differences}: {estimate}");
    }
}

#[test]
fn parts_share_out_the_ids() {
    let (one, other) = sets(4, 300, 8, 9);
    let halves: Vec<_> = Part::WHOLE.split(1).collect();
    let [low, high] = halves[..] else { panic!("{halves:?}") };
    let last = high.split(2).next_back().unwrap();
    assert_eq!((last.bits(), last.head()), (3, 7));
    assert_eq!(one.part(low).count() + one.part(high).count(), one.len());
    let found: Vec<_> = [low, high]
        .map(|part| one.difference(part, &other.symbols(part, 60)).unwrap())
        .into_iter()
        .flat_map(|found| [found.only_ours, found.only_theirs].concat())
        .collect();
    assert_eq!(found.len(), 17);
    assert_eq!(Part::new(2, 4), None);
    assert_eq!(Part::new(Part::BITS_MAX, 0).unwrap().split(1).count(), 0);
    let smallest = Part::new(Part::BITS_MAX, (1 << Part::BITS_MAX) - 1).unwrap();
    assert!(smallest.contains(SaltedId(u64::MAX)) && !smallest.contains(SaltedId(0)));
}

#[test]
fn another_salt_gives_other_names_and_other_symbols() {
    let ids = || (0..5).map(|number| entry(1, number));
    let (one, other) = (SaltedSet::new(Salt([1; 8]), ids()), SaltedSet::new(Salt([2; 8]), ids()));
    assert_ne!(one.name(&entry(1, 0)), other.name(&entry(1, 0)));
    assert_ne!(one.symbols(Part::WHOLE, 1), other.symbols(Part::WHOLE, 1));
    let name = one.name(&entry(1, 0));
    assert_eq!(one.entry(name), Some(entry(1, 0)));
    assert_eq!(one.entries_by_head(name.head()).collect::<Vec<_>>(), [entry(1, 0)]);
}

#[test]
fn the_next_index_is_the_one_that_the_document_defines() {
    let mut draw = 1_u64;
    for at in 0..60_u64 {
        for _ in 0..50 {
            draw = (scramble(draw + at) >> 32).max(1 << 16);
            let wanted = (at + 1..)
                .find(|j| u128::from((j + 1) * (j + 2)) * u128::from(draw) > u128::from((at + 1) * (at + 2)) << 32);
            assert_eq!(Some(step(at, draw)), wanted, "{at} {draw}");
        }
    }
}

#[test]
fn the_symbols_of_a_known_set_are_pinned() {
    // Every node must make the same ones: a change here is a change of the protocol.
    let set = SaltedSet::new(Salt(*b"12345678"), (0..50).map(|number| entry(7, number)));
    let bytes = Symbol::write_all(&set.symbols(Part::WHOLE, 80));
    assert_eq!(hex::encode(&bytes[..26]), "b2b53a12c2f126a0ff0be76532c67fb850c4fe9b53166cb13e1f");
    assert_eq!(hex::encode(&blake3::hash(&bytes).as_bytes()[..8]), "57d36f31ccb89846");
}

#[test]
fn symbols_are_read_as_they_were_written() {
    let symbols = sets(1, 5, 0, 0).0.symbols(Part::WHOLE, 7);
    let bytes = Symbol::write_all(&symbols);
    assert_eq!(bytes.len(), 91);
    assert_eq!(Symbol::read_all(&bytes), Some(symbols));
    assert_eq!(Symbol::read_all(&bytes[..90]), None);
    assert_eq!(Symbol::read_all(&vec![0; (SYMBOLS_MAX + 1) * Symbol::LEN]), None);
}

#[test]
fn a_symbol_that_claims_one_of_our_own_ids_as_theirs_is_not_believed() {
    let (one, _) = sets(1, 20, 0, 0);
    let mixer = Mixer::new(Salt(scramble(1).to_be_bytes()));
    let own = one.name(&entry(1, 3));
    let mut symbols = one.symbols(Part::WHOLE, 12);
    for position in mixer.traits(own).positions(12) {
        symbols[position].mix(own, mixer.traits(own), 1);
    }
    assert!(one.difference(Part::WHOLE, &symbols).is_err());
}

proptest! {
    #[test]
    fn any_two_sets_converge(seed in any::<u64>(), shared in 0_u64..60, ours in 0_u64..25, theirs in 0_u64..25) {
        let (one, other) = sets(seed, shared, ours, theirs);
        let symbols = other.symbols(Part::WHOLE, SYMBOLS_MAX);
        let found = one.difference(Part::WHOLE, &symbols).unwrap();
        let sorted = |mut ids: Vec<SaltedId>| { ids.sort_unstable(); ids };
        let wanted = |numbers: core::ops::Range<u64>| sorted(numbers.map(|number| one.name(&entry(seed, number))).collect());
        prop_assert_eq!(sorted(found.only_ours), wanted(shared..shared + ours));
        prop_assert_eq!(sorted(found.only_theirs), wanted(shared + ours..shared + ours + theirs));
    }

    #[test]
    fn no_symbols_make_decoding_panic_or_hang(bytes in proptest::collection::vec(any::<u8>(), 0..40 * 13), count in any::<u8>()) {
        let (one, other) = sets(1, 10, 3, 3);
        let mut symbols = Symbol::read_all(&bytes[..bytes.len() / 13 * 13]).unwrap();
        let _ = one.difference(Part::WHOLE, &symbols);
        // Half true symbols get further than noise.
        for (to, from) in symbols.iter_mut().zip(other.symbols(Part::WHOLE, 20)) {
            *to = Symbol { count: to.count.min(count), ..from };
        }
        let _ = one.difference(Part::WHOLE, &symbols);
    }
}
