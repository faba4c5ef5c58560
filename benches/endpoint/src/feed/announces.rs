//! How fast the node takes announces in and sends them on, and what it keeps of each.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::frames::{Address, addressed, frame, read};
use super::process::Process;
use super::world::World;

/// Announces sent at once; the last of them is asked for.
const STEP: usize = 64;
/// Between two questions whether the node knows a destination yet.
const ASK: Duration = Duration::from_millis(1);
/// An announce whose destination is not known after this is taken as dropped.
const DROPPED: Duration = Duration::from_secs(3);
/// Steps that are dropped until it is clear that the node takes no more.
const DROPPED_MAX: usize = 3;
/// A node that sent nothing and did almost nothing for so long has nothing left to do.
const QUIET_BEFORE: Duration = Duration::from_millis(2500);
/// The same afterwards: announces are sent on again after 5 to 6 seconds.
const QUIET_AFTER: Duration = Duration::from_millis(6500);
/// How long the node may go on sending announces on.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    /// File of announces.
    file: PathBuf,
    /// How many of them.
    n: usize,
    /// How many may be on their way.
    window: usize,
    /// Destinations that are looked up afterwards.
    sample: usize,
}

impl Load {
    pub(crate) fn run(&self, world: &mut World, process: Process) -> io::Result<Value> {
        let packets = read(&self.file, self.n)?;
        let destinations: Vec<Address> = packets.iter().filter_map(|packet| Some(addressed(packet)?.0)).collect();
        let mut steps = packets.chunks(STEP).zip(destinations.chunks(STEP));
        world.quiet(process, QUIET_BEFORE, Duration::from_secs(10))?;
        world.b.seen().announced.clear();
        let resident = process.resident()?;
        let (cpu, began) = (process.cpu_s()?, Instant::now());

        let mut waiting: VecDeque<(Address, usize, Instant)> = VecDeque::new();
        let (mut outstanding, mut dropped, mut asked) = (0, 0, began);
        loop {
            while let Some((last, count, since)) = waiting.front().copied() {
                let (known, late) = (world.knows(&last), since.elapsed() > DROPPED);
                if !known && !late {
                    break;
                }
                dropped += usize::from(!known);
                outstanding -= count;
                waiting.pop_front();
                if let Some((_, _, since)) = waiting.front_mut() {
                    *since = Instant::now();
                }
            }
            if dropped < DROPPED_MAX
                && outstanding + STEP <= self.window
                && let Some((packets, destinations)) = steps.next()
                && let Some(last) = destinations.last()
            {
                let mut framed = Vec::new();
                packets.iter().for_each(|packet| frame(packet, &mut framed));
                world.a.send(&framed)?;
                outstanding += packets.len();
                waiting.push_back((*last, packets.len(), Instant::now()));
                continue;
            }
            let Some((last, ..)) = waiting.front().copied().filter(|_| dropped < DROPPED_MAX) else { break };
            if asked.elapsed() >= ASK {
                world.probe(&[last])?;
                asked = Instant::now();
            }
            thread::park_timeout(ASK);
        }
        let (seconds, cpu_known) = (began.elapsed().as_secs_f64(), process.cpu_s()? - cpu);

        world.quiet(process, QUIET_AFTER, AFTERWARDS)?;
        let (cpu_all, grown) = (process.cpu_s()? - cpu, process.resident()?.saturating_sub(resident));
        let (sent_on, last) = {
            let seen = world.b.seen();
            (seen.announced.len(), seen.last_announce)
        };
        let seconds_all = last.map_or(0.0, |last| last.saturating_duration_since(began).as_secs_f64());
        let sample: Vec<_> =
            destinations.iter().step_by((destinations.len() / self.sample.max(1)).max(1)).copied().collect();
        let known = world.count_known(&sample)?;
        let n = packets.len() as f64;
        Ok(json!({
            "ev": "announces", "n": packets.len(), "seconds": seconds, "seconds_with_rebroadcast": seconds_all,
            "per_s": n / seconds, "cpu_us_each": cpu_known * 1e6 / n, "cpu_us_each_with_rebroadcast": cpu_all * 1e6 / n,
            "dropped_steps": dropped, "known": known as f64 / sample.len().max(1) as f64,
            "rebroadcast": sent_on as f64 / n, "bytes_each": grown as f64 / n, "resident": resident + grown,
            "closed": world.a.closed() || world.b.closed(),
        }))
    }
}
