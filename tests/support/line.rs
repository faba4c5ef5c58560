//! A serial line between two programs.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use tokio_util::sync::CancellationToken;
use wend_mesh::demo::SerialLine;

/// Two pseudo-terminals and the thread that carries bytes between them, half duplex at a set speed, until it is dropped.
///
/// The carrier sleeps once for 64 bytes and timers tick in milliseconds: about 500 kbit/s is the most that passes.
pub(crate) struct Line {
    ends: [PathBuf; 2],
    stop: CancellationToken,
    carrier: Option<JoinHandle<()>>,
}

impl Line {
    /// A line of this speed, in bit/s.
    pub(crate) fn start(bits_per_second: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let line: io::Result<SerialLine> = runtime.block_on(async { SerialLine::open(bits_per_second) });
        let line = line.expect("the system has pseudo-terminals");
        let ends = line.paths().map(Path::to_owned);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let carrier = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = line.run() => panic!("the serial line broke: {ended:?}"),
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self { ends, stop, carrier: Some(carrier) }
    }

    /// Device paths of the two ends.
    pub(crate) fn ends(&self) -> [&Path; 2] {
        [&self.ends[0], &self.ends[1]]
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(carrier) = self.carrier.take() {
            // Its panic was printed already; another here would hide it.
            drop(carrier.join());
        }
    }
}
