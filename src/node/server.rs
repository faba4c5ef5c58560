//! Commands that come in over the mesh: who asks, whether they may, and that a repeated call runs once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
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
const REPLIES: Bounds = Bounds { calls: 1024, per_caller: 128, bytes: 2 << 20, keep: Duration::from_secs(600) };

/// A request as it came in.
#[derive(Debug)]
pub(super) struct Incoming {
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
pub(super) enum Verdict {
    /// Nothing: the caller gets no answer, or gets it when the running call is done.
    Silence,
    /// This is the answer.
    Answer(Bytes),
    /// Run the call; its reply comes back as [`CoreCall::Respond`](super::calls::CoreCall::Respond).
    Run(Caller, Call),
}

/// Decides over requests; the core feeds it.
#[derive(Debug)]
pub(super) struct Server {
    registry: Arc<Registry>,
    policy: Policy,
    trust: TrustConfig,
    replies: Replies,
    /// Calls that run, and the request that waits for each: the newest one, when a caller repeated it.
    running: BTreeMap<(IdentityHash, MessageId), (LinkId, RequestId)>,
}

impl Server {
    /// A server for these commands under this policy.
    pub(super) fn new(registry: Arc<Registry>, policy: Policy, trust: TrustConfig) -> Self {
        Self { registry, policy, trust, replies: Replies::new(REPLIES), running: BTreeMap::new() }
    }

    /// How far an identity is trusted: what the config says, else whether its announce has been heard.
    pub(super) fn level(&self, identity: IdentityHash, peers: &Peers) -> Level {
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
    pub(super) fn judge(&mut self, now: Now, peers: &Peers, incoming: &Incoming) -> Verdict {
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
                tracing::debug!(caller = %identity, command = %call.name, "denied");
                return Verdict::Answer(Reply::failed(call.id, wend_commands::registry::denied(&call.name)).encode());
            }
            Decision::Run => {}
        }
        // Nothing runs, so nothing is remembered: made-up names must not push real replies out.
        if !self.registry.knows(&call.name) {
            let failure = self.registry.unknown(&caller, &call.name);
            return Verdict::Answer(Reply::failed(call.id, failure).encode());
        }
        let busy = |id| {
            let failure = Failure::new(Code::BUSY, "the node runs as many commands as it may; try again in a moment");
            Verdict::Answer(Reply::failed(id, failure).encode())
        };
        let seen = self.replies.begin(now, &caller, call.id, patience(&call));
        if !matches!(seen, Seen::First) {
            tracing::debug!(caller = %identity, command = %call.name, id = %call.id, "call repeated");
        }
        match seen {
            Seen::First if self.is_busy(identity) => {
                self.replies.abandon(&caller, call.id);
                busy(call.id)
            }
            Seen::First => {
                tracing::debug!(caller = %identity, command = %call.name, id = %call.id, "command runs");
                self.running.insert((identity, call.id), (incoming.link, incoming.request));
                Verdict::Run(caller, call)
            }
            Seen::Running => {
                // The caller gave up waiting on the earlier request, or lost its link.
                self.running.insert((identity, call.id), (incoming.link, incoming.request));
                Verdict::Silence
            }
            Seen::Answered(reply) => Verdict::Answer(reply),
            Seen::Forgotten => {
                let detail = "this call was run already and its reply is no longer held; send it anew under another id";
                Verdict::Answer(Reply::failed(call.id, Failure::new(Code::EXPIRED, detail)).encode())
            }
            Seen::Full => busy(call.id),
        }
    }

    fn is_busy(&self, identity: IdentityHash) -> bool {
        let (first, last) = (MessageId::new([0; 16]), MessageId::new([0xff; 16]));
        self.running.len() >= RUNNING_MAX
            || self.running.range((identity, first)..=(identity, last)).count() >= RUNNING_PER_CALLER
    }

    /// A call that was run is answered; says which request waits for the reply.
    pub(super) fn done(
        &mut self,
        peers: &Peers,
        identity: IdentityHash,
        id: MessageId,
        reply: Bytes,
    ) -> Option<(LinkId, RequestId)> {
        let caller = Caller::Remote { identity, level: self.level(identity, peers) };
        self.replies.finish(&caller, id, reply);
        self.running.remove(&(identity, id))
    }

    /// Runs a call in a task of its own on the runtime `on`, under its deadline, and sends the reply through the core.
    pub(super) fn run(&self, on: &Handle, core: CoreHandle, caller: Caller, call: Call) {
        let Caller::Remote { identity, .. } = caller else { return };
        let (id, patience) = (call.id, patience(&call));
        let running = self.registry.dispatch(caller, call);
        on.spawn(async move {
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
            core.respond(identity, id, reply.encode()).await;
        });
    }
}

fn patience(call: &Call) -> Duration {
    call.deadline(PATIENCE).min(PATIENCE_MAX)
}

#[cfg(test)]
mod tests {
    use wend_commands::builtin::{self, node};
    use wend_commands::policy::Rule;
    use wend_packet::time::Instant;

    use super::*;

    const FRIEND: IdentityHash = IdentityHash::new([1; 16]);
    const STRANGER: IdentityHash = IdentityHash::new([2; 16]);
    const BLOCKED: IdentityHash = IdentityHash::new([3; 16]);

    fn server() -> Server {
        let mut registry = Registry::new();
        let pong = |_: Caller, _: node::Ping| async {
            Ok(node::PingReply { payload: None, time: wend_packet::time::UnixTime(0) })
        };
        registry.register::<node::Ping>(pong).expect("registered once");
        let table = [("node/ping".to_owned(), Rule::Level("trusted".to_owned()))].into();
        let policy = Policy::new(&table, &builtin::describe()).expect("a valid policy");
        let trust = TrustConfig { trusted: vec![FRIEND], blocked: vec![BLOCKED], ..TrustConfig::default() };
        Server::new(Arc::new(registry), policy, trust)
    }

    fn ping(caller: Option<IdentityHash>, id: u8) -> Incoming {
        let body = Call::new(MessageId::new([id; 16]), &node::Ping { payload: None }, 5).encode();
        Incoming { link: LinkId::new([9; 16]), request: RequestId::new([id; 16]), caller, body }
    }

    fn now() -> Now {
        Now { mono: Instant::from_micros(1), ..Now::default() }
    }

    fn code(verdict: &Verdict) -> Option<Code> {
        match verdict {
            Verdict::Answer(reply) => {
                Reply::decode(reply).ok().and_then(|reply| reply.outcome.err()).map(|failure| failure.code)
            }
            _ => None,
        }
    }

    #[test]
    fn only_who_policy_names_may_and_who_did_not_identify_hears_nothing() {
        let (mut server, peers) = (server(), Peers::new());
        assert!(matches!(server.judge(now(), &peers, &ping(None, 1)), Verdict::Silence));
        assert!(matches!(server.judge(now(), &peers, &ping(Some(BLOCKED), 2)), Verdict::Silence));
        assert_eq!(code(&server.judge(now(), &peers, &ping(Some(STRANGER), 3))), Some(Code::DENIED));
        assert!(matches!(server.judge(now(), &peers, &ping(Some(FRIEND), 4)), Verdict::Run(..)));
    }

    #[test]
    fn a_repeated_call_gets_the_first_reply_and_does_not_run_again() {
        let (mut server, peers) = (server(), Peers::new());
        assert!(matches!(server.judge(now(), &peers, &ping(Some(FRIEND), 1)), Verdict::Run(..)));
        assert!(matches!(server.judge(now(), &peers, &ping(Some(FRIEND), 1)), Verdict::Silence), "it still runs");
        let again = Incoming { request: RequestId::new([7; 16]), ..ping(Some(FRIEND), 1) };
        assert!(matches!(server.judge(now(), &peers, &again), Verdict::Silence), "it still runs");
        let waiting = server.done(&peers, FRIEND, MessageId::new([1; 16]), Bytes::from_static(b"reply"));
        assert_eq!(waiting, Some((again.link, again.request)), "the newest request gets the reply");
        assert!(
            matches!(server.judge(now(), &peers, &ping(Some(FRIEND), 1)), Verdict::Answer(reply) if &*reply == b"reply")
        );
    }

    #[test]
    fn one_caller_cannot_take_all_there_is() {
        let (mut server, peers) = (server(), Peers::new());
        for id in 0..4 {
            assert!(matches!(server.judge(now(), &peers, &ping(Some(FRIEND), id)), Verdict::Run(..)));
        }
        assert_eq!(code(&server.judge(now(), &peers, &ping(Some(FRIEND), 9))), Some(Code::BUSY));
        server.done(&peers, FRIEND, MessageId::new([0; 16]), Bytes::new());
        assert!(
            matches!(server.judge(now(), &peers, &ping(Some(FRIEND), 9)), Verdict::Run(..)),
            "the refused call may come again"
        );
    }

    #[test]
    fn many_callers_fill_neither_what_runs_nor_what_is_remembered() {
        let (mut server, peers) = (server(), Peers::new());
        let caller = |number: usize| {
            let [.., a, b] = number.to_be_bytes();
            IdentityHash::new([a, b, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
        };
        let known: Vec<_> = (0..10 * REPLIES.calls / 4).map(caller).collect();
        server.trust.trusted.extend(&known);
        let mut ran = 0;
        for (number, identity) in known.iter().enumerate() {
            for id in 0..4 {
                if let Verdict::Run(..) = server.judge(now(), &peers, &ping(Some(*identity), id)) {
                    ran += 1;
                    // Every other one is never done.
                    if number % 2 == 0 {
                        server.done(&peers, *identity, MessageId::new([id; 16]), Bytes::from_static(b"reply"));
                    }
                }
            }
            assert!(server.running.len() <= RUNNING_MAX && server.replies.len() <= REPLIES.calls);
        }
        assert!(ran > RUNNING_MAX, "{ran}");
        for (identity, id) in server.running.keys().copied().collect::<Vec<_>>() {
            server.done(&peers, identity, id, Bytes::from_static(b"reply"));
        }
        assert!(
            matches!(server.judge(now(), &peers, &ping(Some(FRIEND), 9)), Verdict::Run(..)),
            "and others are served"
        );
    }

    #[test]
    fn made_up_commands_are_answered_and_not_remembered() {
        let (mut server, peers) = (server(), Peers::new());
        let name = "no/such".parse().expect("a well-formed name");
        let call = Call::untyped(MessageId::new([1; 16]), name, &wend_commands::Value::Nil, 5);
        let incoming = Incoming { body: call.encode(), ..ping(Some(STRANGER), 1) };
        assert_eq!(code(&server.judge(now(), &peers, &incoming)), Some(Code::UNKNOWN));
        assert!(server.replies.is_empty());
    }

    #[test]
    fn bytes_that_are_no_call_are_met_with_silence() {
        let (mut server, peers) = (server(), Peers::new());
        let nonsense = Incoming { body: Bytes::from_static(&[0xc1, 0xff]), ..ping(Some(FRIEND), 1) };
        assert!(matches!(server.judge(now(), &peers, &nonsense), Verdict::Silence));
    }
}
