//! Programs that share this node's interfaces, and this node as such a program. docs/protocol/1-core.md, section 5.10.

use rand_core::Rng;

use super::announces::Valid;
use super::egress::Class;
use super::inbound::Arrived;
use super::path_requests::IN_FLIGHT_LIFETIME;
use super::requests_wire::PathRequestRef;
use super::{InterfaceId, Stack, TimerKey};
use crate::hash::DestinationHash;
use crate::time::Now;
use crate::wire::{Context, Packet, TransportKind};

impl Stack {
    /// Whether this interface is a program on the same machine that uses this node's interfaces.
    pub(super) fn is_client(&self, on: InterfaceId) -> bool {
        self.clients.contains(&on)
    }

    /// The way between a program and the instance it shares is no hop.
    pub(super) fn counted_hops(&self, on: InterfaceId, hop_byte: u8) -> u8 {
        let local = self.config.behind_shared_instance || self.is_client(on);
        if local { hop_byte } else { hop_byte.saturating_add(1) }
    }

    /// Whether a destination belongs to a program on the same machine.
    pub(super) fn leads_to_client(&self, to: DestinationHash) -> bool {
        !self.clients.is_empty() && self.route(to).is_some_and(|path| path.hops == 0 && self.is_client(path.on))
    }

    /// Whether a packet is carried on: always for programs on the same machine, for others by a transport node.
    pub(super) fn carries(&self, arrived: &Arrived<'_>) -> bool {
        let for_client = || self.is_client(arrived.on) || self.leads_to_client(arrived.packet.destination());
        self.config.transport_enabled || for_client()
    }

    /// Hop byte of own packets towards an interface: with a local hops delta they leave as if they had come some way
    /// already. Not so within the machine. docs/protocol/1-core.md, section 5.9.
    pub(super) fn own_hops(&self, towards: InterfaceId) -> u8 {
        let local = self.config.behind_shared_instance || self.is_client(towards);
        if local { 0 } else { self.config.local_hops_delta }
    }

    /// Hop byte of a packet that is carried on: what programs on the same machine send leaves as if this node had made it.
    pub(super) fn hops_onward(&self, arrived: &Arrived<'_>, to: InterfaceId) -> u8 {
        let own = arrived.hops == 0 && self.is_client(arrived.on);
        if own { self.own_hops(to) } else { arrived.hops }
    }

    /// PLAIN packets are broadcast to everybody within reach: what a program sends is within everybody's, and all programs
    /// are within reach of what this node hears.
    pub(super) fn share_plain(&mut self, arrived: &Arrived<'_>) {
        let packet = &arrived.packet;
        let control = [self.path_request_destination, self.tunnel_destination].contains(&packet.destination());
        if self.clients.is_empty() || control || packet.flags().transport() != TransportKind::Broadcast {
            return;
        }
        let from_client = self.is_client(arrived.on);
        let hear = |id: &InterfaceId| *id != arrived.on && (from_client || self.is_client(*id));
        let hearers: Vec<_> = self.interfaces.keys().copied().filter(hear).collect();
        let frame = bytes::Bytes::copy_from_slice(packet.frame());
        for id in hearers {
            self.transmit(id, Class::Data, frame.clone());
        }
    }

    /// Programs hear at once of every announce that was accepted, but for the one it came from.
    pub(super) fn tell_clients(&mut self, valid: &Valid<'_>) {
        if self.clients.is_empty() {
            return;
        }
        let Some(frame) = self.relayed_frame(valid.frame, valid.hops, Context::NONE) else { return };
        let others: Vec<_> = self.clients.iter().copied().filter(|id| *id != valid.on).collect();
        for id in others {
            self.transmit(id, Class::Announce, frame.clone());
        }
    }

    /// Somebody outside asks for a destination that may belong to a program on this machine.
    pub(super) fn ask_clients(&mut self, now: Now, target: DestinationHash) {
        self.note_asked(now, target);
        for id in self.clients.iter().copied().collect::<Vec<_>>() {
            let mut tag = [0; 16];
            self.rng.fill_bytes(&mut tag);
            let transport_id = self.config.transport_enabled.then_some(self.transport_id);
            let request = PathRequestRef { target, transport_id, tag: &tag }.packet();
            self.transmit(id, Class::PathRequest, request.encode());
        }
    }

    /// Somebody outside waits for the answer of a program.
    pub(super) fn note_asked(&mut self, now: Now, target: DestinationHash) {
        self.asked_of_clients.insert(target, now.mono);
    }

    /// Whether somebody outside waits for this answer of a program.
    pub(super) fn was_asked(&mut self, now: Now, target: DestinationHash) -> bool {
        self.asked_of_clients.remove(&target).is_some_and(|at| now.mono <= at + IN_FLIGHT_LIFETIME)
    }

    /// The instance this program shares is gone: all it knew goes with it.
    pub(super) fn instance_lost(&mut self, now: Now, on: InterfaceId) {
        self.abandon_all_links(now, on);
        for destination in self.paths.iter().map(|(to, _)| *to).collect::<Vec<_>>() {
            self.drop_path(destination);
        }
        self.rebroadcasts.clear();
        self.timers.clear(TimerKey::Rebroadcasts);
        let timers = &mut self.timers;
        self.reverse.retain(|_, _| false);
        self.relays.retain(|link, _| {
            timers.clear(TimerKey::Relay(*link));
            false
        });
        self.tunnels.clear();
        self.tell_tunnels();
        self.instance_was_lost = true;
    }

    /// It is back: whoever it serves is to find the destinations of this program again.
    pub(super) fn instance_found(&mut self, now: Now, on: InterfaceId) {
        if core::mem::take(&mut self.instance_was_lost) {
            for destination in self.locals.keys().copied().collect::<Vec<_>>() {
                self.introduce(now, destination, on);
            }
        }
    }

    /// An own packet towards an interface.
    pub(super) fn with_own_hops(&self, packet: Packet, towards: InterfaceId) -> Packet {
        Packet { hops: self.own_hops(towards), ..packet }
    }
}
