//! Nodes that move about.

use std::time::Duration;

use wend_packet::stack::Mode;

use super::{hours, minutes, seconds};
use crate::medium::{Loss, MediumKind};
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, NodeKind};

pub(super) const ROAMING: Scenario = Scenario {
    name: "roaming",
    summary: "Four LoRa cells on hubs that TCP lines join, and ten nodes that move from cell to cell every half an hour or \
              so. Nodes at fixed places ask them for data all the time.",
    duration: hours(6),
    shortest: hours(3),
    play,
};

const CELLS: usize = 4;
const TRAVELLERS: usize = 10;
const PATIENCE: Duration = minutes(5);

fn play(run: &mut Run<'_>) {
    let world = &mut run.world;
    let hubs: Vec<_> = (0..CELLS).map(|_| world.node(NodeKind::transport())).collect();
    let mut cells = Vec::new();
    let mut fixed = Vec::new();
    for (index, hub) in hubs.iter().enumerate() {
        world.connect(MediumKind::tcp().mode(Mode::Gateway), &[*hub, hubs[(index + 1) % CELLS]]);
        let lan: Vec<_> = (0..3).map(|_| world.node(NodeKind::leaf())).collect();
        world.connect(MediumKind::lan().mode(Mode::Gateway), &[vec![*hub], lan.clone()].concat());
        fixed.extend(lan);
        let cell = world.medium(MediumKind::lora().mode(Mode::Gateway).losing(Loss::even(0.02)));
        world.join(*hub, cell);
        cells.push(cell);
    }
    let travellers: Vec<_> = (0..TRAVELLERS).map(|_| world.node(NodeKind::leaf())).collect();
    let mut rng = world.randomness("travel");
    for (index, traveller) in travellers.iter().copied().enumerate() {
        let mut here = index % CELLS;
        world.join(traveller, cells[here]);
        let (cells, mut rng) = (cells.clone(), random::fork(&mut rng));
        let first = minutes(15) + random::duration_below(&mut rng, minutes(30));
        world.every(first, minutes(30), move |world| {
            world.leave(traveller, cells[here]);
            here = (here + 1 + random::below(&mut rng, CELLS - 1)) % CELLS;
            let next = cells[here];
            world.at(world.elapsed() + seconds(20), move |world| world.join(traveller, next));
        });
    }
    let mut rng = world.randomness("traffic");
    world.every(minutes(10), seconds(15), move |world| {
        let from = fixed[random::below(&mut rng, fixed.len())];
        let to = travellers[random::below(&mut rng, TRAVELLERS)];
        world.ask(from, to, Ask { request: 64, response: 300, within: PATIENCE });
    });
    run.until(run.duration);
    let answered = run.world.answered(minutes(10), run.duration - PATIENCE);
    run.expect("requests to nodes on the move answered", answered, Unit::Share, Wanted::AtLeast(0.95));
}
