//! The end that measures: one task at a time, each a file of its own.

mod channel;
mod links;
mod packets;
mod path;
mod requests;
mod resource;

use std::fmt::Debug;
use std::time::Instant;

use serde_json::{Value, json};
use wend_packet::link::Compression;
use wend_packet::stack::Event;
use wend_packet::{DestinationHash, LinkId};

use crate::protocol::{Command, say};
use crate::shell::{Application, Shell};

use self::channel::Channel;
use self::links::{Keep, Links};
use self::packets::Packets;
use self::path::FindPath;
use self::requests::Requests;
use self::resource::Resource;

/// Something to be measured.
trait Task: Debug {
    /// Starts, or goes on with, what can be done now. Called at the start, after each event, and by alarm.
    fn step(&mut self, shell: &mut Shell);

    /// Something happened.
    fn event(&mut self, event: &Event);

    /// What there is to tell once the task is done.
    fn result(&self) -> Option<Outcome>;
}

/// What a task came to.
struct Outcome {
    answer: Value,
    /// A link that stays open for the tasks after this one.
    link: Option<LinkId>,
}

impl Outcome {
    fn new(answer: Value) -> Self {
        Self { answer, link: None }
    }
}

/// Measures what it is told to, against one destination.
#[derive(Debug)]
pub(crate) struct Client {
    to: DestinationHash,
    link: Option<LinkId>,
    task: Option<Box<dyn Task>>,
}

impl Client {
    pub(crate) fn new(to: DestinationHash) -> Self {
        Self { to, link: None, task: None }
    }

    fn task(&mut self, shell: &mut Shell, command: Command) -> Result<Box<dyn Task>, String> {
        let link = || self.link.ok_or("no link is open");
        Ok(match command {
            Command::Path => Box::new(FindPath::new(self.to)),
            Command::Link => {
                close(shell, self.link.take());
                Box::new(Keep::new(self.to))
            }
            Command::Links { n } => Box::new(Links::new(self.to, n)),
            Command::Requests { n, size, window } => Box::new(Requests::new(link()?, n, size, window)),
            Command::Packets { n, size, window } => Box::new(Packets::new(self.to, n, size, window)),
            Command::Resource { file, compress, always } => {
                let compression = match (compress, always) {
                    (false, _) => Compression::Never,
                    (true, false) => Compression::Auto,
                    (true, true) => Compression::UpTo(u64::MAX),
                };
                Box::new(Resource::new(link()?, &file, compression).map_err(|error| error.to_string())?)
            }
            Command::Channel { n, size } => Box::new(Channel::new(link()?, n, size)),
            other => return Err(format!("a client has no {other:?}")),
        })
    }

    fn advance(&mut self, shell: &mut Shell) {
        let Some(task) = &mut self.task else { return };
        task.step(shell);
        if let Some(outcome) = task.result() {
            self.link = outcome.link.or(self.link);
            self.task = None;
            shell.wake_at = None;
            say(&outcome.answer);
        }
    }
}

fn close(shell: &mut Shell, link: Option<LinkId>) {
    let now = shell.now();
    if let Some(link) = link.and_then(|link| shell.stack.link(now, link)) {
        link.close();
    }
}

impl Application for Client {
    fn command(&mut self, shell: &mut Shell, command: Command) {
        match self.task(shell, command) {
            Ok(task) => {
                self.task = Some(task);
                self.advance(shell);
            }
            Err(error) => say(&json!({ "ev": "error", "error": error })),
        }
    }

    fn event(&mut self, shell: &mut Shell, event: Event) {
        if let Some(task) = &mut self.task {
            task.event(&event);
            self.advance(shell);
        }
    }

    fn alarm(&mut self, shell: &mut Shell) {
        self.advance(shell);
    }
}

/// Times of single operations, in milliseconds.
#[derive(Debug)]
struct Latencies {
    began: Instant,
    ms: Vec<f64>,
    failed: usize,
}

impl Latencies {
    fn new(count: usize) -> Self {
        Self { began: Instant::now(), ms: Vec::with_capacity(count), failed: 0 }
    }

    fn succeeded(&mut self, since: Instant) {
        self.ms.push(since.elapsed().as_secs_f64() * 1e3);
    }

    fn done(&self) -> usize {
        self.ms.len() + self.failed
    }

    /// With a microsecond's resolution: what a JSON line need not say longer.
    fn rounded(&self) -> Vec<f64> {
        self.ms.iter().map(|ms| (ms * 1e3).round() / 1e3).collect()
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}
