//! A path table that is full.

use std::time::Duration;

use wend_packet::stack::{Capacities, Footprint};

use super::{minutes, seconds};
use crate::medium::MediumKind;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{NodeId, NodeKind};

pub(super) const EVICTION: Scenario = Scenario {
    name: "eviction",
    summary: "A transport node with room for 64 paths hears of more and more destinations, while others use some of those it \
              knows. The one announced or used longest ago has to leave, each time.",
    duration: minutes(10),
    shortest: minutes(10),
    play,
};

const ROOM: usize = 64;
/// Time between announces: too slow to count as a burst.
const PACE: Duration = seconds(1);

/// What should be in the table, the next to leave first.
struct Expected {
    order: Vec<usize>,
    left: Vec<usize>,
}

impl Expected {
    fn touch(&mut self, index: usize) {
        self.order.retain(|other| *other != index);
        self.order.push(index);
        if self.order.len() > ROOM {
            self.left.push(self.order.remove(0));
        }
    }
}

fn play(run: &mut Run<'_>) {
    let world = &mut run.world;
    let quiet = NodeKind { announces: false, counted: false, ..NodeKind::leaf() };
    let capacities = Capacities { paths: ROOM, ..Capacities::of(Footprint::Standard) };
    let hub = world.node(NodeKind { transport: true, capacities, ..quiet });
    let many = world.node(NodeKind { destinations: 120, ..quiet.clone() });
    let user = world.node(quiet);
    world.connect(MediumKind::lan(), &[hub, many]);
    world.connect(MediumKind::lan(), &[hub, user]);
    world.watch_losses(hub);
    let mut expected = Expected { order: Vec::new(), left: Vec::new() };
    announce(run, many, &mut expected, 0..ROOM);
    use_paths(run, [user, many], &mut expected, &[5, 0, 33]);
    announce(run, many, &mut expected, ROOM..ROOM + 8);
    announce(run, many, &mut expected, 9..11);
    use_paths(run, [user, many], &mut expected, &[40, 12]);
    announce(run, many, &mut expected, ROOM + 8..120);
    let left: Vec<_> = expected.left.iter().filter_map(|index| run.world.destination(many, *index)).collect();
    let lost = run.world.losses(hub);
    let out_of_order = left.iter().zip(lost).filter(|(expected, lost)| expected != lost).count();
    let missing = left.len().abs_diff(lost.len());
    let kept = run.world.stack(hub).map_or(0, |stack| stack.paths().count());
    run.note("paths that left", left.len() as f64, Unit::Count);
    run.expect("paths that left out of order", (out_of_order + missing) as f64, Unit::Count, Wanted::AtMost(0.0));
    run.expect("paths at the end", kept as f64, Unit::Count, Wanted::AtMost(ROOM as f64));
    run.expect("paths at the end", kept as f64, Unit::Count, Wanted::AtLeast(ROOM as f64));
    run.expect("packets proved", run.world.proved() as f64, Unit::Count, Wanted::AtLeast(5.0));
}

fn announce(run: &mut Run<'_>, many: NodeId, expected: &mut Expected, which: std::ops::Range<usize>) {
    for index in which {
        run.world.announce(many, index);
        expected.touch(index);
        run.pass(PACE);
    }
    run.pass(seconds(15));
}

/// Sends a packet by way of the hub to each of these destinations.
fn use_paths(run: &mut Run<'_>, [user, many]: [NodeId; 2], expected: &mut Expected, which: &[usize]) {
    for index in which {
        if let Some(to) = run.world.destination(many, *index)
            && run.world.send_packet(user, to, b"by way of the hub")
        {
            expected.touch(*index);
        }
        run.pass(PACE);
    }
}
