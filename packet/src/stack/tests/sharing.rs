//! Programs that share a node's interfaces: what they and others see of each other.

use bytes::Bytes;

use super::lone::*;
use super::*;
use crate::testing::Medium;

/// A leaf, the node whose interfaces are shared, and two programs behind it. With the interface of the first program.
fn household(mesh: &mut Mesh) -> ([NodeId; 4], InterfaceId) {
    let program = |config: &mut StackConfig| config.behind_shared_instance = true;
    let nodes = [mesh.add(|_| {}), mesh.add(|_| {}), mesh.add(program), mesh.add(program)];
    let [outside, instance, first, second] = nodes;
    mesh.join(&[outside, instance], Medium::default());
    let [door, other] = [first, second].map(|program| {
        let id = mesh.join(&[instance, program], Medium::default());
        let (now, profile) = (mesh.now(), InterfaceProfile { local_client: true, ..wired() });
        mesh.stack(instance).handle_input(now, Input::InterfaceUp { id, profile });
        id
    });
    assert!(door < other);
    (nodes, door)
}

#[test]
fn a_program_is_as_near_as_the_node_it_shares() {
    let mut mesh = Mesh::new(12);
    let ([outside, instance, first, second], _) = household(&mut mesh);
    let inside = serve(&mut mesh, first, 10);
    announce(&mut mesh, first, inside);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, outside, inside) == Some(1)));
    assert_eq!((hops(&mut mesh, instance, inside), hops(&mut mesh, second, inside)), (Some(0), Some(0)));
    for from in [outside, second] {
        assert_eq!(ask(&mut mesh, [from, first], inside, b"\xc0", SOON), Bytes::from_static(b"\xc0"));
    }
    let now = mesh.now();
    let packet = mesh.stack(outside).send(now, inside, b"hello").unwrap();
    let delivered =
        |event: &Event| matches!(event, Event::Delivered { packet: which, .. } if *which == packet).then_some(());
    assert!(mesh.run_until(SOON, |mesh| find(mesh, outside, delivered).is_some()), "the proof goes back");
}

#[test]
fn a_program_reaches_whom_the_node_it_shares_reaches() {
    let mut mesh = Mesh::new(13);
    let ([outside, _, first, _], _) = household(&mut mesh);
    let away = serve(&mut mesh, outside, 10);
    // Nobody has announced anything: the node asks on behalf of the program.
    request_path(&mut mesh, first, away);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, first, away) == Some(1)));
    assert_eq!(ask(&mut mesh, [first, outside], away, b"\xc0", SOON), Bytes::from_static(b"\xc0"));
}

#[test]
fn whoever_asks_outside_hears_the_answer_of_a_program() {
    let mut mesh = Mesh::new(14);
    let ([outside, _, first, _], _) = household(&mut mesh);
    let inside = serve(&mut mesh, first, 10);
    request_path(&mut mesh, outside, inside);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, outside, inside) == Some(1)));
}

#[test]
fn a_program_forgets_all_with_its_instance_and_is_known_again_when_it_is_back() {
    let mut mesh = Mesh::new(15);
    let ([outside, instance, first, _], door) = household(&mut mesh);
    let away = serve(&mut mesh, outside, 10);
    let inside = serve(&mut mesh, first, 11);
    announce(&mut mesh, outside, away);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, first, away).is_some()));
    let now = mesh.now();
    mesh.stack(first).open_link(now, away).unwrap();
    mesh.run_for(Duration::from_secs(5));
    assert_eq!(mesh.stack(first).links().count(), 1);
    mesh.part(first, door);
    assert_eq!((mesh.stack(first).links().count(), mesh.stack(first).paths().count()), (0, 0));
    let (now, profile) = (mesh.now(), wired());
    mesh.stack(first).handle_input(now, Input::InterfaceUp { id: door, profile });
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, instance, inside) == Some(0)));
}

#[test]
fn asking_for_many_paths_keeps_no_program_from_answering() {
    let mut lone = Lone::with(|config| config.capacities.path_requests = 16);
    let limits = BurstLimits { path_request_hz: (1e6, 1e6), ..BurstLimits::DEFAULT };
    lone.up(0, InterfaceProfile { burst_limits: limits, ..tcp() });
    lone.up(1, InterfaceProfile { local_client: true, ..tcp() });
    for target in 0..160 {
        let request = PathRequestRef { target: DestinationHash::new([target; 16]), transport_id: None, tag: &[target] };
        lone.pass(Duration::from_millis(10));
        lone.hear(0, &request.packet().encode());
    }
    assert_eq!(lone.stack.asked_of_clients.len(), 16);
    lone.silence(2);
    let owner = identity(20);
    let name = DestinationName::new("somebody", &[]).unwrap();
    let request = PathRequestRef { target: name.of(owner.hash()), transport_id: None, tag: b"honest" };
    lone.hear(0, &request.packet().encode());
    assert_eq!(lone.sent(1).len(), 1);
    let random = crate::announce::RandomHash::new([1; 5], UnixTime(1_700_000_000));
    let context = crate::wire::Context::PATH_RESPONSE;
    let answer = crate::announce::announce(&owner, name.hash(), random, None, b"", context).unwrap();
    lone.hear(1, &answer.encode());
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.sent(0).len(), 1);
}

#[test]
fn what_programs_send_hides_where_it_starts() {
    let mut lone = Lone::with(|config| config.local_hops_delta = 5);
    lone.up(0, tcp());
    lone.up(1, InterfaceProfile { local_client: true, ..tcp() });
    lone.up(2, InterfaceProfile { local_client: true, ..tcp() });
    let to = lone.meet(1, &identity(20), 1, 1_700_000_000);
    assert_eq!(lone.sent(2).first().map(|frame| frame[1]), Some(0), "but not from one another");
    lone.pass(Duration::from_secs(1));
    assert_eq!(
        (lone.sent(0).first().map(|frame| frame[1]), lone.sent(2).first().map(|frame| frame[1])),
        (Some(5), Some(0))
    );
    lone.stack.send(lone.now, to, b"from the node itself").unwrap();
    lone.sent(1).iter().for_each(|frame| assert_eq!(frame[1], 0));
}
