//! Strangers who ask for much, and what is left for everybody else.

use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::announce::{RandomHash, announce};
use crate::link::{Initiate, Link, Signalling};
use crate::testing::TestRng;
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};

fn tcp() -> InterfaceProfile {
    InterfaceProfile { hw_mtu: Some(16_384), access_code_len: 16, ..wired() }
}

fn serial() -> InterfaceProfile {
    InterfaceProfile { hw_mtu: Some(564), bitrate_bps: 9600, negotiates_mtu: false, ingress_control: false, ..wired() }
}

fn identity(seed: u64) -> Identity {
    Identity::generate(&mut TestRng::seeded(seed))
}

/// One stack with interfaces 0, 1 and so on, and time.
struct Siege {
    stack: Stack,
    now: Now,
    rng: TestRng,
}

impl Siege {
    fn new(transport_enabled: bool, interfaces: &[InterfaceProfile]) -> Self {
        let mut config = StackConfig::new(identity(1));
        config.transport_enabled = transport_enabled;
        let now = Now { mono: Instant::from_micros(1_000_000), unix: UnixTime(1_700_000_000) };
        let stack = Stack::new(config, Box::new(TestRng::seeded(2)));
        let mut siege = Self { stack, now, rng: TestRng::seeded(3) };
        for (id, profile) in (0..).zip(interfaces) {
            siege.up(id, profile.clone());
        }
        siege
    }

    fn up(&mut self, id: u32, profile: InterfaceProfile) {
        self.stack.handle_input(self.now, Input::InterfaceUp { id: InterfaceId(id), profile });
    }

    fn down(&mut self, id: u32) {
        self.stack.handle_input(self.now, Input::InterfaceDown { id: InterfaceId(id) });
    }

    fn hear(&mut self, on: u32, frame: &[u8]) {
        self.stack.handle_input(self.now, Input::Frame { on: InterfaceId(on), bytes: frame });
        while let Some(job) = self.stack.poll_job() {
            self.stack.handle_input(self.now, Input::JobDone(job.run()));
        }
    }

    fn sent(&mut self, on: u32) -> Vec<Bytes> {
        let next = || self.stack.poll_transmit(self.now, InterfaceId(on)).map(|transmit| transmit.frame);
        core::iter::from_fn(next).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let outputs = core::iter::from_fn(|| self.stack.poll_output());
        outputs.filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None }).collect()
    }

    /// Lets time pass with all deadlines served, then forgets what was sent and said.
    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.later(at.since(self.now.mono));
            self.stack.handle_input(self.now, Input::Timeout);
        }
        self.now = self.now.later(end.since(self.now.mono));
    }

    fn silence(&mut self, interfaces: u32) {
        for on in 0..interfaces {
            self.sent(on);
        }
        self.events();
    }

    /// A destination of this node that takes links. Its owner has seed 50.
    fn serve(&mut self) -> DestinationHash {
        let destination = Destination::new(identity(50), DestinationName::new("besieged", &[]).unwrap());
        self.stack.register(Destination { request_paths: vec!["/echo".to_owned()], ..destination }).unwrap()
    }

    /// Hears an announce of somebody. `hops` as counted up; more than one are behind a transport node.
    fn meet(&mut self, on: u32, owner: &Identity, hops: u8, emitted: u64) -> DestinationHash {
        let name = DestinationName::new("somebody", &[]).unwrap();
        let random = RandomHash::new([1; 5], UnixTime(emitted));
        let heard = announce(owner, name.hash(), random, None, b"", Context::NONE).unwrap();
        let transport_id = (hops > 1).then(|| crate::hash::IdentityHash::new([9; 16]));
        let heard = Packet { hops: hops - 1, transport_id, ..heard };
        self.hear(on, &heard.encode());
        heard.destination
    }

    fn ask(&mut self, to: DestinationHash, owner: &Identity, mtu: usize) -> (Link, Packet) {
        let path = Initiate { mtu, hops: 1, first_hop_timeout: Duration::from_secs(6) };
        Link::initiate(self.now, &mut self.rng, to, owner.public(), path)
    }

    /// Makes a link to a destination of the stack all the way, on one interface.
    fn connect(&mut self, on: u32, to: DestinationHash) -> Link {
        let (mut link, request) = self.ask(to, &identity(50), 500);
        self.sent(on);
        self.hear(on, &request.encode());
        let proof = self.sent(on).pop().unwrap();
        link.handle_packet(self.now, &mut self.rng, &PacketRef::parse(&proof).unwrap());
        self.flush(on, &mut link);
        link
    }

    fn flush(&mut self, on: u32, link: &mut Link) {
        while let Some(packet) = link.poll_packet() {
            self.hear(on, &packet.encode());
        }
    }

    /// The proof of a link request this stack sent or passed on.
    fn prove(&mut self, request: &[u8], owner: &Identity) -> Packet {
        Link::accept(self.now, &mut self.rng, owner, &PacketRef::parse(request).unwrap(), 1).unwrap().1
    }

    fn request_path(&mut self, on: u32, target: DestinationHash, tag: u32) {
        let tag = [&[7; 12][..], &tag.to_be_bytes()].concat();
        self.hear(on, &PathRequestRef { target, transport_id: None, tag: &tag }.packet().encode());
    }

    fn has_link(&mut self, link: &Link) -> bool {
        self.stack.links().any(|id| id == link.id())
    }
}

/// The same request with another MTU: the same link id, another packet hash.
fn resignalled(request: &Packet, mtu: usize) -> Packet {
    let data = [&request.data[..64], &Signalling::new(mtu).encode()].concat();
    Packet { data: data.into(), ..request.clone() }
}

fn is_path_request(frame: &Bytes) -> bool {
    PacketRef::parse(frame).is_ok_and(|packet| packet.destination() == path_request_destination())
}

#[test]
fn a_frame_too_long_for_a_medium_is_not_queued_for_it() {
    let mut siege = Siege::new(true, &[tcp(), serial()]);
    let to = siege.meet(1, &identity(70), 1, 1);
    siege.silence(2);
    let via = Some(siege.stack.transport_id());
    for (len, fits) in [(16_300, false), (546, false), (545, true)] {
        let packet = Packet {
            flags: Flags::new(DestinationKind::Single, PacketKind::Data),
            hops: 0,
            transport_id: via,
            destination: to,
            context: Context::NONE,
            data: vec![7; len].into(),
        };
        siege.hear(0, &packet.encode());
        assert_eq!(siege.sent(1).len(), usize::from(fits), "{len}");
    }
    assert_eq!(siege.stack.stats().dropped(DropReason::OverMtu), 2);
}

#[test]
fn a_flood_of_link_requests_turns_over_its_own_links_only() {
    let mut siege = Siege::new(false, &[tcp(), tcp()]);
    let to = siege.serve();
    let friend = siege.meet(1, &identity(60), 1, 1);
    let up = siege.connect(1, to);
    let (waits, request) = siege.ask(to, &identity(50), 500);
    siege.hear(1, &request.encode());
    for _ in 0..1000 {
        let (_, request) = siege.ask(to, &identity(50), 500);
        siege.hear(0, &Packet { hops: 127, ..request }.encode());
    }
    assert!(siege.has_link(&up) && siege.has_link(&waits));
    assert_eq!(siege.stack.links().count(), 192);
    assert!(siege.stack.open_link(siege.now, friend).is_ok());
    let late = siege.connect(0, to);
    assert!(siege.has_link(&late), "also on the flooded interface there is room");
}

#[test]
fn strangers_who_complete_links_give_way_to_newcomers_and_those_who_identified_stay() {
    let mut siege = Siege::new(false, &[tcp(), tcp()]);
    let to = siege.serve();
    let mut known = siege.connect(0, to);
    known.identify(siege.now, &mut siege.rng, &identity(80)).unwrap();
    siege.flush(0, &mut known);
    for _ in 0..200 {
        siege.connect(0, to);
    }
    assert_eq!(siege.stack.links().count(), 192);
    let guest = siege.connect(1, to);
    assert!(siege.has_link(&known) && siege.has_link(&guest));
    assert_eq!(siege.stack.stats().dropped(DropReason::LinksFull), 0);
}

#[test]
fn a_copied_link_request_replaces_no_link() {
    let mut siege = Siege::new(false, &[tcp(), tcp()]);
    let to = siege.serve();
    let (mut link, request) = siege.ask(to, &identity(50), 500);
    siege.hear(0, &request.encode());
    let proof = siege.sent(0).pop().unwrap();
    link.handle_packet(siege.now, &mut siege.rng, &PacketRef::parse(&proof).unwrap());
    siege.flush(0, &mut link);
    siege.hear(1, &resignalled(&request, 501).encode());
    assert_eq!(siege.stack.stats().dropped(DropReason::LinkExists), 1);
    assert!(siege.sent(1).is_empty());
    siege.events();
    link.send(siege.now, &mut siege.rng, b"still here").unwrap();
    siege.flush(0, &mut link);
    assert!(siege.events().iter().any(|event| matches!(event, Event::LinkData { .. })));
}

#[test]
fn a_copied_link_request_replaces_no_carried_link() {
    let mut siege = Siege::new(true, &[tcp(), tcp(), tcp()]);
    let owner = identity(70);
    let to = siege.meet(1, &owner, 1, 1);
    siege.silence(3);
    let (_, request) = siege.ask(to, &owner, 500);
    let request = Packet { transport_id: Some(siege.stack.transport_id()), ..request };
    siege.hear(0, &request.encode());
    let carried = siege.sent(1).pop().unwrap();
    // Before the proof only the same way again is passed on.
    siege.hear(2, &resignalled(&request, 501).encode());
    assert!(siege.sent(1).is_empty());
    siege.hear(0, &resignalled(&request, 502).encode());
    assert_eq!(siege.sent(1).len(), 1);
    let proof = siege.prove(&carried, &owner);
    siege.hear(1, &proof.encode());
    siege.hear(0, &resignalled(&request, 503).encode());
    assert!(siege.sent(1).is_empty(), "after it nothing is");
    let links: Vec<_> = siege.stack.relayed_links().collect();
    assert!(links.len() == 1 && links[0].proved && links[0].towards_initiator == InterfaceId(0), "{links:?}");
}

#[test]
fn asking_for_links_takes_no_place_from_carried_links() {
    let mut siege = Siege::new(true, &[tcp(), tcp(), tcp()]);
    let owner = identity(70);
    let to = siege.meet(1, &owner, 1, 1);
    siege.silence(3);
    let via = Some(siege.stack.transport_id());
    let ask = |siege: &mut Siege, on| {
        let (link, request) = siege.ask(to, &owner, 500);
        siege.hear(on, &Packet { transport_id: via, ..request }.encode());
        link
    };
    let proved = ask(&mut siege, 0);
    let carried = siege.sent(1).pop().unwrap();
    let proof = siege.prove(&carried, &owner);
    siege.hear(1, &proof.encode());
    let waits = ask(&mut siege, 0);
    for _ in 0..2000 {
        ask(&mut siege, 2);
        siege.sent(1);
    }
    assert!(siege.stack.relays.contains(&proved.id()) && siege.stack.relays.contains(&waits.id()));
    assert_eq!(siege.stack.relays.counts(), (256, 1));
}

#[test]
fn asking_for_a_path_often_neither_delays_the_answer_nor_the_announce() {
    let mut siege = Siege::new(true, &[tcp(), tcp(), tcp()]);
    let to = siege.meet(1, &identity(70), 1, 1);
    let mut sent = [0; 3];
    for tag in 0..100 {
        siege.request_path(0, to, tag);
        siege.pass(Duration::from_millis(300));
        for (on, count) in (0..).zip(&mut sent) {
            *count += siege.sent(on).len();
        }
    }
    assert_eq!(sent[1..], [2, 2], "both rebroadcasts go out");
    assert!(sent[0] > 2 + 40, "and an answer every 0.6 s, not {}", sent[0] - 2);
}

#[test]
fn counters_of_interfaces_that_are_gone_are_forgotten() {
    let mut siege = Siege::new(false, &[tcp()]);
    for id in 1..1000 {
        siege.up(id, tcp());
        siege.hear(id, &[0]);
        siege.down(id);
        siege.pass(Duration::from_millis(100));
    }
    siege.pass(INTERFACE_LINGER + Duration::from_secs(2));
    assert!(siege.stack.stats.interfaces.len() <= 1 && siege.stack.lingering.is_empty());
    assert_eq!(siege.stack.poll_timeout(), None);
}

#[test]
fn a_responder_that_confirms_more_than_was_asked_for_gets_no_link() {
    let mut siege = Siege::new(false, &[serial()]);
    let owner = identity(70);
    let to = siege.meet(0, &owner, 1, 1);
    for (confirmed, stands) in [(2_000_000, false), (500, true)] {
        let link = siege.stack.open_link(siege.now, to).unwrap();
        let mut request = siege.sent(0).pop().unwrap().to_vec();
        let signalling = request.len() - Signalling::LEN;
        request[signalling..].copy_from_slice(&Signalling::new(confirmed).encode());
        let proof = siege.prove(&request, &owner).encode();
        // The same unsigned: anybody could end the link with it.
        let mut forged = proof.to_vec();
        forged[30] ^= 1;
        siege.hear(0, &forged);
        assert!(siege.stack.link(siege.now, link).is_some());
        siege.hear(0, &proof);
        let state = siege.stack.link(siege.now, link).map(|link| link.state());
        assert_eq!(state, stands.then_some(crate::link::LinkState::Active), "{confirmed}");
        let violated = Event::LinkDown { link, reason: LinkCloseReason::Violation };
        assert_eq!(siege.events().contains(&violated), !stands);
        assert!(siege.stack.path(to).is_some(), "the path is not to blame");
    }
}

#[test]
fn a_link_that_fails_makes_every_node_ask_for_the_path_again() {
    for transport_enabled in [true, false] {
        let mut siege = Siege::new(transport_enabled, &[tcp(), tcp()]);
        let to = siege.meet(0, &identity(70), 2, 1);
        siege.pass(Duration::from_secs(60));
        siege.silence(2);
        siege.stack.open_link(siege.now, to).unwrap();
        siege.silence(2);
        siege.pass(Duration::from_secs(30));
        assert_eq!(siege.sent(1).iter().filter(|frame| is_path_request(frame)).count(), 1, "{transport_enabled}");
        // A longer way of the same announce is now taken.
        let longer = siege.meet(1, &identity(70), 4, 1);
        assert_eq!(siege.stack.path(longer).map(|path| path.hops), Some(4), "{transport_enabled}");
    }
}

#[test]
fn a_path_learned_while_a_link_was_tried_outlives_it() {
    let mut siege = Siege::new(false, &[tcp(), tcp()]);
    let to = siege.meet(0, &identity(70), 2, 1);
    siege.stack.open_link(siege.now, to).unwrap();
    siege.meet(1, &identity(70), 1, 2);
    siege.silence(2);
    siege.pass(Duration::from_secs(60));
    assert!(siege.events().iter().any(|event| matches!(event, Event::LinkDown { .. })));
    assert_eq!(siege.stack.path(to).map(|path| path.on), Some(InterfaceId(1)));
    assert!(siege.sent(1).is_empty());
}

#[test]
fn a_link_that_waits_ends_with_the_interface_its_request_left_on() {
    let mut siege = Siege::new(false, &[tcp()]);
    let to = siege.meet(0, &identity(70), 10, 1);
    let link = siege.stack.open_link(siege.now, to).unwrap();
    siege.events();
    siege.down(0);
    let down = |link, reason| Event::LinkDown { link, reason };
    assert!(siege.events().contains(&down(link, LinkCloseReason::InterfaceDown)));
    // Without a path it waits, but not for the 128 hops of an unknown distance.
    let pathless = siege.stack.open_link(siege.now, to).unwrap();
    siege.pass(Duration::from_secs(59));
    assert!(siege.stack.link(siege.now, pathless).is_some());
    siege.pass(Duration::from_secs(2));
    assert!(siege.events().contains(&down(pathless, LinkCloseReason::Timeout)));
}

#[test]
fn a_path_that_comes_back_is_told_at_once() {
    let mut siege = Siege::new(true, &[tcp(), tcp()]);
    let to = siege.meet(1, &identity(70), 1, 1);
    siege.pass(Duration::from_secs(60));
    siege.down(1);
    siege.request_path(0, to, 1);
    siege.up(1, tcp());
    siege.silence(2);
    siege.request_path(0, to, 2);
    siege.pass(Duration::from_secs(1));
    assert_eq!(siege.sent(0).len(), 1);
}

#[test]
fn a_burst_of_path_requests_ends_by_itself() {
    let gateway = InterfaceProfile { mode: Mode::Gateway, ..tcp() };
    let mut siege = Siege::new(true, &[gateway.clone(), gateway]);
    let target = |of: u8| DestinationHash::new([of; 16]);
    for of in 0..60 {
        siege.request_path(0, target(of), u32::from(of));
        siege.pass(Duration::from_millis(20));
    }
    siege.silence(2);
    // What was asked for beyond the limit was ignored, and can be asked for again when the burst is over.
    siege.pass(Duration::from_secs(60));
    siege.request_path(0, target(59), 100);
    assert_eq!(siege.sent(1).len(), 1);
    siege.pass(Duration::from_secs(60));
    assert_eq!(siege.stack.poll_timeout(), None, "and nothing is looked at any more");
}

#[test]
fn link_jobs_and_announce_checks_take_turns() {
    let mut siege = Siege::new(false, &[tcp()]);
    let friend = siege.meet(0, &identity(60), 1, 1);
    for _ in 0..2 {
        siege.stack.open_link(siege.now, friend).unwrap();
        let request = siege.sent(0).pop().unwrap();
        let proof = siege.prove(&request, &identity(60));
        siege.hear(0, &proof.encode());
    }
    // A request of several packets is a job.
    for link in siege.stack.links().collect::<Vec<_>>() {
        let options = RequestOptions { timeout: None, max_response: 10 };
        siege.stack.link(siege.now, link).unwrap().request("/echo", &noise(20_000), options).unwrap();
    }
    for seed in 90..92 {
        let name = DestinationName::new("somebody", &[]).unwrap();
        let random = RandomHash::new([1; 5], UnixTime(1));
        let heard = announce(&identity(seed), name.hash(), random, None, b"", Context::NONE).unwrap();
        siege.stack.handle_input(siege.now, Input::Frame { on: InterfaceId(0), bytes: &heard.encode() });
    }
    let jobs: Vec<_> = core::iter::from_fn(|| siege.stack.poll_job()).collect();
    let of_links: Vec<_> = jobs.iter().map(|job| matches!(job.0, Work::Link { .. })).collect();
    let turns = of_links.windows(2).take(3).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((of_links.len(), turns), (4, 3), "{of_links:?}");
}

/// The parts of a request of `len` bytes that the peer takes before it has asked for all of them.
fn begin_request(siege: &mut Siege, link: &mut Link, len: u32) {
    let options = RequestOptions { timeout: None, max_response: 10 };
    let (now, mut rng) = (siege.now, TestRng::seeded(4));
    link.request(now, &mut rng, "/echo", &noise(len), options).unwrap();
    let job = link.poll_job().unwrap();
    link.handle_job(now, &mut rng, job.run());
    siege.sent(0);
    for _ in 0..3 {
        siege.flush(0, link);
        for frame in siege.sent(0) {
            link.handle_packet(now, &mut rng, &PacketRef::parse(&frame).unwrap());
        }
    }
}

#[test]
fn what_arrives_on_links_of_others_is_bounded_all_together() {
    let mut siege = Siege::new(false, &[tcp()]);
    siege.stack.config.capacities.arriving_bytes = 40_000;
    let to = siege.serve();
    let mut known = siege.connect(0, to);
    known.identify(siege.now, &mut siege.rng, &identity(80)).unwrap();
    begin_request(&mut siege, &mut known, 60_000);
    let held = siege.stack.arriving;
    assert!(held > 1000 && siege.has_link(&known), "{held}");
    let mut strangers = 0;
    for _ in 0..60 {
        let mut link = siege.connect(0, to);
        begin_request(&mut siege, &mut link, 10_000);
        assert!(siege.stack.arriving <= 40_000);
        strangers += usize::from(siege.has_link(&link));
    }
    assert!(siege.has_link(&known), "who identified stays");
    assert!(siege.stack.links().count() < 61 && strangers > 1, "{strangers}");
    let all: usize = siege.stack.links.values().map(|slot| slot.arriving()).sum();
    assert_eq!(all, siege.stack.arriving);
    siege.down(0);
    assert_eq!(siege.stack.arriving, 0);
}

#[test]
fn a_link_proof_corrects_only_the_path_its_request_took() {
    let mut siege = Siege::new(false, &[tcp(), tcp()]);
    let owner = identity(70);
    let to = siege.meet(0, &owner, 3, 1);
    let hops_after = |siege: &mut Siege, on, hops| {
        siege.sent(0);
        siege.stack.open_link(siege.now, to).unwrap();
        let request = siege.sent(0).pop().unwrap();
        let proof = siege.prove(&request, &owner);
        siege.hear(on, &Packet { hops, ..proof }.encode());
        siege.stack.path(to).unwrap().hops
    };
    assert_eq!(hops_after(&mut siege, 1, 6), 3, "another interface");
    assert_eq!(hops_after(&mut siege, 0, 0), 2, "behind a transport node nobody is direct");
    assert_eq!(hops_after(&mut siege, 0, 4), 5);
}

#[test]
fn a_destination_that_proves_everything_proves_data_on_its_links() {
    let mut siege = Siege::new(false, &[tcp()]);
    let owner = identity(50);
    let destination = Destination::new(owner, DestinationName::new("besieged", &[]).unwrap());
    let to = siege.stack.register(Destination { proofs: ProofStrategy::All, ..destination }).unwrap();
    let mut link = siege.connect(0, to);
    siege.sent(0);
    link.send(siege.now, &mut siege.rng, b"prove this").unwrap();
    siege.flush(0, &mut link);
    let proof = siege.sent(0).pop().unwrap();
    assert_eq!(PacketRef::parse(&proof).unwrap().flags().packet(), PacketKind::Proof);
}
