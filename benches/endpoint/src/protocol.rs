//! The lines of JSON that the harness and an endpoint exchange on standard input and output.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::thread;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

/// What the harness asks for. Counts and sizes have the defaults of the reference endpoint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Server: announce the destination.
    Announce,
    /// Server: forget the counters.
    Reset,
    /// Server: tell the counters.
    Stats,
    /// Client: find the path to the server.
    Path,
    /// Client: open a link and keep it.
    Link,
    /// Client: open and close `n` links, one after the other.
    Links { n: usize },
    /// Client: send a file as a resource.
    Resource {
        file: PathBuf,
        #[serde(default = "yes")]
        compress: bool,
        /// Also where the link carries more than compression makes ready.
        #[serde(default)]
        always: bool,
    },
    /// Client: `n` requests of `size` bytes, `window` of them outstanding.
    Requests {
        n: usize,
        #[serde(default = "small")]
        size: usize,
        #[serde(default = "one")]
        window: usize,
    },
    /// Client: `n` packets of `size` bytes, `window` of them not proved yet.
    Packets {
        n: usize,
        #[serde(default = "small")]
        size: usize,
        #[serde(default = "packets_window")]
        window: usize,
    },
    /// Client: `n` channel messages of `size` bytes.
    Channel {
        n: usize,
        #[serde(default = "small")]
        size: usize,
    },
    /// End.
    Quit,
}

const fn yes() -> bool {
    true
}

const fn one() -> usize {
    1
}

const fn small() -> usize {
    32
}

const fn packets_window() -> usize {
    64
}

/// Commands as they come in; the channel ends with the input, or with the first line that is no command.
pub(crate) fn commands() -> mpsc::UnboundedReceiver<Command> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(command) => drop(sender.send(command)),
                Err(error) => return eprintln!("{line}: {error}"),
            }
        }
    });
    receiver
}

/// Writes one line to the harness.
pub(crate) fn say(answer: &Value) {
    let mut out = stdout().lock();
    // A harness that is gone ends the input too, and with it this program.
    let _ = writeln!(out, "{answer}").and_then(|()| out.flush());
}
