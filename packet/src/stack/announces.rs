//! Announces: heard, checked, believed, passed on, made. docs/protocol/1-core.md, section 4.

mod admission;
mod cap;
mod ingress;
mod known;
mod own;
mod rate;
mod rebroadcasts;
mod relaying;

use std::sync::Arc;

use bytes::Bytes;

pub(super) use admission::Admission;
pub(super) use cap::AnnounceQueue;
pub use cap::{ANNOUNCE_CAP_PPM, AnnounceBacklog, QUEUED_ANNOUNCE_LIFETIME};
pub use known::KNOWN_SWEEP_INTERVAL;
pub(super) use known::Known;
pub use own::AnnounceError;
pub(super) use rate::Rate;
pub use rate::{ANNOUNCE_RATE_GRACE, ANNOUNCE_RATE_TARGET, AnnounceRate, AnnounceRateView};
pub(super) use rebroadcasts::{Rebroadcast, Rebroadcasts};
pub(super) use relaying::random_below;
pub use relaying::{REBROADCAST_GRACE, REBROADCAST_WINDOW, REBROADCASTS, REBROADCASTS_HEARD_MAX};

use super::inbound::Arrived;
use super::path::{Offer, PathEntry};
use super::{DropReason, Event, InterfaceId, Output, PathRecord, Stack, Standing};
use crate::announce::{AnnounceRef, InvalidAnnounce};
use crate::hash::IdentityHash;
use crate::job::AnnounceKey;
use crate::time::{Instant, Now};
use crate::wire::{Context, MTU, PacketRef};

/// An announce whose signature is good.
pub(super) struct Valid<'a> {
    pub(super) on: InterfaceId,
    pub(super) frame: &'a Arc<[u8]>,
    packet: PacketRef<'a>,
    pub(super) announce: AnnounceRef<'a>,
    /// The hop byte, counted up.
    pub(super) hops: u8,
}

impl<'a> Valid<'a> {
    fn new(on: InterfaceId, frame: &'a Arc<[u8]>) -> Option<Self> {
        let packet = PacketRef::parse(frame).ok()?;
        let announce = AnnounceRef::parse(&packet).ok()?;
        Some(Self { on, frame, packet, announce, hops: packet.hops().saturating_add(1) })
    }
}

impl Stack {
    /// The cheap gates, in the order of section 4.3; then the signature has to be checked by a job, unless this very
    /// announce was believed before.
    pub(super) fn receive_announce(&mut self, now: Now, arrived: &Arrived<'_>) {
        if arrived.packet.frame().len() > MTU {
            return self.drop_frame(arrived.on, DropReason::AnnounceTooLarge);
        }
        let Ok(announce) = AnnounceRef::parse(&arrived.packet) else {
            return self.drop_frame(arrived.on, DropReason::AnnounceInvalid);
        };
        if self.shuts_out(&announce) {
            return self.drop_frame(arrived.on, DropReason::Blackholed);
        }
        if self.locals.contains_key(&announce.destination) {
            // Our own, come back: nothing to learn.
            self.stats.processed += 1;
            return;
        }
        let before = self.paths.get(&announce.destination).and_then(|path| AnnounceRef::of(&path.announce));
        if before.is_some_and(|before| before.is_copy_of(&announce)) {
            return self.announce_valid(now, arrived.on, &arrived.packet.frame().into());
        }
        if self.is_stale(now, arrived, &announce) {
            return self.drop_frame(arrived.on, DropReason::AnnounceStale);
        }
        let key = (arrived.packet.hash(), arrived.packet.flags().context_flag());
        if !self.admission.push(now.mono, key, arrived.on, arrived.packet.frame().into()) {
            self.drop_frame(arrived.on, DropReason::AdmissionFull);
        }
    }

    fn shuts_out(&self, announce: &AnnounceRef<'_>) -> bool {
        !self.blackhole.is_empty() && self.blackhole.contains(&announce.identity_hash())
    }

    /// Whether an announce could change nothing even if its signature is good: not the path, not what is known, not what
    /// is about to be passed on.
    fn is_stale(&self, now: Now, arrived: &Arrived<'_>, announce: &AnnounceRef<'_>) -> bool {
        let destination = announce.destination;
        let (Some(path), Some(known)) = (self.paths.get(&destination), self.known.get(&destination)) else {
            return false;
        };
        let offer = Offer { hops: arrived.hops, random: announce.random, gravity: self.gravity(arrived.on) };
        let heard_again = arrived.packet.transport_id().is_some() && self.rebroadcasts.contains(&destination);
        announce.random.emitted() < known.emitted() && !heard_again && !self.yields(path, &offer, now)
    }

    /// Whether `offer` replaces this path. One over an interface that is down makes way for any that is as new.
    fn yields(&self, path: &PathEntry, offer: &Offer, now: Now) -> bool {
        let down = !self.interfaces.contains_key(&path.on);
        path.yields_to(offer, self.gravity(path.on), now.mono) || (down && offer.random.emitted() >= path.emitted())
    }

    /// The signature of an announce was checked: handles every copy that waited for that.
    pub(super) fn announce_checked(&mut self, now: Now, key: AnnounceKey, verdict: Result<(), InvalidAnnounce>) {
        for (on, frame) in self.admission.take(&key) {
            match verdict {
                Ok(()) => self.announce_valid(now, on, &frame),
                Err(error) => {
                    // The address is looked at after the signature, as peers do.
                    self.stats.processed += u64::from(error == InvalidAnnounce::Address);
                    self.drop_frame(on, DropReason::AnnounceInvalid);
                }
            }
        }
    }

    fn announce_valid(&mut self, now: Now, on: InterfaceId, frame: &Arc<[u8]>) {
        let Some(mut valid) = Valid::new(on, frame) else { return };
        if self.shuts_out(&valid.announce) {
            // Shut out while it waited for its check, or was held back.
            return self.drop_frame(on, DropReason::Blackholed);
        }
        valid.hops = self.counted_hops(on, valid.packet.hops());
        self.stats.processed += 1;
        if !self.hold_back(now, &valid) {
            self.learn(now, &valid);
        }
    }

    fn learn(&mut self, now: Now, valid: &Valid<'_>) {
        if !self.update_known(now, valid) {
            return self.drop_frame(valid.on, DropReason::KeyConflict);
        }
        self.note_rebroadcast(now, valid);
        if !self.update_path(now, valid) {
            return;
        }
        let destination = valid.announce.destination;
        if self.passes_on(now, valid) {
            self.schedule_rebroadcast(now, valid);
        }
        self.tell_clients(valid);
        self.answer_waiting(now, valid);
        if self.requested_since(now, destination).is_some() {
            self.note_use(now, destination);
        }
        self.in_flight.remove(&destination);
        self.event(Event::Announced {
            destination,
            public_key: *valid.announce.public_key,
            name: valid.announce.name,
            app_data: Bytes::copy_from_slice(valid.announce.app_data),
            hops: valid.hops,
            on: valid.on,
            emitted: valid.announce.random.emitted(),
        });
        let standing = self.known.get(&destination).map_or(Standing::Heard, Known::standing);
        let record = PathRecord { destination, announce: valid.frame.clone(), heard: now.unix, standing };
        self.outputs.push_back(Output::Persist(record));
    }

    /// Whether an announce that was accepted is to be sent on. What a program on this machine announces is, whatever kind of
    /// node this is; its answers are when somebody outside waits for them.
    fn passes_on(&mut self, now: Now, valid: &Valid<'_>) -> bool {
        let answers = valid.packet.context() == Context::PATH_RESPONSE;
        if self.is_client(valid.on) {
            return !answers || self.was_asked(now, valid.announce.destination);
        }
        !answers && self.config.transport_enabled && !self.exceeds_rate(now, valid)
    }

    /// Section 5.2. Says whether the announce was accepted.
    fn update_path(&mut self, now: Now, valid: &Valid<'_>) -> bool {
        let destination = valid.announce.destination;
        let Some(mode) = self.interfaces.get(&valid.on).map(|interface| interface.profile.mode) else { return false };
        let offer = Offer { hops: valid.hops, random: valid.announce.random, gravity: self.gravity(valid.on) };
        let before = self.paths.get(&destination);
        if before.is_some_and(|path| !self.yields(path, &offer, now)) {
            return false;
        }
        let before = self.paths.remove(&destination);
        let next_hop = valid.packet.transport_id().unwrap_or(IdentityHash::new(*destination.as_bytes()));
        let changed =
            before.as_ref().is_none_or(|path| (path.hops, path.next_hop, path.on) != (valid.hops, next_hop, valid.on));
        let expires = now.mono + mode.path_lifetime();
        let entry = PathEntry {
            next_hop,
            hops: valid.hops,
            on: valid.on,
            used: now.mono,
            expires,
            counted: before.as_ref().map_or(Instant::ZERO, |path| path.counted),
            random: offer.random,
            heard_before: before.map(|path| path.heard_before(offer.random)).unwrap_or_default(),
            unresponsive: false,
            announce: valid.frame.clone(),
        };
        self.insert_path(destination, entry);
        self.keep_in_tunnel(now, destination);
        if changed {
            self.event(Event::PathChanged { destination, hops: Some(valid.hops) });
        }
        true
    }

    fn gravity(&self, on: InterfaceId) -> i64 {
        self.interfaces.get(&on).map_or(0, |interface| interface.profile.gravity)
    }
}
