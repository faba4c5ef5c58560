//! `benchfeed PORT_A PORT_B PID ANNOUNCE`: feeds raw frames to a transport node over two TCP connections and measures what
//! comes out, without knowing anything of the node but its process. Commands come as lines of JSON on standard input.
//!
//! `ANNOUNCE` is a packet in hexadecimal digits that makes a destination at A known. Packets for it are sent into B and come
//! out at A.

mod announces;
mod forward;
mod frames;
mod process;
mod tap;
mod world;

use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

use self::process::Process;
use self::world::World;

/// What can be measured.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
enum Command {
    /// Packets for the destination at A, from B.
    Forward(forward::Load),
    /// Announces from a file, into A.
    Announces(announces::Load),
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("usage: benchfeed PORT_A PORT_B PID ANNOUNCE")]
    Usage,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Line(#[from] serde_json::Error),
    #[error("the announce is not a packet in hexadecimal digits")]
    Announce,
    #[error("the node sent the announce on to nobody")]
    NotRebroadcast,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchfeed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), FeedError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [a, b, pid, announce] = arguments.as_slice() else { return Err(FeedError::Usage) };
    let number = |text: &String| text.parse().map_err(|_| FeedError::Usage);
    let announce = hex::decode(announce).map_err(|_| FeedError::Announce)?;
    let process = Process::new(pid.parse().map_err(|_| FeedError::Usage)?);
    let mut world = World::open(number(a)?, number(b)?, &announce)?;
    say(&serde_json::json!({ "ev": "ready" }))?;
    for line in stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Command::Forward(load) => load.run(&mut world, process)?,
            Command::Announces(load) => load.run(&mut world, process)?,
        };
        say(&answer)?;
    }
    Ok(())
}

fn say(answer: &Value) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}
