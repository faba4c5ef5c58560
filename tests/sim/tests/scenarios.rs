//! Every scenario with three seeds; `SEED=<n> cargo test -p wend-sim` repeats one. Of the longest a shorter span is run here
//! than `wend sim` runs.

use std::env;
use std::time::Duration;

use wend_sim::report::Report;
use wend_sim::scenario::Options;
use wend_sim::scenarios::{ALL, find};

const SEEDS: [u64; 3] = [1, 2, 3];

fn run(name: &str, seed: u64, duration: Option<Duration>) -> Report {
    let scenario = find(name).expect("a scenario of this name");
    scenario.run_quietly(Options { seed, duration }).expect("it runs to its end")
}

/// Runs a scenario with every seed, or with the one of the environment.
fn holds(name: &str, duration: Option<Duration>) {
    let given = env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    for seed in given.map_or(SEEDS.to_vec(), |seed| vec![seed]) {
        let report = run(name, seed, duration);
        let failures: Vec<_> = report.failures().collect();
        assert!(failures.is_empty(), "SEED={seed} {name}: {failures:#?}");
        assert!(report.frames > 0 && !report.checks.is_empty());
    }
}

fn minutes(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(60 * count))
}

#[test]
fn two_hundred_nodes_on_mixed_media_find_each_other() {
    holds("mixed", minutes(120));
}

#[test]
fn twelve_hops_of_slow_radio_carry_a_request() {
    holds("chain", None);
}

#[test]
fn a_partition_of_a_day_heals() {
    holds("partition", None);
}

#[test]
fn a_thousand_nodes_that_join_at_once_leave_the_channel_free() {
    holds("join", minutes(20));
}

#[test]
fn honest_nodes_go_on_serving_beside_one_of_ill_will() {
    holds("malice", minutes(20));
}

#[test]
fn a_full_path_table_forgets_in_the_stated_order() {
    holds("eviction", None);
}

#[test]
fn a_hub_knows_a_hundred_thousand_destinations() {
    holds("hub", None);
}

#[test]
fn nodes_that_lose_power_come_back() {
    holds("restart", None);
}

#[test]
fn nodes_that_move_about_are_found() {
    holds("roaming", None);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for (name, duration) in [("eviction", None), ("restart", None), ("chain", None), ("mixed", minutes(120))] {
        let first = run(name, 7, duration);
        assert_eq!(first, run(name, 7, duration), "{name}");
        assert_ne!(first.trace, run(name, 8, duration).trace, "{name}");
    }
}

#[test]
fn names_are_unique_and_every_scenario_is_tested_above() {
    let source = include_str!("scenarios.rs");
    for scenario in ALL {
        assert_eq!(ALL.iter().filter(|other| other.name == scenario.name).count(), 1);
        assert!(source.contains(&format!("holds(\"{}\"", scenario.name)), "{}", scenario.name);
        assert!(scenario.shortest <= scenario.duration && !scenario.summary.is_empty());
    }
}
