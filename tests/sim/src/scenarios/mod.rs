//! The scenarios.

mod chain;
mod eviction;
mod hub;
mod join;
mod malice;
mod mixed;
mod partition;
mod restart;
mod roaming;

use std::time::Duration;

use crate::scenario::Scenario;

/// Every scenario, in the order in which they are listed.
pub const ALL: [&Scenario; 9] = [
    &mixed::MIXED,
    &chain::CHAIN,
    &partition::PARTITION,
    &join::JOIN,
    &malice::MALICE,
    &eviction::EVICTION,
    &hub::HUB,
    &restart::RESTART,
    &roaming::ROAMING,
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.into_iter().find(|scenario| scenario.name == name)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}
