//! Passing announces on. docs/protocol/1-core.md, sections 4.4 and 4.5.

use core::time::Duration;

use bytes::Bytes;

use super::cap::Outgoing;
use super::{Rebroadcast, Valid};
use crate::announce::AnnounceRef;
use crate::hash::DestinationHash;
use crate::stack::path_requests::RESPONSE_GRACE_MAX;
use crate::stack::{Stack, TimerKey};
use crate::time::Now;
use crate::wire::{Context, DestinationKind, Flags, HOPS_LIMIT, MTU, PacketKind, PacketRef, layout};

/// The first rebroadcast comes at a random time within this window.
pub const REBROADCAST_WINDOW: Duration = Duration::from_millis(500);
/// Time between rebroadcasts, beside the window.
pub const REBROADCAST_GRACE: Duration = Duration::from_secs(5);
/// How often an announce is sent on.
pub const REBROADCASTS: u8 = 2;
/// Neighbours heard to send the same announce on, after which this node need not repeat it.
pub const REBROADCASTS_HEARD_MAX: u8 = 2;

impl Stack {
    /// A neighbour may have passed on what this node passes on too: then once may be enough.
    pub(super) fn note_rebroadcast(&mut self, now: Now, valid: &Valid<'_>) {
        let destination = valid.announce.destination;
        if valid.packet.transport_id().is_none() {
            return;
        }
        let Some(entry) = self.rebroadcasts.get_mut(&destination) else { return };
        let at_our_level = valid.hops == entry.hops.saturating_add(1);
        let passed_on = valid.hops == entry.hops.saturating_add(2);
        if at_our_level {
            entry.heard = entry.heard.saturating_add(1);
        }
        let enough = at_our_level && entry.heard >= REBROADCASTS_HEARD_MAX;
        if entry.sent > 0 && (enough || (passed_on && now.mono < entry.due)) {
            self.rebroadcasts.remove(&destination);
            self.plan_rebroadcast();
        }
    }

    pub(super) fn schedule_rebroadcast(&mut self, now: Now, valid: &Valid<'_>) {
        if valid.hops >= HOPS_LIMIT {
            return;
        }
        if layout::HEADER_2_LEN + valid.packet.data().len() > MTU {
            return;
        }
        let destination = valid.announce.destination;
        // Programs on this machine are served at once, and once: nothing is lost between them and here.
        let (due, sent) = match self.is_client(valid.on) {
            true => (now.mono, REBROADCASTS - 1),
            false => (now.mono + random_below(&mut *self.rng, REBROADCAST_WINDOW), 0),
        };
        let announce = valid.frame.clone();
        let entry = Rebroadcast { announce, due, sent, heard: 0, hops: valid.hops, postponed: false };
        self.rebroadcasts.insert(destination, entry);
        self.plan_rebroadcast();
    }

    /// One deadline stands for all of them.
    fn plan_rebroadcast(&mut self) {
        match self.rebroadcasts.next() {
            Some(due) => self.timers.set(TimerKey::Rebroadcasts, due),
            None => self.timers.clear(TimerKey::Rebroadcasts),
        }
    }

    /// The announce with this node as next hop; `None` when it would exceed the MTU, so that only direct neighbours hear it.
    pub(in crate::stack) fn relayed_frame(&self, announce: &[u8], hops: u8, context: Context) -> Option<Bytes> {
        let packet = PacketRef::parse(announce).ok()?;
        if layout::HEADER_2_LEN + packet.data().len() > MTU {
            return None;
        }
        let flags = Flags::new(DestinationKind::Single, PacketKind::Announce);
        let flags = if packet.flags().context_flag() { flags.with_context_flag() } else { flags };
        Some(packet.relayed(flags, hops, self.transport_id, context))
    }

    /// The next rebroadcast is due.
    pub(in crate::stack) fn next_rebroadcast(&mut self, now: Now) {
        if let Some(destination) = self.rebroadcasts.due(now.mono) {
            self.rebroadcast(now, destination);
        }
        self.plan_rebroadcast();
    }

    fn rebroadcast(&mut self, now: Now, destination: DestinationHash) {
        let response = self.last_response_due(destination);
        let source = self.paths.get(&destination).map(|path| path.on);
        let Some(entry) = self.rebroadcasts.get_mut(&destination) else { return };
        if let Some(response) = response.filter(|_| !entry.postponed) {
            // Whoever asked is answered first. Once only: who keeps asking must not keep others from hearing.
            entry.postponed = true;
            return self.rebroadcasts.postpone(&destination, response.min(now.mono + RESPONSE_GRACE_MAX));
        }
        entry.postponed = false;
        entry.sent = entry.sent.saturating_add(1);
        let (announce, hops, done) = (entry.announce.clone(), entry.hops, entry.sent >= REBROADCASTS);
        if done {
            self.rebroadcasts.remove(&destination);
        } else {
            self.rebroadcasts.sent(&destination, now.mono + REBROADCAST_GRACE + REBROADCAST_WINDOW);
        }
        let emitted = AnnounceRef::of(&announce).map(|announce| announce.random.emitted());
        let frame = self.relayed_frame(&announce, hops, Context::NONE);
        if let (Some(source), Some(frame), Some(emitted)) = (source, frame, emitted) {
            self.relay_announce(now, &Outgoing { destination, hops, emitted, frame, source });
        }
    }
}

/// A random time from zero up to `limit`.
pub(in crate::stack) fn random_below(rng: &mut dyn rand_core::CryptoRng, limit: Duration) -> Duration {
    let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros((u64::from(rng.next_u32()) * limit) >> u32::BITS)
}
