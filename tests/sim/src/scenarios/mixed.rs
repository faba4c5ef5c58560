//! Two hundred nodes on everything there is.

use std::time::Duration;

use rand_core::Rng;
use wend_packet::stack::Mode;

use super::{hours, minutes, seconds};
use crate::medium::{Loss, MediumKind};
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, NodeId, NodeKind, World};

pub(super) const MIXED: Scenario = Scenario {
    name: "mixed",
    summary: "200 nodes on local networks, TCP lines, serial lines of 9,600 bit/s, radio channels of 1,200 bit/s and LoRa \
              channels, some of them lossy, with hidden stations. They are switched on within five minutes; from minute 2 on each asks for the \
              paths it lacks, and from minute 30 on some ask others for data.",
    duration: hours(3),
    shortest: hours(2),
    play,
};

/// Everybody but the hubs and routers is switched on later.
const LEAF: NodeKind = NodeKind { on: false, ..NodeKind::leaf() };
/// In which time.
const JOINING: Duration = minutes(5);
/// Hubs on the internet.
const HUBS: usize = 6;

/// Builds the mesh. Gives all nodes.
fn build(world: &mut World) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut add = |world: &mut World, kind: NodeKind| {
        let node = world.node(kind);
        nodes.push(node);
        node
    };
    let hubs: Vec<_> = (0..HUBS).map(|_| add(world, NodeKind::transport())).collect();
    let line = || MediumKind::tcp().mode(Mode::Gateway);
    for hub in 0..HUBS {
        world.connect(line(), &[hubs[hub], hubs[(hub + 1) % HUBS]]);
    }
    world.connect(line(), &[hubs[0], hubs[HUBS / 2]]);
    // On every hub: a local network, two serial lines, a radio channel, a LoRa channel, and a few nodes of their own.
    for (index, hub) in hubs.into_iter().enumerate() {
        let router = add(world, NodeKind::transport());
        world.connect(line(), &[hub, router]);
        let mut lan = vec![router];
        lan.extend((0..10).map(|_| add(world, LEAF)));
        world.connect(MediumKind::lan().mode(Mode::Gateway), &lan);
        for _ in 0..2 {
            let leaf = add(world, LEAF);
            world.connect(MediumKind::serial(9600).mode(Mode::Gateway), &[router, leaf]);
        }
        for _ in 0..3 {
            let leaf = add(world, LEAF);
            world.connect(line(), &[hub, leaf]);
        }
        let stations = cell(world, &mut add, 4);
        let mut kind = MediumKind::packet_radio(1200).mode(Mode::Gateway);
        if index % 2 == 1 {
            kind = kind.losing(Loss::bursts(0.01, seconds(300), seconds(10)));
        }
        join_cell(world, kind, router, &stations);
        let stations = cell(world, &mut add, 8);
        let kind = MediumKind::lora().mode(Mode::Gateway).losing(Loss::bursts(0.02, seconds(120), seconds(5)));
        join_cell(world, kind, router, &stations);
    }
    while nodes.len() < 200 {
        let number = nodes.len();
        let leaf = world.node(LEAF);
        world.connect(MediumKind::tcp().mode(Mode::Gateway), &[nodes[number % HUBS], leaf]);
        nodes.push(leaf);
    }
    nodes
}

fn cell(world: &mut World, add: &mut impl FnMut(&mut World, NodeKind) -> NodeId, count: usize) -> Vec<NodeId> {
    (0..count).map(|_| add(world, LEAF)).collect()
}

/// A channel on which everybody hears the router, and neighbours in a ring hear each other: others are hidden.
fn join_cell(world: &mut World, kind: MediumKind, router: NodeId, stations: &[NodeId]) {
    let mut all = vec![router];
    all.extend(stations);
    let channel = world.connect(kind, &all);
    let mut pairs: Vec<_> = stations.iter().map(|station| (router, *station)).collect();
    pairs.extend((0..stations.len()).map(|i| (stations[i], stations[(i + 1) % stations.len()])));
    world.hearing(channel, &pairs);
}

fn play(run: &mut Run<'_>) {
    let nodes = build(&mut run.world);
    let mut rng = run.world.randomness("joining");
    for node in nodes.iter().copied() {
        let at = random::duration_below(&mut rng, JOINING);
        run.world.at(at, move |world| world.start(node));
    }
    run.world.seek_all(minutes(2), seconds(5));
    run.until(JOINING);
    run.note("pairs with a path after 5 min", run.world.reach(), Unit::Share);

    let mut rng = run.world.randomness("traffic");
    run.world.every(minutes(30), seconds(5), move |world| {
        let from = nodes[random::below(&mut rng, nodes.len())];
        let to = nodes[random::below(&mut rng, nodes.len())];
        if from != to {
            let response = 100 + (rng.next_u32() % 1900) as usize;
            world.ask(from, to, Ask { request: 100, response, within: minutes(10) });
        }
    });
    run.until(minutes(30));
    run.expect("pairs with a path after 30 min", run.world.reach(), Unit::Share, Wanted::AtLeast(0.95));
    run.until(run.duration);
    let peak = run.world.relayed_peak();
    run.expect(
        "relayed announces of any interface in any hour, of its bitrate, one frame aside",
        peak,
        Unit::Share,
        Wanted::AtMost(0.02),
    );
    let answered = run.world.answered(minutes(30), run.duration - minutes(10));
    run.expect("requests answered", answered, Unit::Share, Wanted::AtLeast(0.9));
}
