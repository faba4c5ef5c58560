//! A hub that knows a hundred thousand destinations.

use std::time::Duration;

use wend_packet::stack::{Capacities, Footprint, Mode};

use super::{minutes, seconds};
use crate::medium::MediumKind;
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::NodeKind;

pub(super) const HUB: Scenario = Scenario {
    name: "hub",
    summary: "A transport node with room for 100,000 paths hears of 101,000 destinations within ten minutes on ten TCP \
              lines. A client then asks it for 500 of those it knows.",
    duration: minutes(16),
    shortest: minutes(16),
    play,
};

const ROOM: usize = 100_000;
const LINES: usize = 10;
const EACH: usize = 10_100;
/// Announces of all lines together every so long.
const PACE: Duration = Duration::from_millis(55);
const QUESTIONS: usize = 500;
/// Slow enough not to count as a burst.
const QUESTION_PACE: Duration = Duration::from_millis(500);

fn play(run: &mut Run<'_>) {
    let world = &mut run.world;
    let capacities = Capacities { paths: ROOM, known: ROOM, ..Capacities::of(Footprint::Hub) };
    let quiet = NodeKind { announces: false, counted: false, ..NodeKind::leaf() };
    let hub = world.node(NodeKind { transport: true, capacities, ..quiet });
    let mut feeders = Vec::new();
    for _ in 0..LINES {
        let feeder = world.node(NodeKind { destinations: EACH, ..quiet.clone() });
        let mut kind = MediumKind::tcp();
        // These come faster than strangers may, and the hub does not pass them on to the other lines.
        kind.profile.ingress_control = false;
        let line = world.medium(kind);
        world.join_as(hub, line, Mode::AccessPoint);
        world.join(feeder, line);
        feeders.push(feeder);
    }
    for index in 0..EACH {
        let feeders = feeders.clone();
        world.at(seconds(2) + PACE * u32::try_from(index).unwrap_or_default(), move |world| {
            for feeder in feeders {
                world.announce(feeder, index);
            }
        });
    }
    let client = world.node(quiet);
    world.connect(MediumKind::tcp(), &[hub, client]);
    run.until(minutes(11));
    let known = run.world.stack(hub).map_or(0, |stack| stack.paths().count());
    run.expect("paths known of 101,000 announced", known as f64, Unit::Count, Wanted::AtLeast(ROOM as f64));
    run.expect("paths known, bound", known as f64, Unit::Count, Wanted::AtMost(ROOM as f64));
    let mut rng = run.world.randomness("questions");
    let mut asked = Vec::new();
    // The first hundred of each line had to leave.
    for _ in 0..QUESTIONS {
        let (feeder, index) = (random::below(&mut rng, LINES), 100 + random::below(&mut rng, EACH - 100));
        let Some(to) = run.world.destination(feeders[feeder], index) else { continue };
        run.world.request_path(client, to);
        asked.push(to);
        run.pass(QUESTION_PACE);
    }
    run.pass(seconds(5));
    let answered =
        run.world.stack(client).map_or(0, |stack| asked.iter().filter(|to| stack.path(**to).is_some()).count());
    run.expect("path requests answered", answered as f64 / QUESTIONS as f64, Unit::Share, Wanted::AtLeast(1.0));
}
