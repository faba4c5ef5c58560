//! How busy interfaces are, for those who want to look.

use super::burst::Burst;
use super::{AnnounceBacklog, InterfaceId, Stack};
use crate::management::BurstStatistics;
use crate::time::{Now, UnixTime};

/// How busy an interface is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InterfaceLoad {
    /// Largest frame, in bytes.
    pub mtu: usize,
    /// Announces that arrive.
    pub announces: BurstStatistics,
    /// Path requests that arrive.
    pub path_requests: BurstStatistics,
    /// Announces that wait.
    pub backlog: AnnounceBacklog,
    /// Bytes that wait for room in the driver.
    pub queued_bytes: usize,
    /// Frames that found no room in its queue, or had to make some, since it came up.
    pub lost_frames: u64,
}

impl Stack {
    /// How busy an interface is; `None` while it is down.
    pub fn load(&self, now: Now, on: InterfaceId) -> Option<InterfaceLoad> {
        let interface = self.interfaces.get(&on)?;
        let of = |burst: &Burst| BurstStatistics {
            hz: burst.hz(now.mono),
            active_since: burst
                .active_since()
                .map(|since| UnixTime(now.unix.0.saturating_sub(now.mono.since(since).as_secs()))),
        };
        Some(InterfaceLoad {
            mtu: interface.mtu(),
            announces: of(&interface.announces),
            path_requests: of(&interface.path_requests),
            backlog: self.announce_backlog(on),
            queued_bytes: interface.egress.waiting().1,
            lost_frames: interface.egress.lost(),
        })
    }
}
