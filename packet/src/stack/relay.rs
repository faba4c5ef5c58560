//! Links carried for others. docs/protocol/1-core.md, section 5.5; docs/protocol/2-link.md, section 4.

mod asked;
mod table;

use core::time::Duration;

use bytes::Bytes;

use super::egress::Class;
use super::inbound::Arrived;
use super::path::Way;
use super::path_requests::REQUEST_INTERVAL_MIN;
use super::receipts::PER_HOP_TIMEOUT;
use super::{DropReason, InterfaceId, Mode, Stack, TimerKey};
use crate::hash::{DestinationHash, LinkId};
use crate::link::{Signalling, link_id, verify_link_proof};
use crate::time::{Instant, Now};
use crate::wire::PacketRef;

pub(super) use table::Relays;

/// How long a proved link is carried without traffic.
pub const RELAY_LIFETIME: Duration = Duration::from_secs(900);
/// Length of a link request that carries signalling.
const SIGNALLED_LEN: usize = 64 + Signalling::LEN;

/// A link between two others, by way of this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relay {
    /// Towards the responder.
    pub(super) sent: InterfaceId,
    /// Towards the initiator.
    pub(super) received: InterfaceId,
    /// Hops to the responder.
    remaining: u8,
    /// Hops to the initiator.
    taken: u8,
    destination: DestinationHash,
    /// The path it was sent along.
    way: Way,
    proved: bool,
    /// When this entry goes unless it is used.
    deadline: Instant,
}

/// A link between two others that this node carries, for those who want to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayedLink {
    /// Its address.
    pub id: LinkId,
    /// The destination it was asked of.
    pub destination: DestinationHash,
    /// The interface towards the initiator.
    pub towards_initiator: InterfaceId,
    /// The interface towards the responder.
    pub towards_responder: InterfaceId,
    /// Hops to the initiator.
    pub hops_to_initiator: u8,
    /// Hops to the responder.
    pub hops_to_responder: u8,
    /// Whether the responder has proved it.
    pub proved: bool,
}

impl Stack {
    /// The links this node carries for others.
    pub fn relayed_links(&self) -> impl Iterator<Item = RelayedLink> {
        self.relays.iter().map(|(id, relay)| RelayedLink {
            id: *id,
            destination: relay.destination,
            towards_initiator: relay.received,
            towards_responder: relay.sent,
            hops_to_initiator: relay.taken,
            hops_to_responder: relay.remaining,
            proved: relay.proved,
        })
    }

    pub(super) fn forward_link_request(&mut self, now: Now, arrived: &Arrived<'_>) {
        let packet = &arrived.packet;
        let destination = packet.destination();
        let Some(path) = self.route(destination) else {
            return self.drop_frame(arrived.on, DropReason::NoPath);
        };
        let (way, remaining) = (path.way(), path.hops);
        let sent = way.on;
        let link = link_id(packet);
        if self.links.contains_key(&link) || !self.may_ask(&link, arrived, sent) {
            return self.drop_frame(arrived.on, DropReason::LinkExists);
        }
        let Ok(changed) = self.resignalled(packet, arrived.on, sent) else {
            return self.drop_frame(arrived.on, DropReason::LinkRefused);
        };
        let changed = changed.as_deref().and_then(|frame| PacketRef::parse(frame).ok());
        let outgoing = changed.as_ref().unwrap_or(packet);
        let frame = self.carried(outgoing, remaining, way.next_hop, self.hops_onward(arrived, sent));
        self.touch_path(now, arrived);
        let frame_time = self.interfaces.get(&sent).map_or(Duration::ZERO, super::Interface::frame_time);
        let deadline = now.mono + PER_HOP_TIMEOUT * u32::from(remaining.max(1)) + frame_time;
        if !self.relays.contains(&link) {
            let (received, taken) = (arrived.on, arrived.hops);
            let relay = Relay { sent, received, remaining, taken, destination, way, proved: false, deadline };
            if let Some(evicted) = self.relays.ask(link, relay) {
                self.timers.clear(TimerKey::Relay(evicted));
            }
            self.timers.set(TimerKey::Relay(link), deadline);
        }
        self.stats.forwarded += 1;
        self.transmit(sent, Class::Link, frame);
    }

    /// Signalling is no part of a link's id, but it is of the packet's hash, which the duplicate filter goes by: anybody who
    /// heard a request can send it again with another MTU. It must not replace what stands; only the same way again is
    /// harmless.
    fn may_ask(&self, link: &LinkId, arrived: &Arrived<'_>, sent: InterfaceId) -> bool {
        let this = (arrived.on, arrived.hops, sent);
        self.relays.get(link).is_none_or(|relay| !relay.proved && (relay.received, relay.taken, relay.sent) == this)
    }

    /// The request with its MTU cut down to what both interfaces carry, or without signalling where the next hop cannot
    /// negotiate. `None`: it goes on as it is. `Err`: its mode cannot be written again.
    fn resignalled(
        &self,
        request: &PacketRef<'_>,
        received: InterfaceId,
        sent: InterfaceId,
    ) -> Result<Option<Bytes>, crate::link::Refused> {
        let Some((rest, signalling)) = request.frame().split_last_chunk::<{ Signalling::LEN }>() else {
            return Ok(None);
        };
        let asked = Signalling::decode(*signalling);
        let (Some(out), Some(back)) = (self.interfaces.get(&sent), self.interfaces.get(&received)) else {
            return Ok(None);
        };
        if request.data().len() != SIGNALLED_LEN || asked.mtu == 0 {
            return Ok(None);
        }
        let Some(out_mtu) = out.profile.hw_mtu.filter(|_| out.profile.negotiates_mtu) else {
            return Ok(Some(Bytes::copy_from_slice(rest)));
        };
        let limit = out_mtu.min(back.profile.hw_mtu.unwrap_or(usize::MAX));
        Ok(asked.clamp(limit)?.map(|lower| [rest, &lower.encode()].concat().into()))
    }

    /// A link proof on its way to the initiator. It is checked, and it alone may correct the hop count.
    pub(super) fn relay_proof(&mut self, now: Now, arrived: &Arrived<'_>) {
        let packet = &arrived.packet;
        let link = LinkId::from(packet.destination());
        let Some(relay) = self.relays.get(&link).copied() else { return };
        if arrived.on != relay.sent {
            return self.drop_frame(arrived.on, DropReason::LinkInterface);
        }
        let fits = arrived.hops == relay.remaining;
        if !fits && relay.proved {
            return self.drop_frame(arrived.on, DropReason::LinkHops);
        }
        let heard = self.known.get(&relay.destination).and_then(super::Known::make_identity);
        if !heard.is_some_and(|identity| verify_link_proof(link, packet, &identity)) {
            return self.drop_frame(arrived.on, DropReason::LinkProofInvalid);
        }
        if !fits && let Some(path) = self.paths.get_mut(&relay.destination) {
            path.correct_hops(relay.destination, relay.way, arrived.on, arrived.hops);
        }
        self.note_use(now, relay.destination);
        // Not remembered: a repeated proof is passed on again.
        let proved = Relay { remaining: arrived.hops, proved: true, ..relay };
        if let Some(evicted) = self.relays.prove(link, proved) {
            self.timers.clear(TimerKey::Relay(evicted));
        }
        self.pass_on(now, link, arrived, relay.received);
    }

    /// Anything else on a link. Hop counts have to be exactly what they were when the link was made.
    pub(super) fn relay_traffic(&mut self, now: Now, arrived: &Arrived<'_>) {
        let link = LinkId::from(arrived.packet.destination());
        let Some(relay) = self.relays.get(&link).copied() else { return };
        if !relay.proved {
            return self.drop_frame(arrived.on, DropReason::LinkUnproved);
        }
        let (from_responder, from_initiator) = (arrived.on == relay.sent, arrived.on == relay.received);
        if !from_responder && !from_initiator {
            return self.drop_frame(arrived.on, DropReason::LinkInterface);
        }
        let to_initiator = from_responder && arrived.hops == relay.remaining;
        let to_responder = from_initiator && arrived.hops == relay.taken;
        let to = match (to_initiator, to_responder) {
            (true, _) => relay.received,
            (false, true) => relay.sent,
            (false, false) => return self.drop_frame(arrived.on, DropReason::LinkHops),
        };
        let ambiguous = relay.received == relay.sent && relay.taken != relay.remaining;
        if ambiguous && self.went_the_other_way(arrived, to_initiator) {
            return self.drop_frame(arrived.on, DropReason::Duplicate);
        }
        self.remember(arrived);
        self.pass_on(now, link, arrived, to);
    }

    fn pass_on(&mut self, now: Now, link: LinkId, arrived: &Arrived<'_>, to: InterfaceId) {
        let packet = &arrived.packet;
        self.relays.used(&link, now.mono + RELAY_LIFETIME);
        self.stats.forwarded += 1;
        self.transmit_readdressed(to, Class::Link, arrived, packet.flags(), packet.transport_id());
    }

    /// A relayed link was silent for too long, or never proved. The deadline moves only here, so that traffic costs nothing.
    pub(super) fn relay_timeout(&mut self, now: Now, link: LinkId) {
        let Some(relay) = self.relays.get(&link).copied() else { return };
        let last = relay.deadline + Duration::from_micros(1);
        if now.mono < last {
            return self.timers.set(TimerKey::Relay(link), last);
        }
        self.relays.remove(&link);
        if !relay.proved {
            self.ask_again(now, &relay);
        }
    }

    /// A link through this node did not come about: the path may have moved.
    fn ask_again(&mut self, now: Now, relay: &Relay) {
        let destination = relay.destination;
        let Some(hops) = self.route(destination).map(|path| path.hops) else {
            return self.queue_request(now, destination, None);
        };
        let lately = self.requested_since(now, destination).is_some_and(|at| now.mono <= at + REQUEST_INTERVAL_MIN);
        if lately {
            return;
        }
        if relay.taken == 0 {
            // A program on this machine asked for it.
            return self.queue_request(now, destination, None);
        }
        if hops != 1 && relay.taken != 1 {
            return;
        }
        let received = self.interfaces.get(&relay.received).map(|interface| interface.profile.mode);
        if !self.config.transport_enabled {
            self.drop_path(destination);
        } else if received != Some(Mode::Boundary)
            && let Some(path) = self.paths.get_mut(&destination)
        {
            path.unresponsive = true;
        }
        self.queue_request(now, destination, Some(relay.received));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that was asked for on an interface and is given up then.
    pub(super) fn relay(received: InterfaceId, deadline: Instant) -> Relay {
        Relay {
            sent: InterfaceId(9),
            received,
            remaining: 1,
            taken: 1,
            destination: DestinationHash::new([2; 16]),
            way: Way::nowhere(),
            proved: false,
            deadline,
        }
    }
}
