//! Two real TCP drivers on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wend_interfaces::tcp::{Client, Server};
use wend_interfaces::{DriverError, InterfaceHandle, PortEvent, ProfileOptions, State};

use support::{Node, PATIENCE, start, transmit};

const FRAME: &[u8] = b"a frame with a flag \x7e and an escape \x7d in it";

/// A server on a port of the system's choice, or on a given one.
async fn server(listen: &str) -> (Node, String) {
    let mut server = Server::new(listen, ProfileOptions::default());
    let address = server.bind().await.unwrap();
    (start("server", server), address.to_string())
}

fn client(target: &str) -> Node {
    start("client", Client::new(target, ProfileOptions::default()))
}

#[tokio::test]
async fn frames_pass_both_ways_and_each_peer_is_an_interface() {
    let (mut server, address) = server("127.0.0.1:0").await;
    assert!(server.handle.monitor.first_attempt().await.is_ok());
    let mut one = client(&address);
    one.up().await;
    let to_one = server.child().await;
    let mut two = client(&address);
    two.up().await;
    let to_two = server.child().await;
    assert_ne!(to_one.id, to_two.id);
    assert!(to_one.name.starts_with("server/127.0.0.1:"), "{}", to_one.name);

    one.handle.outbound.send(transmit(FRAME)).await.unwrap();
    assert_eq!(server.frame().await, FRAME);
    to_two.outbound.send(transmit(FRAME)).await.unwrap();
    assert_eq!(two.frame().await, FRAME);
    assert_eq!(to_two.monitor.traffic().tx_frames, 1);
    let all = server.handle.monitor.traffic();
    assert_eq!((all.rx_frames, all.tx_frames), (1, 1), "children count for their server");

    two.stop().await;
    let gone = loop {
        if let PortEvent::Down { id, .. } = server.event().await {
            break id;
        }
    };
    assert_eq!(gone, to_two.id);
    assert_eq!(to_two.monitor.status().state, State::Down);
    assert_eq!(to_one.monitor.status().state, State::Up);
    server.stop().await;
}

#[tokio::test]
async fn a_client_comes_back_when_its_server_does() {
    let (mut first, address) = server("127.0.0.1:0").await;
    let mut client = client(&address);
    client.up().await;
    let _kept = first.child().await;
    first.stop().await;
    client.down().await;
    // The address was in use a moment ago: listening there again at once is what the reuse option is for.
    let (mut second, _) = server(&address).await;
    client.up().await;
    let _kept = second.child().await;
    client.handle.outbound.send(transmit(FRAME)).await.unwrap();
    assert_eq!(second.frame().await, FRAME);
    client.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn garbage_does_not_stop_a_server_or_reach_other_peers() {
    let (mut server, address) = server("127.0.0.1:0").await;
    let mut honest = client(&address);
    honest.up().await;
    let _honest = server.child().await;
    let mut vandal = TcpStream::connect(&address).await.unwrap();
    let _vandal = server.child().await;
    let mut noise = Vec::new();
    let mut state = 7_u64;
    for _ in 0..100_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.push(state.to_be_bytes()[0]);
    }
    vandal.write_all(&noise).await.unwrap();
    vandal.write_all(b"\x7eand one good frame from the vandal\x7e").await.unwrap();
    while server.frame().await != b"and one good frame from the vandal".as_slice() {}
    honest.handle.outbound.send(transmit(FRAME)).await.unwrap();
    assert_eq!(server.frame().await, FRAME);
    vandal.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = vandal.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "nobody talks to a vandal");
    honest.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_nobody_else() {
    let (mut server, address) = server("127.0.0.1:0").await;
    let _deaf = TcpStream::connect(&address).await.unwrap();
    let to_deaf = server.child().await;
    let mut honest = client(&address);
    honest.up().await;
    let to_honest = server.child().await;
    // Until the buffers of the system and the channel are full.
    let big = transmit(&[0x55; 16_000]);
    while timeout(Duration::from_millis(300), to_deaf.outbound.send(big.clone())).await.is_ok() {}
    to_honest.outbound.send(transmit(FRAME)).await.unwrap();
    assert_eq!(honest.frame().await, FRAME);
    honest.handle.outbound.send(transmit(FRAME)).await.unwrap();
    assert_eq!(server.frame().await, FRAME);
    honest.stop().await;
    server.stop().await;
}

/// A peer who has delivered a frame.
async fn talking_peer(server: &mut Node, address: &str) -> (TcpStream, InterfaceHandle) {
    let mut peer = TcpStream::connect(address).await.unwrap();
    let handle = server.child().await;
    peer.write_all(b"\x7ea frame of more than twenty bytes\x7e").await.unwrap();
    server.frame().await;
    (peer, handle)
}

async fn is_closed(peer: &mut TcpStream) -> bool {
    let read = timeout(PATIENCE, peer.read(&mut [0; 1])).await.expect("closed at once");
    matches!(read, Ok(0) | Err(_))
}

#[tokio::test]
async fn the_sixty_fifth_peer_is_turned_away_and_a_place_that_is_left_can_be_taken() {
    let (mut server, address) = server("127.0.0.1:0").await;
    let mut peers = Vec::new();
    for _ in 0..64 {
        peers.push(talking_peer(&mut server, &address).await);
    }
    let mut refused = TcpStream::connect(&address).await.unwrap();
    assert!(is_closed(&mut refused).await);
    assert_eq!(server.handle.monitor.traffic().refused, 1);
    drop(peers.pop());
    server.down().await;
    // The task may still be ending when its last event is seen.
    let mut accepted = None;
    for _ in 0..50 {
        let peer = TcpStream::connect(&address).await.unwrap();
        if let Ok(handle) = timeout(Duration::from_millis(200), server.child()).await {
            accepted = Some((peer, handle));
            break;
        }
    }
    assert!(accepted.is_some());
    server.stop().await;
}

#[tokio::test]
async fn peers_who_say_nothing_do_not_keep_others_out() {
    let (mut server, address) = server("127.0.0.1:0").await;
    let talking = talking_peer(&mut server, &address).await;
    let mut silent = Vec::new();
    for _ in 0..63 {
        silent.push((TcpStream::connect(&address).await.unwrap(), server.child().await));
    }
    let newcomer = talking_peer(&mut server, &address).await;
    assert!(is_closed(&mut silent[0].0).await);
    let state = |handle: &InterfaceHandle| handle.monitor.status().state;
    assert_eq!([&talking.1, &newcomer.1, &silent[1].1].map(state), [State::Up; 3]);
    assert_eq!(server.handle.monitor.traffic().refused, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::new(address.to_string(), ProfileOptions::default()).bind().await.unwrap_err();
    assert!(matches!(error, DriverError::AddressInUse { address: named } if named == address));
    assert!(error.to_string().starts_with(&format!("{address} is in use by another program")), "{error}");

    let node = start("server", Server::new(address.to_string(), ProfileOptions::default()));
    let error = timeout(PATIENCE, node.handle.monitor.first_attempt()).await.unwrap().unwrap_err();
    assert!(matches!(*error, DriverError::AddressInUse { .. }));
    node.stop().await;
}

#[tokio::test]
async fn an_address_of_another_machine_cannot_be_listened_on() {
    let error = Server::new("192.0.2.1:0", ProfileOptions::default()).bind().await.unwrap_err();
    assert!(matches!(error, DriverError::NotOurAddress { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let node = client(&address);
    let error = timeout(PATIENCE, node.handle.monitor.first_attempt()).await.unwrap().unwrap_err();
    assert!(matches!(&*error, DriverError::Connect { target, .. } if *target == address), "{error}");
    node.stop().await;
}
