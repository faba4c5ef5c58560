//! What the built-in commands do: each handler asks the core or the genome task and shapes the answer.

mod blackhole;
mod genome;
mod mesh;
mod node;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::watch;
use wend_commands::{Access, Code, CommandName, Duplicate, Failure, Registry, Value, builtin};
use wend_packet::stack::InterfaceId;
use wend_packet::{DestinationHash, IdentityHash};

use super::blackhole::BlackholeHandle;
use super::calls::CoreHandle;
use super::clock::Clock;
use super::genome::GenomeHandle;
use super::mesh::Mesh;
use crate::config::InterfaceKind;

pub(crate) use node::resident_bytes;
pub(super) use node::{memory_total_bytes, probe_hardware};

/// What a node knows of itself from its start on.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Its home folder.
    pub home: PathBuf,
    /// Its name.
    pub name: String,
    /// Who it is.
    pub identity: IdentityHash,
    /// Where to reach it.
    pub destination: DestinationHash,
    /// Whether it relays for others.
    pub transport: bool,
    /// Kinds of its configured interfaces.
    pub kinds: BTreeMap<InterfaceId, InterfaceKind>,
    /// Its clock, which started with it.
    pub clock: Clock,
}

/// What handlers work with; cheap to clone.
#[derive(Debug, Clone)]
struct Tools {
    about: std::sync::Arc<About>,
    core: CoreHandle,
    mesh: Mesh,
    genome: GenomeHandle,
    shutting_out: BlackholeHandle,
    hardware: watch::Receiver<Value>,
}

/// Who has what handlers ask for.
#[derive(Debug, Clone)]
pub(super) struct Owners {
    /// Paths, links and interfaces.
    pub core: CoreHandle,
    /// Other nodes.
    pub mesh: Mesh,
    /// The catalog.
    pub genome: GenomeHandle,
    /// Who is shut out.
    pub shutting_out: BlackholeHandle,
}

impl Tools {
    /// The other node a person names.
    ///
    /// # Errors
    /// When nothing or more than one thing fits, or it is this node.
    async fn other(&self, text: &str) -> Result<DestinationHash, Failure> {
        let about = &self.about;
        let itself = || Failure::invalid("that is this node itself; name another");
        if text.parse() == Ok(about.identity) {
            return Err(itself());
        }
        match self.mesh.resolve(text).await {
            Ok(destination) if destination == about.destination => Err(itself()),
            // A neighbour may have the same name, and is meant then.
            Err(failure) if failure.code == Code::UNAVAILABLE && text == about.name => Err(itself()),
            other => other,
        }
    }

    /// What another node answered to this command, so that it is clear whose word it is.
    async fn says(&self, destination: DestinationHash, command: &CommandName, failure: Failure) -> Failure {
        let who = self.mesh.called(destination).await;
        let known = builtin::describe().into_iter().find(|known| known.name == *command);
        let detail = match (failure.code, known.map(|known| known.access)) {
            (Code::DENIED, Some(Access::Local)) => {
                format!("{who} refuses: `{command}` runs for the owner of a node only, on the node's own machine")
            }
            (Code::DENIED, Some(Access::AtLeast(_))) => {
                format!("{who} refuses: {}; its owner can allow it under [policy] in its config", failure.detail)
            }
            _ => format!("{who} answers: {}", failure.detail),
        };
        Failure::new(failure.code, detail)
    }
}

/// All built-in commands with their handlers.
///
/// # Errors
/// When a command is registered twice, a mistake in this program.
pub(super) fn registry(about: About, owners: Owners, hardware: watch::Receiver<Value>) -> Result<Registry, Duplicate> {
    let Owners { core, mesh, genome, shutting_out } = owners;
    let tools = Tools { about: std::sync::Arc::new(about), core, mesh, genome, shutting_out, hardware };
    let mut registry = Registry::new();
    node::register(&mut registry, &tools)?;
    blackhole::register(&mut registry, &tools)?;
    mesh::register(&mut registry, &tools)?;
    genome::register(&mut registry, &tools)?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_built_in_command_has_a_handler() {
        let (core, _calls) = CoreHandle::new();
        let about = About {
            home: PathBuf::new(),
            name: "test".into(),
            identity: IdentityHash::new([1; 16]),
            destination: DestinationHash::new([2; 16]),
            transport: false,
            kinds: BTreeMap::new(),
            clock: Clock::start(),
        };
        let (_sender, hardware) = watch::channel(Value::Nil);
        let (shutting_out, _inbox) = BlackholeHandle::new();
        let owners = Owners { mesh: Mesh::new(core.clone()), core, genome: GenomeHandle::closed(), shutting_out };
        let registry = registry(about, owners, hardware);
        let registered: Vec<_> =
            registry.expect("no command twice").describe().map(|known| known.name.clone()).collect();
        let declared: Vec<_> = wend_commands::builtin::describe().into_iter().map(|known| known.name).collect();
        assert_eq!(registered, declared);
    }
}
