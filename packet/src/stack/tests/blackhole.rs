//! Identities that are shut out.

use super::*;
use crate::management::{BLACKHOLE_SWEEP_INTERVAL, Blackholed};

/// The owner of the destination that [`serve`] makes from this seed.
fn owner(seed: u64) -> IdentityHash {
    Identity::generate(&mut TestRng::seeded(seed)).hash()
}

fn shut_out(mesh: &mut Mesh, on: NodeId, identity: IdentityHash, until: Option<UnixTime>) -> Blackholed {
    let now = mesh.now();
    let stack = mesh.stack(on);
    let entry = BlackholeEntry::new(stack.transport_id(), until, Some("test"));
    stack.blackhole(now, identity, entry)
}

fn pair(mesh: &mut Mesh) -> [NodeId; 2] {
    let nodes = [mesh.add_transport(), mesh.add(|_| {})];
    mesh.join(&nodes, Medium::default());
    nodes
}

#[test]
fn whoever_is_shut_out_loses_path_and_announces_until_the_time_is_over() {
    let mut mesh = Mesh::new(71);
    let [here, there] = pair(&mut mesh);
    let to = serve(&mut mesh, there, 10);
    announce(&mut mesh, there, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, here, to) == Some(1)));

    let until = UnixTime(mesh.now().unix.0 + 30);
    assert_eq!(shut_out(&mut mesh, here, owner(10), Some(until)), Blackholed::Added);
    assert_eq!(hops(&mut mesh, here, to), None);
    assert!(mesh.stack(here).identity_of(to).is_some(), "what is known of it stays");
    announce(&mut mesh, there, to);
    mesh.run_for(SOON);
    assert_eq!(hops(&mut mesh, here, to), None);
    assert_eq!(mesh.stack(here).stats().dropped(DropReason::Blackholed), 1);

    mesh.run_for(BLACKHOLE_SWEEP_INTERVAL);
    assert!(mesh.stack(here).blackholed().is_empty());
    announce(&mut mesh, there, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, here, to) == Some(1)));
}

#[test]
fn links_of_whoever_is_shut_out_are_closed_and_new_ones_when_they_identify() {
    let mut mesh = Mesh::new(72);
    let [here, there] = pair(&mut mesh);
    let to = serve(&mut mesh, here, 10);
    let caller = Identity::generate(&mut TestRng::seeded(20));
    announce(&mut mesh, here, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, there, to).is_some()));
    let call = |mesh: &mut Mesh| {
        let now = mesh.now();
        let link = mesh.stack(there).open_link(now, to).unwrap();
        mesh.run_for(Duration::from_secs(2));
        let now = mesh.now();
        mesh.stack(there).link(now, link).unwrap().identify(&caller).unwrap();
        mesh.run_for(Duration::from_secs(2));
        mesh.stack(here).links().any(|open| open == link)
    };
    assert!(call(&mut mesh));
    assert_eq!(shut_out(&mut mesh, here, caller.hash(), None), Blackholed::Added);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(mesh.stack(here).links().count(), 0, "the link that stood");
    assert!(!call(&mut mesh), "a new one");
    assert!(mesh.stack(here).lift_blackhole(caller.hash()));
    assert!(call(&mut mesh));
}

#[test]
fn nobody_is_shut_out_of_their_own_node() {
    let mut mesh = Mesh::new(73);
    let [here, _] = pair(&mut mesh);
    serve(&mut mesh, here, 10);
    let transport = mesh.stack(here).transport_id();
    assert_eq!(shut_out(&mut mesh, here, transport, None), Blackholed::Own);
    assert_eq!(shut_out(&mut mesh, here, owner(10), None), Blackholed::Own);
}

#[test]
fn a_source_replaces_its_own_list_and_floods_leave_honest_traffic_alone() {
    let mut mesh = Mesh::new(74);
    let [here, there] = pair(&mut mesh);
    let to = serve(&mut mesh, there, 10);
    let capacity = mesh.stack(here).config.capacities.blackhole;
    let source = IdentityHash::new([7; 16]);
    let flood = |from: u32| {
        let entry = BlackholeEntry::new(source, None, None);
        let identity = |number: u32| {
            let mut bytes = [from as u8; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            IdentityHash::new(bytes)
        };
        (0..10 * capacity as u32).map(|number| (identity(number), entry.clone())).collect::<BTreeMap<_, _>>()
    };
    let now = mesh.now();
    let changes = mesh.stack(here).blackhole_from(now, source, flood(1));
    assert_eq!((changes.added, changes.refused), (capacity, 9 * capacity));
    assert_eq!(mesh.stack(here).blackholed().len(), capacity);
    let changes = mesh.stack(here).blackhole_from(now, source, flood(2));
    assert_eq!((changes.lifted, changes.added), (capacity, capacity));
    announce(&mut mesh, there, to);
    assert!(mesh.run_until(SOON, |mesh| hops(mesh, here, to) == Some(1)));
    assert_eq!(shut_out(&mut mesh, here, owner(10), None), Blackholed::Added, "the owner has room");
    assert_eq!(hops(&mut mesh, here, to), None);
}

#[test]
fn a_list_survives_a_restart() {
    let mut mesh = Mesh::new(75);
    let [here, there] = pair(&mut mesh);
    let to = serve(&mut mesh, there, 10);
    let entry = BlackholeEntry::new(mesh.stack(here).transport_id(), None, Some("kept"));
    mesh.stack(here).restore(Snapshot { blackhole: vec![(owner(10), entry.clone())], ..Snapshot::default() });
    assert_eq!(mesh.stack(here).blackholed().iter().collect::<Vec<_>>(), [(&owner(10), &entry)]);
    announce(&mut mesh, there, to);
    mesh.run_for(SOON);
    assert_eq!(hops(&mut mesh, here, to), None);
}
