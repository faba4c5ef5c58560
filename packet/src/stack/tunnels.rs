//! Connections that come back as other ones and get their paths back. docs/protocol/1-core.md, section 5.8.

mod kept;
mod table;

use core::time::Duration;

use rand_core::Rng;

pub use kept::{TunnelChanges, TunnelRecord};
pub(super) use table::{TunnelPath, Tunnels};

use super::egress::Class;
use super::inbound::Arrived;
use super::tunnel_wire::{TUNNEL_RANDOM_LEN, TunnelRef, tunnel_packet};
use super::{DropReason, Event, InterfaceId, Stack, TimerKey};
use crate::hash::{DestinationHash, TunnelId};
use crate::time::{Instant, Now};

/// How long a tunnel is kept after it was made anew or an announce was accepted from it, and each of its paths after it was
/// learned.
pub const TUNNEL_LIFETIME: Duration = Duration::from_secs(28_800);
/// Time between two looks at the tunnels at least.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two packets for tunnels on one interface that are checked: each costs a signature.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two times that the paths of one tunnel are given back.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// A tunnel, for those who want to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelView {
    /// Which.
    pub id: TunnelId,
    /// The interface it is now, while it is up.
    pub on: Option<InterfaceId>,
    /// How many paths it keeps.
    pub paths: usize,
    /// When it is forgotten.
    pub expires: Instant,
}

impl Stack {
    /// The tunnels that others made of their connections to this node.
    pub fn tunnels(&self) -> impl Iterator<Item = TunnelView> {
        self.tunnels.views()
    }

    /// The destinations whose paths a tunnel keeps.
    pub fn tunnel_paths(&self, of: &TunnelId) -> impl Iterator<Item = DestinationHash> {
        self.tunnels.paths(of)
    }

    /// This end made the connection: it says who it is, so that the far end knows it again.
    pub(super) fn open_tunnel(&mut self, on: InterfaceId) {
        let Some(name) = self.interfaces.get(&on).and_then(|interface| interface.profile.tunnel) else { return };
        let mut random = [0; TUNNEL_RANDOM_LEN];
        self.rng.fill_bytes(&mut random);
        let packet = tunnel_packet(&self.config.identity, name, random);
        self.transmit(on, Class::Link, packet.encode());
    }

    /// The far end of a connection says who it is.
    pub(super) fn receive_tunnel(&mut self, now: Now, arrived: &Arrived<'_>) {
        let Some(asked) = TunnelRef::parse(arrived.packet.data()) else {
            return self.drop_frame(arrived.on, DropReason::TunnelInvalid);
        };
        let (id, on) = (asked.id(), arrived.on);
        // Nothing in the packet is bound to a connection, so anybody who heard it can send it too.
        let copy = self.tunnels.get(&id).is_some_and(|tunnel| tunnel.on.is_some() && tunnel.random == *asked.random());
        let Some(interface) = self.interfaces.get_mut(&on) else { return };
        let too_soon = interface.tunnel_checked.is_some_and(|last| now.mono < last + CHECK_INTERVAL);
        if copy || too_soon {
            return self.drop_frame(on, DropReason::TunnelRepeated);
        }
        interface.tunnel_checked = Some(now.mono);
        if !asked.verify() {
            return self.drop_frame(on, DropReason::TunnelInvalid);
        }
        let expires = now.mono + TUNNEL_LIFETIME;
        let moved = self.tunnels.appear(now.mono, id, on, *asked.random(), expires);
        if self.timers.deadline(TimerKey::Tunnels).is_none() {
            self.timers.set(TimerKey::Tunnels, expires + Duration::from_micros(1));
        }
        if moved {
            self.give_back(now, id, on);
        }
        self.tell_tunnels();
    }

    /// The paths of a tunnel that came back lead over its new interface.
    fn give_back(&mut self, now: Now, id: TunnelId, on: InterfaceId) {
        if !self.tunnels.gives_back(now.mono, &id, GIVE_BACK_INTERVAL) {
            let owes = self.tunnels.get(&id).is_some_and(|tunnel| tunnel.owes);
            if owes && self.timers.deadline(TimerKey::TunnelsBack).is_none() {
                self.timers.set(TimerKey::TunnelsBack, now.mono + GIVE_BACK_INTERVAL);
            }
            return;
        }
        for destination in self.tunnels.paths(&id).collect::<Vec<_>>() {
            self.restore_from_tunnel(now, id, on, destination);
        }
    }

    /// Tunnels that moved too often lately get their paths after all.
    pub(super) fn give_back_late(&mut self, now: Now) {
        for id in self.tunnels.owing() {
            if let Some(on) = self.tunnels.get(&id).and_then(|tunnel| tunnel.on) {
                self.give_back(now, id, on);
            }
        }
        self.tell_tunnels();
    }

    /// A path of a tunnel that came back leads over its new interface, unless a better one was learned meanwhile; then the
    /// tunnel forgets it.
    fn restore_from_tunnel(&mut self, now: Now, id: TunnelId, on: InterfaceId, destination: DestinationHash) {
        let Some(path) = self.tunnels.path(&id, &destination) else { return };
        let restores = match self.paths.get(&destination) {
            Some(entry) => {
                (path.hops <= entry.hops || now.mono >= entry.expires) && path.newest.emitted() >= entry.emitted()
            }
            None => now.mono < path.expires,
        };
        if !restores || path.owner().is_none_or(|owner| self.blackhole.contains(&owner)) {
            return self.tunnels.forget_path(&id, &destination);
        }
        let (hops, entry) = (path.hops, path.entry(now.mono, on));
        self.insert_path(destination, entry);
        self.event(Event::PathChanged { destination, hops: Some(hops) });
    }

    /// A path was learned on an interface: if that is a tunnel, the tunnel keeps it as well.
    pub(super) fn keep_in_tunnel(&mut self, now: Now, destination: DestinationHash) {
        let Some(entry) = self.paths.get(&destination) else { return };
        let Some(id) = self.tunnels.on(entry.on) else { return };
        let path = TunnelPath::of(entry, now.mono);
        self.tunnels.keep(&id, destination, path, now.mono + TUNNEL_LIFETIME);
        self.tell_tunnels();
    }

    /// Tunnels and paths go whose time is up, and paths than which a newer one is known.
    pub(super) fn sweep_tunnels(&mut self, now: Now) {
        let paths = &self.paths;
        let newer = |destination: &DestinationHash, path: &TunnelPath| {
            paths.get(destination).is_some_and(|entry| entry.emitted() > path.newest.emitted())
        };
        if let Some(next) = self.tunnels.sweep(now.mono, newer) {
            self.timers.set(TimerKey::Tunnels, next.max(now.mono + SWEEP_INTERVAL));
        }
        self.tell_tunnels();
    }
}
