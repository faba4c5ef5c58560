//! Keepalives, and what happens when nothing is heard. docs/protocol/2-link.md, sections 2.9, 3.2 and 3.3.

use core::time::Duration;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::{Link, LinkState, Timer};
use crate::stack::{LinkCloseReason, Role};
use crate::time::{Instant, Now};
use crate::wire::{Context, PacketKind};

const KEEPALIVE_MIN: Duration = Duration::from_secs(5);
const KEEPALIVE_MAX: Duration = Duration::from_secs(360);
/// The round trip for which the interval reaches its maximum.
const RTT_OF_MAX: f64 = 1.75;
const STALE_FACTOR: u32 = 2;
/// Once a link is quiet it is looked at in these steps, as peers do it.
const WATCH_STEP: Duration = Duration::from_secs(5);
const FROM_INITIATOR: u8 = 0xff;
const FROM_RESPONDER: u8 = 0xfe;

/// How long an end may be silent before the initiator sends a keepalive.
pub fn keepalive_interval(rtt: Option<Duration>) -> Duration {
    let Some(rtt) = rtt else { return KEEPALIVE_MAX };
    let seconds = rtt.as_secs_f64() * KEEPALIVE_MAX.as_secs_f64() / RTT_OF_MAX;
    Duration::try_from_secs_f64(seconds).unwrap_or(KEEPALIVE_MAX).clamp(KEEPALIVE_MIN, KEEPALIVE_MAX)
}

/// When an end last heard and said something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    pub(super) last_inbound: Instant,
    pub(super) last_outbound: Instant,
    last_keepalive: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self { last_inbound: now, last_outbound: now, last_keepalive: None }
    }
}

impl Link {
    /// The peer gave a sign of life.
    pub(super) fn heard(&mut self, now: Now) {
        self.pulse.last_inbound = now.mono;
        if self.state == LinkState::Stale {
            self.state = LinkState::Active;
        }
    }

    pub(super) fn handle_keepalive(&mut self, now: Now, data: &[u8]) {
        if self.role == Role::Initiator && data == [FROM_INITIATOR] {
            return;
        }
        self.heard(now);
        if data == [FROM_INITIATOR] && now.mono >= self.pulse.last_outbound + keepalive_interval(self.rtt) {
            self.send_keepalive(now, FROM_RESPONDER);
        }
    }

    fn send_keepalive(&mut self, now: Now, byte: u8) {
        let packet = self.packet(PacketKind::Data, Context::KEEPALIVE, Bytes::copy_from_slice(&[byte]));
        self.transmit(now, packet);
    }

    pub(super) fn start_watchdog(&mut self, now: Now) {
        self.pulse.last_inbound = self.pulse.last_inbound.max(now.mono);
        self.timers.set(Timer::Life, self.quiet_at());
    }

    /// When this end has to act if nothing happens until then.
    fn quiet_at(&self) -> Instant {
        let last = match self.role {
            Role::Initiator => self.pulse.last_inbound.min(self.pulse.last_outbound),
            Role::Responder => self.pulse.last_inbound,
        };
        last + keepalive_interval(self.rtt)
    }

    pub(super) fn handle_life_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        match self.state {
            LinkState::Pending | LinkState::Handshake => self.finish(LinkCloseReason::Timeout),
            LinkState::Active => self.watch(now),
            LinkState::Stale => self.teardown(now, rng, LinkCloseReason::Timeout),
            LinkState::Closed => {}
        }
    }

    fn watch(&mut self, now: Now) {
        let quiet_at = self.quiet_at();
        if now.mono < quiet_at {
            return self.timers.set(Timer::Life, quiet_at);
        }
        let interval = keepalive_interval(self.rtt);
        let stale_at = self.pulse.last_inbound + interval.saturating_mul(STALE_FACTOR);
        let (mut next, stale) = (stale_at, now.mono >= stale_at);
        if self.role == Role::Initiator {
            // Once more before the link is given up: the last one may have come too early for an answer, since responders
            // keep to an interval of their own.
            if stale || self.pulse.last_keepalive.is_none_or(|last| now.mono >= last + interval) {
                self.pulse.last_keepalive = Some(now.mono);
                self.send_keepalive(now, FROM_INITIATOR);
            }
            next = next.min(self.pulse.last_keepalive.unwrap_or(now.mono) + interval);
        }
        if stale {
            self.state = LinkState::Stale;
            return self.timers.set(Timer::Life, now.mono + WATCH_STEP);
        }
        // Peers look every 5 s from here on; only the look at which something happens is worth a wake-up.
        let steps = next.since(now.mono).as_micros().div_ceil(WATCH_STEP.as_micros()).max(1);
        self.timers.set(Timer::Life, now.mono + WATCH_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX)));
    }
}
