//! Destinations of every type: ratchets, groups, names in clear, and who proves what.

use super::lone::{Lone, identity};
use super::*;
use crate::crypto::TokenKey;
use crate::ratchet::{RatchetKey, Ratchets};
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef};

fn named(name: &str) -> DestinationName {
    DestinationName::new("keys", &[name]).unwrap()
}

/// Two neighbours, and the interface between them.
fn pair() -> (Mesh, NodeId, NodeId) {
    let mut mesh = Mesh::new(5);
    let (left, right) = (mesh.add(|_| {}), mesh.add(|_| {}));
    mesh.join(&[left, right], Medium::default());
    (mesh, left, right)
}

fn ratcheted(mesh: &mut Mesh, on: NodeId, ratchets: Ratchets) -> DestinationHash {
    let own = Destination::new(identity(60), named("ratchets"));
    let own = Destination { proofs: ProofStrategy::All, ratchets: Some(ratchets), ..own };
    mesh.stack(on).register(own).unwrap()
}

/// Payload and ratchet of everything that arrived at a node.
fn received(mesh: &Mesh, at: NodeId) -> Vec<(Vec<u8>, Option<crate::RatchetId>)> {
    let events = mesh.events(at).iter();
    let taken = events.filter_map(|(_, event)| match event {
        Event::Received { payload, ratchet, .. } => Some((payload.to_vec(), *ratchet)),
        _ => None,
    });
    taken.collect()
}

fn send(mesh: &mut Mesh, from: NodeId, to: DestinationHash, payload: &[u8]) -> crate::PacketHash {
    let now = mesh.now();
    mesh.stack(from).send(now, to, payload).unwrap()
}

#[test]
fn a_packet_is_opened_by_the_ratchet_it_was_made_for_two_generations_later() {
    let (mut mesh, near, far) = pair();
    let to = ratcheted(&mut mesh, far, Ratchets::new());
    let mut ids = Vec::new();
    // What the sender has heard stays the first ratchet; the owner goes on to the third.
    for round in 0..3 {
        announce(&mut mesh, far, to);
        ids.insert(0, mesh.stack(far).ratchets(to).unwrap().newest_first()[0].id());
        if round == 0 {
            mesh.run_for(SOON);
            assert!(mesh.stack(near).retain_destination(to));
            mesh.part(near, InterfaceId(0));
        }
        mesh.run_for(Duration::from_secs(1801));
    }
    assert_eq!(mesh.stack(far).ratchets(to).unwrap().newest_first().len(), 3);
    let now = mesh.now();
    mesh.stack(near).handle_input(now, Input::InterfaceUp { id: InterfaceId(0), profile: wired() });
    let packet = send(&mut mesh, near, to, b"late");
    let delivered = |mesh: &mut Mesh| {
        mesh.events(near).iter().any(|(_, event)| matches!(event, Event::Delivered { packet: of, .. } if *of == packet))
    };
    assert!(mesh.run_until(SOON, delivered));
    assert_eq!(received(&mesh, far), [(b"late".to_vec(), Some(ids[2]))]);
    announce(&mut mesh, far, to);
    mesh.run_for(SOON);
    send(&mut mesh, near, to, b"now");
    mesh.run_for(SOON);
    let newest = mesh.stack(far).ratchets(to).unwrap().newest_first()[0].id();
    assert_eq!(received(&mesh, far)[1], (b"now".to_vec(), Some(newest)));
}

#[test]
fn where_ratchets_are_enforced_the_own_key_opens_nothing() {
    for enforced in [false, true] {
        let mut lone = Lone::new(false, &[wired()]);
        let mut ratchets = Ratchets::restored(vec![RatchetKey::new([9; 32])]);
        ratchets.set_enforced(enforced);
        let own = Destination { ratchets: Some(ratchets), ..Destination::new(identity(60), named("ratchets")) };
        let to = lone.stack.register(own).unwrap();
        let mut arrive = |ratchet: Option<[u8; 32]>| {
            let data = identity(60).public().encrypt(&mut lone.rng, ratchet.as_ref(), b"text").unwrap();
            lone.hear(0, &data_for(DestinationKind::Single, to, &data));
            lone.events().len()
        };
        assert_eq!(arrive(None), usize::from(!enforced));
        assert_eq!(arrive(Some(RatchetKey::new([9; 32]).public())), 1);
        assert_eq!(arrive(Some(RatchetKey::new([8; 32]).public())), 0);
    }
}

#[test]
fn old_ratchets_open_packets_until_somebody_makes_too_much_of_it() {
    let mut lone = Lone::new(false, &[wired()]);
    let keys = |n: u32| RatchetKey::new(core::array::from_fn(|at| n.to_be_bytes()[at % 4]));
    let ratchets = Ratchets::restored((1..=512).map(keys).collect());
    let own = Destination { ratchets: Some(ratchets), ..Destination::new(identity(60), named("ratchets")) };
    let to = lone.stack.register(own).unwrap();
    let packet = |lone: &mut Lone, target: [u8; 32]| {
        let data = identity(60).public().encrypt(&mut lone.rng, Some(&target), b"text").unwrap();
        data_for(DestinationKind::Single, to, &data)
    };
    let opened = |lone: &mut Lone, ratchet: u32| {
        let frame = packet(lone, keys(ratchet).public());
        lone.hear(0, &frame);
        lone.events().len() == 1
    };
    assert!(opened(&mut lone, 1) && opened(&mut lone, 512));
    // Ten times what is tried in a second, none of which any ratchet opens.
    for _ in 0..20 {
        let frame = packet(&mut lone, [3; 32]);
        lone.hear(0, &frame);
    }
    assert!(!opened(&mut lone, 512), "the oldest wait for a second");
    assert!(opened(&mut lone, 1), "whoever uses a new one notices nothing");
    lone.pass(Duration::from_secs(1));
    assert!(opened(&mut lone, 512));
}

fn data_for(kind: DestinationKind, destination: DestinationHash, data: &[u8]) -> bytes::Bytes {
    let flags = Flags::new(kind, PacketKind::Data);
    let data = bytes::Bytes::copy_from_slice(data);
    Packet { flags, hops: 0, transport_id: None, destination, context: Context::NONE, data }.encode()
}

#[test]
fn an_announce_with_a_ratchet_says_so_and_stays_small_enough_to_be_relayed() {
    let mut lone = Lone::new(false, &[wired()]);
    let own = Destination { ratchets: Some(Ratchets::new()), ..Destination::new(identity(60), named("ratchets")) };
    let to = lone.stack.register(own).unwrap();
    assert!(lone.stack.announce(lone.now, to, &[0; 286]).is_err());
    assert!(lone.stack.set_app_data(to, &[0; 286]).is_err());
    lone.stack.announce(lone.now, to, &[0; 285]).unwrap();
    let frame = lone.sent(0).pop().unwrap();
    let packet = PacketRef::parse(&frame).unwrap();
    let announce = crate::announce::AnnounceRef::parse(&packet).unwrap();
    assert!(packet.flags().context_flag() && announce.verify().is_ok());
    assert_eq!(announce.ratchet.copied(), lone.stack.ratchets(to).unwrap().public());
    let kept = lone.stack.ratchet_file(to).unwrap();
    assert_eq!(crate::persist::ratchets::open(identity(60).public(), &kept).unwrap().unwrap().len(), 1);
    // Answers to path requests carry it too.
    lone.request_path(0, to, 1);
    let answer = lone.sent(0).pop().unwrap();
    assert!(PacketRef::parse(&answer).unwrap().flags().context_flag());
}

fn group(key: usize) -> Group {
    let key = TokenKey::from_slice(&vec![7; key]).unwrap();
    Group { owner: *identity(70).public(), name: named("group"), key }
}

#[test]
fn a_group_is_heard_by_those_who_hold_its_key_and_are_near() {
    for key in [64, 32] {
        let mut mesh = Mesh::new(6);
        let [near, relay, far] = row(&mut mesh, &Medium::default());
        for member in [near, relay, far] {
            mesh.stack(member).register_group(group(key), Some(identity(70)), ProofStrategy::All).unwrap();
        }
        let now = mesh.now();
        let packet = mesh.stack(near).send(now, &group(key), b"all of you").unwrap();
        mesh.run_for(SOON);
        assert_eq!(received(&mesh, relay), [(b"all of you".to_vec(), None)]);
        assert!(received(&mesh, far).is_empty(), "nobody carries it on");
        let proved = |event: &Event| matches!(event, Event::Delivered { packet: of, .. } if *of == packet);
        assert!(mesh.events(near).iter().any(|(_, event)| proved(event)), "its owner can prove");
    }
}

#[test]
fn plain_packets_are_read_by_whoever_listens_to_the_name() {
    let (mut mesh, near, far) = pair();
    mesh.stack(far).register_plain(&named("plain")).unwrap();
    let now = mesh.now();
    mesh.stack(near).send(now, &named("plain"), b"in clear").unwrap();
    mesh.stack(near).send(now, &named("other"), b"not for you").unwrap();
    assert_eq!(mesh.stack(near).send(now, &named("plain"), b""), Err(SendError::Empty));
    let long = mesh.stack(near).send(now, &named("plain"), &[0; 465]);
    assert_eq!(long, Err(SendError::TooLarge { len: 465, max: 464 }));
    mesh.stack(near).send(now, &named("plain"), &[1; 464]).unwrap();
    mesh.run_for(SOON);
    assert_eq!(received(&mesh, far), [(b"in clear".to_vec(), None), (vec![1; 464], None)]);
    assert!(mesh.stack(near).receipts.is_empty(), "nobody can prove them");
}

#[test]
fn type_and_distance_decide_beside_the_address() {
    let mut lone = Lone::new(false, &[wired()]);
    let members = group(64);
    let (to, clear) = (members.hash(), named("plain").plain());
    lone.stack.register_group(members.clone(), None, ProofStrategy::All).unwrap();
    lone.stack.register_plain(&named("plain")).unwrap();
    let mut token = Vec::new();
    members.key.seal(&[1; 16], b"text", &mut token);
    let mut arrives = |kind, to, data: &[u8], hops| {
        let mut frame = data_for(kind, to, data).to_vec();
        frame[1] = hops;
        lone.hear(0, &frame);
        lone.events().len() == 1
    };
    for (hops, heard) in [(0, true), (1, true), (2, false), (127, false)] {
        assert_eq!(arrives(DestinationKind::Group, to, &token, hops), heard);
        assert_eq!(arrives(DestinationKind::Plain, clear, b"text", hops), heard);
    }
    for kind in [DestinationKind::Single, DestinationKind::Plain, DestinationKind::Link] {
        assert!(!arrives(kind, to, &token, 0), "{kind:?}");
    }
    assert!(!arrives(DestinationKind::Group, clear, b"text", 0));
    assert!(!arrives(DestinationKind::Group, to, b"no token", 0));
    assert!(lone.sent(0).is_empty(), "who holds no private key proves nothing");
    // SINGLE and GROUP of one name and owner share their address, so there is one of them at most.
    let single = Destination::new(identity(70), named("group"));
    assert_eq!(lone.stack.register(single), Err(RegisterError::Exists(to)));
    let taken = DestinationName::new("rnstransport", &["path", "request"]).unwrap();
    assert!(lone.stack.register_plain(&taken).is_err());
}

/// A stack whose application decides about proofs, and what it takes to send to it.
fn deciding() -> (Lone, DestinationHash) {
    let mut lone = Lone::new(false, &[wired()]);
    let own = Destination::new(identity(60), named("decides"));
    let to = lone.stack.register(Destination { proofs: ProofStrategy::Application, ..own }).unwrap();
    (lone, to)
}

fn arrives(lone: &mut Lone, to: DestinationHash) -> crate::PacketHash {
    let data = identity(60).public().encrypt(&mut lone.rng, None, b"text").unwrap();
    lone.hear(0, &data_for(DestinationKind::Single, to, &data));
    match lone.events().pop() {
        Some(Event::Received { packet, wants_proof: true, .. }) => packet,
        other => panic!("not received: {other:?}"),
    }
}

#[test]
fn the_application_proves_what_it_wants_to_and_in_time() {
    let (mut lone, to) = deciding();
    let (first, second) = (arrives(&mut lone, to), arrives(&mut lone, to));
    assert!(lone.sent(0).is_empty());
    lone.stack.prove(lone.now, second).unwrap();
    let proof = lone.sent(0).pop().unwrap();
    assert_eq!(PacketRef::parse(&proof).unwrap().destination().as_bytes(), &second.truncated());
    assert_eq!(lone.stack.prove(lone.now, second), Err(NothingToProve(second)), "once");
    lone.pass(PROOF_DECISION_TIMEOUT + Duration::from_micros(1));
    assert_eq!(lone.stack.prove(lone.now, first), Err(NothingToProve(first)), "too late");
    assert!(lone.sent(0).is_empty() && lone.stack.undecided.is_empty());
}

#[test]
fn an_application_that_never_decides_fills_no_memory() {
    let (mut lone, to) = deciding();
    let room = Capacities::of(Footprint::Standard).receipts;
    lone.stack.undecided = Bounded::new(room / 16);
    let first = arrives(&mut lone, to);
    let mut last = first;
    for _ in 0..10 * room / 16 {
        last = arrives(&mut lone, to);
    }
    assert_eq!(lone.stack.undecided.len(), room / 16);
    assert!(lone.stack.prove(lone.now, first).is_err(), "the oldest made room");
    lone.stack.prove(lone.now, last).unwrap();
    assert_eq!(lone.sent(0).len(), 1);
}

#[test]
fn receipts_wait_as_long_as_they_are_told_to() {
    let mut lone = Lone::new(false, &[wired()]);
    let to = lone.meet(0, &identity(80), 1, 1_700_000_000);
    lone.events();
    let policies = [ReceiptPolicy::Within(Duration::from_secs(3)), ReceiptPolicy::Declined, ReceiptPolicy::ByPath];
    let [short, declined, usual] = policies.map(|policy| lone.stack.send_with(lone.now, to, b"x", policy).unwrap());
    let gone = |lone: &mut Lone| {
        lone.events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Undelivered { packet } => Some(packet),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    lone.pass(Duration::from_secs(3));
    assert_eq!(gone(&mut lone), []);
    lone.pass(Duration::from_micros(1));
    assert_eq!(gone(&mut lone), [short]);
    assert!(!lone.stack.set_receipt_timeout(short, SOON) && !lone.stack.set_receipt_timeout(declined, SOON));
    assert!(lone.stack.set_receipt_timeout(usual, Duration::from_secs(5)));
    lone.pass(Duration::from_secs(2));
    assert_eq!(gone(&mut lone), [usual]);
}

#[test]
fn too_many_receipts_are_culled_oldest_first_and_the_rest_are_settled() {
    let mut lone = Lone::with(|config| config.capacities.receipts = 8);
    lone.up(0, wired());
    let owner = identity(80);
    let to = lone.meet(0, &owner, 1, 1_700_000_000);
    lone.events();
    let sent: Vec<_> = (0..80).map(|_| lone.stack.send(lone.now, to, b"x").unwrap()).collect();
    let culled: Vec<_> = lone
        .events()
        .into_iter()
        .map(|event| match event {
            Event::ReceiptCulled { packet } => packet,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((culled.as_slice(), lone.stack.receipts.len()), (&sent[..72], 8));
    lone.hear(0, &crate::proof::prove(&owner, sent[79], crate::proof::ProofForm::Implicit).encode());
    assert!(matches!(lone.events()[..], [Event::Delivered { packet, .. }] if packet == sent[79]));
    lone.pass(Duration::from_secs(60));
    assert_eq!(lone.events().len(), 7, "nothing is said of those given up before");
}
