//! A driver under supervision, and the events of its port.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of this")]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wend_interfaces::{Backoff, Driver, InterfaceHandle, PortEvent, Ports, supervise};
use wend_packet::stack::Transmit;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub handle: InterfaceHandle,
    pub events: mpsc::Receiver<PortEvent>,
    pub cancel: CancellationToken,
    pub running: JoinHandle<()>,
    arrived: VecDeque<Vec<u8>>,
}

pub fn start(name: &str, driver: impl Driver + 'static) -> Node {
    let (ports, events) = Ports::new();
    let (port, handle) = ports.port(name).unwrap();
    let cancel = CancellationToken::new();
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200), 1);
    let running = tokio::spawn(supervise(Box::new(driver), port, backoff, cancel.clone()));
    Node { handle, events, cancel, running, arrived: VecDeque::new() }
}

impl Node {
    pub async fn event(&mut self) -> PortEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a port")
    }

    pub async fn up(&mut self) {
        while !matches!(self.event().await, PortEvent::Up { .. }) {}
    }

    pub async fn down(&mut self) {
        while !matches!(self.event().await, PortEvent::Down { .. }) {}
    }

    /// The next peer. It stays for as long as its handle.
    pub async fn child(&mut self) -> InterfaceHandle {
        loop {
            if let PortEvent::Child { parent, handle } = self.event().await {
                assert_eq!(parent, self.handle.id);
                return handle;
            }
        }
    }

    pub async fn frame(&mut self) -> Vec<u8> {
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return frame;
            }
            if let PortEvent::Frames { frames, .. } = self.event().await {
                self.arrived.extend(frames.iter().map(<[u8]>::to_vec));
            }
        }
    }

    pub async fn send(&self, frame: &[u8]) {
        self.handle.outbound.send(transmit(frame)).await.unwrap();
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        timeout(PATIENCE, self.running).await.expect("a prompt end").unwrap();
    }
}

pub fn transmit(frame: &[u8]) -> Transmit {
    Transmit { frame: Bytes::copy_from_slice(frame) }
}
