//! What is known of destinations: how long it is kept, and what paths keep it.

use super::lone::*;
use super::*;
use crate::announce::{RandomHash, announce};
use crate::hash::NameHash;
use crate::ratchet::RATCHET_EXPIRY;
use crate::wire::Context;

const EMITTED: u64 = 1_700_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn quiet_wire() -> InterfaceProfile {
    InterfaceProfile { ingress_control: false, ..tcp() }
}

/// What is to be forgotten on the disk.
fn forgotten(lone: &mut Lone) -> Vec<DestinationHash> {
    let outputs = core::iter::from_fn(|| lone.stack.poll_output());
    outputs.filter_map(|output| if let Output::Forget(of) = output { Some(of) } else { None }).collect()
}

/// What is to be kept on the disk.
fn kept(lone: &mut Lone) -> Vec<PathRecord> {
    let outputs = core::iter::from_fn(|| lone.stack.poll_output());
    outputs.filter_map(|output| if let Output::Persist(record) = output { Some(record) } else { None }).collect()
}

#[test]
fn what_nobody_used_is_forgotten_minutes_after_its_path_is_gone() {
    let mut lone = Lone::new(true, &[quiet_wire()]);
    let [gone, stays] = [5, 6].map(|seed| lone.meet(0, &identity(seed), 1, EMITTED));
    lone.pass(20 * MINUTE);
    assert!(forgotten(&mut lone).is_empty(), "a path keeps it");
    lone.stack.expire_path(gone);
    lone.pass(5 * MINUTE);
    assert_eq!(forgotten(&mut lone), [gone]);
    assert!(lone.stack.identity_of(gone).is_none() && lone.stack.identity_of(stays).is_some());
}

#[test]
fn what_was_of_use_is_kept_for_nine_days_and_what_is_retained_for_good() {
    let mut lone = Lone::new(false, &[quiet_wire()]);
    let [used, retained, unused] = [5, 6, 7].map(|seed| lone.meet(0, &identity(seed), 1, EMITTED));
    kept(&mut lone);
    lone.stack.send(lone.now, used, b"hello").unwrap();
    lone.stack.send(lone.now, used, b"again").unwrap();
    assert_eq!(lone.stack.retain_identity(identity(6).hash()), 1);
    lone.stack.note_use(lone.now, retained);
    let standings: Vec<_> = kept(&mut lone).into_iter().map(|record| (record.destination, record.standing)).collect();
    assert_eq!(standings, [(used, Standing::Used), (retained, Standing::Retained)], "each is written once");
    for of in [used, retained, unused] {
        lone.stack.expire_path(of);
    }
    lone.pass(8 * DAY);
    assert_eq!(forgotten(&mut lone), [unused]);
    lone.pass(DAY);
    assert_eq!(forgotten(&mut lone), [used]);
    lone.pass(30 * DAY);
    assert!(lone.stack.identity_of(retained).is_some());
}

#[test]
fn who_is_asked_for_and_who_is_asked_about_counts_as_used() {
    let mut lone = Lone::new(true, &[quiet_wire(), quiet_wire()]);
    let [asked_for, asked_about] = [5, 6].map(identity);
    let name = DestinationName::new("somebody", &[]).unwrap();
    lone.stack.request_path(lone.now, name.of(asked_for.hash()));
    lone.meet(0, &asked_for, 1, EMITTED);
    let about = lone.meet(0, &asked_about, 1, EMITTED);
    kept(&mut lone);
    lone.request_path(1, about, 1);
    lone.pass(MINUTE);
    assert!(kept(&mut lone).iter().any(|record| record.destination == about && record.standing == Standing::Used));
    lone.stack.expire_path(about);
    lone.stack.expire_path(name.of(asked_for.hash()));
    lone.pass(DAY);
    assert!(forgotten(&mut lone).is_empty());
}

#[test]
fn use_and_retention_last_over_a_restart() {
    let mut lone = Lone::new(false, &[quiet_wire()]);
    let all: Vec<_> = (5..8).map(|seed| lone.meet(0, &identity(seed), 1, EMITTED)).collect();
    let records = kept(&mut lone);
    let standings = [Standing::Heard, Standing::Used, Standing::Retained];
    let records = records.into_iter().zip(standings).map(|(record, standing)| PathRecord { standing, ..record });
    let mut again = Lone::new(false, &[quiet_wire()]);
    again.stack.restore(Snapshot { paths: records.collect(), ..Snapshot::default() });
    again.pass(9 * MINUTE);
    assert!(all.iter().all(|of| again.stack.identity_of(*of).is_some()));
    again.pass(6 * MINUTE);
    assert_eq!(forgotten(&mut again), [all[0]]);
    again.pass(10 * DAY);
    let left: Vec<_> = all.iter().filter(|of| again.stack.identity_of(**of).is_some()).collect();
    assert_eq!(left, [&all[2]]);
}

#[test]
fn a_small_node_restores_those_heard_last() {
    let mut lone = Lone::new(false, &[quiet_wire()]);
    for seed in 0..6 {
        lone.meet(0, &identity(10 + seed), 1, EMITTED);
        lone.pass(MINUTE);
    }
    let records = kept(&mut lone);
    let last: Vec<_> = records[3..].iter().map(|record| record.destination).collect();
    let mut small = Lone::with(|config| config.capacities.known = 3);
    small.stack.restore(Snapshot { paths: records.into_iter().rev().collect(), ..Snapshot::default() });
    assert!(small.stack.known.iter().map(|(of, _)| *of).eq(last));
}

#[test]
fn strangers_push_out_no_destination_that_is_retained_and_no_node_retains_all() {
    let mut lone = Lone::with(|config| config.capacities.known = 16);
    lone.up(0, quiet_wire());
    let friends: Vec<_> = (0..6).map(|seed| lone.meet(0, &identity(10 + seed), 1, EMITTED)).collect();
    let retained: Vec<_> = friends.iter().filter(|of| lone.stack.retain_destination(**of)).collect();
    assert_eq!(retained.len(), 4);
    for seed in 0..160 {
        lone.meet(0, &identity(1000 + seed), 1, EMITTED);
    }
    assert_eq!(lone.stack.known.len(), 16);
    assert!(retained.iter().all(|of| lone.stack.known.contains_key(of)));
    assert!(forgotten(&mut lone).len() >= 144, "who had to leave is forgotten on the disk too");
}

#[test]
fn a_ratchet_is_encrypted_to_for_thirty_days_after_it_was_heard() {
    let mut lone = Lone::new(true, &[quiet_wire()]);
    let (owner, name) = (identity(5), DestinationName::new("somebody", &[]).unwrap());
    let hear = |lone: &mut Lone, emitted: u64, ratchet: Option<&[u8; 32]>| {
        let random = RandomHash::new([1; 5], UnixTime(emitted));
        let heard = announce(&owner, name.hash(), random, ratchet, b"data", Context::NONE).unwrap();
        lone.hear(0, &heard.encode());
        heard.destination
    };
    let of = hear(&mut lone, EMITTED, Some(&[7; 32]));
    lone.pass(DAY);
    hear(&mut lone, EMITTED + 1, None);
    // Its path ends long before.
    lone.stack.retain_destination(of);
    lone.pass(RATCHET_EXPIRY - DAY - Duration::from_secs(1));
    let ratchet = |lone: &Lone| lone.stack.known.get(&of).and_then(|known| known.ratchet(lone.now.unix));
    hear(&mut lone, EMITTED + 2, None);
    assert_eq!(ratchet(&lone), Some([7; 32]), "an announce without one leaves it in place, and makes it no younger");
    lone.pass(Duration::from_secs(1));
    assert_eq!(ratchet(&lone), None);
    hear(&mut lone, EMITTED + 3, Some(&[8; 32]));
    assert_eq!((ratchet(&lone), lone.stack.app_data_of(of)), (Some([8; 32]), Some(&b"data"[..])));
}

#[test]
fn a_full_table_is_looked_through_some_thousands_at_a_time() {
    let mut lone = Lone::with(|config| {
        (config.capacities.known, config.capacities.paths) = (5000, 1);
    });
    let record = |number: u32| {
        let random = RandomHash::new([1; 5], UnixTime(EMITTED));
        let mut frame = announce(&identity(5), NameHash::new([1; 10]), random, None, b"", Context::NONE).unwrap();
        frame.destination = DestinationHash::new([&number.to_be_bytes()[..], &[0; 12]].concat().try_into().unwrap());
        PathRecord::heard(frame.destination, &frame.encode()[..], UnixTime(EMITTED))
    };
    lone.stack.restore(Snapshot { paths: (0..5000).map(record).collect(), ..Snapshot::default() });
    lone.pass(10 * MINUTE - Duration::from_secs(1));
    assert_eq!((forgotten(&mut lone).len(), lone.stack.known.len()), (0, 5000));
    lone.pass(Duration::from_micros(1_000_001));
    let first = forgotten(&mut lone).len();
    lone.pass(Duration::from_secs(2));
    assert_eq!((first, forgotten(&mut lone).len(), lone.stack.known.len()), (4096, 904, 0));
}

#[test]
fn paths_end_when_their_mode_says_so_unless_they_are_used() {
    let mut lone = Lone::new(true, &[]);
    for (id, mode) in [(0, Mode::Full), (1, Mode::AccessPoint), (2, Mode::Roaming)] {
        lone.up(id, InterfaceProfile { mode, ..quiet_wire() });
    }
    let all = [(0, 5), (1, 6), (2, 7), (2, 8)].map(|(on, seed)| {
        lone.pass(Duration::from_secs(100));
        lone.meet(on, &identity(seed), 2, EMITTED)
    });
    let gone = |lone: &mut Lone| {
        let events = lone.events().into_iter();
        let gone = events.filter_map(|event| match event {
            Event::PathChanged { destination, hops: None } => all.iter().position(|of| *of == destination),
            _ => None,
        });
        gone.collect::<Vec<_>>()
    };
    gone(&mut lone);
    let hour = 60 * MINUTE;
    lone.pass(5 * hour);
    lone.stack.send(lone.now, all[3], b"").unwrap();
    lone.pass(2 * hour);
    assert_eq!(gone(&mut lone), [2]);
    lone.pass(5 * hour);
    assert_eq!(gone(&mut lone), [3]);
    lone.pass(13 * hour);
    assert_eq!(gone(&mut lone), [1]);
    lone.pass(6 * DAY - 2 * hour);
    assert!(gone(&mut lone).is_empty());
    lone.pass(2 * hour);
    assert_eq!(gone(&mut lone), [0]);
    assert_eq!(lone.stack.timers.deadline(TimerKey::Paths), None);
}
