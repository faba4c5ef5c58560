//! The owner of the packet layer: it feeds a [`Stack`] with frames and deadlines and carries out what it wants, with as
//! little as possible between the two.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use wend_interfaces::{Alarm, Fill, InterfaceHandle, Linger, PortEvent};
use wend_packet::job::JobResult;
use wend_packet::stack::{Event, Input, InterfaceId, Output, Stack};
use wend_packet::time::{Instant, Now, UnixTime};

use crate::protocol::Command;

/// Events taken in at one wake-up.
const EVENTS_PER_TURN: usize = 64;
/// Jobs that run at once, beside the loop.
const WORKERS: usize = 2;

/// What an endpoint does with its packet layer.
pub(crate) trait Application {
    /// A command of the harness.
    fn command(&mut self, shell: &mut Shell, command: Command);

    /// Something happened.
    fn event(&mut self, shell: &mut Shell, event: Event);

    /// [`Shell::wake_at`] has come.
    fn alarm(&mut self, shell: &mut Shell);
}

struct Attached {
    handle: InterfaceHandle,
    /// Whether a task waits for the driver to have room.
    full: bool,
}

/// A packet layer and its interfaces.
pub(crate) struct Shell {
    pub(crate) stack: Stack,
    /// When the application wants to be called again.
    pub(crate) wake_at: Option<Instant>,
    start: time::Instant,
    interfaces: BTreeMap<InterfaceId, Attached>,
    room: JoinSet<InterfaceId>,
    jobs: JoinSet<JobResult>,
    linger: Linger,
}

impl Shell {
    pub(crate) fn new(stack: Stack) -> Self {
        Self {
            stack,
            wake_at: None,
            start: time::Instant::now(),
            interfaces: BTreeMap::new(),
            room: JoinSet::new(),
            jobs: JoinSet::new(),
            linger: Linger::new(true),
        }
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        let mono = Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX));
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { mono, unix: UnixTime(unix) }
    }

    pub(crate) fn attach(&mut self, handle: InterfaceHandle) {
        self.interfaces.insert(handle.id, Attached { handle, full: false });
    }

    /// Runs until the harness says so or is gone.
    pub(crate) async fn run(
        mut self,
        application: &mut dyn Application,
        mut ports: mpsc::Receiver<PortEvent>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        let mut alarm = Alarm::new();
        loop {
            let next = self.stack.poll_timeout().into_iter().chain(self.wake_at).min();
            let wake = next.map(|at| self.start + Duration::from_micros(at.as_micros()));
            let mut came = true;
            tokio::select! {
                biased;
                _ = ports.recv_many(&mut events, EVENTS_PER_TURN) => {}
                Some(Ok(id)) = self.room.join_next() => self.has_room(id),
                Some(Ok(done)) = self.jobs.join_next() => self.input(Input::JobDone(done)),
                command = commands.recv() => match command {
                    None | Some(Command::Quit) => break,
                    Some(command) => application.command(&mut self, command),
                },
                () = alarm.at(wake) => {
                    self.input(Input::Timeout);
                    if self.wake_at.is_some_and(|at| at <= self.now().mono) {
                        self.wake_at = None;
                        application.alarm(&mut self);
                    }
                }
                () = Linger::pause(), if self.linger.is_looking() => came = false,
            }
            // Own deadlines and jobs are no conversation.
            let heard = !events.is_empty();
            self.linger.woken(self.now().mono, heard);
            if !came {
                continue;
            }
            for event in events.drain(..) {
                self.port_event(event);
            }
            self.drain(application);
            if heard {
                self.linger.idle(self.now().mono);
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.stack.handle_input(now, input);
    }

    fn port_event(&mut self, event: PortEvent) {
        match event {
            PortEvent::Frames { id, frames } => {
                let now = self.now();
                self.stack.handle_frames(now, id, frames.iter());
            }
            PortEvent::Child { handle, .. } => self.attach(handle),
            PortEvent::Up { id, profile } => self.input(Input::InterfaceUp { id, profile }),
            PortEvent::Down { id, .. } => self.input(Input::InterfaceDown { id }),
        }
    }

    /// Carries out what the stack wants, until it wants nothing more. Never waits.
    fn drain(&mut self, application: &mut dyn Application) {
        while let Some(output) = self.stack.poll_output() {
            match output {
                Output::Ready(id) => self.fill(id),
                Output::Event(event) => application.event(self, event),
                _ => {}
            }
        }
        while self.jobs.len() < WORKERS {
            let Some(job) = self.stack.poll_job() else { break };
            if job.is_brief() {
                // Drivers write first what waits to be written.
                self.jobs.spawn(async {
                    tokio::task::yield_now().await;
                    job.run()
                });
            } else {
                self.jobs.spawn_blocking(|| job.run());
            }
        }
    }

    fn has_room(&mut self, id: InterfaceId) {
        if let Some(attached) = self.interfaces.get_mut(&id) {
            attached.full = false;
            self.fill(id);
        }
    }

    /// As many of the most urgent frames as the driver has room for.
    fn fill(&mut self, id: InterfaceId) {
        let now = self.now();
        let Some(attached) = self.interfaces.get_mut(&id).filter(|attached| !attached.full) else { return };
        let stack = &mut self.stack;
        attached.full = attached.handle.outbound.fill(|| stack.poll_transmit(now, id)) == Fill::Full;
        if attached.full {
            let room = attached.handle.outbound.room();
            self.room.spawn(async move {
                room.await;
                id
            });
        }
    }
}
