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

#[test]
fn connections_that_take_a_tunnel_from_one_another_get_its_paths_once_a_second() {
    let mut lone = guest_house();
    let to = lone.meet(0, &identity(20), 1, 1_700_000_000);
    (1..40).for_each(|id| lone.up(id, open_tcp()));
    lone.silence(40);
    for id in 1..40 {
        lone.hear(id, &tunnel_of(30, u8::try_from(id).unwrap()));
    }
    let moved = |lone: &mut Lone| {
        let changes = |event: &Event| matches!(event, Event::PathChanged { destination, .. } if *destination == to);
        lone.events().iter().filter(|event| changes(event)).count()
    };
    assert_eq!(moved(&mut lone), 1);
    assert_eq!(lone.stack.path(to).map(|path| path.on), Some(InterfaceId(1)));
    lone.pass(Duration::from_secs(1));
    assert_eq!(moved(&mut lone), 1, "the last one gets them after all");
    assert_eq!(lone.stack.path(to).map(|path| path.on), Some(InterfaceId(39)));
    for second in 0..10 {
        lone.pass(Duration::from_secs(1));
        lone.hear(39, &tunnel_of(30, 100 + second));
    }
    assert_eq!(moved(&mut lone), 0, "who has them already is given nothing");
}

/// A node like the guest house after a restart, so many seconds later, with what it kept.
fn restarted(before: &mut Lone, seconds: u64) -> Lone {
    let kept = before.stack.take_tunnel_changes(before.now);
    let records = kept.paths.into_iter().filter_map(|(.., record)| record).collect();
    let mut lone = Lone::with(|config| {
        config.transport_enabled = true;
        config.capacities.tunnels = 8;
        config.capacities.tunnel_paths = 16;
    });
    lone.now.unix = before.now.unix.plus(Duration::from_secs(seconds));
    lone.stack.restore_tunnels(lone.now, records);
    lone
}

#[test]
fn a_tunnel_comes_back_after_this_node_was_started_anew() {
    let mut before = guest_house();
    let (near, far) =
        (before.meet(0, &identity(20), 1, 1_700_000_000), before.meet(0, &identity(21), 3, 1_700_000_000));
    assert!(core::iter::from_fn(|| before.stack.poll_output()).any(|output| output == Output::TunnelsChanged));
    before.pass(Duration::from_secs(100));
    let mut lone = restarted(&mut before, 3600);
    assert_eq!(lone.stack.tunnels().map(|tunnel| (tunnel.on, tunnel.paths)).collect::<Vec<_>>(), [(None, 2)]);
    assert!(lone.stack.path(near).is_none() && lone.stack.identity_of(near).is_some());
    lone.up(7, open_tcp());
    lone.hear(7, &tunnel_of(30, 1));
    let way = |to| lone.stack.path(to).map(|path| (path.on, path.hops));
    assert_eq!((way(near), way(far)), (Some((InterfaceId(7), 1)), Some((InterfaceId(7), 3))));
    assert_eq!(lone.stack.take_tunnel_changes(lone.now), TunnelChanges::default(), "what is stored is right");
}

#[test]
fn what_a_tunnel_kept_ends_eight_hours_after_it_was_learned_whatever_happened_meanwhile() {
    let mut before = guest_house();
    let to = before.meet(0, &identity(20), 1, 1_700_000_000);
    let id = before.stack.tunnels().next().unwrap().id;
    before.pass(Duration::from_secs(3600));
    let mut again = restarted(&mut before, 3600);
    again.pass(TUNNEL_LIFETIME - Duration::from_secs(2 * 3600));
    assert_eq!(again.stack.tunnels().count(), 1);
    again.pass(Duration::from_secs(10));
    assert_eq!(again.stack.tunnels().count(), 0);
    assert_eq!(again.stack.take_tunnel_changes(again.now).paths, [(id, to, None)]);

    let mut before = guest_house();
    before.meet(0, &identity(20), 1, 1_700_000_000);
    let mut late = restarted(&mut before, TUNNEL_LIFETIME.as_secs() + 1);
    assert_eq!(late.stack.tunnels().count(), 0);
    assert_eq!(late.stack.take_tunnel_changes(late.now).paths, [(id, to, None)], "and is not stored any longer");
}

#[test]
fn nonsense_that_was_stored_is_left_out_and_no_time_is_believed_beyond_its_limit() {
    let mut before = guest_house();
    let to = before.meet(0, &identity(20), 1, 1_700_000_000);
    let kept = before.stack.take_tunnel_changes(before.now).paths;
    let [(id, _, Some(record))] = &kept[..] else { panic!("{kept:?}") };
    let other = DestinationHash::new([3; 16]);
    let records = vec![
        TunnelRecord { announce: vec![1, 2, 3], destination: DestinationHash::new([2; 16]), ..record.clone() },
        TunnelRecord { destination: other, ..record.clone() },
        TunnelRecord { ends: UnixTime(u64::MAX), expires: UnixTime(u64::MAX), ..record.clone() },
    ];
    let mut lone = Lone::new(true, &[]);
    lone.stack.restore_tunnels(lone.now, records);
    assert_eq!(lone.stack.tunnel_paths(id).collect::<Vec<_>>(), [to]);
    assert_eq!(lone.stack.take_tunnel_changes(lone.now).paths.len(), 2);
    lone.pass(TUNNEL_LIFETIME + Duration::from_secs(1));
    assert_eq!(lone.stack.tunnels().count(), 0);
}

#[test]
fn however_much_changes_what_is_to_be_stored_is_no_more_than_is_kept() {
    let mut lone = guest_house();
    for stranger in 0..160 {
        lone.meet(0, &identity(1000 + stranger), 1, 1_700_000_000);
        lone.pass(Duration::from_millis(1));
    }
    let changes = lone.stack.take_tunnel_changes(lone.now);
    assert!(changes.all);
    assert_eq!(changes.paths.iter().filter(|(.., record)| record.is_some()).count(), 16);
    assert_eq!(changes.paths.len(), 16);
    let told = core::iter::from_fn(|| lone.stack.poll_output()).filter(|output| *output == Output::TunnelsChanged);
    assert_eq!(told.count(), 1);
}
