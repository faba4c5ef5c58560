//! When a buffer that grew gives its memory back.

/// Memory that is never given back.
const KEPT: usize = 8 * 1024;
/// Uses in a row that need little before a buffer is made small again.
const PATIENCE: u8 = 32;

/// Counts uses of a buffer that needed little of it. One burst among small frames must neither keep memory for ever nor
/// make every later burst allocate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slack(u8);

impl Slack {
    /// Notes that `used` of `capacity` bytes were needed; says whether the buffer should be made small.
    pub(crate) fn note(&mut self, used: usize, capacity: usize) -> bool {
        let wasteful = capacity > KEPT && used < capacity / 4;
        self.0 = if wasteful { self.0.saturating_add(1) } else { 0 };
        let over = self.0 >= PATIENCE;
        if over {
            self.0 = 0;
        }
        over
    }
}
