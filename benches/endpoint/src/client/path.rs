//! Finding the way to the server.

use std::time::{Duration, Instant};

use serde_json::json;
use wend_packet::DestinationHash;
use wend_packet::stack::Event;

use super::{Outcome, Task};
use crate::shell::Shell;

/// How long the way is sought.
const PATIENCE: Duration = Duration::from_secs(30);
/// An unanswered path request is repeated after this.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Asks for a path until there is one.
#[derive(Debug)]
pub(super) struct FindPath {
    to: DestinationHash,
    began: Instant,
    asked: Option<Instant>,
    hops: Option<u8>,
}

impl FindPath {
    pub(super) fn new(to: DestinationHash) -> Self {
        Self { to, began: Instant::now(), asked: None, hops: None }
    }
}

impl Task for FindPath {
    fn step(&mut self, shell: &mut Shell) {
        self.hops = shell.stack.path(self.to).map(|path| path.hops);
        if self.hops.is_none() && self.asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            let now = shell.now();
            shell.stack.request_path(now, self.to);
            self.asked = Some(Instant::now());
            shell.wake_at = Some(now.mono + ASK_AGAIN);
        }
    }

    fn event(&mut self, _event: &Event) {}

    fn result(&self) -> Option<Outcome> {
        let seconds = self.began.elapsed();
        (self.hops.is_some() || seconds > PATIENCE).then(|| {
            let (ok, seconds) = (self.hops.is_some(), seconds.as_secs_f64());
            Outcome::new(json!({ "ev": "path", "ok": ok, "hops": self.hops, "seconds": seconds }))
        })
    }
}
