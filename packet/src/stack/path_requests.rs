//! Asking for paths, and answering those who ask. docs/protocol/1-core.md, section 5.6.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use rand_core::Rng;

use super::announces::{Valid, random_below};
use super::egress::Class;
use super::inbound::Arrived;
use super::interface::Interface;
use super::requests_wire::PathRequestRef;
use super::{DropReason, InterfaceId, InterfaceProfile, Mode, Stack, TimerKey};
use crate::hash::{DestinationHash, IdentityHash, sha256_head};
use crate::time::{Instant, Now};
use crate::wire::Context;

/// How long a target counts as asked for already.
pub const IN_FLIGHT_LIFETIME: Duration = Duration::from_secs(45);
/// How long an answer to a discovery is waited for at least.
pub const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Time before a known path is told, so that those who are nearer can answer first.
pub const RESPONSE_GRACE: Duration = Duration::from_millis(400);
/// Further time when a roaming interface asks.
pub const RESPONSE_GRACE_ROAMING: Duration = Duration::from_millis(1500);
/// On media below so many bits per second, which several nodes may share, answers are spread: they would all leave at once.
const SPREAD_BELOW_BPS: u64 = 64_000;
/// Over so many times what one answer takes, and no longer than that.
const SPREAD_ANSWERS: u32 = 4;
const SPREAD_MAX: Duration = Duration::from_secs(5);
/// Longest time before a known path is told on a medium where answers are not spread.
pub(super) const RESPONSE_GRACE_MAX: Duration = RESPONSE_GRACE.saturating_add(RESPONSE_GRACE_ROAMING);
/// Time between requests this node makes by itself for one target.
pub const REQUEST_INTERVAL_MIN: Duration = Duration::from_secs(20);
/// Requests that wait to be made, after links failed.
pub const QUEUED_REQUESTS_MAX: usize = 32;
/// Time between two of those.
pub const QUEUED_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// Slowest bitrate that is reckoned with, bits per second.
pub const BITRATE_MIN: u64 = 5;
const TAG_LEN: usize = 16;
/// What an answer has more than the announce as it came from its destination.
const TRANSPORT_ID_LEN: usize = IdentityHash::LEN;
/// Interfaces that are told of one target when it is found; others ask again.
const ASKERS_MAX: usize = 64;

/// Who waits for an announce of a target.
#[derive(Debug)]
pub(super) struct Waiting {
    interfaces: BTreeSet<InterfaceId>,
    until: Instant,
    /// Whether the search has begun.
    engaged: bool,
}

/// A request this node is going to make by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueuedRequest {
    pub(super) target: DestinationHash,
    pub(super) except: Option<InterfaceId>,
}

impl Interface {
    /// Whether a search for a path may go out here. It takes its share of what announces may use, and waits behind none:
    /// where there is no room now it is not made at all.
    fn takes_search(&mut self, now: Instant, len: usize) -> bool {
        let limit = self.profile.path_request_egress_hz;
        let too_many = limit.is_some_and(|limit| self.requests_sent.would_exceed(now, limit));
        let takes = !too_many && self.queue.is_empty() && now >= self.queue.allowed_at;
        if takes {
            self.requests_sent.count(now);
            self.queue.allowed_at = now + self.announce_pause(len);
        }
        takes
    }
}

impl Stack {
    /// Asks every neighbour for the path to `to`. The answer arrives as an announce.
    pub fn request_path(&mut self, now: Now, to: DestinationHash) {
        self.ask_for_path(now, to, None);
    }

    /// Forgets the path to a destination, so that the next announce of it is believed whatever it says, and whoever needs
    /// it asks for it anew.
    pub fn expire_path(&mut self, destination: DestinationHash) {
        self.drop_path(destination);
    }

    fn ask_for_path(&mut self, now: Now, target: DestinationHash, except: Option<InterfaceId>) {
        let mut tag = [0; TAG_LEN];
        self.rng.fill_bytes(&mut tag);
        // Neighbours pass requests on under the same tag: an echo of ours is not news.
        self.tags.insert(unique_tag(target, &tag));
        self.requested.insert(target, now.mono);
        let frame = self.path_request_frame(target, &tag);
        let targets: Vec<_> = self.interfaces.keys().copied().filter(|id| Some(*id) != except).collect();
        for id in targets {
            self.transmit(id, Class::PathRequest, frame.clone());
        }
    }

    fn path_request_frame(&self, target: DestinationHash, tag: &[u8]) -> Bytes {
        let transport_id = self.config.transport_enabled.then_some(self.transport_id);
        PathRequestRef { target, transport_id, tag }.packet().encode()
    }

    /// When this node last asked for a target, within the time such marks are kept.
    pub(super) fn requested_since(&self, now: Now, target: DestinationHash) -> Option<Instant> {
        self.requested.get(&target).copied().filter(|at| now.mono <= *at + IN_FLIGHT_LIFETIME)
    }

    /// Whether some neighbour waits for an announce of this target.
    pub(super) fn is_awaited(&self, now: Now, target: DestinationHash) -> bool {
        self.waiting.get(&target).is_some_and(|waiting| now.mono <= waiting.until)
    }

    pub(super) fn receive_path_request(&mut self, now: Now, arrived: &Arrived<'_>) {
        let Some(request) = PathRequestRef::parse(arrived.packet.data()) else {
            return self.drop_frame(arrived.on, DropReason::PathRequestMalformed);
        };
        let tag = unique_tag(request.target, request.tag);
        if self.tags.contains(&tag) {
            return self.drop_frame(arrived.on, DropReason::PathRequestSeen);
        }
        self.tags.insert(tag);
        self.stats.path_requests += 1;
        let Some(interface) = self.interfaces.get_mut(&arrived.on) else { return };
        interface.path_requests.count(now.mono);
        let limited = interface.path_requests.limits(interface.up_since, now.mono);
        if interface.path_requests.is_active() {
            self.watch_bursts(now, arrived.on);
        }
        // What is known is told, also while another request for it is in flight: the path may have come back since.
        if self.answer_path_request(now, arrived.on, &request) {
            self.in_flight.remove(&request.target);
            return;
        }
        if self.config.transport_enabled || !self.clients.is_empty() {
            self.search(now, arrived.on, &request, limited);
        }
    }

    /// Answers for a destination of this node, or from the path table. Says whether it could.
    fn answer_path_request(&mut self, now: Now, on: InterfaceId, request: &PathRequestRef<'_>) -> bool {
        if self.locals.contains_key(&request.target) {
            self.answer_for_local(now, request.target, on);
            return true;
        }
        if self.leads_to_client(request.target) && !self.is_client(on) {
            self.note_asked(now, request.target);
        }
        let told = self.config.transport_enabled || self.is_client(on);
        let known = self.route(request.target).filter(|_| told);
        let Some((next_hop, leads)) = known.map(|path| (path.next_hop, path.on)) else { return false };
        self.schedule_response(now, on, request, next_hop, leads);
        true
    }

    /// The target is not known here, or not told. A node that carries nothing offers to find it only for programs on the same
    /// machine. A request beyond the limit is ignored and leaves no mark, which would keep those that come in time from being
    /// searched for.
    fn search(&mut self, now: Now, on: InterfaceId, request: &PathRequestRef<'_>, limited: bool) {
        while self.in_flight.pop_oldest_if(|_, at| now.mono > *at + IN_FLIGHT_LIFETIME).is_some() {}
        let Some(interface) = self.interfaces.get_mut(&on).filter(|_| !limited) else { return };
        let transport = self.config.transport_enabled;
        if self.in_flight.contains_key(&request.target) {
            if transport {
                self.wait_for(now, request.target, on);
            }
            return;
        }
        if interface.path_requests.limits(interface.up_since, now.mono) {
            return;
        }
        let searches = transport && (interface.profile.searches_always || interface.profile.mode.searches());
        let asked_by_client = interface.profile.local_client;
        self.in_flight.insert(request.target, now.mono);
        match (asked_by_client, searches) {
            (true, _) => self.ask_for_path(now, request.target, Some(on)),
            (false, true) => self.discover(now, on, request),
            (false, false) => self.ask_clients(now, request.target),
        }
    }

    /// Joins the search for a target that is in flight already.
    fn wait_for(&mut self, now: Now, target: DestinationHash, on: InterfaceId) {
        let until = now.mono + self.discovery_timeout();
        match self.waiting.get_mut(&target) {
            Some(waiting) if now.mono <= waiting.until => {
                if waiting.interfaces.len() < ASKERS_MAX {
                    waiting.interfaces.insert(on);
                }
            }
            _ => {
                let waiting = Waiting { interfaces: BTreeSet::from([on]), until, engaged: false };
                self.waiting.insert(target, waiting);
            }
        }
    }

    /// Two round trips of a frame on the slowest interface, and then some.
    fn discovery_timeout(&self) -> Duration {
        let slowest = self.interfaces.values().map(|interface| interface.profile.bitrate_bps).min();
        let bits_per_second = slowest.unwrap_or(u64::MAX).max(BITRATE_MIN);
        DISCOVERY_TIMEOUT.max(Duration::from_micros(2 * 4000 * 1_000_000 / bits_per_second) + Duration::from_secs(6))
    }

    /// Passes a request on under its own tag, so that it cannot go round in circles.
    fn discover(&mut self, now: Now, on: InterfaceId, request: &PathRequestRef<'_>) {
        if self.waiting.get(&request.target).is_some_and(|waiting| waiting.engaged && now.mono <= waiting.until) {
            return;
        }
        self.wait_for(now, request.target, on);
        if let Some(waiting) = self.waiting.get_mut(&request.target) {
            waiting.engaged = true;
        }
        let Some(asking) = self.interfaces.get(&on).map(|interface| &interface.profile) else { return };
        let (mode, everywhere) = (asking.mode, asking.searches_always);
        let frame = self.path_request_frame(request.target, request.tag);
        let mut targets = Vec::new();
        for (id, interface) in self.interfaces.iter_mut().filter(|(id, _)| **id != on) {
            let wanted = everywhere || mode.searches_on(interface.profile.mode);
            if wanted && interface.takes_search(now.mono, frame.len()) {
                targets.push(*id);
            }
        }
        for id in targets {
            self.transmit(id, Class::PathRequest, frame.clone());
        }
    }

    /// An announce that somebody waits for goes to them at once.
    pub(super) fn answer_waiting(&mut self, now: Now, valid: &Valid<'_>) {
        let Some(waiting) = self.waiting.remove(&valid.announce.destination) else { return };
        if now.mono > waiting.until {
            return;
        }
        let Some(frame) = self.relayed_frame(valid.frame, valid.hops, Context::PATH_RESPONSE) else { return };
        self.note_use(now, valid.announce.destination);
        for on in waiting.interfaces {
            self.transmit(on, Class::PathRequest, frame.clone());
        }
    }

    fn schedule_response(
        &mut self,
        now: Now,
        on: InterfaceId,
        request: &PathRequestRef<'_>,
        next_hop: IdentityHash,
        leads: InterfaceId,
    ) {
        let roaming = self.interfaces.get(&on).is_some_and(|interface| interface.profile.mode == Mode::Roaming);
        let asker_is_next_hop = request.transport_id == Some(next_hop);
        // Who asks again gets the answer that is on its way: otherwise asking often would put it off for ever.
        let pending = self.responses.contains_key(&(request.target, on));
        if asker_is_next_hop || (roaming && leads == on) || pending || !self.may_respond(on) {
            return;
        }
        let grace = match roaming {
            _ if self.is_client(on) || self.is_client(leads) => Duration::ZERO,
            true => RESPONSE_GRACE_MAX,
            false => RESPONSE_GRACE,
        };
        let due = now.mono + grace + self.spread(on, request.target);
        self.responses.insert((request.target, on), due);
        self.timers.set(TimerKey::Response(request.target, on), due);
    }

    /// A random time by which an answer on a slow medium comes later, so that it does not meet those of others who heard the
    /// request too.
    fn spread(&mut self, on: InterfaceId, target: DestinationHash) -> Duration {
        let (Some(interface), Some(path)) = (self.interfaces.get(&on), self.paths.get(&target)) else {
            return Duration::ZERO;
        };
        let InterfaceProfile { bitrate_bps, mode, .. } = interface.profile;
        if bitrate_bps >= SPREAD_BELOW_BPS || mode == Mode::PointToPoint || self.is_client(on) {
            return Duration::ZERO;
        }
        let bits = u64::try_from((path.announce.len() + TRANSPORT_ID_LEN) * 8).unwrap_or(u64::MAX);
        let airtime = Duration::from_micros(bits.saturating_mul(1_000_000) / bitrate_bps.max(1));
        random_below(&mut *self.rng, (airtime * SPREAD_ANSWERS).min(SPREAD_MAX))
    }

    /// Whether another response can wait. Those to one interface take half of the room at most, so that whoever asks much
    /// leaves the others theirs.
    fn may_respond(&self, on: InterfaceId) -> bool {
        let room = self.config.capacities.responses;
        let share = room.div_ceil(2);
        let of_this = || self.responses.keys().filter(|(_, to)| *to == on).count();
        self.responses.len() < share || (self.responses.len() < room && of_this() < share)
    }

    pub(super) fn last_response_due(&self, destination: DestinationHash) -> Option<Instant> {
        let all = (destination, InterfaceId(0))..=(destination, InterfaceId(u32::MAX));
        self.responses.range(all).map(|(_, due)| *due).max()
    }

    /// Tells the path to a destination from the announce that taught it.
    pub(super) fn send_response(&mut self, now: Now, destination: DestinationHash, on: InterfaceId) {
        self.responses.remove(&(destination, on));
        let Some(path) = self.route(destination) else { return };
        if let Some(frame) = self.relayed_frame(&path.announce, path.hops, Context::PATH_RESPONSE) {
            self.note_use(now, destination);
            self.transmit(on, Class::PathRequest, frame);
        }
    }

    /// Asks for a path later, a few at a time. docs/protocol/1-core.md, section 5.5.
    pub(super) fn queue_request(&mut self, now: Now, target: DestinationHash, except: Option<InterfaceId>) {
        let queued = self.queued_requests.iter().any(|request| request.target == target);
        if queued || self.queued_requests.len() >= QUEUED_REQUESTS_MAX {
            return;
        }
        if self.queued_requests.is_empty() {
            self.timers.set(TimerKey::QueuedRequest, now.mono + QUEUED_REQUEST_INTERVAL);
        }
        self.queued_requests.push_back(QueuedRequest { target, except });
    }

    pub(super) fn send_queued_request(&mut self, now: Now) {
        let Some(request) = self.queued_requests.pop_front() else { return };
        if !self.queued_requests.is_empty() {
            self.timers.set(TimerKey::QueuedRequest, now.mono + QUEUED_REQUEST_INTERVAL);
        }
        self.ask_for_path(now, request.target, request.except);
    }
}

fn unique_tag(target: DestinationHash, tag: &[u8]) -> [u8; 16] {
    sha256_head(&[target.as_ref(), tag])
}
