//! Requests that are echoed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;
use wend_packet::link::RequestOptions;
use wend_packet::msgpack::Writer;
use wend_packet::stack::Event;
use wend_packet::{LinkId, RequestId};

use super::{Latencies, Outcome, Task};
use crate::server::ECHO;
use crate::shell::Shell;

/// How long a response may take. A lost one is a failure that has to show, not one to be hurried over.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps requests outstanding until as many as asked for are answered.
#[derive(Debug)]
pub(super) struct Requests {
    link: LinkId,
    count: usize,
    window: usize,
    body: Vec<u8>,
    sent: usize,
    outstanding: HashMap<RequestId, Instant>,
    latencies: Latencies,
}

impl Requests {
    pub(super) fn new(link: LinkId, count: usize, size: usize, window: usize) -> Self {
        Self {
            link,
            count,
            window,
            body: Writer::with_capacity(size + 5).bin(&vec![0x5A; size]).into_bytes(),
            sent: 0,
            outstanding: HashMap::with_capacity(window),
            latencies: Latencies::new(count),
        }
    }
}

impl Task for Requests {
    fn step(&mut self, shell: &mut Shell) {
        let options = RequestOptions { timeout: Some(PATIENCE), max_response: self.body.len() };
        while self.sent < self.count && self.outstanding.len() < self.window {
            let (began, now) = (Instant::now(), shell.now());
            let request = shell.stack.link(now, self.link).map(|mut link| link.request(ECHO, &self.body, options));
            self.sent += 1;
            match request {
                Some(Ok(request)) => drop(self.outstanding.insert(request, began)),
                _ => self.latencies.failed += 1,
            }
        }
    }

    fn event(&mut self, event: &Event) {
        if let Event::Responded { request, response, .. } = event
            && let Some(began) = self.outstanding.remove(request)
        {
            match response {
                Ok(body) if **body == *self.body => self.latencies.succeeded(began),
                _ => self.latencies.failed += 1,
            }
        }
    }

    fn result(&self) -> Option<Outcome> {
        (self.latencies.done() == self.count).then(|| {
            Outcome::new(json!({
                "ev": "requests", "lat": self.latencies.rounded(), "fail": self.latencies.failed,
                "seconds": self.latencies.seconds(),
            }))
        })
    }
}
