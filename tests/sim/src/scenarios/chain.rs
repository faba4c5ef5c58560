//! Twelve hops of slow half-duplex radio.

use wend_packet::stack::Mode;

use super::{hours, minutes, seconds};
use crate::medium::MediumKind;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, NodeKind};

/// Hops from one end to the other.
const HOPS: usize = 12;

pub(super) const CHAIN: Scenario = Scenario {
    name: "chain",
    summary: "Thirteen nodes in a row on one half-duplex radio channel of 1,200 bit/s, where each hears only its two \
              neighbours. They are switched on one after another; then one end asks the other with 2 kB and gets 2 kB back.",
    duration: hours(2),
    shortest: hours(2),
    play,
};

fn play(run: &mut Run<'_>) {
    let world = &mut run.world;
    let off = NodeKind { on: false, ..NodeKind::transport() };
    let nodes: Vec<_> = (0..=HOPS).map(|_| world.node(off.clone())).collect();
    let radio = world.connect(MediumKind::packet_radio(1200).mode(Mode::Gateway), &nodes);
    let pairs: Vec<_> = nodes.windows(2).map(|pair| (pair[0], pair[1])).collect();
    world.hearing(radio, &pairs);
    for (node, minute) in nodes.iter().copied().zip(0..) {
        world.at(minutes(minute), move |world| world.start(node));
    }
    let (near, far) = (nodes[0], nodes[HOPS]);
    let ask = Ask { request: 2000, response: 2000, within: minutes(60) };
    run.until(minutes(20));
    run.note("far end known from its announce alone", f64::from(u8::from(run.world.knows(near, far))), Unit::Count);
    run.world.ask(near, far, ask);
    run.until_true(ask.within, seconds(1), |world| !world.outcomes().is_empty());
    let took = run.world.outcomes().first().and_then(|outcome| outcome.took);
    let took = took.map_or(f64::INFINITY, |took| took.as_secs_f64());
    let wanted = Wanted::AtMost(ask.within.as_secs_f64());
    run.expect("time until 2 kB were sent and 2 kB came back", took, Unit::Seconds, wanted);
}
