//! What became of what was sent, and the hash over everything that arrived.

use std::time::Duration;

use serde::Serialize;
use wend_packet::time::Instant;

/// What became of one request of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When it was asked, since the start.
    pub asked: Duration,
    /// From asking to the whole response; `None`: it failed.
    pub took: Option<Duration>,
}

/// How many of what were tried and succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Deliveries {
    /// Requests made.
    pub requests: usize,
    /// Answered in time.
    pub answered: usize,
    /// Still open at the end.
    pub open: usize,
    /// Median time to the response, in seconds.
    pub median_s: f64,
    /// Time within which 95 of 100 responses came, in seconds.
    pub p95_s: f64,
    /// Single packets sent.
    pub packets: usize,
    /// Proved to their sender.
    pub proved: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) requests: usize,
    pub(crate) packets: usize,
    pub(crate) proved: usize,
    /// Stacks restarted.
    pub(crate) restarts: usize,
}

impl Log {
    pub(crate) fn deliveries(&self) -> Deliveries {
        let mut times: Vec<_> = self.outcomes.iter().filter_map(|outcome| outcome.took).collect();
        times.sort_unstable();
        let quantile = |per_cent: usize| {
            let index = (times.len() * per_cent / 100).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, Duration::as_secs_f64)
        };
        Deliveries {
            requests: self.requests,
            answered: times.len(),
            open: self.requests - self.outcomes.len(),
            median_s: quantile(50),
            p95_s: quantile(95),
            packets: self.packets,
            proved: self.proved,
        }
    }
}

/// A hash over every frame that was delivered: when, to whom, which.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    frames: u64,
}

impl Trace {
    pub(crate) fn delivered(&mut self, at: Instant, node: usize, frame: &[u8]) {
        let mut head = [0; 24];
        for (part, number) in head.chunks_exact_mut(8).zip([at.as_micros(), node as u64, frame.len() as u64]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        self.hasher.update(&head);
        self.hasher.update(frame);
        self.frames += 1;
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}
