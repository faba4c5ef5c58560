//! An interface as the stack sees it: its profile, its queue, how busy it is, and how it comes and goes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::announces::AnnounceQueue;
use super::arena::Arena;
use super::burst::{Burst, Ending, Frequency};
use super::egress::{Egress, Room};
use super::tunnels::TUNNEL_LIFETIME;
use super::{InterfaceId, InterfaceProfile, Mode, Stack, TimerKey};
use crate::hash::{DestinationHash, LinkId};
use crate::time::{Instant, Now};
use crate::wire::MTU;

/// How long after an interface went down its paths and ways back are kept, in case it returns.
/// docs/protocol/1-core.md, section 5.12.
pub const INTERFACE_LINGER: Duration = Duration::from_secs(5);

/// Time between two looks for what led over interfaces that are gone.
const INTERFACES_GONE_INTERVAL: Duration = Duration::from_secs(1);

/// Lifetime of a path learned on an access point interface.
pub const PATH_LIFETIME_ACCESS_POINT: Duration = Duration::from_secs(86_400);
/// Lifetime of a path learned on a roaming interface.
pub const PATH_LIFETIME_ROAMING: Duration = Duration::from_secs(21_600);
/// Lifetime of a path learned on any other interface.
pub const PATH_LIFETIME: Duration = Duration::from_secs(604_800);

/// An announce held back during a burst.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) frame: Arc<[u8]>,
    pub(super) hops: u8,
}

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) profile: InterfaceProfile,
    pub(super) up_since: Instant,
    pub(super) egress: Egress,
    /// Links that have more to send than the queue takes, in turn.
    pub(super) crowded: VecDeque<LinkId>,
    /// Announces that wait for their share of the bitrate.
    pub(super) queue: AnnounceQueue,
    /// Of the frames in `egress` that were carried here.
    pub(super) arena: Arena,
    pub(super) announces: Burst,
    pub(super) path_requests: Burst,
    /// Path requests that left here.
    pub(super) requests_sent: Frequency,
    pub(super) held: BTreeMap<DestinationHash, Held>,
    /// When a packet for a tunnel was last checked.
    pub(super) tunnel_checked: Option<Instant>,
    /// Nothing held is released before.
    pub(super) release_after: Instant,
}

impl Interface {
    pub(super) fn new(profile: InterfaceProfile, now: Instant, room: Room, queued: usize) -> Self {
        let limits = profile.burst_limits;
        Self {
            profile,
            up_since: now,
            egress: Egress::new(room),
            arena: Arena::default(),
            crowded: VecDeque::new(),
            queue: AnnounceQueue::new(queued),
            announces: Burst::new(Ending::AtOnce, &limits),
            path_requests: Burst::new(Ending::AfterCooldown, &limits),
            requests_sent: Frequency::default(),
            held: BTreeMap::new(),
            tunnel_checked: None,
            release_after: Instant::ZERO,
        }
    }

    /// Longest frame accepted, without access code: an undefined hardware MTU counts as 500. docs/protocol/1-core.md, section 3.5.
    pub(super) fn frame_max(&self) -> usize {
        self.mtu().saturating_add(self.profile.access_code_len)
    }

    /// Longest frame sent: an undefined hardware MTU counts as 500 here too.
    pub(super) fn mtu(&self) -> usize {
        self.profile.hw_mtu.unwrap_or(MTU)
    }

    /// The MTU links may use here: the medium's where it is fixed or negotiated, else 500.
    pub(super) fn link_mtu(&self) -> usize {
        if self.profile.negotiates_mtu { self.mtu() } else { MTU }
    }

    /// Time one frame of 500 bytes takes.
    pub(super) fn frame_time(&self) -> Duration {
        let bits = u64::try_from(MTU * 8).unwrap_or(u64::MAX);
        Duration::from_micros(bits.saturating_mul(1_000_000) / self.profile.bitrate_bps.max(1))
    }
}

impl Stack {
    pub(super) fn interface_up(&mut self, now: Now, id: InterfaceId, profile: InterfaceProfile) {
        self.lingering.remove(&id);
        if profile.local_client {
            self.clients.insert(id);
        } else {
            self.clients.remove(&id);
        }
        if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.announces.set_limits(&profile.burst_limits);
            interface.path_requests.set_limits(&profile.burst_limits);
            interface.profile = profile;
            return;
        }
        let sizes = &self.config.capacities;
        let room = Room { frames: sizes.queue, bytes: sizes.queue_bytes };
        self.interfaces.insert(id, Interface::new(profile, now.mono, room, sizes.queued_announces));
        self.open_tunnel(id);
        if self.config.behind_shared_instance {
            self.instance_found(now, id);
        }
    }

    pub(super) fn interface_down(&mut self, now: Now, id: InterfaceId) {
        let Some(interface) = self.interfaces.remove(&id) else { return };
        // Who makes a tunnel comes back as the same interface, however long that takes.
        let linger = if interface.profile.tunnel.is_some() { TUNNEL_LIFETIME } else { INTERFACE_LINGER };
        self.timers.clear(TimerKey::Ingress(id));
        self.timers.clear(TimerKey::Announces(id));
        self.tunnels.leave(id);
        self.clients.remove(&id);
        let gone = now.mono + linger;
        self.lingering.insert(id, gone);
        if self.timers.deadline(TimerKey::InterfacesGone).is_none_or(|at| gone < at) {
            self.timers.set(TimerKey::InterfacesGone, gone);
        }
        self.abandon_links(now, id);
        if self.config.behind_shared_instance {
            self.instance_lost(now, id);
        }
    }

    /// Nothing leads over interfaces any more that stayed away. All of them go in one pass, and passes are a second apart:
    /// connections that come and go must not cost a look at every table each. docs/protocol/1-core.md, sections 5.2, 5.4, 5.5.
    pub(super) fn interfaces_gone(&mut self, now: Now) {
        let gone: BTreeSet<_> = self.lingering.iter().filter(|(_, at)| **at <= now.mono).map(|(id, _)| *id).collect();
        self.lingering.retain(|id, _| !gone.contains(id));
        if let Some(next) = self.lingering.values().min() {
            self.timers.set(TimerKey::InterfacesGone, (*next).max(now.mono + INTERFACES_GONE_INTERVAL));
        }
        let lost: Vec<_> = self.paths.iter().filter(|(_, path)| gone.contains(&path.on)).map(|(to, _)| *to).collect();
        for destination in lost {
            self.drop_path(destination);
        }
        self.reverse.retain(|_, way| !gone.contains(&way.received) && !gone.contains(&way.sent));
        let timers = &mut self.timers;
        self.relays.retain(|link, relay| {
            let stays = !gone.contains(&relay.received) && !gone.contains(&relay.sent);
            if !stays {
                timers.clear(TimerKey::Relay(*link));
            }
            stays
        });
        self.responses.retain(|(destination, on), _| {
            let stays = !gone.contains(on);
            if !stays {
                timers.clear(TimerKey::Response(*destination, *on));
            }
            stays
        });
        self.stats.interfaces.retain(|id, _| !gone.contains(id));
    }
}

/// The interface that most of these are about. Where strangers fill a table, it is the one that gives way: a flood on one
/// interface then takes nothing from the others.
pub(super) fn busiest(of: impl Iterator<Item = InterfaceId>) -> Option<InterfaceId> {
    let mut counts = BTreeMap::<InterfaceId, usize>::new();
    for on in of {
        *counts.entry(on).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(on, _)| on)
}

/// What decides where an announce goes of the interface it was learned on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    mode: Mode,
    to_internal: bool,
}

impl InterfaceProfile {
    /// What others have to know to carry announces learned here.
    pub(super) const fn source(&self) -> Source {
        Source { mode: self.mode, to_internal: self.announces_to_internal }
    }

    /// Whether an announce learned on `source` goes out here. docs/protocol/1-core.md, section 4.5.
    pub(super) const fn carries_announces_of(&self, source: Source) -> bool {
        if matches!(source.mode, Mode::Internal) && !self.announces_from_internal {
            return false;
        }
        let let_in = matches!(self.mode, Mode::Internal) && source.to_internal;
        !self.receive_only && (let_in || self.mode.carries_announces_of(source.mode))
    }
}

impl Mode {
    /// How long a path learned on an interface of this mode lives without use. docs/protocol/1-core.md, section 5.2.
    pub const fn path_lifetime(self) -> Duration {
        match self {
            Self::AccessPoint => PATH_LIFETIME_ACCESS_POINT,
            Self::Roaming => PATH_LIFETIME_ROAMING,
            Self::Full | Self::PointToPoint | Self::Boundary | Self::Gateway | Self::Internal => PATH_LIFETIME,
        }
    }

    /// Whether own announces go out on an interface of this mode. docs/protocol/1-core.md, section 4.5.
    pub const fn carries_own_announces(self) -> bool {
        !matches!(self, Self::AccessPoint)
    }

    /// Whether an announce learned on an interface of mode `source` goes out on one of this mode.
    pub const fn carries_announces_of(self, source: Self) -> bool {
        match self {
            Self::AccessPoint => false,
            Self::Internal => !matches!(source, Self::Boundary),
            Self::Roaming => !matches!(source, Self::Roaming | Self::Boundary),
            Self::Boundary => !matches!(source, Self::Roaming),
            Self::Full | Self::PointToPoint | Self::Gateway => true,
        }
    }

    /// Whether an unknown path that is asked for here is searched for on an interface of mode `other`.
    /// docs/protocol/1-core.md, sections 5.6 and 6.
    pub const fn searches_on(self, other: Self) -> bool {
        match self {
            Self::AccessPoint | Self::Gateway | Self::Roaming | Self::Internal => true,
            Self::Boundary => matches!(other, Self::Boundary | Self::Gateway),
            Self::Full | Self::PointToPoint => false,
        }
    }

    /// Whether unknown paths that are asked for here are searched for at all.
    pub const fn searches(self) -> bool {
        !matches!(self, Self::Full | Self::PointToPoint)
    }
}
