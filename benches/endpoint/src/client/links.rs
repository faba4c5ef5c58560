//! Setting up links.

use std::time::Instant;

use serde_json::json;
use wend_packet::stack::Event;
use wend_packet::{DestinationHash, LinkId};

use super::{Latencies, Outcome, Task, close};
use crate::shell::Shell;

/// A link on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    Pending(LinkId),
    Up(LinkId),
    Down,
}

impl State {
    fn event(self, event: &Event) -> Self {
        match (self, event) {
            (Self::Pending(asked), Event::LinkUp { link, .. }) if asked == *link => Self::Up(asked),
            (Self::Pending(asked), Event::LinkDown { link, .. }) if asked == *link => Self::Down,
            (state, _) => state,
        }
    }

    fn open(shell: &mut Shell, to: DestinationHash) -> Self {
        let now = shell.now();
        shell.stack.open_link(now, to).map_or(Self::Down, Self::Pending)
    }
}

/// Opens one link, for the tasks that follow.
#[derive(Debug)]
pub(super) struct Keep {
    to: DestinationHash,
    began: Instant,
    state: State,
    mtu: usize,
}

impl Keep {
    pub(super) fn new(to: DestinationHash) -> Self {
        Self { to, began: Instant::now(), state: State::None, mtu: 0 }
    }
}

impl Task for Keep {
    fn step(&mut self, shell: &mut Shell) {
        match self.state {
            State::None => self.state = State::open(shell, self.to),
            State::Up(link) => {
                let now = shell.now();
                self.mtu = shell.stack.link(now, link).map_or(0, |link| link.mtu());
            }
            State::Pending(_) | State::Down => {}
        }
    }

    fn event(&mut self, event: &Event) {
        self.state = self.state.event(event);
    }

    fn result(&self) -> Option<Outcome> {
        let link = match self.state {
            State::Up(link) => Some(link),
            State::Down => None,
            State::None | State::Pending(_) => return None,
        };
        let ms = self.began.elapsed().as_secs_f64() * 1e3;
        let answer = json!({ "ev": "link", "ok": link.is_some(), "ms": ms, "mtu": self.mtu });
        Some(Outcome { answer, link })
    }
}

/// Opens and closes links one after the other.
#[derive(Debug)]
pub(super) struct Links {
    to: DestinationHash,
    count: usize,
    began: Instant,
    state: State,
    latencies: Latencies,
}

impl Links {
    pub(super) fn new(to: DestinationHash, count: usize) -> Self {
        Self { to, count, began: Instant::now(), state: State::None, latencies: Latencies::new(count) }
    }
}

impl Task for Links {
    fn step(&mut self, shell: &mut Shell) {
        match self.state {
            State::Pending(_) => return,
            State::Up(link) => {
                self.latencies.succeeded(self.began);
                close(shell, Some(link));
            }
            State::Down => self.latencies.failed += 1,
            State::None => {}
        }
        self.state = State::None;
        if self.latencies.done() < self.count {
            self.began = Instant::now();
            self.state = State::open(shell, self.to);
        }
    }

    fn event(&mut self, event: &Event) {
        self.state = self.state.event(event);
    }

    fn result(&self) -> Option<Outcome> {
        (self.latencies.done() == self.count).then(|| {
            Outcome::new(json!({
                "ev": "links", "lat": self.latencies.rounded(), "fail": self.latencies.failed,
                "seconds": self.latencies.seconds(),
            }))
        })
    }
}
