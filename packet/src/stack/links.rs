//! Links of this node: which packets they get, where theirs go. docs/protocol/2-link.md, sections 1, 2 and 6.

use core::time::Duration;

use super::egress::Class;
use super::inbound::Arrived;
use super::path_requests::REQUEST_INTERVAL_MIN;
use super::{DropReason, Event, InterfaceId, LinkCloseReason, Role, SendError, Stack, TimerKey};
use crate::hash::{DestinationHash, LinkId, PacketHash, RequestId};
use crate::identity::{Identity, PublicIdentity};
use crate::link::{Initiate, Link, LinkError, LinkEvent, LinkJobResult, LinkState, RequestOptions, Signalling};
use crate::time::Now;
use crate::wire::{MTU, PacketRef};

/// A link is called for its deadlines this often at most.
const LINK_TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// A link and where it lives.
#[derive(Debug)]
pub(super) struct LinkSlot {
    link: Link,
    /// The interface it is bound to; an initiator's has none until the proof came.
    on: Option<InterfaceId>,
    /// Whether the expected hop count was corrected once already.
    rebalanced: bool,
}

impl Stack {
    /// Asks for a link to a destination. [`Event::LinkUp`] or [`Event::LinkDown`] follows.
    ///
    /// # Errors
    /// When the destination's key is unknown or this node keeps no more links.
    pub fn open_link(&mut self, now: Now, to: DestinationHash) -> Result<LinkId, SendError> {
        let peer = *self.identity_of(to).ok_or(SendError::UnknownDestination(to))?;
        let max = self.config.capacities.links;
        if self.links.len() >= max {
            return Err(SendError::TooManyLinks { max });
        }
        let interface = self.route(to).and_then(|path| self.interfaces.get(&path.on));
        let path = Initiate {
            mtu: interface.map_or(MTU, super::Interface::link_mtu),
            hops: self.hops_to(to),
            first_hop_timeout: self.first_hop_timeout(to),
        };
        let (link, request) = Link::initiate(now, &mut *self.rng, to, &peer, path);
        let id = link.id();
        self.links.insert(id, LinkSlot { link, on: None, rebalanced: false });
        self.known.refresh(&to);
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
        if self.links.len() >= self.config.capacities.links {
            return self.drop_frame(arrived.on, DropReason::LinksFull);
        }
        let limit = self.interfaces.get(&arrived.on).map_or(MTU, super::Interface::link_mtu);
        let accepted = with_clamped_mtu(&arrived.packet, limit, |request| {
            Link::accept(now, &mut *self.rng, &local.destination.identity, request, arrived.hops)
        });
        let Ok((mut link, proof)) = accepted else {
            return self.drop_frame(arrived.on, DropReason::LinkRefused);
        };
        for path in &local.destination.request_paths {
            link.register_path(path);
        }
        let id = link.id();
        self.links.insert(id, LinkSlot { link, on: Some(arrived.on), rebalanced: false });
        let frame = self.with_own_hops(proof).encode();
        self.transmit(arrived.on, Class::Link, frame);
        self.drive_link(now, id);
    }

    /// The answer to a link request of this node. docs/protocol/2-link.md, section 2.6.
    pub(super) fn receive_link_proof(&mut self, now: Now, arrived: &Arrived<'_>) {
        let id = LinkId::from(arrived.packet.destination());
        let Some(slot) = self.links.get_mut(&id).filter(|slot| slot.link.role() == Role::Initiator) else {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        };
        if slot.link.state() != LinkState::Pending {
            return self.drop_frame(arrived.on, DropReason::NotAddressed);
        }
        if !slot.link.verify_proof(&arrived.packet) {
            return self.drop_frame(arrived.on, DropReason::LinkProofInvalid);
        }
        if arrived.hops != slot.link.expected_hops() && !slot.rebalanced {
            slot.rebalanced = true;
            slot.link.set_expected_hops(arrived.hops);
            if let Some(path) = self.paths.get_mut(&slot.link.destination()) {
                path.hops = arrived.hops;
            }
        }
        if arrived.hops != slot.link.expected_hops() {
            return self.drop_frame(arrived.on, DropReason::LinkHops);
        }
        slot.on = Some(arrived.on);
        self.remember(arrived);
        self.hand_to_link(now, id, &arrived.packet);
    }

    /// Anything else for a link of this node.
    pub(super) fn receive_link_packet(&mut self, now: Now, arrived: &Arrived<'_>) {
        let id = LinkId::from(arrived.packet.destination());
        let Some(slot) = self.links.get(&id) else { return };
        if slot.on != Some(arrived.on) {
            // Not remembered: a copy on the right interface still counts.
            return self.drop_frame(arrived.on, DropReason::LinkInterface);
        }
        self.remember(arrived);
        self.hand_to_link(now, id, &arrived.packet);
    }

    fn hand_to_link(&mut self, now: Now, id: LinkId, packet: &PacketRef<'_>) {
        if let Some(slot) = self.links.get_mut(&id) {
            slot.link.handle_packet(now, &mut *self.rng, packet);
            self.drive_link(now, id);
        }
    }

    pub(super) fn link_job_done(&mut self, now: Now, id: LinkId, result: LinkJobResult) {
        if let Some(slot) = self.links.get_mut(&id) {
            slot.link.handle_job(now, &mut *self.rng, result);
            self.drive_link(now, id);
        }
    }

    pub(super) fn link_timeout(&mut self, now: Now, id: LinkId) {
        if let Some(slot) = self.links.get_mut(&id) {
            slot.link.handle_timeout(now, &mut *self.rng);
            self.drive_link(now, id);
        }
    }

    /// Links bound to an interface that went down are over.
    pub(super) fn abandon_links(&mut self, now: Now, on: InterfaceId) {
        let bound: Vec<_> = self.links.iter().filter(|(_, slot)| slot.on == Some(on)).map(|(id, _)| *id).collect();
        for id in bound {
            if let Some(slot) = self.links.get_mut(&id) {
                slot.link.abandon(LinkCloseReason::InterfaceDown);
                self.drive_link(now, id);
            }
        }
    }

    /// Does what a link wants done, after every call on it.
    fn drive_link(&mut self, now: Now, id: LinkId) {
        let mut events = Vec::new();
        let Some(slot) = self.links.get_mut(&id) else { return };
        let (on, mut frames, blackhole) = (slot.on, Vec::new(), &self.config.blackhole);
        while let Some(event) = slot.link.poll_event() {
            let shut_out = matches!(&event, LinkEvent::Identified { identity } if blackhole.contains(&identity.hash()));
            if shut_out {
                slot.link.close(now, &mut *self.rng);
            } else {
                events.push(event);
            }
        }
        while let Some(packet) = slot.link.poll_packet() {
            frames.push(packet);
        }
        while let Some(job) = slot.link.poll_job() {
            self.link_jobs.push_back((id, job));
        }
        let (closed, deadline) = (slot.link.state() == LinkState::Closed, slot.link.poll_timeout());
        let (to, role) = (slot.link.destination(), slot.link.role());
        match deadline.filter(|_| !closed) {
            // Never at once: a link that keeps wanting to be called must not keep the stack from everything else.
            Some(at) => self.timers.set(TimerKey::Link(id), at.max(now.mono + LINK_TIMEOUT_MIN)),
            None => self.timers.clear(TimerKey::Link(id)),
        }
        if let Some(on) = on {
            for packet in frames {
                let frame = self.with_own_hops(packet).encode();
                self.transmit(on, Class::Link, frame);
            }
        }
        for event in events {
            self.event(link_event(id, to, role, event));
        }
        if closed {
            self.links.remove(&id);
            self.link_jobs.retain(|(link, _)| *link != id);
            let never_up = on.is_none() && role == Role::Initiator;
            if never_up && !self.config.transport_enabled {
                self.path_failed(now, to);
            }
        }
    }

    /// A link did not come about on a node that carries nothing: the path may have moved.
    /// docs/protocol/2-link.md, section 2.9.
    fn path_failed(&mut self, now: Now, to: DestinationHash) {
        self.drop_path(to);
        let lately = self.requested_since(now, to).is_some_and(|at| now.mono <= at + REQUEST_INTERVAL_MIN);
        if !lately {
            self.request_path(now, to);
        }
    }
}

/// Calls `then` with a request whose MTU is no larger than `limit`. docs/protocol/2-link.md, section 2.5, step 2.
fn with_clamped_mtu<T>(
    request: &PacketRef<'_>,
    limit: usize,
    then: impl FnOnce(&PacketRef<'_>) -> Result<T, crate::link::Refused>,
) -> Result<T, crate::link::Refused> {
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
        LinkEvent::Responded { request, response } => Event::Responded { request, response },
        LinkEvent::Data { payload } => Event::LinkData { link, payload },
        LinkEvent::Delivered { packet, rtt } => Event::Delivered { packet, rtt },
        LinkEvent::Undelivered { packet } => Event::Undelivered { packet },
        LinkEvent::Resource { resource, outcome } => Event::LinkResource { link, resource, outcome },
    }
}

/// A link of a [`Stack`], borrowed to be used.
#[derive(Debug)]
pub struct LinkRef<'a> {
    stack: &'a mut Stack,
    now: Now,
    id: LinkId,
}

impl LinkRef<'_> {
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Link, Now, &mut dyn rand_core::CryptoRng) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let slot = self.stack.links.get_mut(&self.id).ok_or(LinkError::NotActive)?;
        let result = call(&mut slot.link, self.now, &mut *self.stack.rng);
        self.stack.drive_link(self.now, self.id);
        result
    }

    fn view(&self) -> Option<&Link> {
        self.stack.links.get(&self.id).map(|slot| &slot.link)
    }

    /// Its address.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Where it is in its life.
    pub fn state(&self) -> LinkState {
        self.view().map_or(LinkState::Closed, Link::state)
    }

    /// Which end this node is; `None` once it is closed.
    pub fn role(&self) -> Option<Role> {
        self.view().map(Link::role)
    }

    /// Largest payload of one packet, in bytes.
    pub fn mdu(&self) -> usize {
        self.view().map_or(0, Link::mdu)
    }

    /// Largest frame, in bytes.
    pub fn mtu(&self) -> usize {
        self.view().map_or(0, Link::mtu)
    }

    /// Round trip, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.view().and_then(Link::rtt)
    }

    /// The destination it leads to (initiator) or belongs to (responder).
    pub fn destination(&self) -> Option<DestinationHash> {
        self.view().map(Link::destination)
    }

    /// Who is at the other end, when that is known.
    pub fn remote_identity(&self) -> Option<&PublicIdentity> {
        self.view().and_then(Link::remote_identity)
    }

    /// Hops the proof of this link took.
    pub fn expected_hops(&self) -> u8 {
        self.view().map_or(super::HOPS_UNKNOWN, Link::expected_hops)
    }

    /// Says to the responder who this node is.
    ///
    /// # Errors
    /// When the link is not active.
    pub fn identify(&mut self, identity: &Identity) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.identify(now, rng, identity))
    }

    /// Asks for `path` with one MessagePack value. [`Event::Responded`] names the returned id later.
    ///
    /// # Errors
    /// When the link is not active, has no room, or the body cannot be sent.
    pub fn request(&mut self, path: &str, body: &[u8], options: RequestOptions) -> Result<RequestId, LinkError> {
        self.call(|link, now, rng| link.request(now, rng, path, body, options))
    }

    /// Answers a request with one MessagePack value.
    ///
    /// # Errors
    /// When the link is not active, has no room, or nobody waits for this answer.
    pub fn respond(&mut self, request: RequestId, body: &[u8]) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.respond(now, rng, request, body))
    }

    /// Sends data in one packet, at most [`LinkRef::mdu`] bytes.
    ///
    /// # Errors
    /// When the link is not active or the payload too long.
    pub fn send(&mut self, payload: &[u8]) -> Result<PacketHash, LinkError> {
        self.call(|link, now, rng| link.send(now, rng, payload))
    }

    /// Closes the link. [`Event::LinkDown`] follows.
    pub fn close(mut self) {
        let closed = self.call(|link, now, rng| {
            link.close(now, rng);
            Ok(())
        });
        debug_assert!(closed.is_ok() || self.view().is_none());
    }
}
