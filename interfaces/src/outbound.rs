//! Frames on their way from the core to a driver, handed over many at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wend_packet::stack::Transmit;

/// Frames that always may wait in a driver. Few, because here they can no longer be reordered or expire.
const FRAMES_MIN: usize = 4;
/// How long the medium may take for what waits in a driver beyond that, in milliseconds.
const WAIT_MS: u64 = 50;
/// Most bytes that wait in a driver, however fast its medium.
const BYTES_MAX: usize = 64 * 1024;

/// What waits, and who waits for what. The lock is held for a few moves of memory only, and never while anybody waits.
#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Transmit>,
    bytes: usize,
    /// Bytes that may wait where there are more than four frames.
    room: usize,
    core_gone: bool,
    driver_gone: bool,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MIN && self.bytes >= self.room
    }

    /// Whether the core has to wait.
    fn is_stuck(&self) -> bool {
        self.is_full() && !self.driver_gone
    }

    fn push(&mut self, transmit: Transmit) {
        self.bytes += transmit.frame.len();
        self.frames.push_back(transmit);
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to send, or the core is gone.
    filled: Notify,
    /// There is room again, or the driver is gone.
    room: Notify,
}

impl Shared {
    /// Nothing can panic with the lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How [`Outbound::fill`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// There were no more frames.
    Drained,
    /// The driver has no room for more: [`Outbound::room`] waits for it.
    Full,
    /// The driver has ended.
    Closed,
}

/// The core's end: where frames for the medium go. When it is dropped the driver sends what it has and stops.
#[derive(Debug)]
pub struct Outbound(Arc<Shared>);

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Shared>);

pub(crate) fn pair() -> (Outbound, Waiting) {
    let shared = Arc::new(Shared::default());
    (Outbound(Arc::clone(&shared)), Waiting(shared))
}

impl Outbound {
    /// Takes frames from `next` while the driver has room: four, or what its medium carries in 50 ms, at most 64 KiB.
    pub fn fill(&self, mut next: impl FnMut() -> Option<Transmit>) -> Fill {
        let mut queue = self.0.lock();
        if queue.driver_gone {
            return Fill::Closed;
        }
        let empty = queue.frames.is_empty();
        let ended = loop {
            if queue.is_full() {
                break Fill::Full;
            }
            let Some(transmit) = next() else { break Fill::Drained };
            queue.push(transmit);
        };
        let begun = empty && !queue.frames.is_empty();
        drop(queue);
        if begun {
            self.0.filled.notify_one();
        }
        ended
    }

    /// Waits until the driver has room again or has ended. One at a time may wait.
    pub fn room(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move {
            // A notice that comes before anybody waits for it is kept.
            while shared.lock().is_stuck() {
                shared.room.notified().await;
            }
        }
    }

    /// Hands over one frame, and waits while the driver has no room.
    ///
    /// # Errors
    ///
    /// When the driver has ended.
    pub async fn send(&self, transmit: Transmit) -> Result<(), crate::port::Closed> {
        let mut transmit = Some(transmit);
        loop {
            match self.fill(|| transmit.take()) {
                Fill::Closed => return Err(crate::port::Closed),
                _ if transmit.is_none() => return Ok(()),
                _ => self.room().await,
            }
        }
    }

    /// Whether the driver has begun to send all it was given, or has ended.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let queue = self.0.lock();
        queue.frames.is_empty() || queue.driver_gone
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.0.lock().core_gone = true;
        self.0.filled.notify_one();
    }
}

impl Waiting {
    /// How fast the medium is, which says how much may wait.
    pub(crate) fn set_bitrate(&self, bitrate_bps: u64) {
        let bytes = usize::try_from(bitrate_bps.saturating_mul(WAIT_MS) / 8000).unwrap_or(usize::MAX);
        self.0.lock().room = bytes.min(BYTES_MAX);
        // More may wait now, and what is taken from a queue that is not full wakes nobody.
        self.0.room.notify_one();
    }

    /// Waits for frames and moves at most `limit` of them to the end of `into`; says how many, and zero when there are none
    /// and will be none. Cancel-safe: no frame is lost when the future is dropped.
    pub(crate) async fn take(&mut self, limit: usize, into: &mut VecDeque<Transmit>) -> usize {
        loop {
            let (taken, ended) = self.try_take(limit, into);
            if taken > 0 || ended {
                return taken;
            }
            // A notice that comes before anybody waits for it is kept.
            self.0.filled.notified().await;
        }
    }

    /// Moves what waits; says how many frames that were, and whether the core has dropped its end.
    pub(crate) fn try_take(&mut self, limit: usize, into: &mut VecDeque<Transmit>) -> (usize, bool) {
        let mut queue = self.0.lock();
        let (was_full, taken) = (queue.is_full(), queue.frames.len().min(limit));
        if into.is_empty() && taken == queue.frames.len() {
            std::mem::swap(into, &mut queue.frames);
            queue.bytes = 0;
        } else {
            let before = into.len();
            into.extend(queue.frames.drain(..taken));
            let bytes: usize = into.iter().skip(before).map(|transmit| transmit.frame.len()).sum();
            queue.bytes = queue.bytes.saturating_sub(bytes);
        }
        let (has_room, ended) = (!queue.is_full(), queue.core_gone);
        drop(queue);
        if was_full && has_room {
            self.0.room.notify_one();
        }
        (taken, ended)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.driver_gone = true;
        queue.frames = VecDeque::new();
        queue.bytes = 0;
        drop(queue);
        self.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(len: usize) -> impl FnMut() -> Option<Transmit> {
        move || Some(Transmit { frame: vec![0; len].into() })
    }

    #[test]
    fn a_slow_medium_gets_four_frames_and_a_fast_one_what_it_carries_in_50_ms() {
        for (bitrate_bps, len, count) in [(0, 500, 4), (9600, 500, 4), (1_000_000, 500, 13), (u64::MAX, 500, 132)] {
            let (outbound, mut waiting) = pair();
            waiting.set_bitrate(bitrate_bps);
            assert_eq!(outbound.fill(frames(len)), Fill::Full);
            let mut taken = VecDeque::new();
            assert_eq!(waiting.try_take(usize::MAX, &mut taken), (count, false), "{bitrate_bps}");
            assert!(outbound.is_taken());
        }
    }

    #[tokio::test]
    async fn room_comes_back_frame_by_frame() {
        let (outbound, mut waiting) = pair();
        outbound.fill(frames(10));
        let room = tokio::spawn(outbound.room());
        tokio::task::yield_now().await;
        assert!(!room.is_finished());
        let mut taken = VecDeque::new();
        assert_eq!(waiting.take(1, &mut taken).await, 1);
        room.await.unwrap();
        let once = frames(10);
        assert_eq!(outbound.fill(once), Fill::Full);
        assert_eq!(waiting.take(2, &mut taken).await, 2);
        assert_eq!(taken.len(), 3);
        assert_eq!(outbound.0.lock().bytes, 20);
    }

    #[tokio::test]
    async fn a_faster_medium_has_room_at_once() {
        let (outbound, waiting) = pair();
        assert_eq!(outbound.fill(frames(10)), Fill::Full);
        let room = tokio::spawn(outbound.room());
        tokio::task::yield_now().await;
        waiting.set_bitrate(1_000_000);
        tokio::time::timeout(std::time::Duration::from_secs(5), room).await.expect("it is told").unwrap();
    }

    #[tokio::test]
    async fn either_end_hears_that_the_other_is_gone() {
        let (outbound, mut waiting) = pair();
        let mut one = vec![Transmit { frame: vec![1].into() }];
        assert_eq!(outbound.fill(|| one.pop()), Fill::Drained);
        drop(outbound);
        let mut taken = VecDeque::new();
        assert_eq!(waiting.take(9, &mut taken).await, 1, "what is there still goes out");
        assert_eq!(waiting.take(9, &mut taken).await, 0);

        let (outbound, waiting) = pair();
        outbound.fill(frames(10));
        let room = tokio::spawn(outbound.room());
        drop(waiting);
        room.await.unwrap();
        assert_eq!(outbound.fill(frames(10)), Fill::Closed);
        assert!(outbound.is_taken());
    }
}
