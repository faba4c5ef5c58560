//! What comes through the channels between drivers and core, and in what order.

use bytes::Bytes;

use super::*;
use crate::profile::ProfileOptions;

fn frame(byte: u8) -> Transmit {
    Transmit { frame: Bytes::copy_from_slice(&[byte]) }
}

#[tokio::test]
async fn ids_are_never_used_twice() {
    let (ports, _events) = Ports::new();
    let (parent, parent_handle) = ports.port("server").unwrap();
    let (child, child_handle) = parent.child("peer").unwrap();
    drop((child, child_handle));
    let (_child, again) = parent.child("peer").unwrap();
    assert_eq!([parent_handle.id.0, again.id.0], [1, 3]);
    assert_eq!(&*again.name, "server/peer");
    ports.next_id.store(u32::MAX, Ordering::Relaxed);
    assert_eq!(ports.port("one too many").err(), Some(IdsExhausted));
    assert_eq!(parent.child("one too many").err(), Some(IdsExhausted));
}

#[tokio::test]
async fn frames_from_before_a_loss_are_not_sent_after_it() {
    let (ports, mut events) = Ports::new();
    let (mut port, handle) = ports.port("line").unwrap();
    let profile = ProfileOptions::default().tcp();
    port.up(profile.clone()).await.unwrap();
    handle.outbound.send(frame(1)).await.unwrap();
    handle.outbound.send(frame(2)).await.unwrap();
    assert_eq!(port.next().await, Some(frame(1)));
    port.down(DownReason::Stopped, None).await;
    port.up(profile).await.unwrap();
    handle.outbound.send(frame(3)).await.unwrap();
    assert_eq!(port.next().await, Some(frame(3)));
    assert_eq!(handle.monitor.traffic().dropped, 1);
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(matches!(event, PortEvent::Up { .. }));
    }
    assert_eq!(seen, [true, false, true]);
}

#[tokio::test]
async fn a_dropped_handle_ends_the_port_after_the_last_frame() {
    let (ports, _events) = Ports::new();
    let (mut port, handle) = ports.port("line").unwrap();
    handle.outbound.send(frame(1)).await.unwrap();
    drop(handle);
    assert_eq!(port.next().await, Some(frame(1)));
    assert_eq!(port.next().await, None);
}

#[tokio::test]
async fn a_stopped_port_stops_its_children() {
    let (ports, _events) = Ports::new();
    let (parent, _parent_handle) = ports.port("server").unwrap();
    let (mut child, _child_handle) = parent.child("peer").unwrap();
    parent.stop().cancel();
    assert_eq!(child.next().await, None);
    child.stopped().await;
}

#[tokio::test]
async fn a_port_without_a_core_says_so() {
    let (ports, events) = Ports::new();
    let (mut port, _handle) = ports.port("line").unwrap();
    drop(events);
    assert_eq!(port.deliver(&[]).await, Err(Closed));
    assert_eq!(port.up(ProfileOptions::default().tcp()).await, Err(Closed));
    port.stopped().await;
}

/// Lets all tasks go as far as they get.
async fn settle() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

/// Interfaces that each bring so many frames, one by one, as fast as they can.
fn flooding(ports: &Ports, interfaces: usize, frames: u8) -> Vec<InterfaceId> {
    let flood = |number: usize| {
        let (mut port, _handle) = ports.port(&format!("{number}")).unwrap();
        let id = port.id();
        tokio::spawn(async move {
            for byte in 0..frames {
                port.deliver(&[byte; 100]).await.unwrap();
            }
        });
        id
    };
    (0..interfaces).map(flood).collect()
}

fn frames_of(event: PortEvent) -> (InterfaceId, Frames) {
    match event {
        PortEvent::Frames { id, frames } => (id, frames),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_core_that_is_behind_makes_drivers_wait_and_loses_nothing() {
    let (ports, mut events) = Ports::new();
    let interfaces = flooding(&ports, 10 * EVENTS, 3);
    settle().await;
    assert_eq!(events.len(), EVENTS, "ten times as many would bring something");
    let mut came: std::collections::BTreeMap<InterfaceId, Vec<u8>> = std::collections::BTreeMap::new();
    for _ in 0..3 * interfaces.len() {
        assert!(events.len() <= EVENTS);
        let (id, frames) = frames_of(events.recv().await.unwrap());
        came.entry(id).or_default().extend(frames.iter().map(|frame| frame[0]));
    }
    assert!(interfaces.iter().all(|id| came[id] == [0, 1, 2]), "everything, and in order");
}

#[tokio::test]
async fn an_interface_whose_batches_the_core_holds_waits_alone() {
    let (ports, mut events) = Ports::new();
    let flood = flooding(&ports, 1, u8::MAX)[0];
    let honest = flooding(&ports, 1, 200)[0];
    let (mut held, mut of_honest) = (Vec::new(), 0);
    while of_honest < 200 {
        let (id, frames) = frames_of(events.recv().await.unwrap());
        if id == flood {
            held.push(frames);
        } else {
            assert_eq!(id, honest);
            of_honest += 1;
        }
    }
    settle().await;
    assert_eq!((held.len(), events.len()), (crate::frames::BATCHES, 0));
}
