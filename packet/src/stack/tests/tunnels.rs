//! Connections that come back, and what strangers can make of that.

use bytes::Bytes;

use super::lone::*;
use super::*;
use crate::hash::InterfaceHash;
use crate::testing::Medium;

const NAME: &str = "TCPInterface[home/192.0.2.7:4965]";

fn client() -> InterfaceProfile {
    InterfaceProfile { tunnel: Some(InterfaceHash::of(NAME)), ..tcp() }
}

/// A packet for a tunnel of whoever has this seed.
fn tunnel_of(seed: u64, random: u8) -> Bytes {
    tunnel_packet(&identity(seed), InterfaceHash::of(NAME), [random; TUNNEL_RANDOM_LEN]).encode()
}

/// A transport node with few places for tunnels, which its interface 0 is.
fn guest_house() -> Lone {
    let mut lone = Lone::with(|config| {
        config.transport_enabled = true;
        config.capacities.tunnels = 8;
        config.capacities.tunnel_paths = 16;
    });
    lone.up(0, open_tcp());
    lone.hear(0, &tunnel_of(30, 0));
    lone
}

fn open_tcp() -> InterfaceProfile {
    InterfaceProfile { ingress_control: false, ..tcp() }
}

#[test]
fn a_client_that_comes_back_as_another_connection_is_reached_again() {
    let mut mesh = Mesh::new(11);
    let [server, home, near] = [mesh.add_transport(), mesh.add_transport(), mesh.add(|_| {})];
    mesh.join(&[server, near], Medium::default());
    let mut end = mesh.join(&[server], Medium { profile: tcp(), ..Medium::default() });
    let dial = |mesh: &mut Mesh, end: &mut InterfaceId| {
        let now = mesh.now();
        mesh.stack(home).handle_input(now, Input::InterfaceDown { id: InterfaceId(77) });
        mesh.stack(home).handle_input(now, Input::InterfaceUp { id: InterfaceId(77), profile: client() });
        let hello = mesh.stack(home).poll_transmit(now, InterfaceId(77)).unwrap();
        mesh.stack(server).handle_input(now, Input::InterfaceDown { id: *end });
        end.0 += 100;
        mesh.stack(server).handle_input(now, Input::InterfaceUp { id: *end, profile: tcp() });
        mesh.stack(server).handle_input(now, Input::Frame { on: *end, bytes: &hello.frame });
    };
    dial(&mut mesh, &mut end);
    let to = serve(&mut mesh, home, 10);
    announce(&mut mesh, home, to);
    let now = mesh.now();
    let announced = mesh.stack(home).poll_transmit(now, InterfaceId(77)).unwrap();
    mesh.stack(server).handle_input(now, Input::Frame { on: end, bytes: &announced.frame });
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.stack(server).path(to).map(|path| path.on), Some(end));
    // Hours later, and without another announce.
    mesh.stack(server).handle_input(now, Input::InterfaceDown { id: end });
    mesh.run_for(Duration::from_secs(3600));
    assert_eq!(hops(&mut mesh, server, to), None);
    dial(&mut mesh, &mut end);
    assert_eq!(mesh.stack(server).path(to).map(|path| (path.on, path.hops)), Some((end, 1)));
}

#[test]
fn the_end_that_makes_the_connection_keeps_its_paths_while_it_is_away() {
    for (profile, kept) in [(client(), true), (tcp(), false)] {
        let mut lone = Lone::new(true, std::slice::from_ref(&profile));
        assert_eq!(lone.sent(0).len(), usize::from(kept));
        let to = lone.meet(0, &identity(20), 2, 1_700_000_000);
        lone.down(0);
        lone.pass(Duration::from_secs(600));
        assert!(lone.stack.path(to).is_none());
        lone.up(0, profile);
        assert_eq!(lone.stack.path(to).is_some(), kept);
        assert_eq!(lone.sent(0).len(), usize::from(kept), "it says who it is each time");
    }
}

#[test]
fn a_path_over_a_connection_that_is_away_makes_way_for_another_that_is_as_new() {
    let mut lone = Lone::new(true, &[client(), tcp()]);
    let to = lone.meet(0, &identity(20), 1, 1_700_000_000);
    assert_eq!(lone.meet(1, &identity(20), 3, 1_700_000_000), to);
    assert_eq!(lone.stack.path(to).map(|path| path.hops), Some(1), "the first one stays while it can be used");
    lone.down(0);
    lone.meet(1, &identity(20), 3, 1_700_000_000);
    assert_eq!(lone.stack.path(to).map(|path| path.hops), Some(3));
}

#[test]
fn a_copy_of_its_packet_does_not_move_a_tunnel_that_stands() {
    let mut lone = guest_house();
    lone.up(1, tcp());
    let owner = |lone: &Lone| lone.stack.tunnels().next().unwrap().on;
    lone.hear(1, &tunnel_of(30, 0));
    assert_eq!(owner(&lone), Some(InterfaceId(0)));
    lone.hear(1, &tunnel_of(30, 1));
    assert_eq!(owner(&lone), Some(InterfaceId(1)), "a new one does: the old connection may be dead unnoticed");
    assert_eq!(lone.stack.stats().dropped(DropReason::TunnelRepeated), 1);
}

#[test]
fn signatures_of_tunnels_are_checked_once_a_second_for_each_interface() {
    let mut lone = guest_house();
    for random in 1..=50 {
        lone.hear(0, &tunnel_of(31, random));
    }
    assert_eq!(lone.stack.tunnels().count(), 1);
    assert_eq!(lone.stack.stats().dropped(DropReason::TunnelRepeated), 50);
    lone.pass(Duration::from_secs(1));
    lone.hear(0, &tunnel_of(31, 1));
    assert_eq!(lone.stack.tunnels().count(), 2);
}

#[test]
fn strangers_who_make_many_tunnels_turn_over_their_own() {
    let mut lone = guest_house();
    let to = lone.meet(0, &identity(20), 1, 1_700_000_000);
    for stranger in 0..80 {
        lone.up(100 + stranger, open_tcp());
        lone.hear(100 + stranger, &tunnel_of(1000 + u64::from(stranger), 0));
        if stranger % 4 == 0 {
            lone.meet(0, &identity(20), 1, 1_700_000_001 + u64::from(stranger));
        }
    }
    assert_eq!(lone.stack.tunnels().count(), 8);
    lone.down(0);
    lone.pass(Duration::from_secs(10));
    assert!(lone.stack.path(to).is_none());
    lone.up(1, open_tcp());
    lone.hear(1, &tunnel_of(30, 1));
    assert_eq!(lone.stack.path(to).map(|path| path.on), Some(InterfaceId(1)));
}

#[test]
fn a_tunnel_full_of_paths_takes_none_from_another() {
    let mut lone = guest_house();
    let to = lone.meet(0, &identity(20), 1, 1_700_000_000);
    lone.up(1, open_tcp());
    lone.hear(1, &tunnel_of(31, 0));
    for stranger in 0..160 {
        lone.meet(1, &identity(1000 + stranger), 1, 1_700_000_000);
    }
    let paths: Vec<_> = lone.stack.tunnels().map(|tunnel| tunnel.paths).collect();
    assert_eq!(paths.iter().sum::<usize>(), 16);
    let id = lone.stack.tunnels().find(|tunnel| tunnel.on == Some(InterfaceId(0))).unwrap().id;
    assert_eq!(lone.stack.tunnel_paths(&id).collect::<Vec<_>>(), [to]);
}

#[test]
fn tunnels_and_their_paths_are_forgotten_after_eight_hours() {
    let mut lone = guest_house();
    let to = lone.meet(0, &identity(20), 1, 1_700_000_000);
    lone.down(0);
    lone.pass(TUNNEL_LIFETIME);
    assert_eq!(lone.stack.tunnels().map(|tunnel| (tunnel.on, tunnel.paths)).collect::<Vec<_>>(), [(None, 1)]);
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.stack.tunnels().count(), 0);
    lone.up(1, tcp());
    lone.hear(1, &tunnel_of(30, 1));
    assert!(lone.stack.path(to).is_none());
}

#[test]
fn paths_of_those_who_are_shut_out_do_not_come_back() {
    let mut lone = guest_house();
    let to = lone.meet(0, &identity(20), 1, 1_700_000_000);
    let entry = crate::management::BlackholeEntry::new(lone.stack.transport_id(), None, None);
    lone.stack.blackhole(lone.now, identity(20).hash(), entry);
    lone.down(0);
    lone.up(1, tcp());
    lone.hear(1, &tunnel_of(30, 1));
    assert!(lone.stack.path(to).is_none());
    assert_eq!(lone.stack.tunnels().map(|tunnel| tunnel.paths).collect::<Vec<_>>(), [0]);
}
