//! A command is a type, and its handler a function from that type to its reply.

use core::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Access, Caller};
use crate::describe::Record;
use crate::failure::Failure;
use crate::name::CommandName;

/// A command: its parameters are the fields of the type.
pub trait Command: Record + Serialize + DeserializeOwned + Send + 'static {
    /// What callers ask for: `genome/search`.
    const NAME: CommandName;
    /// Who may ever run it.
    const ACCESS: Access;
    /// What it gives. A map with string keys on the wire, and the stable schema of `--json`.
    type Reply: Record + Serialize + DeserializeOwned + Send + 'static;
}

/// Runs a command. Any `Fn(Caller, C) -> impl Future<Output = Result<C::Reply, Failure>>` is one.
pub trait Handler<C: Command>: Send + Sync + 'static {
    /// Runs it for `caller`, who may: that has been decided. A dropped future must leave nothing half done.
    fn handle(&self, caller: Caller, command: C) -> impl Future<Output = Result<C::Reply, Failure>> + Send;
}

impl<C, F, R> Handler<C> for F
where
    C: Command,
    F: Fn(Caller, C) -> R + Send + Sync + 'static,
    R: Future<Output = Result<C::Reply, Failure>> + Send,
{
    fn handle(&self, caller: Caller, command: C) -> impl Future<Output = Result<C::Reply, Failure>> + Send {
        self(caller, command)
    }
}
