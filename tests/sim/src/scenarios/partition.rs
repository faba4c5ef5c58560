//! Two islands that lose each other for a day.

use std::time::Duration;

use wend_packet::stack::Mode;

use super::{hours, minutes, seconds};
use crate::medium::{Loss, MediumKind};
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, NodeId, NodeKind, World};

pub(super) const PARTITION: Scenario = Scenario {
    name: "partition",
    summary: "Two islands of 17 nodes on a local network, TCP lines and a LoRa channel each, joined by a TCP line and by a \
              radio channel of 1,200 bit/s. Both bridges fail for a day, the line with notice to its ends, the channel in \
              silence; then both come back.",
    duration: hours(28),
    shortest: hours(28),
    play,
};

const CUT: Duration = hours(2);
const MENDED: Duration = hours(26);
/// How long a request may take.
const PATIENCE: Duration = minutes(5);

struct Island {
    hub: NodeId,
    nodes: Vec<NodeId>,
}

fn island(world: &mut World) -> Island {
    let hub = world.node(NodeKind::transport());
    let mut nodes = vec![hub];
    let mut leaves = |world: &mut World, count: usize| -> Vec<NodeId> {
        let leaves: Vec<_> = (0..count).map(|_| world.node(NodeKind::leaf())).collect();
        nodes.extend(&leaves);
        leaves
    };
    let lan = [vec![hub], leaves(world, 8)].concat();
    world.connect(MediumKind::lan().mode(Mode::Gateway), &lan);
    for leaf in leaves(world, 3) {
        world.connect(MediumKind::tcp().mode(Mode::Gateway), &[hub, leaf]);
    }
    let lora = [vec![hub], leaves(world, 5)].concat();
    world.connect(MediumKind::lora().mode(Mode::Gateway).losing(Loss::even(0.02)), &lora);
    Island { hub, nodes }
}

fn play(run: &mut Run<'_>) {
    let (west, east) = (island(&mut run.world), island(&mut run.world));
    let hubs = [west.hub, east.hub];
    let line = run.world.connect(MediumKind::tcp().mode(Mode::Gateway), &hubs);
    let radio = run.world.connect(MediumKind::packet_radio(1200).mode(Mode::Gateway).named("radio bridge"), &hubs);
    run.world.at(CUT, move |world| {
        world.cut(line);
        world.hearing(radio, &[]);
    });
    run.world.at(MENDED, move |world| {
        world.mend(line);
        world.hearing(radio, &[(hubs[0], hubs[1])]);
    });
    run.world.seek_all(minutes(5), seconds(15));
    let sides = [west.nodes.clone(), east.nodes.clone()];
    let mut rng = run.world.randomness("traffic");
    run.world.every(minutes(10), seconds(20), move |world| {
        let apart = (CUT..MENDED).contains(&world.elapsed());
        let from = random::below(&mut rng, 2);
        let to = if apart { from } else { 1 - from };
        let pick = |rng: &mut _, side: usize| sides[side][random::below(rng, sides[side].len())];
        let (from, to) = (pick(&mut rng, from), pick(&mut rng, to));
        if from != to {
            world.ask(from, to, Ask { request: 64, response: 400, within: PATIENCE });
        }
    });
    let across = |world: &World| {
        let ways = [(&west, &east), (&east, &west)];
        ways.iter().map(|(from, to)| world.reach_between(&from.nodes, &to.nodes)).sum::<f64>() / 2.0
    };
    run.until(CUT);
    run.expect("pairs across with a path before", across(&run.world), Unit::Share, Wanted::AtLeast(0.95));
    let answered = run.world.answered(minutes(60), CUT - PATIENCE);
    run.expect("requests across answered before", answered, Unit::Share, Wanted::AtLeast(0.95));
    run.until(MENDED + PATIENCE * 3);
    let answered = run.world.answered(CUT + PATIENCE, MENDED - PATIENCE);
    run.expect("requests within each island answered meanwhile", answered, Unit::Share, Wanted::AtLeast(0.95));
    let first = run.world.answered(MENDED, MENDED + minutes(10));
    run.expect("requests across answered that were made in the 10 min after", first, Unit::Share, Wanted::AtLeast(0.9));
    run.until(MENDED + minutes(75));
    run.expect("pairs across with a path after 75 min", across(&run.world), Unit::Share, Wanted::AtLeast(0.95));
    run.until(run.duration);
}
