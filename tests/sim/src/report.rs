//! What a run found.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use wend_packet::stack::DropReason;

use crate::measure::{Deliveries, HOUR, Kind, MINUTE};
use crate::medium::Sharing;
use crate::scenario::{Check, Note, Scenario};
use crate::world::World;

/// Version of this structure as JSON. It changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub scenario: &'static str,
    /// What it simulates.
    pub summary: &'static str,
    /// All randomness followed from it.
    pub seed: u64,
    /// Virtual time.
    pub duration_s: f64,
    /// Whether every check held.
    pub passed: bool,
    /// What was expected.
    pub checks: Vec<Check>,
    /// What else was measured.
    pub notes: Vec<Note>,
    /// Nodes, and how many of them carry others' packets.
    pub nodes: Nodes,
    /// Media of one name together.
    pub media: Vec<MediumReport>,
    /// What applications did.
    pub deliveries: Deliveries,
    /// The fullest table of each kind.
    pub tables: Vec<Table>,
    /// Frames dropped by stacks, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Share of pairs of nodes with a path, minute by minute.
    pub convergence: Vec<Point>,
    /// Frames delivered.
    pub frames: u64,
    /// Hash over every frame delivered: when, to whom, which.
    pub trace: String,
}

/// The nodes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Nodes {
    /// All.
    pub total: usize,
    /// Those that carry others' packets.
    pub transport: usize,
    /// How often one was started again.
    pub restarts: usize,
}

/// What passed over media of one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MediumReport {
    /// Their name.
    pub name: String,
    /// How many there are.
    pub count: usize,
    /// Interfaces of nodes on them.
    pub interfaces: usize,
    /// Bit/s.
    pub bitrate_bps: u64,
    /// Frames sent.
    pub sent: u64,
    /// Receptions that succeeded.
    pub received: u64,
    /// Receptions that failed at the receiver.
    pub lost: u64,
    /// Receptions that another frame spoilt.
    pub collided: u64,
    /// Most relayed announces that one interface sent in any hour, as a share of what it can send in an hour.
    pub relayed_announces_peak_share: f64,
    /// Share of its capacity by kind of traffic, over the whole run. What counts as capacity: of a radio channel its time; of
    /// other media that of every interface.
    pub share: BTreeMap<&'static str, f64>,
    /// The same minute by minute.
    pub minutes: Vec<BTreeMap<&'static str, f64>>,
}

/// The fullest table of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// What it holds.
    pub name: &'static str,
    /// Entries.
    pub entries: usize,
    /// Most entries it can have.
    pub bound: usize,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Since the start.
    pub at_s: f64,
    /// 0 to 1.
    pub share: f64,
}

impl Report {
    pub(crate) fn of(scenario: &Scenario, seed: u64, world: &World, checks: Vec<Check>, notes: Vec<Note>) -> Self {
        let transport = world.nodes.iter().filter(|node| node.config.transport_enabled).count();
        let table =
            |size: wend_packet::stack::TableSize| Table { name: size.name, entries: size.entries, bound: size.bound };
        Self {
            schema: SCHEMA,
            scenario: scenario.name,
            summary: scenario.summary,
            seed,
            duration_s: world.elapsed().as_secs_f64(),
            passed: checks.iter().all(|check| check.passed),
            checks,
            notes,
            nodes: Nodes { total: world.nodes.len(), transport, restarts: world.log.restarts },
            media: media(world),
            deliveries: world.log.deliveries(),
            tables: world.fullest_tables().into_iter().map(table).collect(),
            drops: drops(world),
            convergence: world.samples.iter().map(|s| Point { at_s: s.at.as_secs_f64(), share: s.reach }).collect(),
            frames: world.trace.frames(),
            trace: world.trace.hex(),
        }
    }

    /// Checks that did not hold.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

fn drops(world: &World) -> BTreeMap<String, u64> {
    let mut drops = BTreeMap::<DropReason, u64>::new();
    for honest in world.nodes.iter().filter_map(|node| node.honest()) {
        for (reason, count) in &honest.stack.stats().drops {
            *drops.entry(*reason).or_default() += count;
        }
    }
    drops.into_iter().map(|(reason, count)| (format!("{reason:?}"), count)).collect()
}

fn media(world: &World) -> Vec<MediumReport> {
    let mut order = Vec::<&str>::new();
    for medium in &world.media {
        if !order.contains(&medium.kind.name.as_str()) {
            order.push(&medium.kind.name);
        }
    }
    order.into_iter().map(|name| group(world, name)).collect()
}

fn group(world: &World, name: &str) -> MediumReport {
    let all = || world.media.iter().zip(&world.ledgers).filter(|(medium, _)| medium.kind.name == name);
    let bitrate_bps = all().map(|(medium, _)| medium.kind.profile.bitrate_bps).min().unwrap_or_default();
    let interfaces: usize = all().map(|(medium, _)| medium.ports.len()).sum();
    // Those who share a channel share its time; elsewhere everybody has all of it.
    let capacity: usize =
        all().map(|(medium, _)| if medium.kind.sharing == Sharing::FullDuplex { medium.ports.len() } else { 1 }).sum();
    let shares = |span: Duration, minutes: &[usize]| {
        let mut shares = BTreeMap::new();
        for kind in Kind::ALL {
            let airtime: Duration =
                all().flat_map(|(_, ledger)| minutes.iter().map(|m| ledger.airtime_in(*m)[kind.index()])).sum();
            shares.insert(kind.label(), airtime.as_secs_f64() / (span.as_secs_f64() * capacity.max(1) as f64));
        }
        shares
    };
    let count = usize::try_from(world.elapsed().as_secs() / MINUTE.as_secs()).unwrap_or_default();
    let minutes: Vec<_> = (0..count).collect();
    let peak = all().map(|(_, ledger)| ledger.relayed_peak_bits()).max().unwrap_or_default();
    MediumReport {
        name: name.to_owned(),
        count: all().count(),
        interfaces,
        bitrate_bps,
        sent: all().map(|(_, ledger)| ledger.frames().iter().sum::<u64>()).sum(),
        received: all().map(|(_, ledger)| ledger.received).sum(),
        lost: all().map(|(_, ledger)| ledger.lost).sum(),
        collided: all().map(|(_, ledger)| ledger.collided).sum(),
        relayed_announces_peak_share: peak as f64 / (bitrate_bps as f64 * HOUR.as_secs_f64()),
        share: shares(world.elapsed(), &minutes),
        minutes: minutes.iter().map(|minute| shares(MINUTE, &[*minute])).collect(),
    }
}
