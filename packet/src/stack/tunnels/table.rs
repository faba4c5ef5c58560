//! The table of tunnels, and what each keeps.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{TUNNEL_LIFETIME, TunnelView};
use crate::announce::{AnnounceRef, RandomHash};
use crate::bounded::Bounded;
use crate::hash::{DestinationHash, IdentityHash, TunnelId};
use crate::stack::InterfaceId;
use crate::stack::path::PathEntry;
use crate::stack::tunnel_wire::TUNNEL_RANDOM_LEN;
use crate::time::Instant;

/// A path as a tunnel keeps it: everything but the interface.
#[derive(Debug)]
pub(in crate::stack) struct TunnelPath {
    next_hop: IdentityHash,
    pub(super) hops: u8,
    pub(super) expires: Instant,
    /// Of the newest announce heard over the tunnel. The list of the path itself also has what was heard elsewhere.
    pub(super) newest: RandomHash,
    announce: Arc<[u8]>,
    learned: Instant,
}

impl TunnelPath {
    pub(super) fn of(entry: &PathEntry, now: Instant) -> Self {
        Self {
            next_hop: entry.next_hop,
            hops: entry.hops,
            expires: entry.expires,
            newest: entry.newest(),
            announce: entry.announce.clone(),
            learned: now,
        }
    }

    /// Who announced it.
    pub(super) fn owner(&self) -> Option<IdentityHash> {
        AnnounceRef::of(&self.announce).map(|announce| announce.identity_hash())
    }

    pub(super) fn entry(&self, now: Instant, on: InterfaceId) -> PathEntry {
        PathEntry {
            next_hop: self.next_hop,
            hops: self.hops,
            on,
            used: now,
            expires: self.expires,
            counted: Instant::ZERO,
            random: self.newest,
            heard_before: Box::default(),
            unresponsive: false,
            announce: self.announce.clone(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) on: Option<InterfaceId>,
    /// The random part of the packet that made it last.
    pub(super) random: [u8; TUNNEL_RANDOM_LEN],
    expires: Instant,
    paths: Bounded<DestinationHash, TunnelPath>,
}

/// Bounded in tunnels and in paths of all tunnels together. Of tunnels, the one that was made or taught a path longest ago
/// leaves; of paths, the oldest of the tunnel that has most.
#[derive(Debug)]
pub(in crate::stack) struct Tunnels {
    tunnels: Bounded<TunnelId, Tunnel>,
    by_interface: BTreeMap<InterfaceId, TunnelId>,
    /// Paths of all tunnels.
    kept: usize,
    paths_max: usize,
}

impl Tunnels {
    pub(in crate::stack) fn new(tunnels: usize, paths_max: usize) -> Self {
        Self { tunnels: Bounded::new(tunnels), by_interface: BTreeMap::new(), kept: 0, paths_max }
    }

    pub(super) fn get(&self, id: &TunnelId) -> Option<&Tunnel> {
        self.tunnels.get(id)
    }

    pub(super) fn on(&self, interface: InterfaceId) -> Option<TunnelId> {
        self.by_interface.get(&interface).copied()
    }

    pub(super) fn views(&self) -> impl Iterator<Item = TunnelView> {
        self.tunnels.iter().map(|(id, tunnel)| TunnelView {
            id: *id,
            on: tunnel.on,
            paths: tunnel.paths.len(),
            expires: tunnel.expires,
        })
    }

    pub(super) fn paths(&self, of: &TunnelId) -> impl Iterator<Item = DestinationHash> {
        self.tunnels.get(of).into_iter().flat_map(|tunnel| tunnel.paths.iter().map(|(destination, _)| *destination))
    }

    pub(super) fn path(&self, of: &TunnelId, destination: &DestinationHash) -> Option<&TunnelPath> {
        self.tunnels.get(of)?.paths.get(destination)
    }

    /// The tunnel is this interface now. One whose time was up is made anew, without paths.
    pub(super) fn appear(
        &mut self,
        now: Instant,
        id: TunnelId,
        on: InterfaceId,
        random: [u8; TUNNEL_RANDOM_LEN],
        expires: Instant,
    ) {
        if self.tunnels.get(&id).is_some_and(|tunnel| now > tunnel.expires) {
            self.remove(&id);
        }
        self.leave(on);
        if let Some(before) = self.tunnels.get(&id).and_then(|tunnel| tunnel.on) {
            self.leave(before);
        }
        self.by_interface.insert(on, id);
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            (tunnel.on, tunnel.random, tunnel.expires) = (Some(on), random, expires);
            return self.tunnels.refresh(&id);
        }
        let tunnel = Tunnel { on: Some(on), random, expires, paths: Bounded::new(self.paths_max) };
        if let Some((_, evicted)) = self.tunnels.insert(id, tunnel) {
            self.forget(&evicted);
        }
    }

    pub(in crate::stack) fn clear(&mut self) {
        self.tunnels.retain(|_, _| false);
        self.by_interface.clear();
        self.kept = 0;
    }

    /// The interface is gone, or another tunnel now.
    pub(in crate::stack) fn leave(&mut self, on: InterfaceId) {
        if let Some(tunnel) = self.by_interface.remove(&on).and_then(|id| self.tunnels.get_mut(&id)) {
            tunnel.on = None;
        }
    }

    pub(super) fn keep(&mut self, id: &TunnelId, destination: DestinationHash, path: TunnelPath, expires: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        tunnel.expires = expires;
        let before = tunnel.paths.len();
        tunnel.paths.insert(destination, path);
        self.kept = self.kept.saturating_add(tunnel.paths.len()).saturating_sub(before);
        self.tunnels.refresh(id);
        if self.kept > self.paths_max {
            self.forget_oldest_path();
        }
    }

    fn forget_oldest_path(&mut self) {
        let most = self.tunnels.iter().max_by_key(|(_, tunnel)| tunnel.paths.len()).map(|(id, _)| *id);
        let tunnel = most.and_then(|id| self.tunnels.get_mut(&id));
        if tunnel.is_some_and(|tunnel| tunnel.paths.pop_oldest_if(|_, _| true).is_some()) {
            self.kept = self.kept.saturating_sub(1);
        }
    }

    pub(super) fn forget_path(&mut self, id: &TunnelId, destination: &DestinationHash) {
        if self.tunnels.get_mut(id).is_some_and(|tunnel| tunnel.paths.remove(destination).is_some()) {
            self.kept = self.kept.saturating_sub(1);
        }
    }

    fn remove(&mut self, id: &TunnelId) {
        if let Some(tunnel) = self.tunnels.remove(id) {
            self.forget(&tunnel);
        }
    }

    /// A tunnel left the table.
    fn forget(&mut self, tunnel: &Tunnel) {
        self.kept = self.kept.saturating_sub(tunnel.paths.len());
        if let Some(on) = tunnel.on {
            self.by_interface.remove(&on);
        }
    }

    /// Forgets tunnels and paths whose time is up, and paths that are `outdated`. Tells when the next may be due.
    pub(super) fn sweep(
        &mut self,
        now: Instant,
        outdated: impl Fn(&DestinationHash, &TunnelPath) -> bool,
    ) -> Option<Instant> {
        let ended: Vec<_> = self.tunnels.iter().filter(|(_, tunnel)| now > tunnel.expires).map(|(id, _)| *id).collect();
        ended.iter().for_each(|id| self.remove(id));
        let mut next: Option<Instant> = None;
        let kept = &mut self.kept;
        self.tunnels.retain(|_, tunnel| {
            let before = tunnel.paths.len();
            let mut first = tunnel.expires;
            tunnel.paths.retain(|destination, path| {
                let end = path.learned + TUNNEL_LIFETIME;
                let stays = now <= end && !outdated(destination, path);
                if stays {
                    first = first.min(end);
                }
                stays
            });
            *kept = kept.saturating_sub(before.saturating_sub(tunnel.paths.len()));
            next = Some(next.map_or(first, |next| next.min(first)));
            true
        });
        next.map(|next| next + Duration::from_micros(1))
    }
}
