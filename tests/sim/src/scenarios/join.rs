//! A thousand nodes that join one radio channel in the same moment.

use std::time::Duration;

use wend_packet::stack::Mode;

use super::{hours, minutes, seconds};
use crate::medium::{Loss, MediumKind};
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, NodeKind};

pub(super) const JOIN: Scenario = Scenario {
    name: "join",
    summary: "1,000 nodes, three of them transport nodes, are switched on in the same moment on one LoRa channel where all \
              hear all. From minute 10 on some ask others for data.",
    duration: hours(2),
    shortest: minutes(20),
    play,
};

const NODES: usize = 1000;
const TRANSPORT: usize = 3;
const SETTLED: Duration = minutes(10);
const PATIENCE: Duration = minutes(4);

fn play(run: &mut Run<'_>) {
    let world = &mut run.world;
    let kind = |index| if index < TRANSPORT { NodeKind::transport() } else { NodeKind::leaf() };
    let nodes: Vec<_> = (0..NODES).map(|index| world.node(kind(index))).collect();
    let channel = world.connect(MediumKind::lora().mode(Mode::Gateway).losing(Loss::even(0.02)), &nodes);
    let mut rng = world.randomness("traffic");
    world.every(SETTLED, seconds(60), move |world| {
        let from = nodes[random::below(&mut rng, NODES)];
        let to = nodes[random::below(&mut rng, NODES)];
        if from != to {
            world.ask(from, to, Ask { request: 64, response: 300, within: PATIENCE });
        }
    });
    run.until(SETTLED);
    run.note("pairs with a path after 10 min", run.world.reach(), Unit::Share);
    run.until(run.duration);
    let busy = |from, until| run.world.busy(channel, from, until).into_iter().fold(0.0, f64::max);
    let (before, after) = (busy(Duration::ZERO, SETTLED), busy(SETTLED, run.duration));
    run.note("channel busy in its busiest minute up to minute 10", before, Unit::Share);
    run.expect("channel busy in its busiest minute from minute 10 on", after, Unit::Share, Wanted::AtMost(0.5));
    let answered = run.world.answered(SETTLED, run.duration - PATIENCE);
    run.expect("requests answered", answered, Unit::Share, Wanted::AtLeast(0.9));
    let peak = run.world.relayed_peak();
    run.expect(
        "relayed announces of any interface in any hour, of its bitrate, one frame aside",
        peak,
        Unit::Share,
        Wanted::AtMost(0.02),
    );
}
