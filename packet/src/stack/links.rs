//! Links of this node: which packets they get, where theirs go. docs/protocol/2-link.md, sections 1, 2 and 6.

mod link_ref;
mod room;

use core::time::Duration;

pub use link_ref::LinkRef;

use super::echo::SentLately;
use super::egress::Class;
use super::inbound::Arrived;
use super::path::{PathEntry, Way};
use super::path_requests::REQUEST_INTERVAL_MIN;
use super::{DropReason, Event, InterfaceId, LinkCloseReason, Role, SendError, Stack, TimerKey};
use crate::hash::{DestinationHash, LinkId};
use crate::link::{
    Initiate, Link, LinkEvent, LinkJob, LinkJobResult, LinkOptions, LinkState, Refused, Signalling, link_id,
};
use crate::time::{Instant, Now};
use crate::wire::{MTU, PacketRef};

/// A link is called for its deadlines this often at most; some of them are a tenth of a millisecond away.
const LINK_TIMEOUT_MIN: Duration = Duration::from_micros(50);
/// Length of a link proof without signalling: signature and key.
const LINK_PROOF_LEN: usize = 96;
/// How long a link may take that was asked for without knowing a path. The rule for known paths would wait for the 128 hops
/// that stand for an unknown distance.
const PATHLESS_TIMEOUT: Duration = Duration::from_secs(60);

/// A link and where it lives.
#[derive(Debug)]
pub(super) struct LinkSlot {
    link: Link,
    opened: Instant,
    /// The interface it is bound to; an initiator's has none until the proof came.
    on: Option<InterfaceId>,
    /// The path the request of an initiator's link took, when there was one.
    way: Option<Way>,
    /// Whether the expected hop count was corrected once already.
    rebalanced: bool,
    /// What it sent, where a relay's copy may be heard.
    sent: SentLately,
    /// A job that waits to be taken.
    job: Option<LinkJob>,
    jobs_running: usize,
    /// Bytes of resources that arrive on it, as last counted.
    arriving: usize,
    /// It waits for room in the queue of its interface.
    crowded: bool,
}

impl LinkSlot {
    fn new(link: Link, now: Now) -> Self {
        Self {
            link,
            opened: now.mono,
            on: None,
            way: None,
            rebalanced: false,
            sent: SentLately::default(),
            job: None,
            jobs_running: 0,
            arriving: 0,
            crowded: false,
        }
    }

    /// When a link that is not established is given up here, whatever it says itself.
    fn patience(&self) -> Option<Instant> {
        let pathless = self.link.state() == LinkState::Pending && self.way.is_none();
        pathless.then(|| self.opened + PATHLESS_TIMEOUT)
    }
}

impl Stack {
    /// Asks for a link to a destination. [`Event::LinkUp`] or [`Event::LinkDown`] follows.
    ///
    /// # Errors
    /// When the destination's key is unknown or this node keeps no more links.
    pub fn open_link(&mut self, now: Now, to: DestinationHash) -> Result<LinkId, SendError> {
        let peer = *self.identity_of(to).ok_or(SendError::UnknownDestination(to))?;
        if !self.has_room_for_own_link() {
            return Err(SendError::TooManyLinks { max: self.config.capacities.links });
        }
        let way = self.route(to).map(PathEntry::way);
        let interface = way.and_then(|way| self.interfaces.get(&way.on));
        let path = Initiate {
            mtu: interface.map_or(MTU, super::Interface::link_mtu),
            hops: self.hops_to(to),
            first_hop_timeout: self.first_hop_timeout(to),
        };
        let keys = self.link_keys.for_initiator(&mut *self.rng);
        let (link, request) = Link::initiate_with(now, keys, to, &peer, path);
        let id = link.id();
        self.links.insert(id, LinkSlot { way, ..LinkSlot::new(link, now) });
        self.note_use(now, to);
        self.send_own(now, request, Class::Link);
        self.drive_link(now, id);
        Ok(id)
    }

    /// A link of this node, to use it. `None` when there is none of that id, or it is closed.
    pub fn link(&mut self, now: Now, id: LinkId) -> Option<LinkRef<'_>> {
        self.links.contains_key(&id).then_some(LinkRef { stack: self, now, id })
    }

    /// The links of this node that are not closed.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }

    pub(super) fn receive_link_request(&mut self, now: Now, arrived: &Arrived<'_>) {
        let Some(local) = self.locals.get(&arrived.packet.destination()) else {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        };
        if !local.destination.accepts_links {
            return self.drop_frame(arrived.on, DropReason::LinkRefused);
        }
        // The duplicate filter does not stop a copy with other signalling, and it must not replace what stands.
        let id = link_id(&arrived.packet);
        if self.links.contains_key(&id) || self.relays.contains(&id) {
            return self.drop_frame(arrived.on, DropReason::LinkExists);
        }
        let Ok(leaves) = self.room_for_responder() else {
            return self.drop_frame(arrived.on, DropReason::LinksFull);
        };
        let limit = self.interfaces.get(&arrived.on).map_or(MTU, super::Interface::link_mtu);
        let accepted = with_clamped_mtu(&arrived.packet, limit, |request| {
            let keys = || self.link_keys.for_responder(&mut *self.rng);
            Link::accept_with(now, keys, &local.destination.identity, request, arrived.hops)
        });
        let Ok((mut link, proof)) = accepted else {
            return self.drop_frame(arrived.on, DropReason::LinkRefused);
        };
        for path in &local.destination.request_paths {
            link.register_path(path);
        }
        link.set_options(LinkOptions {
            proofs: local.destination.proofs,
            resources: local.destination.resources,
            max_request: local.destination.max_request,
            ..LinkOptions::default()
        });
        if let Some(types) = &local.destination.channel {
            link.open_channel(types);
        }
        if let Some(leaves) = leaves {
            self.give_up_link(now, leaves);
        }
        self.links.insert(id, LinkSlot { on: Some(arrived.on), ..LinkSlot::new(link, now) });
        let frame = self.with_own_hops(proof, arrived.on).encode();
        self.transmit(arrived.on, Class::Link, frame);
        self.drive_link(now, id);
    }

    /// The answer to a link request of this node. docs/protocol/2-link.md, section 2.6.
    pub(super) fn receive_link_proof(&mut self, now: Now, arrived: &Arrived<'_>) {
        let id = LinkId::from(arrived.packet.destination());
        let waits = |slot: &&mut LinkSlot| slot.link.state() == LinkState::Pending;
        let Some(slot) = self.links.get_mut(&id).filter(waits) else {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        };
        // The link does not check the signature again.
        let signers = &mut self.signers;
        if !slot.link.verify_proof_by(&arrived.packet, |by, text, signature| signers.verify(by, text, signature)) {
            return self.drop_frame(arrived.on, DropReason::LinkProofInvalid);
        }
        let (answer, fits) = (Answer::to(slot.link.mtu(), &arrived.packet), arrived.hops == slot.link.expected_hops());
        if !fits && !slot.rebalanced {
            slot.rebalanced = true;
            slot.link.set_expected_hops(arrived.hops);
            let to = slot.link.destination();
            if let (Some(way), Some(path)) = (slot.way, self.paths.get_mut(&to)) {
                path.correct_hops(to, way, arrived.on, arrived.hops);
            }
        }
        if arrived.hops != slot.link.expected_hops() {
            return self.drop_frame(arrived.on, DropReason::LinkHops);
        }
        slot.on = Some(arrived.on);
        if answer == Answer::LargerMtu {
            slot.link.abandon(LinkCloseReason::Violation);
        } else {
            slot.link.handle_packet(now, &mut *self.rng, &arrived.packet);
        }
        if slot.link.state() == LinkState::Pending {
            slot.on = None;
            return self.drop_frame(arrived.on, DropReason::LinkProofInvalid);
        }
        self.remember(arrived);
        self.drive_link(now, id);
    }

    /// Anything else for a link of this node.
    pub(super) fn receive_link_packet(&mut self, now: Now, arrived: &Arrived<'_>) {
        let id = LinkId::from(arrived.packet.destination());
        let Some(slot) = self.links.get(&id) else { return };
        if slot.on != Some(arrived.on) {
            // Not remembered: a copy on the right interface still counts.
            return self.drop_frame(arrived.on, DropReason::LinkInterface);
        }
        if slot.sent.contains(arrived.packet.context(), arrived.packet.data()) {
            return self.drop_frame(arrived.on, DropReason::Duplicate);
        }
        self.remember(arrived);
        self.hand_to_link(now, id, &arrived.packet);
    }

    fn hand_to_link(&mut self, now: Now, id: LinkId, packet: &PacketRef<'_>) {
        if let Some(slot) = self.links.get_mut(&id) {
            slot.link.handle_packet(now, &mut *self.rng, packet);
            self.drive_link(now, id);
            self.limit_arriving(now);
        }
    }

    pub(super) fn link_job_done(&mut self, now: Now, id: LinkId, result: LinkJobResult) {
        if let Some(slot) = self.links.get_mut(&id) {
            slot.jobs_running = slot.jobs_running.saturating_sub(1);
            slot.link.handle_job(now, &mut *self.rng, result);
            self.drive_link(now, id);
        }
    }

    pub(super) fn link_timeout(&mut self, now: Now, id: LinkId) {
        if let Some(slot) = self.links.get_mut(&id) {
            match slot.patience() {
                Some(end) if now.mono >= end => slot.link.abandon(LinkCloseReason::Timeout),
                _ => slot.link.handle_timeout(now, &mut *self.rng),
            }
            self.drive_link(now, id);
        }
    }

    /// Links bound to an interface that went down are over, and so are those whose request left on it.
    pub(super) fn abandon_links(&mut self, now: Now, on: InterfaceId) {
        let led = |slot: &LinkSlot| slot.on.or(slot.way.map(|way| way.on)) == Some(on);
        let lost: Vec<_> = self.links.iter().filter(|(_, slot)| led(slot)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.abandon_link(now, id, on));
    }

    /// Links end that have nowhere else to go.
    pub(super) fn abandon_all_links(&mut self, now: Now, on: InterfaceId) {
        let all: Vec<_> = self.links.keys().copied().collect();
        all.into_iter().for_each(|id| self.abandon_link(now, id, on));
    }

    fn abandon_link(&mut self, now: Now, id: LinkId, on: InterfaceId) {
        if let Some(slot) = self.links.get_mut(&id) {
            slot.on = Some(on);
            slot.link.abandon(LinkCloseReason::InterfaceDown);
            self.drive_link(now, id);
        }
    }

    /// Does what a link wants done, after every call on it.
    fn drive_link(&mut self, now: Now, id: LinkId) {
        let mut events = Vec::new();
        let Some(slot) = self.links.get_mut(&id) else { return };
        let (on, blackhole) = (slot.on, &self.blackhole);
        while let Some(event) = slot.link.poll_event() {
            let shut_out = matches!(&event, LinkEvent::Identified { identity } if blackhole.contains(&identity.hash()));
            if shut_out {
                slot.link.close(now, &mut *self.rng);
            } else {
                events.push(event);
            }
        }
        let closed = slot.link.state() == LinkState::Closed;
        let deadline = slot.link.poll_timeout().into_iter().chain(slot.patience()).min();
        let (to, role, way) = (slot.link.destination(), slot.link.role(), slot.way);
        match deadline.filter(|_| !closed) {
            // Never at once: a link that keeps wanting to be called must not keep the stack from everything else.
            Some(at) => self.timers.set(TimerKey::Link(id), at.max(now.mono + LINK_TIMEOUT_MIN)),
            None => self.timers.clear(TimerKey::Link(id)),
        }
        self.send_from_link(id, on);
        for event in events {
            self.event(link_event(id, to, role, event));
        }
        self.count_arriving(id);
        if !closed {
            return self.queue_link_job(id);
        }
        let crowded = self.links.remove(&id).is_some_and(|slot| slot.crowded);
        if let Some(interface) = on.filter(|_| crowded).and_then(|on| self.interfaces.get_mut(&on)) {
            interface.crowded.retain(|link| *link != id);
        }
        self.link_jobs.retain(|link| *link != id);
        if on.is_none() && role == Role::Initiator {
            self.path_failed(now, to, way);
        }
    }

    /// Moves packets of a link into the queue of its interface, as many as that takes: parts that it would refuse would be
    /// missed only when the receiver's patience is over. A link that is closed says what it has to say at once.
    fn send_from_link(&mut self, id: LinkId, on: Option<InterfaceId>) {
        while let Some(slot) = self.links.get_mut(&id) {
            let interface = on.and_then(|on| self.interfaces.get_mut(&on));
            if let Some(interface) = interface
                && slot.link.state() != LinkState::Closed
                && !interface.egress.has_room_for_link(slot.link.mtu())
            {
                if slot.link.has_packets() && !core::mem::replace(&mut slot.crowded, true) {
                    interface.crowded.push_back(id);
                }
                return;
            }
            let Some(packet) = slot.link.poll_packet() else { return };
            if slot.link.expected_hops() > 1 {
                slot.sent.note(packet.context, &packet.data);
            }
            if let Some(on) = on {
                let frame = self.with_own_hops(packet, on).encode();
                self.transmit(on, Class::Link, frame);
            }
        }
    }

    /// A frame left an interface's queue: the next of the links that wait for that may go on.
    pub(super) fn refill(&mut self, on: InterfaceId) {
        while let Some(id) = self.interfaces.get_mut(&on).and_then(|interface| interface.crowded.pop_front()) {
            let Some(slot) = self.links.get_mut(&id) else { continue };
            slot.crowded = false;
            // One that found room meanwhile gives its turn to the next: nobody else might wake that.
            if slot.link.has_packets() {
                return self.send_from_link(id, Some(on));
            }
        }
    }

    /// A link of this node did not come about: the path it took may have moved. One that was learned since is left alone.
    /// docs/protocol/2-link.md, section 2.9, and for a transport node docs/protocol/1-core.md, section 5.5.
    fn path_failed(&mut self, now: Now, to: DestinationHash, way: Option<Way>) {
        if self.paths.get(&to).is_some_and(|path| Some(path.way()) != way) {
            return;
        }
        let lately = self.requested_since(now, to).is_some_and(|at| now.mono <= at + REQUEST_INTERVAL_MIN);
        if !self.config.transport_enabled {
            self.drop_path(to);
        } else if let Some(path) = self.paths.get_mut(&to) {
            path.unresponsive = true;
        }
        match (lately, self.config.transport_enabled) {
            (true, _) => {}
            (false, true) => self.queue_request(now, to, None),
            (false, false) => self.request_path(now, to),
        }
    }
}

/// What a link proof says to what was asked for, before its signature is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    AsAsked,
    /// Frames that this end's interface may not carry.
    LargerMtu,
    /// Keys of another kind.
    OtherMode,
}

impl Answer {
    /// Every medium carries 500, and a proof may answer with it where the request lost its signalling on the way.
    fn to(asked_mtu: usize, proof: &PacketRef<'_>) -> Self {
        let Some((_, signalling)) = proof.data().split_at_checked(LINK_PROOF_LEN) else { return Self::AsAsked };
        if signalling.first().is_some_and(|high| high >> 5 != Signalling::AES_256_CBC) {
            return Self::OtherMode;
        }
        match signalling {
            [high, middle, low] if Signalling::decode([*high, *middle, *low]).link_mtu() > asked_mtu.max(MTU) => {
                Self::LargerMtu
            }
            _ => Self::AsAsked,
        }
    }
}

/// Calls `then` with a request whose MTU is no larger than `limit`. docs/protocol/2-link.md, section 2.5, step 2.
fn with_clamped_mtu<T>(
    request: &PacketRef<'_>,
    limit: usize,
    then: impl FnOnce(&PacketRef<'_>) -> Result<T, Refused>,
) -> Result<T, Refused> {
    if let Some((rest, signalling)) = request.frame().split_last_chunk::<{ Signalling::LEN }>()
        && request.data().len() == 64 + Signalling::LEN
        && let Some(lower) = Signalling::decode(*signalling).clamp(limit)?
    {
        let frame = [rest, &lower.encode()].concat();
        return match PacketRef::parse(&frame) {
            Ok(clamped) => then(&clamped),
            Err(_) => then(request),
        };
    }
    then(request)
}

fn link_event(link: LinkId, destination: DestinationHash, role: Role, event: LinkEvent) -> Event {
    match event {
        LinkEvent::Up { rtt } => Event::LinkUp { link, destination, role, rtt },
        LinkEvent::Identified { identity } => Event::Identified { link, identity },
        LinkEvent::Down { reason } => Event::LinkDown { link, reason },
        LinkEvent::Requested { request, caller, path, body } => Event::Requested { link, request, caller, path, body },
        LinkEvent::Responding { request, received, total } => Event::Responding { request, received, total },
        LinkEvent::Responded { request, response, metadata } => Event::Responded { request, response, metadata },
        LinkEvent::Data { payload } => Event::LinkData { link, payload },
        LinkEvent::Delivered { packet, rtt } => Event::Delivered { packet, rtt },
        LinkEvent::Undelivered { packet } => Event::Undelivered { packet },
        LinkEvent::Resource { resource, event } => Event::Resource { link, resource, event },
        LinkEvent::Channel(event) => Event::Channel { link, event },
    }
}
