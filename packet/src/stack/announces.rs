//! Announces: heard, checked, believed, passed on, made. docs/protocol/1-core.md, section 4.

mod admission;
mod cap;
mod ingress;
mod own;
mod rate;
mod relaying;

use bytes::Bytes;

pub(super) use admission::Admission;
pub(super) use cap::AnnounceQueue;
pub use cap::{ANNOUNCE_CAP_PPM, AnnounceBacklog, QUEUED_ANNOUNCE_LIFETIME};
pub use own::AnnounceError;
pub(super) use rate::Rate;
pub use rate::{ANNOUNCE_RATE_GRACE, ANNOUNCE_RATE_TARGET, AnnounceRate, AnnounceRateView};
pub(super) use relaying::Rebroadcast;
pub use relaying::{REBROADCAST_GRACE, REBROADCAST_WINDOW, REBROADCASTS, REBROADCASTS_HEARD_MAX};

use super::inbound::Arrived;
use super::path::{Offer, PathEntry};
use super::{DropReason, Event, InterfaceId, Mode, Output, PathRecord, Stack, TimerKey};
use crate::announce::{AnnounceRef, InvalidAnnounce};
use crate::hash::{DestinationHash, IdentityHash};
use crate::identity::{PublicIdentity, RATCHET_LEN};
use crate::job::AnnounceKey;
use crate::time::{Now, UnixTime};
use crate::wire::{Context, MTU, PacketRef};

/// What an announce said of a destination. docs/protocol/1-core.md, section 1.5.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) identity: PublicIdentity,
    /// When the announce these fields come from was made.
    pub(super) emitted: UnixTime,
    /// Where packets to this destination are encrypted to.
    pub(super) ratchet: Option<Box<[u8; RATCHET_LEN]>>,
    pub(super) app_data: Bytes,
}

/// An announce whose signature is good.
pub(super) struct Valid<'a> {
    pub(super) on: InterfaceId,
    pub(super) frame: &'a Bytes,
    packet: PacketRef<'a>,
    pub(super) announce: AnnounceRef<'a>,
    /// The hop byte, counted up.
    pub(super) hops: u8,
}

impl<'a> Valid<'a> {
    fn new(on: InterfaceId, frame: &'a Bytes) -> Option<Self> {
        let packet = PacketRef::parse(frame).ok()?;
        let announce = AnnounceRef::parse(&packet).ok()?;
        Some(Self { on, frame, packet, announce, hops: packet.hops().saturating_add(1) })
    }

    fn key(&self) -> AnnounceKey {
        (self.packet.hash(), self.packet.flags().context_flag())
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
        if self.blackhole.contains(&announce.identity_hash()) {
            return self.drop_frame(arrived.on, DropReason::Blackholed);
        }
        if self.locals.contains_key(&announce.destination) {
            // Our own, come back: nothing to learn.
            self.stats.processed += 1;
            return;
        }
        let key = (arrived.packet.hash(), arrived.packet.flags().context_flag());
        let frame = Bytes::copy_from_slice(arrived.packet.frame());
        if self.paths.get(&announce.destination).is_some_and(|path| path.key == key) {
            return self.announce_valid(now, arrived.on, &frame);
        }
        if self.is_stale(now, arrived, &announce) {
            return self.drop_frame(arrived.on, DropReason::AnnounceStale);
        }
        if !self.admission.push(now.mono, key, arrived.on, frame) {
            self.drop_frame(arrived.on, DropReason::AdmissionFull);
        }
    }

    /// Whether an announce could change nothing even if its signature is good: not the path, not what is known, not what
    /// is about to be passed on.
    fn is_stale(&self, now: Now, arrived: &Arrived<'_>, announce: &AnnounceRef<'_>) -> bool {
        let destination = announce.destination;
        let (Some(path), Some(known)) = (self.paths.get(&destination), self.known.get(&destination)) else {
            return false;
        };
        let offer = Offer { hops: arrived.hops, random: announce.random, gravity: self.gravity(arrived.on) };
        let heard_again = arrived.packet.transport_id().is_some() && self.rebroadcasts.contains_key(&destination);
        announce.random.emitted() < known.emitted && !heard_again && !self.yields(path, &offer, now)
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

    fn announce_valid(&mut self, now: Now, on: InterfaceId, frame: &Bytes) {
        let Some(mut valid) = Valid::new(on, frame) else { return };
        if self.blackhole.contains(&valid.announce.identity_hash()) {
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
        let Some(identity) = self.update_known(valid) else {
            return self.drop_frame(valid.on, DropReason::KeyConflict);
        };
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
        self.in_flight.remove(&destination);
        self.event(Event::Announced {
            destination,
            identity,
            name: valid.announce.name,
            app_data: valid.frame.slice_ref(valid.announce.app_data),
            hops: valid.hops,
            on: valid.on,
            emitted: valid.announce.random.emitted(),
        });
        self.outputs.push_back(Output::Persist(PathRecord {
            destination,
            announce: valid.frame.to_vec(),
            heard: now.unix,
        }));
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

    /// Remembers what a valid announce says, unless something newer is known (section 9, trap 13). `None` when the
    /// destination is known under another key.
    fn update_known(&mut self, valid: &Valid<'_>) -> Option<PublicIdentity> {
        let announce = &valid.announce;
        let emitted = announce.random.emitted();
        let before = self.known.get(&announce.destination);
        let identity = match before {
            Some(known) if known.identity.as_bytes() != announce.public_key => return None,
            Some(known) if known.emitted > emitted => return Some(known.identity),
            Some(known) => known.identity,
            None => PublicIdentity::from_slice(announce.public_key).ok()?,
        };
        // An announce without ratchet leaves the one heard before in place.
        let heard = before.and_then(|known| known.ratchet.clone());
        let ratchet = announce.ratchet.map(|ratchet| Box::new(*ratchet)).or(heard);
        let app_data = Bytes::copy_from_slice(announce.app_data);
        self.known.insert(announce.destination, Known { identity, emitted, ratchet, app_data });
        Some(identity)
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
            heard: PathEntry::heard_with(before.map(|path| path.heard).unwrap_or_default(), offer.random),
            unresponsive: false,
            announce: valid.frame.clone(),
            key: valid.key(),
        };
        self.insert_path(destination, entry);
        self.keep_in_tunnel(now, destination);
        if changed {
            self.event(Event::PathChanged { destination, hops: Some(valid.hops) });
        }
        true
    }

    /// Takes a path into the table, in place of the one before.
    pub(super) fn insert_path(&mut self, destination: DestinationHash, entry: PathEntry) {
        let end = entry.used + self.interfaces.get(&entry.on).map_or(Mode::Full, |on| on.profile.mode).path_lifetime();
        if let Some((evicted, _)) = self.paths.insert(destination, entry).filter(|(left, _)| *left != destination) {
            self.timers.clear(TimerKey::Path(evicted));
            self.event(Event::PathChanged { destination: evicted, hops: None });
        }
        self.timers.set(TimerKey::Path(destination), end + core::time::Duration::from_micros(1));
    }

    fn gravity(&self, on: InterfaceId) -> i64 {
        self.interfaces.get(&on).map_or(0, |interface| interface.profile.gravity)
    }

    /// What a stored announce says of its destination. A record that does not parse is skipped.
    pub(super) fn restore_known(&mut self, record: &PathRecord) {
        let frame = Bytes::copy_from_slice(&record.announce);
        if let Some(valid) = Valid::new(InterfaceId(u32::MAX), &frame) {
            self.update_known(&valid);
        }
    }
}
