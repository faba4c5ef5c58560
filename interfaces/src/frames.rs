//! Many packets in one buffer, on their way from a driver to the core.

use tokio::sync::mpsc;

use crate::slack::Slack;

/// Batches of one interface: one is filled while the core works on the other.
pub(crate) const BATCHES: usize = 2;

/// Packets end to end, in the order they came. When it is dropped, its memory goes back to its driver.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    slack: Slack,
    home: Option<mpsc::Sender<Self>>,
}

impl Frames {
    /// An empty batch without a home.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), slack: Slack::default(), home: None }
    }

    /// The batches of one interface, all of them at home.
    pub(crate) fn pool() -> (mpsc::Sender<Self>, mpsc::Receiver<Self>) {
        let (home, free) = mpsc::channel(BATCHES);
        for _ in 0..BATCHES {
            // There is room for all of them.
            let _ = home.try_send(Self::new());
        }
        (home, free)
    }

    /// The same batch, which goes to `home` when it is dropped.
    pub(crate) fn bound_for(mut self, home: mpsc::Sender<Self>) -> Self {
        self.home = Some(home);
        self
    }

    pub(crate) fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    /// How many packets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The packet at this place, counted from zero.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(at)?)
    }

    /// The packets, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn clear(&mut self) {
        if self.slack.note(self.bytes.len(), self.bytes.capacity()) {
            self.bytes = Vec::new();
            self.ends = Vec::new();
        }
        self.bytes.clear();
        self.ends.clear();
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            self.clear();
            let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
            // Where the driver has ended, nobody needs it.
            let _ = home.try_send(Self { bytes, ends, slack: self.slack, home: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in() {
        let mut frames = Frames::new();
        assert!(frames.is_empty() && frames.get(0).is_none());
        for frame in [&b"one"[..], b"", b"three"] {
            frames.push(frame);
        }
        assert_eq!(frames.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!((frames.len(), frames.get(2), frames.get(3)), (3, Some(&b"three"[..]), None));
    }

    #[test]
    fn a_dropped_batch_comes_home_empty_and_keeps_no_more_memory_than_it_needs() {
        let (home, mut free) = Frames::pool();
        let mut frames = free.try_recv().unwrap().bound_for(home);
        frames.push(&[0; 3000]);
        drop(frames);
        free.try_recv().unwrap();
        let mut frames = free.try_recv().unwrap();
        assert!(frames.is_empty() && frames.bytes.capacity() >= 3000, "used again");
        frames.push(&[0; 100_000]);
        for _ in 0..40 {
            frames.clear();
            frames.push(b"little");
        }
        assert!(frames.bytes.capacity() < 100);
    }
}
