//! How many packets a second the node carries, and what each takes of a processor.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::process::Process;
use super::world::World;

/// What did not come out after this long is lost.
const LOST: Duration = Duration::from_millis(500);

/// What is sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    /// Bytes of a packet.
    size: usize,
    /// How many packets, at most.
    packets: usize,
    /// How many may be on their way.
    window: usize,
    /// When to stop before that.
    seconds: f64,
}

impl Load {
    pub(crate) fn run(&self, world: &mut World, process: Process) -> io::Result<Value> {
        let (framed, ends) = world.packets(self.packets, self.size);
        world.a.only_count(true);
        let step = (self.window / 4).max(1);
        let (first, cpu, began) = (world.a.frames(), process.cpu_s()?, Instant::now());
        let limit = Duration::from_secs_f64(self.seconds);
        let (mut sent, mut lost, mut start) = (0, 0, 0);
        let (mut came, mut last) = (0, began);
        loop {
            let frames = world.a.frames() - first;
            if frames > came {
                (came, last) = (frames, Instant::now());
            }
            if last.elapsed() > LOST {
                lost = sent - came;
            }
            let over = sent == ends.len() || began.elapsed() > limit;
            if over && came + lost >= sent {
                break;
            }
            if !over && sent - came - lost + step <= self.window {
                let next = (sent + step).min(ends.len());
                let end = ends[next - 1];
                world.b.send(&framed[start..end])?;
                (sent, start) = (next, end);
            } else {
                thread::park_timeout(Duration::from_millis(20));
            }
        }
        let (seconds, cpu) = ((last - began).as_secs_f64(), process.cpu_s()? - cpu);
        world.a.only_count(false);
        Ok(json!({
            "ev": "forward", "sent": sent, "delivered": came, "lost": lost, "seconds": seconds,
            "per_s": came as f64 / seconds, "cpu_us_each": cpu * 1e6 / came.max(1) as f64,
            "closed": world.a.closed() || world.b.closed(),
        }))
    }
}
