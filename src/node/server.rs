//! Commands that come in over the mesh: who asks, whether they may, and that a repeated call runs once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wend_commands::envelope::InvalidCall;
use wend_commands::replies::{Bounds, Seen};
use wend_commands::{Call, Caller, Code, Decision, Failure, Level, MessageId, Policy, Registry, Replies, Reply};
use wend_packet::time::Now;
use wend_packet::{IdentityHash, LinkId, RequestId};

use super::calls::CoreHandle;
use super::peers::Peers;
use crate::config::TrustConfig;

/// Commands of all callers that run at once.
const RUNNING_MAX: usize = 32;
/// Commands of one caller that run at once.
const RUNNING_PER_CALLER: usize = 4;
/// How long a command may run whose caller does not say how long it waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command may run at most.
const PATIENCE_MAX: Duration = Duration::from_secs(600);
/// What is remembered of calls already run.
const REPLIES: Bounds = Bounds { calls: 1024, bytes: 2 << 20, keep: Duration::from_secs(600) };

/// A request as it came in.
#[derive(Debug)]
pub struct Incoming {
    /// On which link.
    pub link: LinkId,
    /// What the response must name.
    pub request: RequestId,
    /// Who asks; `None` has not identified.
    pub caller: Option<IdentityHash>,
    /// The call, as bytes of a stranger.
    pub body: Bytes,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing: the caller gets no answer, or gets it when the running call is done.
    Silence,
    /// This is the answer.
    Answer(Bytes),
    /// Run the call; its reply comes back as [`CoreCall::Respond`](super::calls::CoreCall::Respond).
    Run(Caller, Call),
}

/// Decides over requests; the core feeds it.
#[derive(Debug)]
pub struct Server {
    registry: Arc<Registry>,
    policy: Policy,
    trust: TrustConfig,
    replies: Replies,
    running: BTreeMap<IdentityHash, usize>,
}

impl Server {
    /// A server for these commands under this policy.
    pub fn new(registry: Arc<Registry>, policy: Policy, trust: TrustConfig) -> Self {
        Self { registry, policy, trust, replies: Replies::new(REPLIES), running: BTreeMap::new() }
    }

    /// How far an identity is trusted: what the config says, else whether its announce has been heard.
    pub fn level(&self, identity: IdentityHash, peers: &Peers) -> Level {
        let listed = [
            (&self.trust.blocked, Level::Blocked),
            (&self.trust.own, Level::Own),
            (&self.trust.trusted, Level::Trusted),
        ];
        match listed.iter().find(|(list, _)| list.contains(&identity)) {
            Some((_, level)) => *level,
            None if peers.knows(identity) => Level::Known,
            None => Level::Unknown,
        }
    }

    /// Looks at a request. Bytes of callers who did not say who they are cost no more than this.
    pub fn judge(&mut self, now: Now, peers: &Peers, incoming: &Incoming) -> Verdict {
        let Some(identity) = incoming.caller else { return Verdict::Silence };
        let caller = Caller::Remote { identity, level: self.level(identity, peers) };
        let call = match Call::decode(&incoming.body) {
            Ok(call) => call,
            Err(InvalidCall::Ignored(_)) => return Verdict::Silence,
            Err(InvalidCall::Refused(failure, id)) => {
                return match caller {
                    Caller::Remote { level: Level::Blocked, .. } => Verdict::Silence,
                    _ => Verdict::Answer(Reply::failed(id, failure).encode()),
                };
            }
        };
        match self.registry.decide(&self.policy, Some(&caller), &call.name) {
            Decision::Silent => return Verdict::Silence,
            Decision::Deny => {
                tracing::info!(caller = %identity, command = %call.name, "denied");
                return Verdict::Answer(Reply::failed(call.id, wend_commands::registry::denied(&call.name)).encode());
            }
            Decision::Run => {}
        }
        let busy = |id| {
            let failure = Failure::new(Code::BUSY, "the node runs as many commands as it may; try again in a moment");
            Verdict::Answer(Reply::failed(id, failure).encode())
        };
        if self.running.values().sum::<usize>() >= RUNNING_MAX
            || self.running.get(&identity).is_some_and(|running| *running >= RUNNING_PER_CALLER)
        {
            return busy(call.id);
        }
        match self.replies.begin(now, &caller, call.id, patience(&call)) {
            Seen::First => {
                *self.running.entry(identity).or_default() += 1;
                Verdict::Run(caller, call)
            }
            Seen::Running => Verdict::Silence,
            Seen::Answered(reply) => Verdict::Answer(reply),
            Seen::Forgotten => {
                let detail = "this call was run already and its reply is no longer held; send it anew under another id";
                Verdict::Answer(Reply::failed(call.id, Failure::new(Code::EXPIRED, detail)).encode())
            }
            Seen::Full => busy(call.id),
        }
    }

    /// A call that was run is answered.
    pub fn done(&mut self, peers: &Peers, identity: IdentityHash, id: MessageId, reply: Bytes) {
        if let Some(running) = self.running.get_mut(&identity) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.running.remove(&identity);
            }
        }
        let caller = Caller::Remote { identity, level: self.level(identity, peers) };
        self.replies.finish(&caller, id, reply);
    }

    /// Runs a call in a task of its own, under its deadline, and sends the reply through the core.
    pub fn run(&self, core: CoreHandle, incoming: &Incoming, caller: Caller, call: Call) {
        let Caller::Remote { identity, .. } = caller else { return };
        let (link, request, id, patience) = (incoming.link, incoming.request, call.id, patience(&call));
        let running = self.registry.dispatch(caller, call);
        tokio::spawn(async move {
            // A command that panics must not leave its caller counted as busy for ever.
            let running = tokio::spawn(running);
            let abort = running.abort_handle();
            let reply = match tokio::time::timeout(patience, running).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(_panicked)) => Reply::failed(id, Failure::new(Code::INTERNAL, "the command failed")),
                Err(_late) => {
                    abort.abort();
                    Reply::failed(id, Failure::new(Code::EXPIRED, "the command took longer than its caller waits"))
                }
            };
            core.respond(link, request, identity, id, reply.encode()).await;
        });
    }
}

fn patience(call: &Call) -> Duration {
    call.deadline(PATIENCE).min(PATIENCE_MAX)
}
