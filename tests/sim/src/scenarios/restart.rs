//! Nodes that go down without warning and come back.

use std::time::Duration;

use wend_packet::stack::Mode;

use super::{hours, minutes, seconds};
use crate::medium::{Loss, MediumKind};
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, NodeKind};

pub(super) const RESTART: Scenario = Scenario {
    name: "restart",
    summary: "24 nodes on two hubs, with local networks and a LoRa channel. Every five minutes one of them, hubs included, \
              loses power for 30 s; what it had written to its disk comes back with it.",
    duration: hours(3),
    shortest: hours(2),
    play,
};

const PATIENCE: Duration = minutes(5);

fn play(run: &mut Run<'_>) {
    let world = &mut run.world;
    let hub = NodeKind { persists: true, ..NodeKind::transport() };
    let leaf = NodeKind { persists: true, ..NodeKind::leaf() };
    let hubs: Vec<_> = (0..2).map(|_| world.node(hub.clone())).collect();
    world.connect(MediumKind::tcp().mode(Mode::Gateway), &hubs);
    let mut nodes = hubs.clone();
    for hub in &hubs {
        let mut group = |count: usize| {
            let leaves: Vec<_> = (0..count).map(|_| world.node(leaf.clone())).collect();
            nodes.extend(&leaves);
            [vec![*hub], leaves].concat()
        };
        let (lan, lora) = (group(7), group(4));
        world.connect(MediumKind::lan().mode(Mode::Gateway), &lan);
        world.connect(MediumKind::lora().mode(Mode::Gateway).losing(Loss::even(0.02)), &lora);
    }
    world.seek_all(minutes(2), seconds(15));
    let (mut turn, all) = (0, nodes.clone());
    let last = run.duration - minutes(30);
    run.world.every(minutes(15), minutes(5), move |world| {
        if world.elapsed() < last {
            world.restart(all[turn % all.len()], seconds(30));
            turn += 1;
        }
    });
    let mut rng = run.world.randomness("traffic");
    run.world.every(minutes(10), seconds(10), move |world| {
        let from = nodes[random::below(&mut rng, nodes.len())];
        let to = nodes[random::below(&mut rng, nodes.len())];
        if from != to && world.stack(from).is_some() {
            world.ask(from, to, Ask { request: 64, response: 500, within: PATIENCE });
        }
    });
    run.until(run.duration);
    let answered = run.world.answered(minutes(10), run.duration - PATIENCE);
    run.expect("requests answered", answered, Unit::Share, Wanted::AtLeast(0.95));
    run.expect("pairs with a path at the end", run.world.reach(), Unit::Share, Wanted::AtLeast(0.95));
}
