//! A minimal Wend endpoint in the test's own process: one [`Stack`] over real drivers, with one destination.
//!
//! Its core runs in a thread of its own; the test calls into it and waits, never without a limit.

mod core;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc as blocking};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Moment};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wend_interfaces::{Backoff, Ports, ProfileOptions, supervise};
use wend_packet::destination::DestinationName;
use wend_packet::identity::{Identity, PublicIdentity};
use wend_packet::link::RequestOptions;
use wend_packet::msgpack::{Reader, Writer};
use wend_packet::stack::{Destination, Event, LinkRef, ProofStrategy, RequestError, Stack, StackConfig, Stats};
use wend_packet::time::Now;
use wend_packet::{DestinationHash, IdentityHash, LinkId, RequestId};

use self::core::{Core, driver};

/// App name of every endpoint's destination.
pub(crate) const APP: &str = "wendtest";
/// Its aspects.
pub(crate) const ASPECTS: [&str; 1] = ["endpoint"];
/// How long anything may take that is not told otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(75);
/// How long a call into the core may take: it never waits.
const CALL: Duration = Duration::from_secs(10);
/// How often counters are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// An unanswered path request is repeated after this.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Before a request is answered: the reference misses responses that come back within a millisecond or so.
const BEFORE_ANSWER: Duration = Duration::from_millis(20);

/// What an endpoint is attached to.
#[derive(Debug, Clone)]
pub(crate) enum Medium {
    /// Listens on a port of loopback that the system chooses.
    Server,
    /// Connects to this port of loopback.
    Client(u16),
    /// One end of a serial line, and its speed in bit/s.
    Serial(PathBuf, u32),
}

/// How a request handler answers. Values are single byte strings, as the reference node's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handler {
    /// With so many bytes of [`pattern`].
    Bytes(usize),
    /// With what the request holds.
    Echo,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) caller: Option<IdentityHash>,
    pub(crate) data: Vec<u8>,
}

/// What an endpoint is made of, to be changed before it starts.
pub(crate) struct Setup {
    pub(crate) medium: Medium,
    pub(crate) options: ProfileOptions,
    pub(crate) handlers: Vec<(String, Handler)>,
    /// Its only destination, which proves everything.
    pub(crate) destination: Destination,
}

impl Setup {
    pub(crate) fn new(medium: &Medium) -> Self {
        let name = DestinationName::new(APP, &ASPECTS).expect("a name without dots");
        let identity = Identity::generate(&mut UnwrapErr(SysRng));
        let mut destination = Destination::new(identity, name);
        destination.proofs = ProofStrategy::All;
        Self { medium: medium.clone(), options: ProfileOptions::default(), handlers: Vec::new(), destination }
    }

    pub(crate) fn start(self) -> Endpoint {
        let Self { medium, options, handlers, destination: mut own } = self;
        let random = UnwrapErr(SysRng);
        let identity = own.identity.clone();
        own.request_paths.extend(handlers.iter().map(|(path, _)| path.clone()));
        let config = StackConfig::new(Identity::generate(&mut UnwrapErr(SysRng)));
        let mut stack = Stack::new(config, Box::new(random));
        let destination = stack.register(own).expect("the only destination");

        let handlers = handlers.into_iter().collect();
        let (calls, from_test) = mpsc::unbounded_channel();
        let (shown, stop) = (Arc::new(Shown::default()), CancellationToken::new());
        let (to_say, started) = blocking::channel();
        let (core_shown, core_stop) = (Arc::clone(&shown), stop.clone());
        let core = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let (ports, events) = Ports::new();
                let (driver, port) = driver(medium, options).await;
                let (driver_port, handle) = ports.port("test").expect("the first port");
                let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500), 1);
                let running = tokio::spawn(supervise(driver, driver_port, backoff, core_stop.clone()));
                to_say.send(port).expect("the test waits for it");
                Core::new(stack, handle, handlers, core_shown).run(events, from_test, core_stop).await;
                drop(running.await);
            });
        });
        let port = started.recv_timeout(CALL).expect("the medium can be used");
        Endpoint { identity, destination, port, calls, shown, stop, core: Some(core) }
    }
}

/// Handlers as [`Setup`] takes them.
pub(crate) fn owned(handlers: &[(&str, Handler)]) -> Vec<(String, Handler)> {
    handlers.iter().map(|(path, handler)| ((*path).to_owned(), *handler)).collect()
}

type Call = Box<dyn FnOnce(&mut Stack, Now) + Send>;

/// What the core shows to the test.
#[derive(Default)]
struct Shown {
    seen: Mutex<Seen>,
    changed: Condvar,
    /// Whether segments of resources are left for the test to take.
    slow: AtomicBool,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    up: usize,
}

/// A running endpoint, ended when this is dropped.
pub(crate) struct Endpoint {
    identity: Identity,
    destination: DestinationHash,
    port: Option<u16>,
    calls: mpsc::UnboundedSender<Call>,
    shown: Arc<Shown>,
    stop: CancellationToken,
    core: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// An endpoint without handlers on one medium.
    pub(crate) fn start(medium: &Medium) -> Self {
        Setup::new(medium).start()
    }

    /// An endpoint that answers these requests.
    pub(crate) fn with_handlers(medium: &Medium, handlers: &[(&str, Handler)]) -> Self {
        Setup { handlers: owned(handlers), ..Setup::new(medium) }.start()
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port.expect("the medium is a server")
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn destination(&self) -> DestinationHash {
        self.destination
    }

    /// Runs something inside the core.
    pub(crate) fn call<T: Send + 'static>(&self, call: impl FnOnce(&mut Stack, Now) -> T + Send + 'static) -> T {
        let (reply, answer) = blocking::channel();
        let call: Call = Box::new(move |stack, now| drop(reply.send(call(stack, now))));
        self.calls.send(call).expect("the core runs");
        answer.recv_timeout(CALL).expect("the core answers at once")
    }

    /// Waits until what was seen so far satisfies `found`.
    fn wait<T>(&self, what: &str, patience: Duration, mut found: impl FnMut(&Seen) -> Option<T>) -> T {
        self.wait_maybe(patience, &mut found).unwrap_or_else(|| {
            let stats = self.call(|stack, _| format!("{:?}", stack.stats()));
            let events =
                self.shown.seen.lock().expect("nothing panics with it").events.iter().map(brief).collect::<Vec<_>>();
            panic!("{what}: not within {patience:?}; events {events:#?}; {stats}")
        })
    }

    fn wait_maybe<T>(&self, patience: Duration, found: &mut dyn FnMut(&Seen) -> Option<T>) -> Option<T> {
        let until = Moment::now() + patience;
        let mut seen = self.shown.seen.lock().expect("nothing panics with it");
        loop {
            if let Some(found) = found(&seen) {
                return Some(found);
            }
            let left = until.checked_duration_since(Moment::now())?;
            seen = self.shown.changed.wait_timeout(seen, left).expect("nothing panics with it").0;
        }
    }

    /// Waits for an event.
    pub(crate) fn wait_event<T>(&self, what: &str, mut found: impl FnMut(&Event) -> Option<T>) -> T {
        self.wait(what, PATIENCE, |seen| seen.events.iter().find_map(&mut found))
    }

    /// Waits until its counters satisfy `found`.
    pub(crate) fn wait_stats(&self, what: &str, found: impl Fn(&Stats) -> bool + Copy + Send + 'static) {
        let until = Moment::now() + PATIENCE;
        while !self.call(move |stack, _| found(stack.stats())) {
            assert!(Moment::now() < until, "{what}: not within {PATIENCE:?}");
            // Counters change without an event.
            thread::sleep(LOOK);
        }
    }

    /// Waits until it has a path to a destination, or has none any more. It is not asked for.
    pub(crate) fn wait_path(&self, to: DestinationHash, there: bool) {
        let until = Moment::now() + PATIENCE;
        while self.call(move |stack, _| stack.path(to).is_some()) != there {
            assert!(Moment::now() < until, "path to {to}: not {there} within {PATIENCE:?}");
            thread::sleep(LOOK);
        }
    }

    /// Whether an announce of this destination was heard so far.
    pub(crate) fn has_heard(&self, of: DestinationHash) -> bool {
        let seen = self.shown.seen.lock().expect("nothing panics with it");
        seen.events.iter().any(|event| matches!(event, Event::Announced { destination, .. } if *destination == of))
    }

    /// Leaves the segments of resources to be taken by the test.
    pub(crate) fn read_slowly(&self) {
        self.shown.slow.store(true, Ordering::Relaxed);
    }

    /// Uses a link that is open.
    pub(crate) fn on_link<T: Send + 'static>(
        &self,
        link: LinkId,
        call: impl FnOnce(&mut LinkRef<'_>) -> T + Send + 'static,
    ) -> T {
        self.call(move |stack, now| stack.link(now, link).map(|mut link| call(&mut link))).expect("the link is open")
    }

    /// Waits for so many things that events show, and gives them; takes at most `patience`.
    pub(crate) fn wait_many<T>(
        &self,
        what: &str,
        count: usize,
        patience: Duration,
        shows: impl Fn(&Event) -> Option<T>,
    ) -> Vec<T> {
        self.wait(what, patience, |seen| {
            let there = seen.events.iter().filter_map(&shows).collect::<Vec<_>>();
            (there.len() >= count).then_some(there)
        })
    }

    /// Sends a packet; waits until it is proved.
    pub(crate) fn send_proved(&self, to: DestinationHash, payload: &[u8]) {
        let payload = payload.to_vec();
        let sent = self.call(move |stack, now| stack.send(now, to, &payload)).expect("it can be sent");
        self.wait_event("a proof", |event| match event {
            Event::Delivered { packet, .. } if *packet == sent => Some(()),
            _ => None,
        });
    }

    /// Waits until a medium is open; as a server, until somebody has connected.
    pub(crate) fn wait_up(&self) {
        self.wait("an interface is up", PATIENCE, |seen| (seen.up > 0).then_some(()));
    }

    /// Announces its destination.
    pub(crate) fn announce(&self, app_data: &[u8]) {
        let (own, app_data) = (self.destination, app_data.to_vec());
        self.call(move |stack, now| stack.announce(now, own, &app_data)).expect("it can be announced");
    }

    /// Waits for an announce; gives its identity, app data and hops.
    pub(crate) fn wait_announce(&self, of: DestinationHash) -> (IdentityHash, Vec<u8>, u8) {
        self.wait_event("an announce", |event| match event {
            Event::Announced { destination, public_key, app_data, hops, .. } if *destination == of => {
                Some((PublicIdentity::from_slice(public_key).ok()?.hash(), app_data.to_vec(), *hops))
            }
            _ => None,
        })
    }

    /// Asks for a path until there is one; how many hops it has.
    pub(crate) fn find_path(&self, to: DestinationHash) -> u8 {
        let until = Moment::now() + PATIENCE;
        loop {
            let known = self.call(move |stack, now| match (stack.path(to), stack.identity_of(to)) {
                (Some(path), Some(_)) => Some(path.hops),
                _ => {
                    stack.request_path(now, to);
                    None
                }
            });
            if let Some(hops) = known {
                return hops;
            }
            let mut heard = |seen: &Seen| {
                seen.events.iter().find_map(|event| match event {
                    Event::Announced { destination, hops, .. } if *destination == to => Some(*hops),
                    _ => None,
                })
            };
            if let Some(hops) = self.wait_maybe(ASK_AGAIN, &mut heard) {
                return hops;
            }
            assert!(Moment::now() < until, "no path to {to} within {PATIENCE:?}");
        }
    }

    /// Opens a link and waits until it is active.
    pub(crate) fn open_link(&self, to: DestinationHash) -> LinkId {
        let opened = self.call(move |stack, now| stack.open_link(now, to)).expect("the destination is known");
        self.wait_event("a link", |event| match event {
            Event::LinkUp { link, .. } if *link == opened => Some(()),
            Event::LinkDown { link, reason } if *link == opened => panic!("the link did not come up: {reason:?}"),
            _ => None,
        });
        opened
    }

    /// Waits until the peer has opened a link to this endpoint's destination.
    pub(crate) fn wait_link(&self) -> LinkId {
        let own = self.destination;
        self.wait_event("a link from the peer", |event| match event {
            Event::LinkUp { link, destination, .. } if *destination == own => Some(*link),
            _ => None,
        })
    }

    /// Largest frame on a link, in bytes.
    pub(crate) fn link_mtu(&self, link: LinkId) -> usize {
        self.call(move |stack, now| stack.link(now, link).map(|link| link.mtu())).expect("the link is open")
    }

    /// Says on a link who this is.
    pub(crate) fn identify(&self, link: LinkId) {
        let identity = self.identity.clone();
        self.call(move |stack, now| stack.link(now, link).map(|mut link| link.identify(&identity)))
            .expect("the link is open")
            .expect("the link is active");
    }

    /// Waits until the peer of a link has said who it is.
    pub(crate) fn wait_identified(&self, on: LinkId) -> IdentityHash {
        self.wait_event("the peer identifies", |event| match event {
            Event::Identified { link, identity } if *link == on => Some(identity.hash()),
            _ => None,
        })
    }

    /// Sends one MessagePack value as a request and waits for the response, one MessagePack value again.
    pub(crate) fn request(
        &self,
        link: LinkId,
        path: &str,
        value: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        let (path_owned, value) = (path.to_owned(), value.to_vec());
        let options = RequestOptions { timeout: Some(patience), max_response: 1 << 20 };
        let sent: RequestId = self
            .call(move |stack, now| stack.link(now, link).map(|mut link| link.request(&path_owned, &value, options)))
            .expect("the link is open")
            .expect("the request can be sent");
        // What began in time may end later.
        self.wait(path, patience + PATIENCE, |seen| {
            seen.events.iter().find_map(|event| match event {
                Event::Responded { request, response, .. } if *request == sent => Some(response.clone()),
                _ => None,
            })
        })
        .map(|value| value.to_vec())
    }

    /// Sends bytes as a request and waits for bytes.
    pub(crate) fn request_bytes(&self, link: LinkId, path: &str, data: &[u8]) -> Vec<u8> {
        let value = Writer::with_capacity(data.len() + 5).bin(data).into_bytes();
        let response = self.request(link, path, &value, PATIENCE).unwrap_or_else(|error| panic!("{path}: {error}"));
        Reader::new(&response).bin().expect("bytes").to_vec()
    }

    /// Requests that arrived so far, with the bytes they held.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let seen = self.shown.seen.lock().expect("nothing panics with it");
        seen.events
            .iter()
            .filter_map(|event| match event {
                Event::Requested { caller, path, body, .. } => {
                    let data = Reader::new(body).bin().unwrap_or_default().to_vec();
                    Some(Asked { path: path.clone(), caller: *caller, data })
                }
                _ => None,
            })
            .collect()
    }

    /// Closes a link of this endpoint.
    pub(crate) fn close(&self, link: LinkId) {
        self.call(move |stack, now| stack.link(now, link).map(|link| link.close()));
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(core) = self.core.take() {
            // Its panic was printed already; another here would hide it.
            drop(core.join());
        }
    }
}

/// An event without the hundreds of kilobytes it may carry.
fn brief(event: &Event) -> String {
    format!("{event:?}").chars().take(300).collect()
}
