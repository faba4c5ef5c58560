//! The table of tunnels, and what each keeps.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::kept::News;
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
    pub(super) next_hop: IdentityHash,
    pub(super) hops: u8,
    pub(super) expires: Instant,
    /// Of the newest announce heard over the tunnel. The list of the path itself also has what was heard elsewhere.
    pub(super) newest: RandomHash,
    pub(super) announce: Arc<[u8]>,
    /// When it is forgotten.
    pub(super) ends: Instant,
}

impl TunnelPath {
    pub(super) fn of(entry: &PathEntry, now: Instant) -> Self {
        Self {
            next_hop: entry.next_hop,
            hops: entry.hops,
            expires: entry.expires,
            newest: entry.newest(),
            announce: entry.announce.clone(),
            ends: now + TUNNEL_LIFETIME,
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
    /// When its paths were last given back, and whether they are to be again as soon as that is a while ago.
    given_back: Option<Instant>,
    pub(super) owes: bool,
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
    pub(super) news: News,
    seed: u64,
}

impl Tunnels {
    pub(in crate::stack) fn keyed(tunnels: usize, paths_max: usize, seed: u64) -> Self {
        Self {
            tunnels: Bounded::keyed(tunnels, seed),
            by_interface: BTreeMap::new(),
            kept: 0,
            paths_max,
            news: News::new(paths_max),
            seed,
        }
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

    /// All paths of all tunnels.
    pub(super) fn all(&self) -> impl Iterator<Item = (TunnelId, DestinationHash, &TunnelPath)> {
        self.tunnels
            .iter()
            .flat_map(|(id, tunnel)| tunnel.paths.iter().map(|(destination, path)| (*id, *destination, path)))
    }

    /// The tunnel is this interface now; says whether it was not before. One whose time was up is made anew, without paths.
    pub(super) fn appear(
        &mut self,
        now: Instant,
        id: TunnelId,
        on: InterfaceId,
        random: [u8; TUNNEL_RANDOM_LEN],
        expires: Instant,
    ) -> bool {
        if self.tunnels.get(&id).is_some_and(|tunnel| now > tunnel.expires) {
            self.remove(&id);
        }
        if self.by_interface.get(&on) == Some(&id)
            && let Some(tunnel) = self.tunnels.use_mut(&id)
        {
            (tunnel.random, tunnel.expires) = (random, expires);
            return false;
        }
        self.leave(on);
        if let Some(before) = self.tunnels.get(&id).and_then(|tunnel| tunnel.on) {
            self.leave(before);
        }
        self.by_interface.insert(on, id);
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            (tunnel.on, tunnel.random, tunnel.expires) = (Some(on), random, expires);
            self.tunnels.refresh(&id);
            return true;
        }
        self.make(id, Some(on), random, expires);
        true
    }

    fn make(&mut self, id: TunnelId, on: Option<InterfaceId>, random: [u8; TUNNEL_RANDOM_LEN], expires: Instant) {
        let paths = Bounded::keyed(self.paths_max, self.seed);
        let tunnel = Tunnel { on, random, expires, given_back: None, owes: false, paths };
        if let Some((evicted, tunnel)) = self.tunnels.insert(id, tunnel) {
            self.forget(&evicted, &tunnel);
        }
    }

    /// Whether the paths of a tunnel may be given back now. At most once in so long, so that connections which take a tunnel
    /// from one another do not cost all of its paths each time; what is put off is remembered.
    pub(super) fn gives_back(&mut self, now: Instant, id: &TunnelId, interval: Duration) -> bool {
        let has_paths = |tunnel: &&mut Tunnel| !tunnel.paths.is_empty();
        let Some(tunnel) = self.tunnels.get_mut(id).filter(has_paths) else { return false };
        tunnel.owes = tunnel.given_back.is_some_and(|last| now < last + interval);
        if !tunnel.owes {
            tunnel.given_back = Some(now);
        }
        !tunnel.owes
    }

    /// The tunnels whose paths are still to be given back.
    pub(super) fn owing(&self) -> Vec<TunnelId> {
        let owing = |tunnel: &Tunnel| tunnel.owes && tunnel.on.is_some();
        self.tunnels.iter().filter(|(_, tunnel)| owing(tunnel)).map(|(id, _)| *id).collect()
    }

    /// Takes back a path that was kept over a restart.
    pub(super) fn restore(&mut self, id: TunnelId, destination: DestinationHash, path: TunnelPath) {
        if self.tunnels.get(&id).is_none() {
            self.make(id, None, [0; TUNNEL_RANDOM_LEN], path.ends);
        }
        let expires = self.tunnels.get(&id).map_or(path.ends, |tunnel| tunnel.expires.max(path.ends));
        self.put(&id, destination, path, expires);
    }

    pub(in crate::stack) fn clear(&mut self) {
        self.tunnels.retain(|_, _| false);
        self.news.everything();
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
        self.news.about(id, &destination);
        self.put(id, destination, path, expires);
    }

    fn put(&mut self, id: &TunnelId, destination: DestinationHash, path: TunnelPath, expires: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(id) else { return };
        tunnel.expires = expires;
        let before = tunnel.paths.len();
        if let Some((left, _)) = tunnel.paths.insert(destination, path) {
            self.news.about(id, &left);
        }
        self.kept = self.kept.saturating_add(tunnel.paths.len()).saturating_sub(before);
        self.tunnels.refresh(id);
        if self.kept > self.paths_max {
            self.forget_oldest_path();
        }
    }

    fn forget_oldest_path(&mut self) {
        let most = self.tunnels.iter().max_by_key(|(_, tunnel)| tunnel.paths.len()).map(|(id, _)| *id);
        let Some((id, tunnel)) = most.and_then(|id| Some((id, self.tunnels.get_mut(&id)?))) else { return };
        if let Some((left, _)) = tunnel.paths.pop_oldest_if(|_, _| true) {
            self.kept = self.kept.saturating_sub(1);
            self.news.about(&id, &left);
        }
    }

    pub(super) fn forget_path(&mut self, id: &TunnelId, destination: &DestinationHash) {
        if self.tunnels.get_mut(id).is_some_and(|tunnel| tunnel.paths.remove(destination).is_some()) {
            self.kept = self.kept.saturating_sub(1);
            self.news.about(id, destination);
        }
    }

    fn remove(&mut self, id: &TunnelId) {
        if let Some(tunnel) = self.tunnels.remove(id) {
            self.forget(id, &tunnel);
        }
    }

    /// A tunnel left the table.
    fn forget(&mut self, id: &TunnelId, tunnel: &Tunnel) {
        self.kept = self.kept.saturating_sub(tunnel.paths.len());
        tunnel.paths.iter().for_each(|(destination, _)| self.news.about(id, destination));
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
        let (kept, news) = (&mut self.kept, &mut self.news);
        self.tunnels.retain(|id, tunnel| {
            let before = tunnel.paths.len();
            let mut first = tunnel.expires;
            tunnel.paths.retain(|destination, path| {
                let stays = now <= path.ends && !outdated(destination, path);
                if stays {
                    first = first.min(path.ends);
                } else {
                    news.about(id, destination);
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
