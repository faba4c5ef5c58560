//! Stacks among stacks, in virtual time; and stacks under fire.

mod blackhole;
mod echo;
mod fire;
mod floods;
mod keys;
mod known;
mod lone;
mod repair;
mod sharing;
mod siege;
mod spread;
mod tunnels;

use core::time::Duration;

use super::*;
use crate::destination::DestinationName;
use crate::identity::Identity;
use crate::link::RequestOptions;
use crate::testing::{Medium, Mesh, NodeId, TestRng, wired};

const SOON: Duration = Duration::from_secs(20);

/// Registers a destination that accepts links, proves everything and takes requests for `/echo`.
fn serve(mesh: &mut Mesh, on: NodeId, seed: u64) -> DestinationHash {
    let owner = Identity::generate(&mut TestRng::seeded(seed));
    let destination = Destination::new(owner, DestinationName::new("test", &["server"]).unwrap());
    let request_paths = vec!["/echo".to_owned()];
    mesh.stack(on).register(Destination { proofs: ProofStrategy::All, request_paths, ..destination }).unwrap()
}

fn announce(mesh: &mut Mesh, on: NodeId, destination: DestinationHash) {
    let now = mesh.now();
    mesh.stack(on).announce(now, destination, b"hello").unwrap();
}

fn request_path(mesh: &mut Mesh, on: NodeId, to: DestinationHash) {
    let now = mesh.now();
    mesh.stack(on).request_path(now, to);
}

fn hops(mesh: &mut Mesh, on: NodeId, to: DestinationHash) -> Option<u8> {
    mesh.stack(on).path(to).map(|path| path.hops)
}

/// A leaf, a transport node and a leaf in a row.
fn row(mesh: &mut Mesh, medium: &Medium) -> [NodeId; 3] {
    let nodes = [mesh.add(|_| {}), mesh.add_transport(), mesh.add(|_| {})];
    mesh.join(&nodes[..2], medium.clone());
    mesh.join(&nodes[1..], medium.clone());
    nodes
}

#[test]
fn an_announce_travels_over_a_transport_node() {
    let mut mesh = Mesh::new(1);
    let [near, relay, far] = row(&mut mesh, &Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to) == Some(2)));
    assert_eq!(hops(&mut mesh, relay, to), Some(1));
    let heard = mesh.events(near).iter().find_map(|(_, event)| match event {
        Event::Announced { destination, app_data, hops, .. } if *destination == to => Some((app_data.clone(), *hops)),
        _ => None,
    });
    assert_eq!(heard, Some((bytes::Bytes::from_static(b"hello"), 2)));
    assert_eq!(mesh.records(near).len(), 1);
}

#[test]
fn a_path_request_is_answered_over_two_hops() {
    let mut mesh = Mesh::new(2);
    let [relay, far] = [mesh.add_transport(), mesh.add(|_| {})];
    mesh.join(&[relay, far], Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    mesh.run_for(Duration::from_secs(30));
    // Whoever comes later has missed the announce, and asks.
    let late = mesh.add(|_| {});
    mesh.join(&[late, relay], Medium::default());
    mesh.run_for(Duration::from_secs(30));
    assert_eq!(hops(&mut mesh, late, to), None);
    request_path(&mut mesh, late, to);
    assert!(mesh.run_until(Duration::from_secs(2), |mesh| hops(mesh, late, to) == Some(2)));
}

#[test]
fn a_gateway_searches_for_a_path_nobody_announced() {
    let mut mesh = Mesh::new(3);
    let [asker, first, second, far] = [mesh.add(|_| {}), mesh.add_transport(), mesh.add_transport(), mesh.add(|_| {})];
    let gateway = Medium { profile: InterfaceProfile { mode: Mode::Gateway, ..wired() }, ..Medium::default() };
    for pair in [[asker, first], [first, second], [second, far]] {
        mesh.join(&pair, gateway.clone());
    }
    let to = serve(&mut mesh, far, 10);
    request_path(&mut mesh, asker, to);
    assert!(mesh.run_until(Duration::from_secs(2), |mesh| hops(mesh, asker, to) == Some(3)));
}

#[test]
fn data_arrives_over_two_hops_and_its_proof_comes_back() {
    let mut mesh = Mesh::new(4);
    let [near, _, far] = row(&mut mesh, &Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    let now = mesh.now();
    let packet = mesh.stack(near).send(now, to, b"over two hops").unwrap();
    mesh.run_for(Duration::from_secs(1));
    let payload = bytes::Bytes::from_static(b"over two hops");
    let received = Event::Received { destination: to, payload, packet, ratchet: None, wants_proof: false };
    assert_eq!(mesh.events(far).iter().filter(|(_, event)| *event == received).count(), 1);
    let rtt = mesh.events(near).iter().find_map(|(_, event)| match event {
        Event::Delivered { packet: delivered, rtt } if *delivered == packet => Some(*rtt),
        _ => None,
    });
    assert!(rtt.is_some_and(|rtt| rtt >= Duration::from_millis(20) && rtt < Duration::from_millis(40)), "{rtt:?}");
}

#[test]
fn a_packet_nobody_proves_is_undelivered() {
    let mut mesh = Mesh::new(5);
    let [near, _, far] = row(&mut mesh, &Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    mesh.part(far, InterfaceId(1));
    let now = mesh.now();
    let packet = mesh.stack(near).send(now, to, b"lost").unwrap();
    mesh.run_for(Duration::from_secs(30));
    assert!(mesh.events(near).iter().any(|(_, event)| *event == Event::Undelivered { packet }));
}

#[test]
fn a_leaf_carries_nothing_for_others() {
    let mut mesh = Mesh::new(6);
    let [near, middle, far] = [mesh.add(|_| {}), mesh.add(|_| {}), mesh.add(|_| {})];
    mesh.join(&[near, middle], Medium::default());
    mesh.join(&[middle, far], Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    mesh.run_for(SOON);
    request_path(&mut mesh, near, to);
    mesh.run_for(SOON);
    assert_eq!((hops(&mut mesh, middle, to), hops(&mut mesh, near, to)), (Some(1), None));
    assert_eq!(mesh.stack(middle).stats().forwarded, 0);
}

/// The first event of `on` that `find` finds something in.
fn find<T>(mesh: &Mesh, on: NodeId, find: impl Fn(&Event) -> Option<T>) -> Option<T> {
    mesh.events(on).iter().find_map(|(_, event)| find(event))
}

/// Opens a link, asks `/echo`, answers with `answer` MessagePack bytes, and gives the response as it came.
fn ask(mesh: &mut Mesh, [from, at]: [NodeId; 2], to: DestinationHash, answer: &[u8], limit: Duration) -> bytes::Bytes {
    let now = mesh.now();
    let link = mesh.stack(from).open_link(now, to).unwrap();
    let up = |event: &Event| matches!(event, Event::LinkUp { link: up, .. } if *up == link).then_some(());
    assert!(mesh.run_until(limit, |mesh| find(mesh, from, up).is_some()), "no link");
    let (caller, now) = (Identity::generate(&mut TestRng::seeded(77)), mesh.now());
    let mut open = mesh.stack(from).link(now, link).unwrap();
    open.identify(&caller).unwrap();
    let options = RequestOptions { timeout: Some(limit), max_response: 1 << 20 };
    let request = open.request("/echo", &[0xc0], options).unwrap();
    let asked = |event: &Event| match event {
        Event::Requested { request: asked, caller, path, .. } if *asked == request => Some((*caller, path.clone())),
        _ => None,
    };
    assert!(mesh.run_until(limit, |mesh| find(mesh, at, asked).is_some()), "no request");
    assert_eq!(find(mesh, at, asked), Some((Some(caller.hash()), "/echo".to_owned())));
    let now = mesh.now();
    mesh.stack(at).link(now, link).unwrap().respond(request, answer).unwrap();
    let answered = |event: &Event| match event {
        Event::Responded { request: answered, response, .. } if *answered == request => Some(response.clone()),
        _ => None,
    };
    assert!(mesh.run_until(limit, |mesh| find(mesh, from, answered).is_some()), "no response");
    find(mesh, from, answered).unwrap().unwrap()
}

/// A MessagePack byte string of `len` bytes that does not compress.
fn noise(len: u32) -> Vec<u8> {
    let mut out = vec![0xc6];
    out.extend(len.to_be_bytes());
    let mut rng = TestRng::seeded(5);
    let start = out.len();
    out.resize(start + len as usize, 0);
    rand_core::Rng::fill_bytes(&mut rng, &mut out[start..]);
    out
}

#[test]
fn a_request_over_a_transport_node_is_answered() {
    let mut mesh = Mesh::new(7);
    let [near, relay, far] = row(&mut mesh, &Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    assert_eq!(ask(&mut mesh, [near, far], to, &[0x2a], SOON).as_ref(), [0x2a]);
    let links: Vec<_> = mesh.stack(relay).relayed_links().collect();
    assert!(links.len() == 1 && links[0].proved, "{links:?}");
}

#[test]
fn a_large_response_survives_loss_on_two_hops() {
    let mut mesh = Mesh::new(8);
    let [near, _, far] = row(&mut mesh, &Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    mesh.set_loss(0.02);
    let answer = noise(100_000);
    assert_eq!(ask(&mut mesh, [near, far], to, &answer, Duration::from_secs(300)), answer);
}

#[test]
fn a_link_works_over_a_slow_serial_line() {
    let profile = InterfaceProfile {
        bitrate_bps: 9600,
        hw_mtu: Some(564),
        negotiates_mtu: false,
        ingress_control: false,
        ..wired()
    };
    let mut mesh = Mesh::new(9);
    let [near, relay, far] = [mesh.add(|_| {}), mesh.add_transport(), mesh.add(|_| {})];
    mesh.join(&[near, relay], Medium::default());
    mesh.join(&[relay, far], Medium { profile, ..Medium::default() });
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    let answer = noise(5000);
    assert_eq!(ask(&mut mesh, [near, far], to, &answer, Duration::from_secs(120)), answer);
}

#[test]
fn a_stranger_cannot_end_a_link_that_is_being_made() {
    let mut mesh = Mesh::new(12);
    let [near, far] = [mesh.add(|_| {}), mesh.add(|_| {})];
    let interface = mesh.join(&[near, far], Medium { latency: Duration::from_secs(1), ..Medium::default() });
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    let now = mesh.now();
    let link = mesh.stack(near).open_link(now, to).unwrap();
    // A proof without a good signature that states a mode nobody asked for.
    let forged = [&[0x0f, 0x00][..], link.as_ref(), &[0xff], &[7; 96], &[0x40, 0x01, 0xf4]].concat();
    mesh.stack(near).handle_input(now, Input::Frame { on: interface, bytes: &forged });
    let up = |event: &Event| matches!(event, Event::LinkUp { .. }).then_some(());
    assert!(mesh.run_until(SOON, |mesh| find(mesh, near, up).is_some()));
}

/// The case `wrong-interface` of link/packets.json, played by two whole stacks.
#[test]
fn a_link_packet_counts_only_on_the_interface_of_its_link() {
    let mut mesh = Mesh::new(13);
    let [near, far] = [mesh.add(|_| {}), mesh.add(|_| {})];
    let bound = mesh.join(&[near, far], Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    ask(&mut mesh, [near, far], to, &[0xc0], SOON);
    let now = mesh.now();
    let other = InterfaceId(99);
    mesh.stack(far).handle_input(now, Input::InterfaceUp { id: other, profile: wired() });
    let link = mesh.stack(near).links().next().unwrap();
    mesh.stack(near).link(now, link).unwrap().send(b"once").unwrap();
    let frame = mesh.stack(near).poll_transmit(now, bound).unwrap().frame;
    let delivered = |mesh: &mut Mesh, on| {
        let stack = mesh.stack(far);
        stack.handle_input(now, Input::Frame { on, bytes: &frame });
        let events: Vec<_> = core::iter::from_fn(|| stack.poll_output()).collect();
        events.iter().filter(|output| matches!(output, Output::Event(Event::LinkData { .. }))).count()
    };
    assert_eq!(delivered(&mut mesh, other), 0);
    assert_eq!(delivered(&mut mesh, bound), 1, "the copy on the right interface still counts");
    assert_eq!(delivered(&mut mesh, bound), 0, "and counts once");
}

#[test]
fn an_interface_that_goes_down_takes_its_links_at_once_and_its_paths_later() {
    let mut mesh = Mesh::new(10);
    let [near, far] = [mesh.add(|_| {}), mesh.add(|_| {})];
    let medium = Medium::default();
    let interface = mesh.join(&[near, far], medium.clone());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, near, to).is_some()));
    ask(&mut mesh, [near, far], to, &[0xc0], SOON);
    mesh.part(near, interface);
    mesh.run_for(Duration::from_secs(1));
    let down =
        |event: &Event| matches!(event, Event::LinkDown { reason: LinkCloseReason::InterfaceDown, .. }).then_some(());
    assert!(find(&mesh, near, down).is_some());
    // Back in time: the path is still there.
    let now = mesh.now();
    mesh.stack(near).handle_input(now, Input::InterfaceUp { id: interface, profile: medium.profile });
    mesh.run_for(Duration::from_secs(30));
    assert_eq!(hops(&mut mesh, near, to), Some(1));
    mesh.part(near, interface);
    mesh.run_for(INTERFACE_LINGER + Duration::from_secs(1));
    let gone = Event::PathChanged { destination: to, hops: None };
    assert!(mesh.events(near).iter().any(|(_, event)| *event == gone));
}

#[test]
fn announces_die_out_in_a_ring_and_every_node_has_the_shorter_way() {
    let mut mesh = Mesh::new(11);
    let ring: Vec<_> = (0..6).map(|_| mesh.add_transport()).collect();
    for (index, node) in ring.iter().enumerate() {
        mesh.join(&[*node, ring[(index + 1) % ring.len()]], Medium::default());
    }
    let to = serve(&mut mesh, ring[0], 10);
    announce(&mut mesh, ring[0], to);
    mesh.run_for(Duration::from_secs(60));
    for (index, node) in ring.iter().enumerate().skip(1) {
        assert_eq!(hops(&mut mesh, *node, to).map(usize::from), Some(index.min(ring.len() - index)), "node {index}");
    }
    // Two sends by each relay on two interfaces, and the origin's own.
    let quiet = mesh.carried();
    assert!(quiet <= 2 + 5 * 4, "{quiet} frames");
    mesh.run_for(Duration::from_secs(600));
    assert_eq!(mesh.carried(), quiet);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut mesh = Mesh::new(seed);
        let nodes = row(&mut mesh, &Medium { loss: 0.2, ..Medium::default() });
        let to = serve(&mut mesh, nodes[2], 10);
        for _ in 0..5 {
            announce(&mut mesh, nodes[2], to);
            mesh.run_for(Duration::from_secs(15));
        }
        nodes.map(|node| mesh.events(node).to_vec())
    };
    assert_eq!(run(12), run(12));
    assert_ne!(run(12), run(13));
}

#[test]
fn announces_are_dated_later_than_all_before_whatever_the_clock_says() {
    let mut mesh = Mesh::new(14);
    let [near, far] = [mesh.add(|_| {}), mesh.add(|_| {})];
    mesh.join(&[near, far], Medium::default());
    let to = serve(&mut mesh, far, 10);
    let ahead = UnixTime(mesh.now().unix.0 + 86_400);
    mesh.stack(far).restore(Snapshot { last_emission: ahead, ..Snapshot::default() });
    for _ in 0..3 {
        announce(&mut mesh, far, to);
    }
    // Asking does not push the date on.
    for _ in 0..10 {
        request_path(&mut mesh, near, to);
    }
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.stack(far).last_emission(), UnixTime(ahead.0 + 3));
    assert_eq!(mesh.stack(near).path(to).unwrap().emitted, UnixTime(ahead.0 + 3));
}

#[test]
fn what_was_known_is_known_after_a_restart_but_the_way_is_asked_for() {
    let mut mesh = Mesh::new(15);
    let [near, far] = [mesh.add(|_| {}), mesh.add(|_| {})];
    mesh.join(&[near, far], Medium::default());
    let to = serve(&mut mesh, far, 10);
    announce(&mut mesh, far, to);
    mesh.run_for(Duration::from_secs(1));
    let mut paths = mesh.records(near).to_vec();
    paths.push(PathRecord::heard(to, [1, 2, 3], UnixTime(0)));
    let again = mesh.add(|_| {});
    mesh.join(&[again, far], Medium::default());
    mesh.stack(again).restore(Snapshot { paths, ..Snapshot::default() });
    assert!(mesh.stack(again).identity_of(to).is_some());
    assert_eq!(mesh.stack(again).app_data_of(to), Some(&b"hello"[..]));
    assert_eq!(hops(&mut mesh, again, to), None);
    request_path(&mut mesh, again, to);
    assert!(mesh.run_until(Duration::from_secs(1), |mesh| hops(mesh, again, to) == Some(1)));
}

#[test]
fn the_same_announce_from_many_neighbours_is_checked_once() {
    let mut stack =
        Stack::new(StackConfig::new(Identity::generate(&mut TestRng::seeded(1))), Box::new(TestRng::seeded(2)));
    let now = Now::default();
    let owner = Identity::generate(&mut TestRng::seeded(3));
    let name = DestinationName::new("once", &[]).unwrap().hash();
    let random = crate::announce::RandomHash::new([0; 5], UnixTime(9));
    let context = crate::wire::Context::NONE;
    let frame = crate::announce::announce(&owner, name, random, None, b"", context).unwrap().encode();
    for id in (0..4).map(InterfaceId) {
        stack.handle_input(now, Input::InterfaceUp { id, profile: wired() });
        stack.handle_input(now, Input::Frame { on: id, bytes: &frame });
    }
    let job = stack.poll_job().unwrap();
    assert!(stack.poll_job().is_none() && stack.paths().count() == 0);
    stack.handle_input(now, Input::JobDone(job.run()));
    assert_eq!((stack.paths().count(), stack.stats().processed), (1, 4));
    stack.handle_input(now, Input::Frame { on: InterfaceId(2), bytes: &frame });
    assert!(stack.poll_job().is_none() && stack.stats().processed == 5);
}

#[test]
fn a_flood_of_announces_waits_in_a_bounded_room() {
    let mut config = StackConfig::new(Identity::generate(&mut TestRng::seeded(1)));
    config.capacities = Capacities::of(Footprint::Tiny);
    let mut stack = Stack::new(config, Box::new(TestRng::seeded(2)));
    let (now, id) = (Now::default(), InterfaceId(0));
    stack.handle_input(now, Input::InterfaceUp { id, profile: wired() });
    for seed in 0..200_u8 {
        let mut frame = vec![0x01, 0];
        frame.extend([seed; 167]);
        stack.handle_input(now, Input::Frame { on: id, bytes: &frame });
    }
    // One interface takes half of it.
    let room = stack.config.capacities.admission / 2;
    assert_eq!(stack.stats().dropped(DropReason::AdmissionFull), 200 - room as u64);
    let jobs: Vec<_> = core::iter::from_fn(|| stack.poll_job()).collect();
    assert!(!jobs.is_empty() && jobs.len() <= room, "checked in batches");
    for job in jobs {
        stack.handle_input(now, Input::JobDone(job.run()));
    }
    assert_eq!(stack.stats().dropped(DropReason::AnnounceInvalid), room as u64);
}

/// Two resources at once, whose windows together are twenty times what the queue of an interface takes.
#[test]
fn resources_larger_than_the_queue_of_an_interface_lose_nothing() {
    use crate::link::{Compression, ResourceEvent, ResourceOptions, ResourceOutcome, ResourceStrategy};

    let mut mesh = Mesh::new(61);
    let small = |config: &mut StackConfig| config.capacities.queue_bytes = 100_000;
    let (near, far) = (mesh.add(small), mesh.add(small));
    let profile =
        InterfaceProfile { hw_mtu: Some(16_384), negotiates_mtu: true, ..InterfaceProfile::new(1_000_000_000) };
    mesh.join(&[near, far], Medium { profile, ..Medium::default() });
    let now = mesh.now();
    let owner = Identity::generate(&mut TestRng::seeded(62));
    let name = DestinationName::new("test", &["sink"]).unwrap();
    let to = Destination { resources: ResourceStrategy::All, ..Destination::new(owner, name) };
    let to = mesh.stack(far).register(to).unwrap();
    mesh.stack(far).announce(now, to, b"").unwrap();
    mesh.run_for(Duration::from_secs(1));
    let body: bytes::Bytes = crate::hash::sha256(&[b"noise"]).repeat(65_536).into();
    let start = mesh.now().mono;
    let links = [0, 1].map(|_| {
        let now = mesh.now();
        let link = mesh.stack(near).open_link(now, to).unwrap();
        mesh.run_for(Duration::from_millis(100));
        let options = ResourceOptions { metadata: None, compression: Compression::Never };
        let now = mesh.now();
        mesh.stack(near).link(now, link).unwrap().send_resource(body.clone(), options).unwrap();
        link
    });
    let delivered = |mesh: &Mesh| {
        let of = |(_, event): &&(Instant, Event)| matches!(event, Event::Resource { link, event: ResourceEvent::Ended(ResourceOutcome::Delivered), .. } if links.contains(link));
        mesh.events(near).iter().filter(of).count()
    };
    assert!(mesh.run_until(Duration::from_secs(600), |mesh| delivered(mesh) == 2));
    assert_eq!(mesh.stack(near).stats().dropped(DropReason::QueueFull), 0);
    // Two times 2 MB at 1 Gbit/s, and the round trips of their small first windows: no wait for a timer in between.
    assert!(mesh.now().mono.since(start) < Duration::from_secs(2));
}

#[test]
fn links_that_close_leave_the_line_of_those_that_wait_for_an_interface() {
    let mut mesh = Mesh::new(63);
    let small = |config: &mut StackConfig| config.capacities.queue_bytes = 2000;
    let (near, far) = (mesh.add(small), mesh.add(small));
    mesh.join(&[near, far], Medium::default());
    let now = mesh.now();
    let owner = Identity::generate(&mut TestRng::seeded(64));
    let name = DestinationName::new("test", &["sink"]).unwrap();
    let to = mesh.stack(far).register(Destination::new(owner, name)).unwrap();
    mesh.stack(far).announce(now, to, b"").unwrap();
    mesh.run_for(Duration::from_secs(1));
    let links = [0, 1, 2].map(|_| {
        let now = mesh.now();
        mesh.stack(near).open_link(now, to).unwrap()
    });
    mesh.run_for(Duration::from_secs(5));
    let now = mesh.now();
    let stack = mesh.stack(near);
    for link in links {
        for _ in 0..20 {
            stack.link(now, link).unwrap().send(&[0; 400]).unwrap();
        }
    }
    let waiting = |stack: &Stack| stack.interfaces.values().map(|interface| interface.crowded.len()).sum::<usize>();
    assert_eq!(waiting(stack), 3);
    for link in &links[..2] {
        stack.link(now, *link).unwrap().close();
    }
    assert_eq!(waiting(stack), 1);
}
