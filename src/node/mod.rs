//! The node: the core task that owns the packet layer, the genome task that owns the catalog, and what starts and stops
//! them. docs/architecture.md, sections 5 and 11.

mod blackhole;
mod calls;
mod clock;
mod core;
mod genome;
mod handlers;
mod interfaces;
mod keeper;
mod lane;
mod links;
mod mesh;
mod neighbours;
mod peers;
mod ratchets;
mod seekers;
mod server;
mod store;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wend_commands::announce_data::{AnnounceData, Capabilities, CatalogSummary, InvalidAnnounceData, Roles, magnitude};
use wend_commands::{CatalogRoot, Duplicate, builtin, envelope};
use wend_interfaces::Ports;
use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::stack::{Capacities, Destination, Footprint, ProofStrategy, Snapshot, Stack, StackConfig};
use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash};

pub use clock::{randomness, unix_now};
pub(crate) use handlers::resident_bytes;

use self::blackhole::BlackholeHandle;
use self::calls::CoreHandle;
use self::clock::Clock;
use self::core::{Core, Management, Parts, SelfPortrait};
use self::interfaces::InterfaceError;
use self::keeper::Keeper;
use self::lane::Lane;
use self::mesh::Mesh;
use self::server::Server;
use self::store::{Store, StoreError};
use crate::config::{Config, ConfigError, InterfaceKind, NAME_MAX};
use crate::control;
use crate::home::{Home, HomeError, HomeLock};

/// Neighbours that wait for a sync of catalogs; further ones are offered again with their next announce.
const NEIGHBOURS: usize = 32;
/// How long the tasks of a node are given to end by themselves.
const STOPPING: Duration = Duration::from_secs(5);

/// The name of every node's destination. docs/protocol/mesh.md, Names.
pub fn node_name() -> DestinationName {
    match DestinationName::new("wend", &["node"]) {
        Ok(name) => name,
        Err(_) => unreachable!("neither part holds a dot"),
    }
}

/// What the command line may say beside the config.
#[derive(Debug, Default)]
pub struct Options {
    /// Folder of the embedding model.
    pub model: Option<std::path::PathBuf>,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Its name.
    #[error(transparent)]
    Name(#[from] InvalidAnnounceData),
    /// Two handlers for one command, a mistake in this program.
    #[error(transparent)]
    Registry(#[from] Duplicate),
    /// The thread for packets.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The control socket.
    #[error("cannot make the control socket {}: {source}", path.display())]
    Control {
        /// Where.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl StartError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Store(StoreError::InUse { .. }) => {
                Some("a node with this home is running already; choose another home with --home DIR".to_owned())
            }
            Self::Store(StoreError::Newer { .. }) => {
                Some("run that newer version, or choose another --home".to_owned())
            }
            Self::Store(_) => Some(
                "check that the file is yours and the disk is not full; a damaged one can be moved away: identity and \
                 config stay, the catalog comes back from neighbours and by publishing again"
                    .to_owned(),
            ),
            Self::Control { .. } => Some("check that the folder is yours and on a disk of this machine".to_owned()),
            _ => None,
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    name: String,
    identity: IdentityHash,
    destination: DestinationHash,
    cancel: CancellationToken,
    drivers: CancellationToken,
    core: JoinHandle<()>,
    tasks: TaskTracker,
    lock: HomeLock,
    _lane: Lane,
}

impl Node {
    /// Starts a node and returns when it answers on its control socket.
    ///
    /// # Errors
    /// When its home, its state or an interface cannot be used.
    pub async fn start(home: &Home, config: Config, options: Options) -> Result<Self, StartError> {
        let clock = Clock::start();
        // Before anything is read or made: two first starts at once must not both make an identity.
        let lock = home.lock()?;
        let identity = home.identity()?;
        let (cancel, drivers, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let (ports, port_events) = Ports::new();
        let lane = Lane::start().map_err(StartError::Thread)?;
        // Before the disk is asked for anything: neighbours may connect meanwhile, and what they send waits for the core.
        // When something below fails, the lane ends, and with it whatever runs there.
        let started =
            lane.handle().spawn(interfaces::start(config.interfaces.clone(), ports, tasks.clone(), drivers.clone()));
        let started = started.await.map_err(|error| StartError::Thread(error.into()))??;
        let (store, stored) = Store::open(&home.state_file())?;
        let control = control::listen(&home.control_socket())
            .map_err(|source| StartError::Control { path: home.control_socket(), source })?;
        let destination = node_name().of(identity.hash());
        let name = config.node.name.clone().unwrap_or_else(machine_name);

        let (summary, catalog) = watch::channel(CatalogSummary { count: 0, root: CatalogRoot::new([0; 8]) });
        let keeper = Keeper::new(store.clone());
        let genome = genome::start(genome::Parts {
            home: home.clone(),
            identity: identity.clone(),
            store: store.clone(),
            cards: stored.cards,
            model: options.model,
            expiry: Duration::from_secs(u64::from(config.catalog.expiry_days) * 86_400),
            summary,
            clock,
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        });

        let (handle, core_calls) = CoreHandle::new();
        let mesh = Mesh::new(handle.clone());
        let (neighbours, offered) = mpsc::channel(NEIGHBOURS);
        let hardware = handlers::probe_hardware(home.dir().to_owned());
        let about = handlers::About {
            home: home.dir().to_owned(),
            name: name.clone(),
            identity: identity.hash(),
            destination,
            transport: config.node.transport,
            kinds: started.iter().map(|(handle, kind)| (handle.id, *kind)).collect(),
            clock,
        };
        let (shutting_out, blackhole_inbox) = BlackholeHandle::new();
        let owners =
            handlers::Owners { core: handle.clone(), mesh: mesh.clone(), genome: genome.clone(), shutting_out };
        let registry = Arc::new(handlers::registry(about, owners, hardware)?);
        let policy = config.policy(&builtin::describe()).map_err(|problem| ConfigError {
            path: home.config_file(),
            line: None,
            message: problem.message,
            help: problem.help,
        })?;

        // Relays know a node that carries their packets by this key; one that does not is somebody else at each start.
        let transport_identity = match config.node.transport || config.management.is_used() {
            true => home.transport_identity()?,
            false => Identity::generate(&mut randomness()),
        };
        let mut stack_config = StackConfig::new(transport_identity.clone());
        stack_config.transport_enabled = config.node.transport;
        stack_config.capacities = Capacities::of(config.node.footprint);
        let transport_id = transport_identity.hash();
        let capacities = stack_config.capacities.clone();
        let mut stack = Stack::new(stack_config, Box::new(randomness()));
        stack.restore(Snapshot {
            paths: stored.paths.clone(),
            last_emission: UnixTime(stored.last_announce),
            blackhole: blackhole::still_good(&stored.blackhole, &config.management.blackhole_sources, transport_id),
        });
        stack.restore_tunnels(clock.now(), stored.tunnel_paths);
        let data = portrait(&name, config.node.transport)?;
        let local = Destination {
            proofs: ProofStrategy::All,
            request_paths: vec![envelope::PATH.to_owned()],
            app_data: data.encode().into(),
            ratchets: ratchets::begin(config.node.ratchets, &identity, stored.ratchets.get(&destination)),
            ..Destination::new(identity.clone(), node_name())
        };
        // The stack is new, so nothing is registered twice.
        if let Err(error) = stack.register(local) {
            tracing::error!(%error, "the node's destination is refused");
        }
        let management = Management::register(&mut stack, &transport_identity, &config.management);
        let servers = started.iter().filter(|(_, kind)| *kind == InterfaceKind::TcpServer);
        let servers = servers.map(|(handle, _)| handle.id).collect();
        let parts = Parts {
            stack,
            management,
            servers,
            clock,
            identity: identity.clone(),
            destination,
            node_name: node_name().hash(),
            portrait: SelfPortrait { data, catalog },
            server: Server::new(Arc::clone(&registry), policy, config.trust.clone()),
            keeper,
            neighbours,
            genome: genome.clone(),
            handle: handle.clone(),
            commands: tokio::runtime::Handle::current(),
            lingers: config.node.footprint != Footprint::Tiny,
        };
        let handles = started.into_iter().map(|(handle, _)| handle).collect();
        let core = Core::new(parts, handles, &stored.paths);
        let core = tasks.spawn_on(core.run(port_events, core_calls, cancel.clone()), lane.handle());
        if config.catalog.sync {
            tasks.spawn(neighbours::keep_in_agreement(offered, mesh, genome, cancel.clone()));
        }
        let blackhole = blackhole::Parts {
            core: handle,
            store,
            stored: stored.blackhole,
            sources: config.management.blackhole_sources.clone(),
            interval: Duration::from_secs(u64::from(config.management.blackhole_update_minutes) * 60),
            capacities,
        };
        tasks.spawn(blackhole::keep(blackhole, blackhole_inbox, cancel.clone()));
        tasks.spawn(control::serve(control, registry, cancel.clone()));
        tasks.close();
        Ok(Self { name, identity: identity.hash(), destination, cancel, drivers, core, tasks, lock, _lane: lane })
    }

    /// The name it announces.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who it is.
    pub fn identity(&self) -> IdentityHash {
        self.identity
    }

    /// Where to reach it.
    pub fn destination(&self) -> DestinationHash {
        self.destination
    }

    /// Stops it: links say goodbye, what is queued leaves, the state is stored.
    pub async fn stop(self) {
        self.cancel.cancel();
        // Drivers go on until the core has said what it has to say.
        if let Err(error) = self.core.await {
            tracing::error!(%error, "the core failed");
        }
        self.drivers.cancel();
        if tokio::time::timeout(STOPPING, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        drop(self.lock);
    }
}

/// What the node says of itself, beside its catalog.
fn portrait(name: &str, transport: bool) -> Result<AnnounceData, StartError> {
    let roles = if transport { Roles::TRANSPORT } else { Roles::default() };
    let capabilities = Capabilities {
        processors: magnitude(std::thread::available_parallelism().map_or(1, |count| count.get()) as u64),
        memory_gib: magnitude(handlers::memory_total_bytes() >> 30),
        ..Capabilities::default()
    };
    Ok(AnnounceData::new(name, roles, capabilities, Vec::new(), None)?)
}

/// The machine's name, cut to what an announce carries.
fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = name.split('.').next().unwrap_or_default();
    let end = (0..=NAME_MAX.min(short.len())).rev().find(|end| short.is_char_boundary(*end)).unwrap_or_default();
    match short.get(..end) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "wend".to_owned(),
    }
}
