//! What applications do in a simulation: ask each other, and answer. Errands go on until they are answered or their time
//! is up: a request whose link broke is made again, as a Wend node does.

use std::time::Duration;

use rand_core::Rng;
use wend_packet::link::RequestOptions;
use wend_packet::msgpack::{Reader, Writer};
use wend_packet::stack::{Event, Role};
use wend_packet::time::Instant;
use wend_packet::{DestinationHash, LinkId, RequestId};

use super::{NodeId, World};
use crate::measure::Outcome;

/// The path that every node of a simulation takes requests for.
pub(crate) const REQUEST_PATH: &str = "/sim/serve";
/// A path request is repeated after this long, as a Wend node does.
const REPEAT: Duration = Duration::from_secs(7);
/// How long after a failed link or request the next is tried.
const RETRY: Duration = Duration::from_secs(5);
/// Most bytes of a response that are taken.
const RESPONSE_MAX: usize = 1 << 24;

/// A request to make.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Bytes to send.
    pub request: usize,
    /// Bytes to get.
    pub response: usize,
    /// How long it may take, tries of every kind included.
    pub within: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for a path, or for its next try.
    Seeking {
        ask_at: Instant,
    },
    Linking(LinkId),
    Asking(LinkId, RequestId),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand {
    to: DestinationHash,
    ask: Ask,
    asked: Instant,
    stage: Stage,
}

impl Errand {
    fn deadline(&self) -> Instant {
        self.asked + self.ask.within
    }

    fn link(&self) -> Option<LinkId> {
        match self.stage {
            Stage::Seeking { .. } => None,
            Stage::Linking(link) | Stage::Asking(link, _) => Some(link),
        }
    }

    /// When it has to be looked at.
    pub(crate) fn next(&self) -> Instant {
        match self.stage {
            Stage::Seeking { ask_at } => ask_at.min(self.deadline()),
            _ => self.deadline(),
        }
    }
}

impl World {
    /// A node asks another's first destination: seeks the path when it has none, opens a link, sends the request, waits for
    /// the response, closes the link.
    pub fn ask(&mut self, from: NodeId, to: NodeId, ask: Ask) {
        let Some(to) = self.nodes[to.0].destination() else { return };
        let now = self.now.mono;
        self.log.requests += 1;
        let number = self.log.requests as u64;
        match self.nodes[from.0].honest_mut() {
            Some(honest) => {
                let errand = Errand { to, ask, asked: now, stage: Stage::Seeking { ask_at: now } };
                honest.errands.insert(number, errand);
                self.run_errands(from.0);
                self.settle(from.0);
            }
            // Whoever is switched off asks in vain.
            None => self.log.outcomes.push(Outcome { asked: now.since(Instant::ZERO), took: None }),
        }
    }

    /// Errands of a node that is switched off have failed.
    pub(super) fn drop_errands(&mut self, node: usize) {
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        for errand in std::mem::take(&mut honest.errands).into_values() {
            self.log.outcomes.push(Outcome { asked: errand.asked.since(Instant::ZERO), took: None });
        }
    }

    /// Does what is due.
    pub(super) fn run_errands(&mut self, node: usize) {
        let now = self.now;
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        let due: Vec<_> = honest.errands.iter().filter(|(_, e)| e.next() <= now.mono).map(|(n, _)| *n).collect();
        for number in due {
            let Some(honest) = self.nodes[node].honest_mut() else { return };
            let Some(errand) = honest.errands.get_mut(&number) else { continue };
            if errand.deadline() <= now.mono {
                let (link, asked) = (errand.link(), errand.asked);
                honest.errands.remove(&number);
                if let Some(link) = link.and_then(|link| honest.stack.link(now, link)) {
                    link.close();
                }
                self.log.outcomes.push(Outcome { asked: asked.since(Instant::ZERO), took: None });
                continue;
            }
            errand.stage = Stage::Seeking { ask_at: now.mono + REPEAT };
            let to = errand.to;
            if honest.stack.path(to).is_none() {
                honest.stack.request_path(now, to);
            } else if let Ok(link) = honest.stack.open_link(now, to) {
                errand.stage = Stage::Linking(link);
            }
        }
    }

    /// Whoever seeks this path goes on.
    pub(super) fn path_found(&mut self, node: usize, to: DestinationHash) {
        let now = self.now.mono;
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        let mut any = false;
        for errand in honest.errands.values_mut().filter(|errand| errand.to == to) {
            if let Stage::Seeking { ask_at } = &mut errand.stage {
                *ask_at = now;
                any = true;
            }
        }
        if any {
            self.run_errands(node);
        }
    }

    /// An event that applications care about.
    pub(super) fn application_event(&mut self, node: usize, event: Event) {
        match event {
            Event::LinkUp { link, role: Role::Initiator, .. } => self.request(node, link),
            Event::LinkDown { link, .. } => self.retry(node, |errand| errand.link() == Some(link)),
            Event::Requested { link, request, body, .. } => self.respond(node, link, request, &body),
            Event::Responded { request, response, .. } => {
                let this = |errand: &Errand| matches!(errand.stage, Stage::Asking(_, asked) if asked == request);
                match response {
                    Ok(body) => self.response_came(node, this, body.len()),
                    Err(_) => self.retry(node, this),
                }
            }
            Event::Delivered { .. } => self.log.proved += 1,
            _ => {}
        }
    }

    fn request(&mut self, node: usize, link: LinkId) {
        let now = self.now;
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        let Some(errand) = honest.errands.values_mut().find(|errand| errand.stage == Stage::Linking(link)) else {
            return;
        };
        let mut body = vec![0; errand.ask.request.max(8)];
        honest.rng.fill_bytes(&mut body);
        body[..8].copy_from_slice(&(errand.ask.response as u64).to_le_bytes());
        let body = Writer::new().bin(&body).into_bytes();
        // What is lost is not asked for again by anybody else, so there must be time for another try.
        let options = RequestOptions { timeout: Some(errand.ask.within / 3), max_response: RESPONSE_MAX };
        let Some(mut open) = honest.stack.link(now, link) else { return };
        match open.request(REQUEST_PATH, &body, options) {
            Ok(request) => errand.stage = Stage::Asking(link, request),
            Err(_) => open.close(),
        }
    }

    fn respond(&mut self, node: usize, link: LinkId, request: RequestId, body: &[u8]) {
        let now = self.now;
        let wanted = Reader::new(body).bin().ok().and_then(|body| body.first_chunk::<8>().copied());
        let (Some(honest), Some(wanted)) = (self.nodes[node].honest_mut(), wanted) else { return };
        let len = usize::try_from(u64::from_le_bytes(wanted)).unwrap_or(usize::MAX).min(RESPONSE_MAX);
        let mut answer = vec![0; len];
        honest.rng.fill_bytes(&mut answer);
        let answer = Writer::new().bin(&answer).into_bytes();
        if let Some(mut open) = honest.stack.link(now, link) {
            // A link that has no room for the answer lets the request time out, as on a real node.
            let _ = open.respond(request, &answer);
        }
    }

    fn response_came(&mut self, node: usize, which: impl Fn(&Errand) -> bool, len: usize) {
        let now = self.now;
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        let Some(number) = honest.errands.iter().find(|(_, errand)| which(errand)).map(|(number, _)| *number) else {
            return;
        };
        let Some(errand) = honest.errands.remove(&number) else { return };
        if let Some(link) = errand.link().and_then(|link| honest.stack.link(now, link)) {
            link.close();
        }
        let took = (len >= errand.ask.response).then(|| now.mono.since(errand.asked));
        self.log.outcomes.push(Outcome { asked: errand.asked.since(Instant::ZERO), took });
    }

    fn retry(&mut self, node: usize, which: impl Fn(&Errand) -> bool) {
        let now = self.now;
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        let Some(errand) = honest.errands.values_mut().find(|errand| which(errand)) else { return };
        let link = errand.link();
        errand.stage = Stage::Seeking { ask_at: now.mono + RETRY };
        if let Some(link) = link.and_then(|link| honest.stack.link(now, link)) {
            link.close();
        }
    }
}
