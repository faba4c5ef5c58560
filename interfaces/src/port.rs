//! The channels between a driver and the core. All are bounded: a core that falls behind makes stream drivers wait, a
//! driver that falls behind leaves frames in the core, where they keep their order of urgency.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wend_packet::stack::{InterfaceId, InterfaceProfile, Transmit};

use crate::counters::{Counters, Traffic};
use crate::error::DriverError;
use crate::frames::Frames;
use crate::outbound::{self, Outbound, Waiting};
use crate::status::{State, Status};

/// Events of all interfaces that wait for the core, at most two batches of frames of each. docs/architecture.md,
/// section 11.
const EVENTS: usize = 256;

/// What drivers tell the core. Events of one interface arrive in order.
#[derive(Debug)]
pub enum PortEvent {
    /// A medium is open, or its profile changed.
    Up {
        /// Which interface.
        id: InterfaceId,
        /// What it is like.
        profile: InterfaceProfile,
    },
    /// Deframed packets. The driver has two batches: until one is dropped and the other handed over, it reads nothing.
    Frames {
        /// Which interface.
        id: InterfaceId,
        /// The packets.
        frames: Frames,
    },
    /// The medium is gone. Children are gone for good; a configured interface may come up again.
    Down {
        /// Which interface.
        id: InterfaceId,
        /// Why.
        reason: DownReason,
    },
    /// A server took in a peer, which is an interface of its own. Comes before any other event of that interface.
    Child {
        /// The server.
        parent: InterfaceId,
        /// The new interface.
        handle: InterfaceHandle,
    },
}

/// Why an interface went down.
#[derive(Debug, Clone)]
pub enum DownReason {
    /// The node stopped it.
    Stopped,
    /// The medium was lost.
    Lost(Arc<DriverError>),
}

/// The core is gone: nobody takes frames any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the core is gone")]
pub struct Closed;

/// Four billion interfaces have come and gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no interface id is left")]
pub struct IdsExhausted;

/// Makes the ports of a node: they share the channel to the core and the supply of ids.
#[derive(Debug, Clone)]
pub struct Ports {
    events: mpsc::Sender<PortEvent>,
    next_id: Arc<AtomicU32>,
}

impl Ports {
    /// The source of all ports, and the end of their shared channel that the core reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<PortEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        (Self { events, next_id: Arc::new(AtomicU32::new(1)) }, receiver)
    }

    /// A port for a driver and, for the core, the other end of it.
    ///
    /// # Errors
    ///
    /// When every id has been given away; ids are never used twice.
    pub fn port(&self, name: &str) -> Result<(Port, InterfaceHandle), IdsExhausted> {
        self.make(name, Counters::default(), CancellationToken::new())
    }

    fn make(
        &self,
        name: &str,
        counters: Counters,
        stop: CancellationToken,
    ) -> Result<(Port, InterfaceHandle), IdsExhausted> {
        let id = self
            .next_id
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |id| id.checked_add(1))
            .map_err(|_| IdsExhausted)?;
        let id = InterfaceId(id);
        let name: Arc<str> = name.into();
        let counters = Arc::new(counters);
        let (outbound, frames) = outbound::pair();
        let (home, free) = Frames::pool();
        let (status, status_seen) = watch::channel(Status::connecting());
        let to_core = ToCore { id, events: self.events.clone(), counters: Arc::clone(&counters), home, free };
        let from_core = FromCore { frames, stop, events: self.events.clone() };
        let monitor = Monitor { status: status_seen, counters };
        let port = Port { ports: self.clone(), name: Arc::clone(&name), to_core, from_core, status, is_up: false };
        Ok((port, InterfaceHandle { id, name, outbound, monitor }))
    }
}

/// The core's end of an interface. Dropping `outbound` tells the driver to send what it has and stop.
#[derive(Debug)]
pub struct InterfaceHandle {
    /// Which interface.
    pub id: InterfaceId,
    /// Its configured name; for an accepted peer the server's name and the peer's address.
    pub name: Arc<str>,
    /// Where frames for the medium go.
    pub outbound: Outbound,
    /// Its state and counters.
    pub monitor: Monitor,
}

/// A view of an interface for whoever shows it.
#[derive(Debug, Clone)]
pub struct Monitor {
    status: watch::Receiver<Status>,
    counters: Arc<Counters>,
}

impl Monitor {
    /// Its state now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Its counters now.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }

    /// Waits until the first attempt to open the medium has ended.
    ///
    /// # Errors
    ///
    /// Why that attempt failed. The supervisor goes on trying.
    pub async fn first_attempt(&self) -> Result<(), Arc<DriverError>> {
        let mut status = self.status.clone();
        let ended = |status: &Status| status.state != State::Connecting || status.last_error.is_some();
        // A closed channel keeps its last value, which then is final.
        let _ = status.wait_for(ended).await;
        let status = status.borrow().clone();
        match (status.state, status.last_error) {
            (State::Up, _) => Ok(()),
            (_, Some(error)) => Err(error),
            (_, None) => Err(Arc::new(DriverError::Stopped)),
        }
    }

    /// The channel behind [`status`](Self::status), for waiting on changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

/// A driver's end of an interface.
#[derive(Debug)]
pub struct Port {
    ports: Ports,
    name: Arc<str>,
    to_core: ToCore,
    from_core: FromCore,
    status: watch::Sender<Status>,
    is_up: bool,
}

/// The half of a port that hands received frames to the core.
#[derive(Debug)]
pub struct ToCore {
    id: InterfaceId,
    events: mpsc::Sender<PortEvent>,
    counters: Arc<Counters>,
    /// Where batches go when the core is done with them.
    home: mpsc::Sender<Frames>,
    free: mpsc::Receiver<Frames>,
}

/// The half of a port that has frames for the medium.
#[derive(Debug)]
pub struct FromCore {
    frames: Waiting,
    stop: CancellationToken,
    events: mpsc::Sender<PortEvent>,
}

impl ToCore {
    /// An empty batch to fill; waits while the core is behind and has them all.
    ///
    /// # Errors
    ///
    /// When the core is gone: the driver should end.
    pub(crate) async fn batch(&mut self) -> Result<Frames, Closed> {
        tokio::select! {
            biased;
            Some(frames) = self.free.recv() => Ok(frames.bound_for(self.home.clone())),
            () = self.events.closed() => Err(Closed),
        }
    }

    /// Hands over what arrived.
    ///
    /// # Errors
    ///
    /// When the core is gone: the driver should end.
    pub(crate) async fn deliver(&self, frames: Frames) -> Result<(), Closed> {
        self.tell(PortEvent::Frames { id: self.id, frames }).await
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    async fn tell(&self, event: PortEvent) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

impl FromCore {
    /// Waits for frames to send and puts at most `limit` of them at the end of `into`; says how many. Zero: stop.
    /// Cancel-safe: no frame is lost when the future is dropped.
    pub(crate) async fn take(&mut self, limit: usize, into: &mut VecDeque<Transmit>) -> usize {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => 0,
            () = self.events.closed() => 0,
            taken = self.frames.take(limit, into) => taken,
        }
    }

    /// The next frame to send. `None`: stop. Cancel-safe.
    pub async fn next(&mut self) -> Option<Transmit> {
        let mut one = VecDeque::new();
        self.take(1, &mut one).await;
        one.pop_front()
    }
}

impl Port {
    /// Which interface this is.
    #[must_use]
    pub fn id(&self) -> InterfaceId {
        self.to_core.id
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The medium is open. May be called again when the profile changes.
    ///
    /// Frames still waiting from before the medium was lost are dropped and counted: the core has given them up.
    ///
    /// # Errors
    ///
    /// When the core is gone: the driver should end.
    pub async fn up(&mut self, profile: InterfaceProfile) -> Result<(), Closed> {
        if !self.is_up {
            let (stale, _) = self.from_core.frames.try_take(usize::MAX, &mut VecDeque::new());
            self.to_core.counters.dropped(stale);
        }
        self.from_core.frames.set_bitrate(profile.bitrate_bps);
        self.is_up = true;
        self.to_core.tell(PortEvent::Up { id: self.id(), profile }).await?;
        self.status.send_modify(|status| status.enter(State::Up));
        Ok(())
    }

    /// A server listens. It carries no frames itself, so the core hears nothing; the status says that it is up.
    pub fn listening(&self) {
        self.status.send_modify(|status| status.enter(State::Up));
    }

    /// Hands over one frame, and waits while the core is behind.
    ///
    /// # Errors
    ///
    /// When the core is gone: the driver should end.
    pub async fn deliver(&mut self, frame: &[u8]) -> Result<(), Closed> {
        let mut frames = self.to_core.batch().await?;
        frames.push(frame);
        self.to_core.deliver(frames).await
    }

    /// The next frame to send. `None`: stop. Cancel-safe.
    pub async fn next(&mut self) -> Option<Transmit> {
        self.from_core.next().await
    }

    /// Both directions at once, so that neither waits for the other.
    pub fn split(&mut self) -> (&mut ToCore, &mut FromCore) {
        (&mut self.to_core, &mut self.from_core)
    }

    /// An interface of its own for a peer of this one. The core learns of it by [`introduce`](Self::introduce).
    ///
    /// # Errors
    ///
    /// When every id has been given away.
    pub fn child(&self, name: &str) -> Result<(Self, InterfaceHandle), IdsExhausted> {
        let counters = Counters::child_of(Arc::clone(&self.to_core.counters));
        let name = format!("{}/{name}", self.name);
        self.ports.make(&name, counters, self.from_core.stop.child_token())
    }

    /// Tells the core of this interface, a child of `parent`. To be called before [`up`](Self::up).
    ///
    /// # Errors
    ///
    /// When the core is gone: the driver should end.
    pub async fn introduce(&self, parent: InterfaceId, handle: InterfaceHandle) -> Result<(), Closed> {
        self.to_core.tell(PortEvent::Child { parent, handle }).await
    }

    /// Waits until the driver has to stop at once. Frames that wait to be sent do not delay it.
    pub async fn stopped(&self) {
        tokio::select! {
            () = self.from_core.stop.cancelled() => {}
            () = self.to_core.events.closed() => {}
        }
    }

    /// What stops this port and its children.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.from_core.stop
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.to_core.counters
    }

    pub(crate) fn connecting(&self) {
        self.status.send_modify(|status| status.enter(State::Connecting));
    }

    /// For how long the medium has been open; zero when it is not.
    pub(crate) fn up_for(&self) -> std::time::Duration {
        let status = self.status.borrow();
        if status.state == State::Up { status.since.elapsed() } else { std::time::Duration::ZERO }
    }

    /// The medium is gone; tells the core if it knew the medium.
    pub(crate) async fn down(&mut self, reason: DownReason, retry_at: Option<Instant>) {
        self.status.send_modify(|status| {
            status.enter(State::Down);
            status.retry_at = retry_at;
            if let DownReason::Lost(error) = &reason {
                status.last_error = Some(Arc::clone(error));
            }
        });
        if std::mem::take(&mut self.is_up) {
            // Without a core there is nobody to tell.
            let _ = self.to_core.tell(PortEvent::Down { id: self.id(), reason }).await;
        }
    }
}

#[cfg(test)]
mod tests;
