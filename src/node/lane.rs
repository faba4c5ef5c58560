//! The thread that packets go through: drivers and the core take turns on it, so that a packet changes threads nowhere.
//! docs/decisions/0041-one-thread-for-packets.md.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Its tasks run until it is dropped.
#[derive(Debug)]
pub(super) struct Lane {
    handle: Handle,
    _until_dropped: oneshot::Sender<()>,
}

impl Lane {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (_until_dropped, dropped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("wend-packets".to_owned()).spawn(move || {
            // What comes is that the other end is gone.
            let _ = runtime.block_on(dropped);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _until_dropped })
    }

    /// Where to spawn its tasks. None of them may block.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}
