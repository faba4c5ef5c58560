//! Holding announces back while an interface bursts. docs/protocol/1-core.md, section 4.7.

use core::time::Duration;

use super::Valid;
use crate::stack::interface::Held;
use crate::stack::{DropReason, InterfaceId, Stack, TimerKey};
use crate::time::Now;

/// Time between two looks at a bursting interface.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// However often announces are to be released, the interface is not looked at more often.
const RELEASE_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// An announce that has come this far (after counting up) is not held.
const HELD_HOPS_LIMIT: u8 = 127;

impl Stack {
    /// Counts a valid announce, and holds it back if its interface bursts and nobody waits for it. Says whether it did.
    pub(super) fn hold_back(&mut self, now: Now, valid: &Valid<'_>) -> bool {
        let destination = valid.announce.destination;
        let expected = self.paths.contains_key(&destination)
            || self.requested_since(now, destination).is_some()
            || self.is_awaited(now, destination);
        let Some(interface) = self.interfaces.get_mut(&valid.on) else { return true };
        interface.announces.count(now.mono);
        if expected || !interface.profile.ingress_control || interface.profile.local_client {
            return false;
        }
        let before = interface.announces.active_since();
        if !interface.announces.limits(interface.up_since, now.mono) {
            return false;
        }
        let since = interface.announces.active_since();
        if let Some(since) = since.filter(|_| since != before) {
            interface.release_after = since + interface.profile.burst_limits.penalty;
        }
        let held_max = self.config.capacities.held.min(interface.profile.burst_limits.held_max);
        let room = interface.held.len() < held_max || interface.held.contains_key(&destination);
        let holds = room && valid.hops < HELD_HOPS_LIMIT;
        if holds {
            interface.held.insert(destination, Held { frame: valid.frame.clone(), hops: valid.hops });
        }
        self.watch_bursts(now, valid.on);
        if !holds {
            self.drop_frame(valid.on, DropReason::BurstFull);
        }
        true
    }

    /// A bursting interface is looked at every 5 s from here on.
    pub(in crate::stack) fn watch_bursts(&mut self, now: Now, on: InterfaceId) {
        if self.timers.deadline(TimerKey::Ingress(on)).is_none() {
            self.timers.set(TimerKey::Ingress(on), now.mono + LOOK_INTERVAL.min(self.release_interval(on)));
        }
    }

    fn release_interval(&self, on: InterfaceId) -> Duration {
        let limits = self.interfaces.get(&on).map(|interface| interface.profile.burst_limits);
        limits.map_or(LOOK_INTERVAL, |limits| limits.release_interval.max(RELEASE_INTERVAL_MIN))
    }

    /// Looks at a bursting interface again, and releases one held announce when it has calmed down.
    pub(in crate::stack) fn ingress_timeout(&mut self, now: Now, on: InterfaceId) {
        let Some(interface) = self.interfaces.get_mut(&on) else { return };
        if interface.announces.is_active() {
            interface.announces.limits(interface.up_since, now.mono);
        }
        if interface.path_requests.is_active() {
            interface.path_requests.limits(interface.up_since, now.mono);
        }
        let calm = interface.announces.is_calm(interface.up_since, now.mono);
        let mut released = None;
        if calm && now.mono >= interface.release_after {
            let nearest = interface.held.iter().min_by_key(|(_, held)| held.hops).map(|(destination, _)| *destination);
            released = nearest.and_then(|destination| interface.held.remove(&destination));
        }
        if released.is_some() {
            interface.release_after = now.mono + interface.profile.burst_limits.release_interval;
        }
        if interface.announces.is_active() || interface.path_requests.is_active() || !interface.held.is_empty() {
            self.watch_bursts(now, on);
        }
        if let Some(held) = released {
            // Its signature was checked when it came; it is counted again and may be held again.
            self.announce_valid(now, on, &held.frame);
        }
    }
}
