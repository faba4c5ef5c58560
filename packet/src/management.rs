//! What a node lets others ask of it: whether it is there, how it is doing, whom it shuts out.
//! docs/protocol/1-core.md, sections 4.9 and 5.7.
//!
//! The three destinations belong to the transport identity. The shell registers those its owner wants, answers requests with
//! what this module encodes, and decides who may ask.

mod blackhole;
mod status;
mod tables;

use core::time::Duration;

pub use blackhole::{
    BLACKHOLE_SWEEP_INTERVAL, Blackhole, BlackholeEntry, Blackholed, InvalidBlackholeList, REASON_MAX, decode_list,
};
pub use status::{
    BurstStatistics, InterfaceStatistics, InvalidManagementRequest, NodeStatistics, StatusRequest, encode_status,
};
pub use tables::{PathRow, PathTableRequest, RateRow, Table, encode_paths, encode_rates};

use crate::destination::DestinationName;

/// App name of every management destination.
const APP: &str = "rnstransport";
/// The first announce of management destinations comes this long after the start.
pub const FIRST_ANNOUNCE: Duration = Duration::from_secs(15);
/// Time between announces of management destinations.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(7200);
/// Request path for statistics.
pub const STATUS_PATH: &str = "/status";
/// Request path for the path table and the announce rate table.
pub const TABLE_PATH: &str = "/path";
/// Request path for the blackhole list.
pub const LIST_PATH: &str = "/list";

/// Name of the destination that proves every packet and accepts no links.
pub fn probe_name() -> DestinationName {
    name(&["probe"])
}

/// Name of the destination that answers [`STATUS_PATH`] and [`TABLE_PATH`].
pub fn remote_management_name() -> DestinationName {
    name(&["remote", "management"])
}

/// Name of the destination that answers [`LIST_PATH`].
pub fn blackhole_name() -> DestinationName {
    name(&["info", "blackhole"])
}

fn name(aspects: &[&str]) -> DestinationName {
    match DestinationName::new(APP, aspects) {
        Ok(name) => name,
        Err(_) => unreachable!("no part holds a dot"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_network() {
        let names = [probe_name(), remote_management_name(), blackhole_name()];
        let texts = names.each_ref().map(DestinationName::as_str);
        assert_eq!(texts, ["rnstransport.probe", "rnstransport.remote.management", "rnstransport.info.blackhole"]);
    }
}
