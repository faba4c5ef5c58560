//! What runs in an endpoint's own thread: a smaller copy of what the node's core task does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wend_interfaces::serial::Serial;
use wend_interfaces::{Driver, Fill, InterfaceHandle, PortEvent, ProfileOptions, tcp};
use wend_packet::link::ResourceEvent;
use wend_packet::msgpack::Writer;
use wend_packet::stack::{Event, Input, InterfaceId, InterfaceProfile, Output, Stack};
use wend_packet::time::{Instant, Now, UnixTime};
use wend_packet::{LinkId, RequestId};

use super::{BEFORE_ANSWER, Call, Handler, Medium, Seen, Shown};
use crate::support::pattern;

pub(super) async fn driver(medium: Medium, options: ProfileOptions) -> (Box<dyn Driver>, Option<u16>) {
    match medium {
        Medium::Server => {
            let mut server = tcp::Server::new("127.0.0.1:0", options);
            let address = server.bind().await.expect("a port is free");
            (Box::new(server), Some(address.port()))
        }
        Medium::Client(port) => (Box::new(tcp::Client::new(format!("127.0.0.1:{port}"), options)), None),
        Medium::Serial(device, speed) => (Box::new(Serial::new(device.display().to_string(), speed, options)), None),
    }
}

/// The owner of the stack.
pub(super) struct Core {
    stack: Stack,
    start: tokio::time::Instant,
    interfaces: BTreeMap<InterfaceId, InterfaceHandle>,
    handlers: BTreeMap<String, Handler>,
    shown: Arc<Shown>,
    room: JoinSet<InterfaceId>,
    answers: JoinSet<(LinkId, RequestId, Vec<u8>)>,
}

impl Core {
    pub(super) fn new(
        stack: Stack,
        handle: InterfaceHandle,
        handlers: BTreeMap<String, Handler>,
        shown: Arc<Shown>,
    ) -> Self {
        Self {
            stack,
            start: tokio::time::Instant::now(),
            interfaces: BTreeMap::from([(handle.id, handle)]),
            handlers,
            shown,
            room: JoinSet::new(),
            answers: JoinSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut ports: mpsc::Receiver<PortEvent>,
        mut calls: mpsc::UnboundedReceiver<Call>,
        stop: CancellationToken,
    ) {
        loop {
            let wake = self.stack.poll_timeout().map(|at| self.start + Duration::from_micros(at.as_micros()));
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = ports.recv() => self.port_event(event),
                Some(call) = calls.recv() => {
                    let now = self.now();
                    call(&mut self.stack, now);
                }
                Some(Ok(id)) = self.room.join_next() => self.fill(id),
                Some(Ok((link, request, value))) = self.answers.join_next() => self.answer(link, request, &value),
                () = sleep_until(wake) => self.input(Input::Timeout),
            }
            self.drain();
        }
    }

    fn now(&self) -> Now {
        let micros = u64::try_from(self.start.elapsed().as_micros()).expect("tests end sooner");
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Now { mono: Instant::from_micros(micros), unix: UnixTime(unix) }
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.stack.handle_input(now, input);
    }

    fn port_event(&mut self, event: PortEvent) {
        match event {
            PortEvent::Frames { id, frames } => {
                frames.iter().for_each(|bytes| self.input(Input::Frame { on: id, bytes }));
            }
            PortEvent::Child { handle, .. } => drop(self.interfaces.insert(handle.id, handle)),
            PortEvent::Up { id, profile } => {
                // Tests announce more at once than a quiet network does, and would wait for what is held back.
                let profile = InterfaceProfile { ingress_control: false, ..profile };
                self.input(Input::InterfaceUp { id, profile });
                self.show(|seen| seen.up += 1);
            }
            PortEvent::Down { id, .. } => {
                self.input(Input::InterfaceDown { id });
                self.show(|seen| seen.up -= 1);
            }
        }
    }

    fn show(&self, show: impl FnOnce(&mut Seen)) {
        show(&mut self.shown.seen.lock().expect("nothing panics with it"));
        self.shown.changed.notify_all();
    }

    fn drain(&mut self) {
        // Jobs run on the spot: a test has nothing better to do.
        loop {
            while let Some(output) = self.stack.poll_output() {
                match output {
                    Output::Ready(id) => self.fill(id),
                    Output::Event(event) => self.event(event),
                    _ => {}
                }
            }
            let Some(job) = self.stack.poll_job() else { break };
            self.input(Input::JobDone(job.run()));
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::Requested { link, request, path, body, .. } = &event
            && let Some(handler) = self.handlers.get(path)
        {
            let (link, request) = (*link, *request);
            let value = match handler {
                Handler::Bytes(len) => Writer::new().bin(&pattern(*len)).into_bytes(),
                Handler::Echo => body.to_vec(),
            };
            self.answers.spawn(async move {
                tokio::time::sleep(BEFORE_ANSWER).await;
                (link, request, value)
            });
        }
        if let Event::Resource { link, resource, event: ResourceEvent::Segment { offset, .. } } = event
            && !self.shown.slow.load(Ordering::Relaxed)
        {
            let now = self.now();
            if let Some(mut link) = self.stack.link(now, link) {
                link.segment_taken(resource, offset).expect("it was given");
            }
        }
        self.show(|seen| seen.events.push(event));
    }

    fn answer(&mut self, link: LinkId, request: RequestId, value: &[u8]) {
        let now = self.now();
        // A link that closed meanwhile needs no answer.
        if let Some(mut link) = self.stack.link(now, link) {
            link.respond(request, value).expect("it can be answered");
        }
    }

    /// Room in the driver first, then the most urgent frame.
    fn fill(&mut self, id: InterfaceId) {
        let now = self.now();
        let Some(interface) = self.interfaces.get(&id) else { return };
        if interface.outbound.fill(|| self.stack.poll_transmit(now, id)) == Fill::Full {
            let room = interface.outbound.room();
            self.room.spawn(async move {
                room.await;
                id
            });
        }
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
