//! Single packets that are proved.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;
use wend_packet::DestinationHash;
use wend_packet::PacketHash;
use wend_packet::stack::Event;

use super::{Latencies, Outcome, Task};
use crate::shell::Shell;

/// Keeps packets unproved until as many as asked for are delivered or lost.
#[derive(Debug)]
pub(super) struct Packets {
    to: DestinationHash,
    count: usize,
    window: usize,
    payload: Vec<u8>,
    sent: usize,
    outstanding: HashMap<PacketHash, Instant>,
    latencies: Latencies,
}

impl Packets {
    pub(super) fn new(to: DestinationHash, count: usize, size: usize, window: usize) -> Self {
        Self {
            to,
            count,
            window,
            payload: vec![0x5A; size],
            sent: 0,
            outstanding: HashMap::with_capacity(window),
            latencies: Latencies::new(count),
        }
    }
}

impl Task for Packets {
    fn step(&mut self, shell: &mut Shell) {
        while self.sent < self.count && self.outstanding.len() < self.window {
            let (began, now) = (Instant::now(), shell.now());
            self.sent += 1;
            match shell.stack.send(now, self.to, &self.payload) {
                Ok(packet) => drop(self.outstanding.insert(packet, began)),
                Err(_) => self.latencies.failed += 1,
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Delivered { packet, .. } => {
                if let Some(began) = self.outstanding.remove(packet) {
                    self.latencies.succeeded(began);
                }
            }
            Event::Undelivered { packet } if self.outstanding.remove(packet).is_some() => self.latencies.failed += 1,
            _ => {}
        }
    }

    fn result(&self) -> Option<Outcome> {
        (self.latencies.done() == self.count).then(|| {
            Outcome::new(json!({
                "ev": "packets", "delivered": self.latencies.ms.len(), "lost": self.latencies.failed,
                "lat": self.latencies.rounded(), "seconds": self.latencies.seconds(),
            }))
        })
    }
}
