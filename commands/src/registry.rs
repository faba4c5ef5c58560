//! The commands a node runs.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::{Access, Caller, Level};
use crate::command::{Command, Handler};
use crate::describe::Description;
use crate::envelope::{Call, MAX_LEN, Reply};
use crate::failure::Failure;
use crate::name::CommandName;
use crate::octets::MessageId;
use crate::policy::{Decision, Policy};
use crate::{nearest, params};

/// A future that can be sent to any executor.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Two handlers for one command: a mistake in the program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command `{0}` is registered twice")]
pub struct Duplicate(pub CommandName);

type Run = dyn Fn(Caller, MessageId, &[u8]) -> BoxFuture<'static, Reply> + Send + Sync;

struct Entry {
    description: Description,
    run: Box<Run>,
}

/// Which commands there are, and what runs them.
#[derive(Default)]
pub struct Registry {
    entries: BTreeMap<CommandName, Entry>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Registry {
    /// Without commands.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command.
    pub fn register<C: Command>(&mut self, handler: impl Handler<C>) -> Result<(), Duplicate> {
        if self.entries.contains_key(&C::NAME) {
            return Err(Duplicate(C::NAME));
        }
        let handler = Arc::new(handler);
        let run: Box<Run> = Box::new(move |caller, id, bytes| match params::decode::<C>(bytes) {
            Ok(command) => {
                let handler = Arc::clone(&handler);
                Box::pin(async move {
                    let outcome = handler.handle(caller, command).await;
                    Reply::new::<C>(id, outcome.as_ref().map_err(Clone::clone))
                })
            }
            Err(error) => Box::pin(core::future::ready(Reply::failed(id, Failure::invalid(error.to_string())))),
        });
        self.entries.insert(C::NAME, Entry { description: Description::of::<C>(), run });
        Ok(())
    }

    /// What the commands are, by name.
    pub fn describe(&self) -> impl Iterator<Item = &Description> {
        self.entries.values().map(|entry| &entry.description)
    }

    /// Whether to run a call that came over the mesh. `caller` is `None` as long as it has not identified on its link.
    ///
    /// A name that does not exist is let through for those the node talks to at all: [`dispatch`](Self::dispatch) then
    /// says so. Everybody else hears nothing.
    pub fn decide(&self, policy: &Policy, caller: Option<&Caller>, name: &CommandName) -> Decision {
        match (self.entries.get(name), caller) {
            (_, None) => Decision::Silent,
            (Some(entry), Some(caller)) => policy.decide(caller, name, entry.description.access),
            (None, Some(Caller::Remote { level: Level::Blocked, .. })) => Decision::Silent,
            (None, Some(_)) => Decision::Run,
        }
    }

    /// Runs a call whose caller may: [`decide`](Self::decide) said so, or it is the owner. The future owns all it needs.
    ///
    /// Should a remote caller get here with a command that is local, it is denied all the same.
    pub fn dispatch(&self, caller: Caller, call: Call) -> BoxFuture<'static, Reply> {
        let Call { id, name, params, grant, .. } = call;
        let refuse =
            |failure| -> BoxFuture<'static, Reply> { Box::pin(core::future::ready(Reply::failed(id, failure))) };
        let Some(entry) = self.entries.get(&name) else { return refuse(self.unknown(&caller, &name)) };
        if caller != Caller::Local && entry.description.access == Access::Local {
            return refuse(denied(&name));
        }
        if grant.is_some() {
            return refuse(Failure::invalid("grants are not accepted yet: the last element of a call must be nil"));
        }
        let reply = (entry.run)(caller, id, &params);
        Box::pin(async move {
            let reply = reply.await;
            match &reply.outcome {
                // The owner reads over the control socket, which carries more than one resource.
                Ok(result) if caller != Caller::Local && result.len() > MAX_LEN - 64 => {
                    let detail = format!("the result of {} bytes is too long to send; ask for less", result.len());
                    Reply::failed(id, Failure::invalid(detail))
                }
                _ => reply,
            }
        })
    }

    /// Whether there is a command of this name.
    pub fn knows(&self, name: &CommandName) -> bool {
        self.entries.contains_key(name)
    }

    /// That there is no such command, with the nearest that this caller could ever run.
    pub fn unknown(&self, caller: &Caller, name: &CommandName) -> Failure {
        let known = self.describe().filter(|known| *caller == Caller::Local || known.access != Access::Local);
        let hint = nearest::suggestion(name.as_str(), known.map(|known| known.name.as_str()));
        Failure::unknown(format!("there is no command `{name}`{hint}"))
    }
}

/// What a caller hears that identified and may not.
pub fn denied(name: &CommandName) -> Failure {
    Failure::denied(format!("this node's policy does not let you run `{name}`"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wend_packet::IdentityHash;

    use super::*;
    use crate::describe::{command, record};
    use crate::failure::Code;
    use crate::value::Value;

    record! {
        /// A sum.
        pub(super) struct Sum {
            /// The sum.
            sum: u64,
        }
    }

    command! {
        /// Adds.
        "math/add", Access::AtLeast(Level::Unknown) => Sum;
        pub(super) struct Add {
            /// Numbers.
            numbers: Vec<u64>,
        }

        /// Erases.
        "math/erase", Access::Local => Sum;
        pub(super) struct Erase {}
    }

    async fn add(_: Caller, add: Add) -> Result<Sum, Failure> {
        tokio::task::yield_now().await;
        if add.numbers.is_empty() {
            Err(Failure::unavailable("no numbers"))
        } else {
            Ok(Sum { sum: add.numbers.iter().sum() })
        }
    }

    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register::<Add>(add).unwrap();
        registry.register::<Erase>(|_, Erase {}| async { Ok(Sum { sum: 0 }) }).unwrap();
        registry
    }

    const ID: MessageId = MessageId::new([7; 16]);
    const STRANGER: Caller = Caller::Remote { identity: IdentityHash::new([1; 16]), level: Level::Unknown };

    fn call(name: &str, params: &str) -> Call {
        Call::untyped(ID, name.parse().unwrap(), &serde_json::from_str::<Value>(params).unwrap(), 0)
    }

    fn run(caller: Caller, call: Call) -> Reply {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(registry().dispatch(caller, call))
    }

    fn failure(caller: Caller, call: Call) -> Failure {
        run(caller, call).outcome.unwrap_err()
    }

    #[test]
    fn a_call_runs_and_its_reply_carries_its_id() {
        let reply = run(STRANGER, Call::new(ID, &Add { numbers: vec![1, 2, 300] }, 0));
        assert_eq!((reply.id, reply.result::<Sum>()), (ID, Ok(Sum { sum: 303 })));
        assert_eq!(failure(STRANGER, call("math/add", r#"{"numbers":[]}"#)), Failure::unavailable("no numbers"));
    }

    #[test]
    fn what_is_wrong_with_a_call_is_said() {
        let missing = failure(STRANGER, call("math/add", "{}"));
        assert_eq!(
            (missing.code, missing.detail.as_str()),
            (Code::INVALID, "parameter `numbers` is missing: list of whole number. Numbers.")
        );
        let unknown = failure(STRANGER, call("math/ad", "{}"));
        assert_eq!(unknown, Failure::unknown("there is no command `math/ad`; did you mean `math/add`?"));
        let granted = Call { grant: Some(vec![1].into()), ..call("math/add", r#"{"numbers":[1]}"#) };
        assert_eq!(failure(STRANGER, granted).code, Code::INVALID);
    }

    #[test]
    fn a_local_command_is_not_run_for_others_nor_suggested_to_them() {
        assert_eq!(failure(STRANGER, call("math/erase", "{}")).code, Code::DENIED);
        assert_eq!(failure(STRANGER, call("math/eras", "{}")), Failure::unknown("there is no command `math/eras`"));
        assert_eq!(run(Caller::Local, call("math/erase", "{}")).result(), Ok(Sum { sum: 0 }));
        assert!(failure(Caller::Local, call("math/eras", "{}")).detail.ends_with("did you mean `math/erase`?"));
    }

    #[test]
    fn a_command_has_one_handler() {
        let error = registry().register::<Add>(add).unwrap_err();
        assert_eq!(error.to_string(), "the command `math/add` is registered twice");
        assert_eq!(
            registry().describe().map(|known| known.name.as_str()).collect::<Vec<_>>(),
            ["math/add", "math/erase"]
        );
    }

    #[test]
    fn strangers_without_identity_and_blocked_ones_hear_nothing() {
        let registry = registry();
        let policy = Policy::new(&BTreeMap::new(), registry.describe()).unwrap();
        let blocked = Caller::Remote { identity: IdentityHash::new([2; 16]), level: Level::Blocked };
        for name in ["math/add", "math/erase", "math/none"] {
            let name = name.parse().unwrap();
            assert_eq!(registry.decide(&policy, None, &name), Decision::Silent);
            assert_eq!(registry.decide(&policy, Some(&blocked), &name), Decision::Silent);
        }
        assert_eq!(registry.decide(&policy, Some(&STRANGER), &"math/none".parse().unwrap()), Decision::Run);
        assert_eq!(registry.decide(&policy, Some(&STRANGER), &"math/add".parse().unwrap()), Decision::Deny);
        assert_eq!(registry.decide(&policy, Some(&Caller::Local), &"math/erase".parse().unwrap()), Decision::Run);
    }
}
