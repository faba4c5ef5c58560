//! Building a world: nodes, media, who is on which, and how that changes.

use std::collections::BTreeMap;

use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::link::ProofStrategy;
use wend_packet::stack::{Capacities, Destination, Footprint, Input, InterfaceId, InterfaceProfile, Mode, StackConfig};

use super::errand::REQUEST_PATH;
use super::node::{Brain, Disk, Node, Place, Reaction};
use super::{MediumId, NodeId, World};
use crate::measure::Ledger;
use crate::medium::{Medium, MediumKind, Port};
use crate::random;

/// As long as what a Wend node announces of itself.
pub(super) const APP_DATA: [u8; 48] = [0x77; 48];

/// What a node is like.
#[derive(Debug, Clone)]
pub struct NodeKind {
    /// Whether it carries others' packets.
    pub transport: bool,
    /// Sizes of its tables.
    pub capacities: Capacities,
    /// Destinations it has, at least 1. Requests go to the first.
    pub destinations: usize,
    /// Whether it announces the first of them as a Wend node does.
    pub announces: bool,
    /// Whether others count it among those they should have a path to.
    pub counted: bool,
    /// Whether it keeps paths for a restart.
    pub persists: bool,
    /// Whether it is switched on from the start.
    pub on: bool,
}

impl NodeKind {
    /// A node that carries nothing for others.
    pub const fn leaf() -> Self {
        Self {
            transport: false,
            capacities: Capacities::of(Footprint::Standard),
            destinations: 1,
            announces: true,
            counted: true,
            persists: false,
            on: true,
        }
    }

    /// A node that carries others' packets.
    pub const fn transport() -> Self {
        Self { transport: true, ..Self::leaf() }
    }
}

impl World {
    /// Adds a node.
    pub fn node(&mut self, kind: NodeKind) -> NodeId {
        let id = NodeId(self.nodes.len());
        let mut keys = random::stream(self.seed, "keys", id.0 as u64);
        let mut config = StackConfig::new(Identity::generate(&mut keys));
        config.transport_enabled = kind.transport;
        config.capacities = kind.capacities;
        let name_of_all = DestinationName::new("sim", &["node"]).expect("no dots");
        let destinations: Vec<_> = (0..kind.destinations)
            .map(|_| Destination {
                proofs: ProofStrategy::All,
                request_paths: vec![REQUEST_PATH.to_owned()],
                app_data: APP_DATA.to_vec().into(),
                ..Destination::new(Identity::generate(&mut keys), name_of_all.clone())
            })
            .collect();
        if kind.counted
            && let Some(first) = destinations.first()
        {
            self.counted.insert(first.hash(), self.counted.len());
        }
        self.nodes.push(Node {
            config,
            destinations,
            announces: kind.announces,
            places: BTreeMap::new(),
            next_interface: 1,
            boots: 0,
            wake: None,
            brain: Brain::Off,
            disk: kind.persists.then(Disk::default),
        });
        if kind.on {
            self.start(id);
        }
        id
    }

    /// Adds a node of ill will. `react` is given every frame it hears, and what it returns goes out on all its media.
    pub fn intruder(&mut self, react: Reaction) -> NodeId {
        let kind = NodeKind { counted: false, on: false, destinations: 0, ..NodeKind::leaf() };
        let id = self.node(kind);
        self.nodes[id.0].brain = Brain::Intruder { outbox: BTreeMap::new(), react };
        id
    }

    /// Adds a medium.
    pub fn medium(&mut self, kind: MediumKind) -> MediumId {
        self.media.push(Medium::new(kind));
        self.ledgers.push(Ledger::default());
        MediumId(self.media.len() - 1)
    }

    /// Puts a node on a medium, as a new interface.
    pub fn join(&mut self, node: NodeId, on: MediumId) {
        let mode = self.media[on.0].kind.profile.mode;
        self.join_as(node, on, mode);
    }

    /// The same, with a mode that this node gives its interface.
    pub fn join_as(&mut self, node: NodeId, on: MediumId, mode: Mode) {
        let interface = InterfaceId(self.nodes[node.0].next_interface);
        self.nodes[node.0].next_interface += 1;
        let medium = &mut self.media[on.0];
        let slots = medium.kind.sense().map_or(1, |sense| sense.slots);
        medium.ports.push(Port::new(node.0, interface, slots, mode));
        let place = Place { medium: on.0, port: medium.ports.len() - 1 };
        self.nodes[node.0].places.insert(interface, place);
        self.interface_up(node.0, interface);
    }

    /// A medium with these nodes on it.
    pub fn connect(&mut self, kind: MediumKind, nodes: &[NodeId]) -> MediumId {
        let medium = self.medium(kind);
        for node in nodes {
            self.join(*node, medium);
        }
        medium
    }

    /// Says who hears whom on a radio channel: the pairs given hear each other, nobody else does.
    pub fn hearing(&mut self, on: MediumId, pairs: &[(NodeId, NodeId)]) {
        let ports = &mut self.media[on.0].ports;
        let port_of: BTreeMap<_, _> = ports.iter().enumerate().map(|(index, port)| (port.node, index)).collect();
        for port in ports.iter_mut() {
            port.hearers = Some(Vec::new());
        }
        for (a, b) in pairs {
            let (Some(a), Some(b)) = (port_of.get(&a.0).copied(), port_of.get(&b.0).copied()) else { continue };
            for (from, to) in [(a, b), (b, a)] {
                if let Some(hearers) = ports[from].hearers.as_mut().filter(|hearers| !hearers.contains(&to)) {
                    hearers.push(to);
                }
            }
        }
    }

    /// Takes a node off a medium, as if its interface had been taken away; what is on its way to it is lost.
    pub fn leave(&mut self, node: NodeId, from: MediumId) {
        let places = &mut self.nodes[node.0].places;
        let Some(interface) = places.iter().find(|(_, place)| place.medium == from.0).map(|(id, _)| *id) else {
            return;
        };
        self.port_down(node.0, interface);
        self.nodes[node.0].places.remove(&interface);
    }

    /// Cuts a medium: every node on it sees its interface go down.
    pub fn cut(&mut self, medium: MediumId) {
        for (node, interface) in self.interfaces_on(medium) {
            self.port_down(node, interface);
        }
    }

    /// Mends a medium that was cut.
    pub fn mend(&mut self, medium: MediumId) {
        for (node, interface) in self.interfaces_on(medium) {
            if let Some(place) = self.nodes[node].places.get(&interface) {
                self.media[place.medium].ports[place.port].up = true;
            }
            self.interface_up(node, interface);
        }
    }

    fn interfaces_on(&self, medium: MediumId) -> Vec<(usize, InterfaceId)> {
        let ports = self.media[medium.0].ports.iter();
        let here = |node: usize, id: InterfaceId| {
            self.nodes[node].places.get(&id).is_some_and(|place| place.medium == medium.0)
        };
        ports.map(|port| (port.node, port.interface)).filter(|(node, id)| here(*node, *id)).collect()
    }

    fn port_down(&mut self, node: usize, interface: InterfaceId) {
        let now = self.now;
        if let Some(place) = self.nodes[node].places.get(&interface) {
            let port = &mut self.media[place.medium].ports[place.port];
            port.up = false;
            port.epoch += 1;
            port.turn += 1;
            (port.ready, port.planned, port.waiting) = (false, false, false);
        }
        if let Some(honest) = self.nodes[node].honest_mut() {
            honest.stack.handle_input(now, Input::InterfaceDown { id: interface });
            self.settle(node);
        }
    }

    pub(super) fn interface_up(&mut self, node: usize, interface: InterfaceId) {
        let now = self.now;
        let Some(place) = self.nodes[node].places.get(&interface).copied() else { return };
        let medium = &self.media[place.medium];
        let profile = InterfaceProfile { mode: medium.ports[place.port].mode, ..medium.kind.profile.clone() };
        let announces = self.nodes[node].announces;
        if let Some(honest) = self.nodes[node].honest_mut() {
            honest.stack.handle_input(now, Input::InterfaceUp { id: interface, profile });
            if announces {
                honest.announcer.up(now.mono, interface);
            }
            self.settle(node);
        }
        self.ready(place);
    }
}
