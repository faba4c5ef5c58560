//! A node of ill will among honest ones.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chacha20::ChaCha8Rng;
use rand_core::Rng;
use wend_packet::announce::{RandomHash, announce};
use wend_packet::destination::DestinationName;
use wend_packet::hash::IdentityHash;
use wend_packet::identity::Identity;
use wend_packet::stack::{Capacities, Footprint, Mode, PathRequestRef};
use wend_packet::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};
use wend_packet::{DestinationHash, stack::path_request_destination};

use super::{minutes, seconds};
use crate::medium::MediumKind;
use crate::random;
use crate::scenario::{Run, Scenario, Unit, Wanted};
use crate::world::{Ask, MediumId, NodeId, NodeKind, World};

pub(super) const MALICE: Scenario = Scenario {
    name: "malice",
    summary: "27 honest nodes with small tables, on three hubs, and an intruder on a local network and on two of the hubs. From minute 5 on it \
              passes announces on as if it were the nearest, repeats old frames, and floods: announces of new identities, path \
              requests, link requests, frames that are too long, cut off or random.",
    duration: minutes(45),
    shortest: minutes(20),
    play,
};

const ATTACK: Duration = minutes(5);
const PATIENCE: Duration = minutes(2);
/// Old frames the intruder remembers.
const MEMORY: usize = 2000;

/// What the intruder knows.
struct Evil {
    rng: ChaCha8Rng,
    id: IdentityHash,
    heard: Vec<Vec<u8>>,
    victims: Vec<DestinationHash>,
    attacking: bool,
}

impl Evil {
    /// Remembers a frame; an announce goes on as if this node stood next to its maker.
    fn hear(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        if self.heard.len() < MEMORY {
            self.heard.push(frame.to_vec());
        } else {
            let at = random::below(&mut self.rng, MEMORY);
            self.heard[at] = frame.to_vec();
        }
        let Ok(packet) = PacketRef::parse(frame) else { return Vec::new() };
        let echo = packet.transport_id() == Some(self.id);
        if !self.attacking || echo || packet.flags().packet() != PacketKind::Announce {
            return Vec::new();
        }
        vec![packet.readdressed(packet.flags().in_transport(), 0, Some(self.id)).to_vec()]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn old_frame(&mut self) -> Vec<u8> {
        let at = random::below(&mut self.rng, self.heard.len());
        self.heard.get(at).cloned().unwrap_or_default()
    }

    /// An announce with a good signature, of somebody nobody knows.
    fn stranger(&mut self, world: &World) -> Option<Vec<u8>> {
        let identity = Identity::generate(&mut self.rng);
        let name = DestinationName::new("sim", &["node"]).ok()?.hash();
        let random = self.bytes(5).try_into().ok()?;
        let random = RandomHash::new(random, world.date());
        announce(&identity, name, random, None, b"flood", Context::NONE).ok().map(|packet| packet.encode().to_vec())
    }

    /// Asks for a link that it will not use.
    fn link_request(&mut self) -> Vec<u8> {
        let victim = self.victims[random::below(&mut self.rng, self.victims.len())];
        let packet = Packet {
            flags: Flags::new(DestinationKind::Single, PacketKind::LinkRequest),
            hops: 0,
            transport_id: None,
            destination: victim,
            context: Context::NONE,
            data: self.bytes(64).into(),
        };
        packet.encode().to_vec()
    }

    fn path_request(&mut self) -> Vec<u8> {
        let (target, tag) = (self.bytes(16), self.bytes(16));
        let target = DestinationHash::from_slice(&target).unwrap_or_else(path_request_destination);
        PathRequestRef { target, transport_id: None, tag: &tag }.packet().encode().to_vec()
    }

    /// What goes out in a tenth of a second.
    fn volley(&mut self, world: &World) -> Vec<Vec<u8>> {
        let mut frames = vec![self.old_frame(), self.link_request(), self.path_request(), self.path_request()];
        frames.extend(self.stranger(world));
        let mut lie = self.old_frame();
        if let Some(hops) = lie.get_mut(1) {
            *hops = self.rng.next_u32() as u8;
        }
        let mut cut = self.old_frame();
        cut.truncate(random::below(&mut self.rng, cut.len().max(1)));
        let mut oversize = self.old_frame();
        oversize.extend(self.bytes(20_000));
        let len = 1 + random::below(&mut self.rng, 600);
        frames.extend([lie, cut, oversize, self.bytes(len)]);
        frames
    }
}

/// Three hubs in a ring with a local network each. Gives all nodes, the hubs, and the first network.
fn build(world: &mut World) -> (Vec<NodeId>, Vec<NodeId>, MediumId) {
    let small = Capacities::of(Footprint::Tiny);
    let hubs: Vec<_> =
        (0..3).map(|_| world.node(NodeKind { capacities: small.clone(), ..NodeKind::transport() })).collect();
    for hub in 0..3 {
        world.connect(MediumKind::tcp().mode(Mode::Gateway), &[hubs[hub], hubs[(hub + 1) % 3]]);
    }
    let mut nodes = hubs.clone();
    let networks: Vec<_> = hubs
        .iter()
        .map(|hub| {
            let leaf = NodeKind { capacities: small.clone(), ..NodeKind::leaf() };
            let leaves: Vec<_> = (0..8).map(|_| world.node(leaf.clone())).collect();
            nodes.extend(&leaves);
            world.connect(MediumKind::lan().mode(Mode::Gateway), &[vec![*hub], leaves].concat())
        })
        .collect();
    (nodes, hubs, networks[0])
}

fn play(run: &mut Run<'_>) {
    let (nodes, hubs, network) = build(&mut run.world);
    let victims: Vec<_> = nodes.iter().filter_map(|node| run.world.destination(*node, 0)).collect();
    let mut rng = run.world.randomness("intruder");
    let id = Identity::generate(&mut rng).hash();
    let evil = Arc::new(Mutex::new(Evil { rng, id, heard: Vec::new(), victims, attacking: false }));
    let ears = Arc::clone(&evil);
    let react = move |frame: &[u8]| ears.lock().unwrap_or_else(PoisonError::into_inner).hear(frame);
    let intruder = run.world.intruder(Box::new(react));
    let mut media = vec![network];
    run.world.join(intruder, network);
    for hub in &hubs[1..] {
        let line = run.world.connect(MediumKind::tcp().mode(Mode::Gateway), &[*hub, intruder]);
        media.push(line);
    }
    run.world.every(ATTACK, Duration::from_millis(100), move |world| {
        let mut evil = evil.lock().unwrap_or_else(PoisonError::into_inner);
        evil.attacking = true;
        let volley = evil.volley(world);
        drop(evil);
        for medium in &media {
            for frame in &volley {
                world.inject(intruder, *medium, frame.clone());
            }
        }
    });
    let mut rng = run.world.randomness("traffic");
    run.world.every(seconds(60), seconds(3), move |world| {
        let from = nodes[random::below(&mut rng, nodes.len())];
        let to = nodes[random::below(&mut rng, nodes.len())];
        if from != to {
            world.ask(from, to, Ask { request: 64, response: 1000, within: PATIENCE });
        }
    });
    run.until(run.duration);
    let before = run.world.answered(seconds(60), ATTACK - PATIENCE);
    let during = run.world.answered(ATTACK, run.duration - PATIENCE);
    run.expect("requests answered before", before, Unit::Share, Wanted::AtLeast(0.99));
    run.expect("requests answered under attack", during, Unit::Share, Wanted::AtLeast(0.9));
    let fullest = run.world.fullest_tables().into_iter().map(|table| table.entries as f64 / table.bound as f64);
    let fullest = fullest.fold(0.0, f64::max);
    run.expect("fullest table of all, of its bound", fullest, Unit::Share, Wanted::AtMost(1.0));
}
