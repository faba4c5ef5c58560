//! What tunnels keep over a restart of this node: their paths, each by itself. docs/protocol/1-core.md, section 5.13;
//! docs/decisions/0064-tunnels-path-by-path.md.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{SWEEP_INTERVAL, TUNNEL_LIFETIME, TunnelPath};
use crate::announce::RandomHash;
use crate::hash::{DestinationHash, IdentityHash, TunnelId};
use crate::stack::{Output, PathRecord, Stack, TimerKey};
use crate::time::{Instant, Now, UnixTime};

/// A path that a tunnel keeps, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelRecord {
    /// Which tunnel.
    pub tunnel: TunnelId,
    /// Whose path.
    pub destination: DestinationHash,
    /// The transport node to hand packets to; for a direct neighbour the bytes of the destination hash.
    pub next_hop: IdentityHash,
    /// Distance; 1 is a direct neighbour.
    pub hops: u8,
    /// From when on a longer way may replace it without being newer.
    pub expires: UnixTime,
    /// Of the newest announce heard over the tunnel.
    pub newest: RandomHash,
    /// When the tunnel forgets it.
    pub ends: UnixTime,
    /// Announce frame as it was received.
    pub announce: Vec<u8>,
}

/// What changed of the paths that tunnels keep, since it was asked for last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TunnelChanges {
    /// What was stored before is void: `paths` are all there are.
    pub all: bool,
    /// Each path that changed; none for one that is not kept any more.
    pub paths: Vec<(TunnelId, DestinationHash, Option<TunnelRecord>)>,
}

/// Which paths changed. When they are more than may be kept, all count as changed.
#[derive(Debug)]
pub(super) struct News {
    about: BTreeSet<(TunnelId, DestinationHash)>,
    all: bool,
    told: bool,
    max: usize,
}

impl News {
    pub(super) fn new(max: usize) -> Self {
        Self { about: BTreeSet::new(), all: false, told: false, max }
    }

    pub(super) fn about(&mut self, id: &TunnelId, destination: &DestinationHash) {
        if !self.all {
            self.about.insert((*id, *destination));
            if self.about.len() > self.max {
                self.everything();
            }
        }
    }

    pub(super) fn everything(&mut self) {
        self.all = true;
        self.about = BTreeSet::new();
    }

    /// Whether there is something to tell that was not told yet.
    fn tell(&mut self) -> bool {
        let is_news = self.all || !self.about.is_empty();
        is_news && !core::mem::replace(&mut self.told, true)
    }

    fn take(&mut self) -> (bool, BTreeSet<(TunnelId, DestinationHash)>) {
        self.told = false;
        (core::mem::take(&mut self.all), core::mem::take(&mut self.about))
    }
}

impl Stack {
    /// What changed of the paths that tunnels keep, to be stored and given to [`Stack::restore_tunnels`].
    pub fn take_tunnel_changes(&mut self, now: Now) -> TunnelChanges {
        let (all, about) = self.tunnels.news.take();
        let paths = if all {
            let kept = self.tunnels.all();
            kept.map(|(id, destination, path)| (id, destination, Some(record(now, id, destination, path)))).collect()
        } else {
            let found = |(id, destination)| {
                let path = self.tunnels.path(&id, &destination);
                (id, destination, path.map(|path| record(now, id, destination, path)))
            };
            about.into_iter().map(found).collect()
        };
        TunnelChanges { all, paths }
    }

    /// Takes back the paths that tunnels kept in an earlier run of this node. What does not parse and what has ended
    /// meanwhile is left out, and counts as changed. Signatures were checked before and are not checked again.
    pub fn restore_tunnels(&mut self, now: Now, mut records: Vec<TunnelRecord>) {
        // Those that leave first where there is no room for all.
        records.sort_by_key(|record| record.ends);
        for stored in records {
            let kept = TunnelPath::restored(now, &stored);
            let Some(path) = kept.filter(|_| stored.ends > now.unix) else {
                self.tunnels.news.about(&stored.tunnel, &stored.destination);
                continue;
            };
            let TunnelRecord { tunnel, destination, ends, announce, .. } = stored;
            let heard = UnixTime(ends.0.saturating_sub(TUNNEL_LIFETIME.as_secs()));
            self.restore_known(&PathRecord::heard(destination, announce, heard));
            self.tunnels.restore(tunnel, destination, path);
        }
        self.timers.set(TimerKey::Tunnels, now.mono + SWEEP_INTERVAL);
        self.tell_tunnels();
    }

    pub(in crate::stack) fn tell_tunnels(&mut self) {
        if self.tunnels.news.tell() {
            self.outputs.push_back(Output::TunnelsChanged);
        }
    }
}

fn record(now: Now, tunnel: TunnelId, destination: DestinationHash, path: &TunnelPath) -> TunnelRecord {
    TunnelRecord {
        tunnel,
        destination,
        next_hop: path.next_hop,
        hops: path.hops,
        expires: wall(now, path.expires),
        newest: path.newest,
        ends: wall(now, path.ends),
        announce: path.announce.to_vec(),
    }
}

/// What the wall clock shows at an instant, if nobody sets it.
fn wall(now: Now, at: Instant) -> UnixTime {
    let passed = UnixTime(now.unix.0.saturating_sub(now.mono.since(at).as_secs()));
    passed.plus(at.since(now.mono))
}

/// When the wall clock will show this, and not later than in so long: a stored time may be nonsense, or the clock set back.
pub(super) fn until(now: Now, time: UnixTime, most: Duration) -> Instant {
    now.mono + Duration::from_secs(time.0.saturating_sub(now.unix.0)).min(most)
}

impl TunnelPath {
    fn restored(now: Now, stored: &TunnelRecord) -> Option<Self> {
        let packet = crate::wire::PacketRef::parse(&stored.announce).ok()?;
        let announce = crate::announce::AnnounceRef::parse(&packet).ok()?;
        (announce.destination == stored.destination).then(|| Self {
            next_hop: stored.next_hop,
            hops: stored.hops,
            expires: until(now, stored.expires, crate::stack::PATH_LIFETIME),
            newest: stored.newest,
            announce: stored.announce.as_slice().into(),
            ends: until(now, stored.ends, TUNNEL_LIFETIME),
        })
    }
}
