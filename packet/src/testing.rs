//! Stacks in virtual time, for tests: no sockets, no sleeps, and the same seed gives the same run.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand_core::{TryCryptoRng, TryRng};

use crate::identity::Identity;
use crate::link::ResourceEvent;
use crate::stack::{Event, Input, InterfaceId, InterfaceProfile, Output, PathRecord, Stack, StackConfig};
use crate::time::{Instant, Now, UnixTime};

/// Randomness for tests: given bytes first, then a stream that follows from a seed. Not fit for anything else.
#[derive(Debug, Clone)]
pub struct TestRng {
    script: VecDeque<u8>,
    state: u64,
}

impl TestRng {
    /// A stream that follows from `seed`.
    pub const fn seeded(seed: u64) -> Self {
        Self { script: VecDeque::new(), state: seed }
    }

    /// First the bytes of `script`, whatever they are asked for as; then zeros turned into a stream.
    pub fn scripted(script: &[u8]) -> Self {
        Self { script: script.iter().copied().collect(), state: 0 }
    }

    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn byte(&mut self) -> u8 {
        self.script.pop_front().unwrap_or_else(|| self.word().to_le_bytes()[0])
    }

    /// True with the given chance, from 0 to 1.
    fn chance(&mut self, of: f64) -> bool {
        f64::from(u32::from_le_bytes(core::array::from_fn(|_| self.byte()))) < of * f64::from(u32::MAX)
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(core::array::from_fn(|_| self.byte())))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(core::array::from_fn(|_| self.byte())))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        into.fill_with(|| self.byte());
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// The profile of a common wired interface: full mode, 10 Mbit/s, MTU 1064 that links may use.
pub fn wired() -> InterfaceProfile {
    InterfaceProfile { hw_mtu: Some(1064), negotiates_mtu: true, ..InterfaceProfile::new(10_000_000) }
}

/// What joins nodes: everything one of them sends, all others on it hear.
#[derive(Debug, Clone)]
pub struct Medium {
    /// What each node sees of it; its bitrate also sets how long a frame takes.
    pub profile: InterfaceProfile,
    /// Time from the end of sending to reception.
    pub latency: Duration,
    /// Share of receptions that fail, 0 to 1.
    pub loss: f64,
}

impl Default for Medium {
    fn default() -> Self {
        Self { profile: wired(), latency: Duration::from_millis(5), loss: 0.0 }
    }
}

/// A node of a [`Mesh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(usize);

#[derive(Debug)]
struct Node {
    stack: Stack,
    events: Vec<(Instant, Event)>,
    records: Vec<PathRecord>,
}

#[derive(Debug)]
struct Port {
    node: NodeId,
    interface: InterfaceId,
    busy_until: Instant,
}

#[derive(Debug)]
struct Wire {
    medium: Medium,
    ports: Vec<Port>,
}

/// Nodes and what joins them. The clock jumps from one thing that happens to the next.
#[derive(Debug)]
pub struct Mesh {
    now: Now,
    rng: TestRng,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
    arriving: BTreeMap<(Instant, u64), (NodeId, InterfaceId, Bytes)>,
    carried: u64,
}

impl Mesh {
    /// An empty mesh. The same seed and the same calls give the same run.
    pub const fn new(seed: u64) -> Self {
        Self {
            now: Now { mono: Instant::from_micros(1_000_000), unix: UnixTime(1_700_000_000) },
            rng: TestRng::seeded(seed),
            nodes: Vec::new(),
            wires: Vec::new(),
            arriving: BTreeMap::new(),
            carried: 0,
        }
    }

    /// Adds a node with a transport identity of its own; `configure` may change the rest.
    pub fn add(&mut self, configure: impl FnOnce(&mut StackConfig)) -> NodeId {
        let mut config = StackConfig::new(Identity::generate(&mut self.rng));
        configure(&mut config);
        let seed = self.rng.word();
        let stack = Stack::new(config, Box::new(TestRng::seeded(seed)));
        self.nodes.push(Node { stack, events: Vec::new(), records: Vec::new() });
        NodeId(self.nodes.len() - 1)
    }

    /// Adds a node that carries packets for others.
    pub fn add_transport(&mut self) -> NodeId {
        self.add(|config| config.transport_enabled = true)
    }

    /// Joins nodes by a medium. Each sees it as the returned interface.
    pub fn join(&mut self, nodes: &[NodeId], medium: Medium) -> InterfaceId {
        let interface = InterfaceId(u32::try_from(self.wires.len()).unwrap_or(u32::MAX));
        for node in nodes {
            let up = Input::InterfaceUp { id: interface, profile: medium.profile.clone() };
            let now = self.now;
            self.stack(*node).handle_input(now, up);
        }
        let ports = nodes.iter().map(|node| Port { node: *node, interface, busy_until: self.now.mono }).collect();
        self.wires.push(Wire { medium, ports });
        interface
    }

    /// Changes the share of receptions that fail, on all media from now on.
    pub fn set_loss(&mut self, loss: f64) {
        for wire in &mut self.wires {
            wire.medium.loss = loss;
        }
    }

    /// Takes a node's interface down. What is on its way to it is still delivered, and ignored there.
    pub fn part(&mut self, node: NodeId, from: InterfaceId) {
        let now = self.now;
        self.stack(node).handle_input(now, Input::InterfaceDown { id: from });
    }

    /// The time.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// A node's stack, to call it. What it wants done is done when the mesh runs next.
    ///
    /// # Panics
    /// When the id is of another mesh.
    pub fn stack(&mut self, of: NodeId) -> &mut Stack {
        self.nodes.get_mut(of.0).map(|node| &mut node.stack).expect("a node of this mesh")
    }

    /// Everything a node was told so far, with the time.
    pub fn events(&self, of: NodeId) -> &[(Instant, Event)] {
        self.nodes.get(of.0).map_or(&[], |node| &node.events)
    }

    /// The path records a node wanted kept so far.
    pub fn records(&self, of: NodeId) -> &[PathRecord] {
        self.nodes.get(of.0).map_or(&[], |node| &node.records)
    }

    /// Frames sent so far, on all media together.
    pub const fn carried(&self) -> u64 {
        self.carried
    }

    /// Runs for a while.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Runs until `done` says so, for at most `limit`. Says whether it did.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now.mono + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            self.settle();
            let Some(next) = self.next().filter(|next| *next <= end) else {
                self.advance_to(end);
                return false;
            };
            // A deadline in the past is served a moment later, so that time passes even if a stack keeps setting such.
            self.advance_to(next.max(self.now.mono + Duration::from_micros(1)));
            self.deliver();
            self.time_out();
        }
    }

    fn advance_to(&mut self, at: Instant) {
        self.now = self.now.later(at.since(self.now.mono));
    }

    fn next(&self) -> Option<Instant> {
        let deadlines = self.nodes.iter().filter_map(|node| node.stack.poll_timeout());
        let ports = self.wires.iter().flat_map(|wire| &wire.ports);
        let free = ports.map(|port| port.busy_until).filter(|at| *at > self.now.mono);
        let arriving = self.arriving.keys().next().map(|(at, _)| *at);
        deadlines.chain(free).chain(arriving).min()
    }

    fn deliver(&mut self) {
        while let Some(first) = self.arriving.first_entry().filter(|first| first.key().0 <= self.now.mono) {
            let (node, on, frame) = first.remove();
            let now = self.now;
            self.stack(node).handle_input(now, Input::Frame { on, bytes: &frame });
        }
    }

    fn time_out(&mut self) {
        for node in &mut self.nodes {
            if node.stack.poll_timeout().is_some_and(|at| at <= self.now.mono) {
                node.stack.handle_input(self.now, Input::Timeout);
            }
        }
    }

    /// Does the work of every node, takes what they say, and sends what they have to send where there is room.
    fn settle(&mut self) {
        for node in &mut self.nodes {
            loop {
                while let Some(output) = node.stack.poll_output() {
                    match output {
                        Output::Event(event) => {
                            take_segment(&mut node.stack, self.now, &event);
                            node.events.push((self.now.mono, event));
                        }
                        Output::Persist(record) => node.records.push(record),
                        Output::Forget(_) | Output::Ready(_) | Output::RatchetsChanged(_) | Output::TunnelsChanged => {}
                    }
                }
                let Some(job) = node.stack.poll_job() else { break };
                node.stack.handle_input(self.now, Input::JobDone(job.run()));
            }
        }
        for wire in &mut self.wires {
            let hearers: Vec<_> = wire.ports.iter().map(|port| (port.node, port.interface)).collect();
            for port in wire.ports.iter_mut().filter(|port| port.busy_until <= self.now.mono) {
                let Some(node) = self.nodes.get_mut(port.node.0) else { continue };
                let Some(transmit) = node.stack.poll_transmit(self.now, port.interface) else { continue };
                let bits = u64::try_from(transmit.frame.len()).unwrap_or_default().saturating_mul(8_000_000);
                port.busy_until =
                    self.now.mono + Duration::from_micros((bits / wire.medium.profile.bitrate_bps.max(1)).max(1));
                for (hearer, interface) in hearers.iter().filter(|(hearer, _)| *hearer != port.node) {
                    self.carried += 1;
                    if !self.rng.chance(wire.medium.loss) {
                        let at = port.busy_until + wire.medium.latency;
                        self.arriving.insert((at, self.carried), (*hearer, *interface, transmit.frame.clone()));
                    }
                }
            }
        }
    }
}

/// Applications here are fast.
fn take_segment(stack: &mut Stack, now: Now, event: &Event) {
    if let Event::Resource { link, resource, event: ResourceEvent::Segment { offset, .. } } = event
        && let Some(mut link) = stack.link(now, *link)
    {
        link.segment_taken(*resource, *offset).expect("it was given");
    }
}
