//! What went through an interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one interface, shared by its driver and whoever shows them. Those of a child also count for its parent.
#[derive(Debug, Default)]
pub struct Counters {
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    parent: Option<Arc<Self>>,
}

/// The counters at one moment, since the interface was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Frames received and handed to the core.
    pub rx_frames: u64,
    /// Bytes received, as they were on the wire: flags, escapes and garbage included.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent, as they were on the wire.
    pub tx_bytes: u64,
    /// Frames that were lost here: too short or too long for the medium, cut off by silence, or still waiting when the
    /// medium was lost.
    pub dropped: u64,
    /// Connections closed at once because there were too many.
    pub refused: u64,
}

impl Counters {
    pub(crate) fn child_of(parent: Arc<Self>) -> Self {
        Self { parent: Some(parent), ..Self::default() }
    }

    /// The counters now.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            rx_frames: self.rx_frames.load(Ordering::Relaxed),
            rx_bytes: self.rx_bytes.load(Ordering::Relaxed),
            tx_frames: self.tx_frames.load(Ordering::Relaxed),
            tx_bytes: self.tx_bytes.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn received(&self, frames: usize, bytes: usize, dropped: u64) {
        self.each(|counters| {
            add(&counters.rx_frames, widen(frames));
            add(&counters.rx_bytes, widen(bytes));
            add(&counters.dropped, dropped);
        });
    }

    pub(crate) fn sent(&self, frames: usize, bytes: usize) {
        self.each(|counters| {
            add(&counters.tx_frames, widen(frames));
            add(&counters.tx_bytes, widen(bytes));
        });
    }

    pub(crate) fn dropped(&self, frames: usize) {
        self.each(|counters| add(&counters.dropped, widen(frames)));
    }

    pub(crate) fn refused(&self) {
        self.each(|counters| add(&counters.refused, 1));
    }

    fn each(&self, count: impl Fn(&Self)) {
        count(self);
        if let Some(parent) = &self.parent {
            count(parent);
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_counts_counts_for_its_parent() {
        let parent = Arc::new(Counters::default());
        let child = Counters::child_of(Arc::clone(&parent));
        child.received(2, 50, 1);
        child.sent(1, 30);
        parent.refused();
        let expected = Traffic { rx_frames: 2, rx_bytes: 50, tx_frames: 1, tx_bytes: 30, dropped: 1, refused: 0 };
        assert_eq!(child.traffic(), expected);
        assert_eq!(parent.traffic(), Traffic { refused: 1, ..expected });
    }
}
