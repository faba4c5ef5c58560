//! The machine that routes: interfaces, paths, announces, forwarding, links. docs/protocol/1-core.md, sections 3 to 5.
//!
//! One [`Stack`] is one node. Feed it [`Input`]s, then drain [`Stack::poll_output`]; pull frames with
//! [`Stack::poll_transmit`] when a driver has room and work with [`Stack::poll_job`] when a processor has time.

mod announces;
mod arena;
mod blackhole;
mod burst;
mod config;
mod echo;
mod egress;
mod forward;
mod inbound;
mod interface;
mod io;
mod links;
mod listeners;
mod load;
mod local;
mod path;
mod path_requests;
mod paths;
mod proving;
mod ratchets;
mod receipts;
mod relay;
mod requests_wire;
mod seen;
mod sending;
mod sharing;
mod stats;
mod tables;
#[cfg(test)]
mod tests;
mod tunnel_wire;
mod tunnels;

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_core::CryptoRng;

pub use announces::{
    ANNOUNCE_CAP_PPM, ANNOUNCE_RATE_GRACE, ANNOUNCE_RATE_TARGET, AnnounceBacklog, AnnounceError, AnnounceRate,
    AnnounceRateView, KNOWN_SWEEP_INTERVAL, QUEUED_ANNOUNCE_LIFETIME, REBROADCAST_GRACE, REBROADCAST_WINDOW,
    REBROADCASTS, REBROADCASTS_HEARD_MAX,
};
pub use blackhole::BlackholeChanges;
pub use burst::{
    ANNOUNCE_BURST_HZ, BURST_HOLD, BURST_PENALTY, BURST_SAMPLES_MIN, BurstLimits, FREQUENCY_DECAY, FREQUENCY_SAMPLES,
    HELD_MAX, HELD_RELEASE_INTERVAL, INTERFACE_NEW, PATH_REQUEST_BURST_HZ, PATH_REQUEST_EGRESS_HZ,
};
pub use config::{Capacities, Footprint, StackConfig};
pub use forward::REVERSE_LIFETIME;
pub use interface::{INTERFACE_LINGER, PATH_LIFETIME, PATH_LIFETIME_ACCESS_POINT, PATH_LIFETIME_ROAMING};
pub use io::{
    Event, Input, InterfaceId, InterfaceProfile, LinkCloseReason, Mode, Output, PathRecord, RequestError, Role,
    Standing, Transmit,
};
pub use links::LinkRef;
pub use listeners::Group;
pub use load::InterfaceLoad;
pub use local::{Destination, RegisterError};
pub use path::{Path, RANDOM_HASHES_MAX};
pub use path_requests::{
    BITRATE_MIN, DISCOVERY_TIMEOUT, IN_FLIGHT_LIFETIME, QUEUED_REQUEST_INTERVAL, QUEUED_REQUESTS_MAX,
    REQUEST_INTERVAL_MIN, RESPONSE_GRACE, RESPONSE_GRACE_ROAMING,
};
pub use proving::{NothingToProve, PROOF_DECISION_TIMEOUT};
pub use receipts::{HOPS_UNKNOWN, PER_HOP_TIMEOUT, ReceiptPolicy};
pub use relay::{RELAY_LIFETIME, RelayedLink};
pub use requests_wire::{PathRequestRef, path_request_destination};
pub use sending::{SendError, Target};
pub use stats::{DropReason, InterfaceStats, Stats};
pub use tables::TableSize;
pub use tunnel_wire::{TUNNEL_RANDOM_LEN, TunnelRef, tunnel_destination, tunnel_packet};
pub use tunnels::{TUNNEL_LIFETIME, TunnelChanges, TunnelRecord, TunnelView};

use announces::{Admission, Known, Rate, Rebroadcasts};
use egress::{Class, Queued};
use forward::Reverse;
use inbound::Arrived;
use interface::Interface;
use links::LinkSlot;
use listeners::Listener;
use local::Local;
use path::PathEntry;
use path_requests::{QueuedRequest, Waiting};
use proving::Undecided;
use ratchets::Tries;
use receipts::Receipt;
use relay::Relays;
use seen::Seen;
use tunnels::Tunnels;

use crate::bounded::Bounded;
use crate::ephemeral::LinkKeys;
use crate::exchange::Exchanges;
use crate::hash::{DestinationHash, IdentityHash, LinkId, sha256_head};
use crate::identity::Identity;
use crate::job::{ANNOUNCES_PER_JOB, Job, Outcome, Work};
pub use crate::link::ProofStrategy;
use crate::management::{Blackhole, BlackholeEntry};
use crate::signers::Signers;
use crate::time::{Instant, Now, UnixTime};
use crate::timers::Timers;
use crate::wire::{Flags, layout};

/// What has a deadline. At one instant they come in this order: a path response goes out before the rebroadcast that
/// waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Response(DestinationHash, InterfaceId),
    Rebroadcasts,
    /// After the rebroadcasts of the same instant: what they put into the queue leaves in the order of the queue.
    Announces(InterfaceId),
    Paths,
    Known,
    Receipt([u8; 16]),
    Relay(LinkId),
    Link(LinkId),
    Ingress(InterfaceId),
    Blackhole,
    InterfacesGone,
    Tunnels,
    TunnelsBack,
    QueuedRequest,
}

/// What a stack is given back after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Records from [`Output::Persist`]. They say who is who; the way is asked for anew, since interfaces may have changed.
    pub paths: Vec<PathRecord>,
    /// What [`Stack::last_emission`] said last. Announces will be dated later, whatever the clock says: peers ignore a node
    /// whose clock went back.
    pub last_emission: UnixTime,
    /// Who was shut out.
    pub blackhole: Vec<(IdentityHash, BlackholeEntry)>,
}

/// A routing node without I/O.
pub struct Stack {
    config: StackConfig,
    transport_id: IdentityHash,
    path_request_destination: DestinationHash,
    tunnel_destination: DestinationHash,
    rng: Box<dyn CryptoRng + Send>,
    interfaces: BTreeMap<InterfaceId, Interface>,
    /// Interfaces that went down, and when nothing is kept for their return any more.
    lingering: BTreeMap<InterfaceId, Instant>,
    locals: BTreeMap<DestinationHash, Local>,
    blackhole: Blackhole,
    listeners: BTreeMap<DestinationHash, Listener>,
    known: Bounded<DestinationHash, Known>,
    /// How many of them are kept for good.
    retained: usize,
    /// How many of them were looked at already, the oldest first, whether they are worth keeping.
    swept: usize,
    paths: Bounded<DestinationHash, PathEntry>,
    packet_hashes: Seen<[u8; 16]>,
    admission: Admission,
    rebroadcasts: Rebroadcasts,
    rates: Bounded<DestinationHash, Rate>,
    responses: BTreeMap<(DestinationHash, InterfaceId), Instant>,
    reverse: Bounded<[u8; 16], Reverse>,
    relays: Relays,
    /// Which way packets of links went that are carried over one interface.
    carried: Bounded<[u8; 16], bool>,
    links: BTreeMap<LinkId, LinkSlot>,
    /// Links that have a job waiting.
    link_jobs: VecDeque<LinkId>,
    /// Bytes that resources hold that arrive on links others opened.
    arriving: usize,
    /// Whether links were asked for a job first the last time.
    links_first: bool,
    receipts: Bounded<[u8; 16], Receipt>,
    exchanges: Exchanges,
    signers: Signers,
    link_keys: LinkKeys,
    tunnels: Tunnels,
    /// Interfaces that are programs on the same machine.
    clients: BTreeSet<InterfaceId>,
    /// Destinations that somebody outside asked programs on this machine for, and when.
    asked_of_clients: Bounded<DestinationHash, Instant>,
    instance_was_lost: bool,
    undecided: Bounded<[u8; 16], Undecided>,
    ratchet_tries: Tries,
    tags: Seen<[u8; 16]>,
    in_flight: Bounded<DestinationHash, Instant>,
    waiting: Bounded<DestinationHash, Waiting>,
    requested: Bounded<DestinationHash, Instant>,
    queued_requests: VecDeque<QueuedRequest>,
    last_emission: UnixTime,
    timers: Timers<TimerKey>,
    outputs: VecDeque<Output>,
    /// Where frames of closed networks are unmasked; kept for its allocation.
    opened: Vec<u8>,
    stats: Stats,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("transport_id", &self.transport_id)
            .field("interfaces", &self.interfaces.len())
            .field("paths", &self.paths.len())
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

/// Where keys land in tables follows from the node's private key: it is as secret as that, and draws no randomness, so that
/// what a node sends does not depend on how its tables are made.
fn table_seed(identity: &Identity) -> u64 {
    u64::from_le_bytes(sha256_head(&[b"places in tables", identity.to_private_bytes().as_ref()]))
}

impl Stack {
    /// A stack without interfaces. All its randomness comes from `rng`.
    pub fn new(mut config: StackConfig, rng: Box<dyn CryptoRng + Send>) -> Self {
        // The instance carries for others, not the programs behind it.
        config.transport_enabled &= !config.behind_shared_instance;
        let sizes = &config.capacities;
        let seed = table_seed(&config.identity);
        Self {
            transport_id: config.identity.hash(),
            path_request_destination: path_request_destination(),
            tunnel_destination: tunnel_destination(),
            rng,
            interfaces: BTreeMap::new(),
            lingering: BTreeMap::new(),
            locals: BTreeMap::new(),
            blackhole: Blackhole::new(config.identity.hash(), sizes.blackhole),
            listeners: BTreeMap::new(),
            known: Bounded::keyed(sizes.known, seed),
            retained: 0,
            swept: 0,
            paths: Bounded::keyed(sizes.paths, seed),
            packet_hashes: Seen::keyed(sizes.packet_hashes, seed),
            admission: Admission::new(sizes.admission),
            rebroadcasts: Rebroadcasts::keyed(sizes.rebroadcasts, seed),
            rates: Bounded::keyed(sizes.rates, seed),
            responses: BTreeMap::new(),
            reverse: Bounded::keyed(sizes.reverse, seed),
            carried: Bounded::keyed(sizes.relays, seed),
            relays: Relays::keyed(sizes.relays, seed),
            links: BTreeMap::new(),
            link_jobs: VecDeque::new(),
            arriving: 0,
            links_first: false,
            receipts: Bounded::keyed(sizes.receipts, seed),
            exchanges: Exchanges::new(sizes.exchanges),
            signers: Signers::new(sizes.exchanges),
            link_keys: LinkKeys::new(),
            tunnels: Tunnels::keyed(sizes.tunnels, sizes.tunnel_paths, seed),
            clients: BTreeSet::new(),
            asked_of_clients: Bounded::keyed(sizes.path_requests, seed),
            instance_was_lost: false,
            undecided: Bounded::keyed(sizes.receipts, seed),
            ratchet_tries: Tries::new(),
            tags: Seen::keyed(sizes.tags, seed),
            in_flight: Bounded::keyed(sizes.path_requests, seed),
            waiting: Bounded::keyed(sizes.path_requests, seed),
            requested: Bounded::keyed(sizes.path_requests, seed),
            queued_requests: VecDeque::new(),
            last_emission: UnixTime::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            opened: Vec::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// Takes back what an earlier run of this node knew. Records that do not parse are skipped; their signatures were
    /// checked before they were stored and are not checked again.
    pub fn restore(&mut self, mut saved: Snapshot) {
        self.last_emission = self.last_emission.max(saved.last_emission);
        // Those heard last come in last: where there is not room for all, they stay.
        saved.paths.sort_by_key(|record| record.heard);
        for record in &saved.paths {
            self.restore_known(record);
        }
        self.restore_blackhole(saved.blackhole);
    }

    /// Takes one input. Nothing a peer sends makes it fail; drain [`Stack::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Frame { on, bytes } => self.handle_frame(now, on, bytes, None),
            Input::InterfaceUp { id, profile } => self.interface_up(now, id, profile),
            Input::InterfaceDown { id } => self.interface_down(now, id),
            Input::JobDone(result) => match result.0 {
                Outcome::Announces(verdicts) => {
                    verdicts.into_iter().for_each(|(key, verdict)| self.announce_checked(now, key, verdict));
                }
                Outcome::Link { link, result } => self.link_job_done(now, link, result),
                Outcome::Prepared(keys) => self.exchanges.prepared(keys),
                Outcome::KeysMade(keys) => self.link_keys.made(keys),
            },
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// The next thing to do or to know. Call until `None` after every input and every call that changes the stack.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The most urgent frame for an interface. Call when its driver has room, until `None`; again after
    /// [`Output::Ready`].
    pub fn poll_transmit(&mut self, _now: Now, on: InterfaceId) -> Option<Transmit> {
        let interface = self.interfaces.get_mut(&on)?;
        let frame = interface.egress.pop()?;
        // Signed when it leaves and not before: what is dropped from a queue costs nothing.
        let frame = match &interface.profile.access_key {
            None => frame,
            Some(key) => key.seal(&frame, interface.profile.access_code_len),
        };
        let stats = self.stats.interfaces.entry(on).or_default();
        stats.sent_frames += 1;
        stats.sent_bytes += u64::try_from(frame.len()).unwrap_or_default();
        self.refill(on);
        Some(Transmit { frame })
    }

    /// The next piece of work. Call when a processor has time, after any input; its result comes back as
    /// [`Input::JobDone`].
    pub fn poll_job(&mut self) -> Option<Job> {
        // In turn: neither kind of work keeps the other waiting.
        self.links_first = !self.links_first;
        match self.next_job(self.links_first) {
            None => self.next_job(!self.links_first),
            job => job,
        }
    }

    fn next_job(&mut self, of_links: bool) -> Option<Job> {
        let work = if of_links {
            let (link, job) = self.next_link_job()?;
            Work::Link { link, job }
        } else {
            let announces = self.admission.next(ANNOUNCES_PER_JOB);
            if announces.is_empty() {
                // Ahead of what is needed, so behind what is.
                match self.exchanges.next_job(&mut *self.rng) {
                    Some(preparation) => Work::Prepare(preparation),
                    None => Work::MakeKeys(self.link_keys.next_job(&mut *self.rng)?),
                }
            } else {
                Work::VerifyAnnounces(announces)
            }
        };
        Some(Job(work))
    }

    /// How many announces from this interface can be taken in before one of them is dropped for want of processors. Where a
    /// medium can wait, let it wait while this is zero and jobs are running.
    pub fn admits(&self, on: InterfaceId) -> usize {
        self.admission.room(on)
    }

    /// When to hand in [`Input::Timeout`]; changes with every input and call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The date of the newest announce this node made; to be kept across restarts and given to [`Stack::restore`].
    pub fn last_emission(&self) -> UnixTime {
        self.last_emission
    }

    /// The hash that names this node as next hop.
    pub fn transport_id(&self) -> IdentityHash {
        self.transport_id
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(key) = self.timers.pop_due(now.mono) {
            match key {
                TimerKey::Response(destination, on) => self.send_response(now, destination, on),
                TimerKey::Rebroadcasts => self.next_rebroadcast(now),
                TimerKey::Announces(on) => self.send_queued_announces(now, on),
                TimerKey::Paths => self.sweep_paths(now),
                TimerKey::Known => self.sweep_known(now),
                TimerKey::Receipt(packet) => self.receipt_timeout(packet),
                TimerKey::Relay(link) => self.relay_timeout(now, link),
                TimerKey::Link(link) => self.link_timeout(now, link),
                TimerKey::Ingress(on) => self.ingress_timeout(now, on),
                TimerKey::Blackhole => self.sweep_blackhole(now),
                TimerKey::InterfacesGone => self.interfaces_gone(now),
                TimerKey::Tunnels => self.sweep_tunnels(now),
                TimerKey::TunnelsBack => self.give_back_late(now),
                TimerKey::QueuedRequest => self.send_queued_request(now),
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn drop_frame(&mut self, on: InterfaceId, reason: DropReason) {
        tracing::trace!(?on, ?reason, "frame dropped");
        *self.stats.drops.entry(reason).or_default() += 1;
        if self.interfaces.contains_key(&on) {
            let stats = self.stats.interfaces.entry(on).or_default();
            stats.dropped_frames += 1;
            stats.access_violations += u64::from(reason.is_access_violation());
        }
    }

    /// Puts a packet that arrived into an interface's queue, with another header. Allocates nothing.
    fn transmit_readdressed(
        &mut self,
        on: InterfaceId,
        class: Class,
        arrived: &Arrived<'_>,
        flags: Flags,
        transport_id: Option<IdentityHash>,
    ) {
        let hops = self.hops_onward(arrived, on);
        let Some(interface) = self.interfaces.get_mut(&on) else { return };
        let packet = &arrived.packet;
        let len = layout::HEADER_2_LEN + packet.data().len();
        let frame = interface.arena.frame(len, |out| packet.readdress_to(out, flags, hops, transport_id));
        self.transmit(on, class, frame);
    }

    /// Puts a frame into an interface's queue. One that the medium cannot carry never gets there: it may have come from an
    /// interface of a larger MTU.
    fn transmit(&mut self, on: InterfaceId, class: Class, frame: bytes::Bytes) {
        let Some(interface) = self.interfaces.get_mut(&on) else { return };
        if interface.profile.receive_only {
            return;
        }
        if frame.len() > interface.mtu() {
            *self.stats.drops.entry(DropReason::OverMtu).or_default() += 1;
            return;
        }
        match interface.egress.push(class, frame) {
            Queued::First => self.outputs.push_back(Output::Ready(on)),
            Queued::Behind => {}
            Queued::InPlaceOfOldest | Queued::Refused => {
                *self.stats.drops.entry(DropReason::QueueFull).or_default() += 1;
            }
        }
    }
}
