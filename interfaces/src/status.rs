//! What `wend status` shows of an interface.

use std::sync::Arc;

use tokio::time::Instant;

use crate::error::DriverError;

/// Where an interface stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The medium is being opened.
    Connecting,
    /// Frames can pass. A server is up when it listens.
    Up,
    /// The medium is not there; see [`Status::retry_at`] for whether it will be tried again.
    Down,
}

/// State of an interface at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why it was not there the last time it was not there. Kept while it is up again.
    pub last_error: Option<Arc<DriverError>>,
    /// When the medium is tried again. `None` unless the state is down and it will be.
    pub retry_at: Option<Instant>,
}

impl Status {
    pub(crate) fn connecting() -> Self {
        Self { state: State::Connecting, since: Instant::now(), last_error: None, retry_at: None }
    }

    pub(crate) fn enter(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.since = Instant::now();
        }
        self.retry_at = None;
    }
}
