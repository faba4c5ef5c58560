//! The core task: the one owner of the packet layer. It decides nothing by itself; it feeds the stack and carries out
//! what the stack and its callers ask for.

mod answering;
mod managing;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::Rng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wend_commands::announce_data::{AnnounceData, CatalogSummary};
use wend_commands::envelope;
use wend_interfaces::{Alarm, Fill, InterfaceHandle, Linger, PortEvent};
use wend_packet::announce::AnnounceRef;
use wend_packet::announcer::Announcer;
use wend_packet::identity::{Identity, PublicIdentity};
use wend_packet::job::JobResult;
use wend_packet::stack::{Event, Input, InterfaceId, InterfaceProfile, Output, PathRecord, Role, Stack};
use wend_packet::time::{Instant, Now};
use wend_packet::timers::Timers;
use wend_packet::wire::PacketRef;
use wend_packet::{DestinationHash, LinkId, NameHash, RequestId};

pub(super) use self::managing::Management;
use super::calls::{Arriving, CoreCall, CoreHandle};
use super::clock::{Clock, randomness};
use super::genome::GenomeHandle;
use super::keeper::Keeper;
use super::links::OwnLinks;
use super::neighbours::Neighbour;
use super::peers::{Peer, Peers};
use super::seekers::Seekers;
use super::server::{Incoming, Server, Verdict};
use super::store::RatchetFile;
use turns::{Inbox, Turns};

/// Events of drivers taken in at one wake-up.
const EVENTS_PER_TURN: usize = 64;
/// Jobs that run at once, beside the core.
const WORKERS: usize = 2;
/// How long links are given to say goodbye when the node stops.
const GOODBYE: Duration = Duration::from_secs(3);

/// How often it is looked at whether drivers have taken what was queued for them.
const GOODBYE_POLL: Duration = Duration::from_millis(10);

/// What the core's own deadlines are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Errand {
    Idle(DestinationHash),
    Keep,
    Management,
}

struct Attached {
    handle: InterfaceHandle,
    parent: Option<InterfaceId>,
    profile: Option<InterfaceProfile>,
    /// Whether a task waits for the driver to have room.
    full: bool,
    inbox: Inbox,
}

/// What the node says of itself in announces, beside its catalog.
#[derive(Debug, Clone)]
pub(super) struct SelfPortrait {
    /// Everything but the catalog.
    pub data: AnnounceData,
    /// The catalog, as it changes.
    pub catalog: watch::Receiver<CatalogSummary>,
}

/// What the core is made of.
pub(super) struct Parts {
    pub stack: Stack,
    pub clock: Clock,
    pub identity: Identity,
    pub destination: DestinationHash,
    pub node_name: NameHash,
    pub portrait: SelfPortrait,
    pub server: Server,
    pub management: Management,
    /// Interfaces that take others in.
    pub servers: BTreeSet<InterfaceId>,
    pub keeper: Keeper,
    pub neighbours: mpsc::Sender<Neighbour>,
    pub genome: GenomeHandle,
    pub handle: CoreHandle,
    /// Where commands run: never on the thread of the core.
    pub commands: tokio::runtime::Handle,
    /// Whether the core may look again before it sleeps.
    pub lingers: bool,
}

pub(super) struct Core {
    parts: Parts,
    interfaces: BTreeMap<InterfaceId, Attached>,
    peers: Peers,
    links: OwnLinks,
    seekers: Seekers,
    announcer: Announcer,
    timers: Timers<Errand>,
    jobs: JoinSet<JobResult>,
    room: JoinSet<InterfaceId>,
    turns: Turns,
    linger: Linger,
}

impl Core {
    /// The core with its interfaces; `remembered` are the paths of an earlier run, for the names in them.
    pub(super) fn new(parts: Parts, interfaces: Vec<InterfaceHandle>, remembered: &[PathRecord]) -> Self {
        let lingers = parts.lingers;
        let mut core = Self {
            parts,
            interfaces: BTreeMap::new(),
            peers: Peers::new(),
            links: OwnLinks::default(),
            seekers: Seekers::default(),
            announcer: Announcer::default(),
            timers: Timers::default(),
            jobs: JoinSet::new(),
            room: JoinSet::new(),
            turns: Turns::default(),
            linger: Linger::new(lingers),
        };
        for handle in interfaces {
            core.attach(handle, None);
        }
        for record in remembered {
            core.remember(record);
        }
        core.plan_management();
        core
    }

    /// Runs until `cancel`, then says goodbye to peers and stores what is left to store.
    pub(super) async fn run(
        mut self,
        mut ports: mpsc::Receiver<PortEvent>,
        mut calls: mpsc::Receiver<CoreCall>,
        cancel: CancellationToken,
    ) {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        let mut alarm = Alarm::new();
        loop {
            let wake = self.next_wake();
            let catalog = &mut self.parts.portrait.catalog;
            let mut came = true;
            tokio::select! {
                () = cancel.cancelled() => break,
                // Without any interface nobody sends here, and an ended channel would be ready all the time.
                _ = ports.recv_many(&mut events, EVENTS_PER_TURN), if !(ports.is_closed() && ports.is_empty()) => {}
                Some(done) = self.jobs.join_next() => self.job_done(done),
                Some(call) = calls.recv() => self.call(call),
                Some(Ok(id)) = self.room.join_next() => self.has_room(id),
                () = self.parts.keeper.done() => {}
                Ok(()) = catalog.changed() => self.catalog_changed(),
                () = alarm.at(wake) => self.timeout(),
                // Drivers and callers come in between two turns.
                () = tokio::task::yield_now(), if self.turns.is_waiting() => {}
                () = Linger::pause(), if self.linger.is_looking() && !self.turns.is_waiting() => came = false,
            }
            // Own deadlines and jobs are no conversation.
            let heard = !events.is_empty();
            self.linger.woken(self.now().mono, heard);
            if !came {
                continue;
            }
            events.drain(..).for_each(|event| self.arrived(event));
            self.turn();
            self.drain();
            if heard {
                self.linger.idle(self.now().mono);
            }
        }
        self.goodbye(&mut ports).await;
    }

    /// Nodes heard in an earlier run keep their names. Their announces were verified before they were stored.
    fn remember(&mut self, record: &PathRecord) {
        let Ok(packet) = PacketRef::parse(&record.announce) else { return };
        let Ok(announce) = AnnounceRef::parse(&packet) else { return };
        if announce.name == self.parts.node_name
            && let Some(data) = AnnounceData::decode(announce.app_data)
        {
            let heard = Now { mono: Instant::ZERO, unix: record.heard };
            let peer = Peer { identity: announce.identity_hash(), data, hops: packet.hops().saturating_add(1), heard };
            self.peers.heard(announce.destination, peer);
        }
    }

    fn now(&self) -> Now {
        self.parts.clock.now()
    }

    fn next_wake(&self) -> Option<tokio::time::Instant> {
        let deadlines =
            [self.parts.stack.poll_timeout(), self.timers.next(), self.seekers.next(), self.announcer.next()];
        let next = deadlines.into_iter().flatten().min()?;
        Some(self.parts.clock.at(next))
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.parts.stack.handle_input(now, input);
    }

    fn timeout(&mut self) {
        self.input(Input::Timeout);
        let now = self.now();
        for to in self.seekers.due(now.mono) {
            self.parts.stack.request_path(now, to);
        }
        if self.announcer.next().is_some_and(|next| next <= now.mono) {
            let due = self.announcer.due(now.mono, &self.up(), randomness().next_u32());
            self.announce(now, &due.announce);
            for id in due.greet {
                self.parts.stack.introduce(now, self.parts.destination, id);
            }
        }
        while let Some(errand) = self.timers.pop_due(now.mono) {
            match errand {
                Errand::Idle(to) => self.close_if_idle(now, to),
                Errand::Keep => self.parts.keeper.write(now, &mut self.parts.stack),
                Errand::Management => self.announce_management(now),
            }
        }
    }

    /// Carries out what the stack wants, until it wants nothing more. Never waits.
    fn drain(&mut self) {
        let now = self.now();
        while let Some(output) = self.parts.stack.poll_output() {
            match output {
                Output::Ready(id) => self.fill(id),
                Output::Event(event) => self.event(now, event),
                Output::Persist(record) => {
                    self.parts.keeper.path(record);
                    self.keep_soon(now);
                }
                Output::Forget(destination) => {
                    self.parts.keeper.forget(destination);
                    self.keep_soon(now);
                }
                Output::RatchetsChanged(of) => {
                    if let Some(file) = self.parts.stack.ratchet_file(of) {
                        self.parts.keeper.ratchets(of, RatchetFile::new(file));
                        self.keep_soon(now);
                    }
                }
                Output::TunnelsChanged => {
                    self.parts.keeper.tunnels();
                    self.keep_soon(now);
                }
                _ => {}
            }
        }
        self.start_jobs();
    }

    fn start_jobs(&mut self) {
        while self.jobs.len() < WORKERS {
            let Some(job) = self.parts.stack.poll_job() else { break };
            if job.is_brief() {
                // Drivers write first what waits to be written.
                self.jobs.spawn(async {
                    tokio::task::yield_now().await;
                    job.run()
                });
            } else {
                self.jobs.spawn_blocking(|| job.run());
            }
        }
    }

    fn keep_soon(&mut self, now: Now) {
        if self.parts.keeper.is_due() {
            self.timers.set(Errand::Keep, now.mono + super::keeper::COALESCE);
        }
    }

    fn job_done(&mut self, done: Result<JobResult, tokio::task::JoinError>) {
        match done {
            Ok(result) => self.input(Input::JobDone(result)),
            Err(error) => tracing::error!(%error, "a job of the packet layer failed"),
        }
        self.turns.resume();
    }

    /// As many of the most urgent frames as the driver has room for.
    fn fill(&mut self, id: InterfaceId) {
        let now = self.now();
        let Some(attached) = self.interfaces.get_mut(&id) else { return };
        if attached.full {
            return;
        }
        let stack = &mut self.parts.stack;
        attached.full = attached.handle.outbound.fill(|| stack.poll_transmit(now, id)) == Fill::Full;
        if attached.full {
            let room = attached.handle.outbound.room();
            self.room.spawn(async move {
                room.await;
                id
            });
        }
    }

    fn has_room(&mut self, id: InterfaceId) {
        if let Some(attached) = self.interfaces.get_mut(&id) {
            attached.full = false;
            self.fill(id);
        }
    }

    fn attach(&mut self, handle: InterfaceHandle, parent: Option<InterfaceId>) {
        self.interfaces
            .insert(handle.id, Attached { handle, parent, profile: None, full: false, inbox: Inbox::default() });
    }

    fn port_event(&mut self, event: PortEvent) {
        match event {
            PortEvent::Frames { id, frames } => self.take_frames(id, &frames, 0..frames.len()),
            PortEvent::Child { parent, handle } => self.attach(handle, Some(parent)),
            PortEvent::Up { id, profile } => {
                if let Some(attached) = self.interfaces.get_mut(&id) {
                    attached.profile = Some(profile.clone());
                }
                self.input(Input::InterfaceUp { id, profile });
                let now = self.now();
                self.announcer.up(now.mono, id);
            }
            PortEvent::Down { id, .. } => {
                self.input(Input::InterfaceDown { id });
                match self.interfaces.get_mut(&id) {
                    Some(attached) if attached.parent.is_some() => {
                        self.announcer.gone(id);
                        self.interfaces.remove(&id);
                    }
                    Some(attached) => attached.profile = None,
                    None => {}
                }
            }
        }
    }

    fn event(&mut self, now: Now, event: Event) {
        match event {
            Event::Announced { destination, public_key, name, app_data, hops, on, .. } => {
                self.seekers.found(destination, hops);
                if name == self.parts.node_name
                    && let Some(data) = AnnounceData::decode(&app_data)
                    && let Ok(identity) = PublicIdentity::from_slice(&public_key)
                {
                    tracing::debug!(dst = ?destination, name = data.name(), hops, "node heard");
                    self.parts.genome.hear(identity);
                    self.offer_neighbour(destination, &data, hops, on);
                    self.peers.heard(destination, Peer { identity: identity.hash(), data, hops, heard: now });
                }
            }
            Event::PathChanged { destination, hops: Some(hops) } => self.seekers.found(destination, hops),
            Event::LinkUp { link, destination, role: Role::Initiator, rtt } => {
                if let Some(mut open) = self.parts.stack.link(now, link)
                    && let Err(error) = open.identify(&self.parts.identity)
                {
                    tracing::debug!(?link, %error, "cannot identify");
                }
                if let Some(look) = self.links.up(now.mono, destination, link, rtt) {
                    self.timers.set(Errand::Idle(destination), look);
                }
            }
            Event::LinkDown { link, reason } => {
                tracing::debug!(?link, ?reason, "link closed");
                self.links.down(link);
            }
            Event::Requested { link, request, caller, path, body } if path != envelope::PATH => {
                self.manage(now, (link, request), caller, &path, &body);
            }
            Event::Requested { link, request, caller, body, .. } => {
                self.serve(now, Incoming { link, request, caller, body });
            }
            Event::Responding { request, received, total } => {
                self.links.arriving(request, Arriving { received, total });
            }
            Event::Responded { request, response, .. } => self.links.responded(now.mono, request, response),
            _ => {}
        }
    }

    /// Only direct neighbours are offered: what lies behind them comes through them.
    fn offer_neighbour(&self, destination: DestinationHash, data: &AnnounceData, hops: u8, on: InterfaceId) {
        let profile = self.interfaces.get(&on).and_then(|attached| attached.profile.as_ref());
        if let (1, Some(catalog), Some(profile)) = (hops, data.catalog(), profile) {
            let neighbour = Neighbour { destination, catalog, on, bitrate_bps: profile.bitrate_bps };
            // A full channel drops it: the next announce offers it again.
            let _ = self.parts.neighbours.try_send(neighbour);
        }
    }

    fn serve(&mut self, now: Now, incoming: Incoming) {
        match self.parts.server.judge(now, &self.peers, &incoming) {
            Verdict::Silence => {}
            Verdict::Answer(reply) => self.answer(now, incoming.link, incoming.request, &reply),
            Verdict::Run(caller, call) => {
                self.parts.server.run(&self.parts.commands, self.parts.handle.clone(), caller, call);
            }
        }
    }

    fn answer(&mut self, now: Now, link: LinkId, request: RequestId, reply: &[u8]) {
        if let Some(mut open) = self.parts.stack.link(now, link)
            && let Err(error) = open.respond(request, reply)
        {
            tracing::debug!(?link, %error, "cannot respond");
        }
    }

    fn close_if_idle(&mut self, now: Now, to: DestinationHash) {
        match self.links.idle(now.mono, to) {
            Ok(link) => {
                if let Some(link) = self.parts.stack.link(now, link) {
                    link.close();
                }
            }
            Err(Some(again)) => self.timers.set(Errand::Idle(to), again),
            Err(None) => {}
        }
    }

    fn catalog_changed(&mut self) {
        let now = self.now();
        // Answers to path requests carry the newest data at once.
        let data = self.portrait();
        if let Err(error) = self.parts.stack.set_app_data(self.parts.destination, &data) {
            tracing::error!(%error, "announce data refused");
        }
        self.announcer.changed(now.mono);
    }

    /// What announces carry now.
    fn portrait(&mut self) -> Vec<u8> {
        let catalog = *self.parts.portrait.catalog.borrow_and_update();
        self.parts.portrait.data.clone().with_catalog(Some(catalog)).encode()
    }

    /// The interfaces that are up, with their bit/s.
    fn up(&self) -> BTreeMap<InterfaceId, u64> {
        let bitrate = |attached: &Attached| attached.profile.as_ref().map(|profile| profile.bitrate_bps);
        self.interfaces.iter().filter_map(|(id, attached)| Some((*id, bitrate(attached)?))).collect()
    }

    /// Announces on these interfaces; gives their names.
    fn announce(&mut self, now: Now, on: &BTreeSet<InterfaceId>) -> Vec<String> {
        if on.is_empty() {
            return Vec::new();
        }
        let data = self.portrait();
        if let Err(error) = self.parts.stack.announce_on(now, self.parts.destination, &data, |id| on.contains(&id)) {
            tracing::error!(%error, "cannot announce");
            return Vec::new();
        }
        self.parts.keeper.touch();
        self.keep_soon(now);
        on.iter().filter_map(|id| self.interfaces.get(id)).map(|attached| attached.handle.name.to_string()).collect()
    }

    /// Closes links and lets what is queued leave, for a short while.
    async fn goodbye(&mut self, ports: &mut mpsc::Receiver<PortEvent>) {
        let now = self.now();
        for id in self.links.links().collect::<Vec<_>>() {
            if let Some(link) = self.parts.stack.link(now, id) {
                link.close();
            }
        }
        self.drain();
        let patience = tokio::time::sleep(GOODBYE);
        tokio::pin!(patience);
        while !self.room.is_empty() {
            tokio::select! {
                () = &mut patience => break,
                Some(Ok(id)) = self.room.join_next() => self.has_room(id),
                Some(event) = ports.recv() => self.arrived(event),
            }
            self.turn();
            self.drain();
        }
        // What drivers have not taken by now is taken within the same patience, then everything ends.
        let taken = |attached: &Attached| attached.handle.outbound.is_taken();
        while !self.interfaces.values().filter(|attached| attached.profile.is_some()).all(taken) {
            tokio::select! {
                () = &mut patience => break,
                () = tokio::time::sleep(GOODBYE_POLL) => {}
            }
        }
        self.interfaces.clear();
        let now = self.now();
        self.parts.keeper.write(now, &mut self.parts.stack);
        self.parts.keeper.finish().await;
    }
}

/// Sleeps until then; for ever without a time.
pub(super) async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
