//! `wend up`, and the two programs that run as children of others.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use wend_packet::stack::Footprint;

use super::report::{Exit, Report};
use crate::config::{Config, DEFAULT_PORT, InterfaceConfig, has_port};
use crate::home::Home;
use crate::node::{Node, Options};

/// How long a thread that may block waits for more work before it ends.
const BLOCKING_KEPT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Name to announce, at most 20 bytes
    #[arg(long)]
    name: Option<String>,
    /// Carry other nodes' packets on
    #[arg(long)]
    transport: bool,
    /// Listen for TCP connections here; what is given like this replaces the interfaces in the config
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,
    /// Keep a TCP connection to this node
    #[arg(long, value_name = "HOST:PORT")]
    connect: Vec<String>,
    /// Use this serial line
    #[arg(long, value_name = "DEV[@SPEED]")]
    serial: Vec<String>,
    /// Folder of the embedding model
    #[arg(long, value_name = "DIR", env = "WEND_MODEL", hide_env_values = true)]
    model: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a filter such as info,wend_packet=trace
    #[arg(long, value_name = "FILTER", env = "WEND_LOG", hide_env_values = true, default_value = "info")]
    log: String,
    /// Log as JSON lines
    #[arg(long)]
    log_json: bool,
    /// Stop when standard input ends: for programs that run a node as their child
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

impl UpArgs {
    /// What the config says, where the arguments do not say otherwise.
    fn apply(&self, config: &mut Config) -> Result<(), Report> {
        if let Some(name) = &self.name {
            config.node.name = Some(name.clone());
        }
        config.node.transport |= self.transport;
        let mut given = Vec::new();
        for listen in &self.listen {
            given.push(InterfaceConfig::listen(&format!("listen {}", with_port("--listen", listen)?), listen));
        }
        for connect in &self.connect {
            given.push(InterfaceConfig::connect(with_port("--connect", connect)?, connect));
        }
        for serial in &self.serial {
            let (port, speed) = match serial.rsplit_once('@') {
                None => (serial.as_str(), None),
                Some((port, speed)) => {
                    let speed = speed.parse().map_err(|_| {
                        Report::new(Exit::Usage, format!("--serial {serial}: `{speed}` is not a speed in bit/s"))
                            .help("write it like --serial /dev/ttyUSB0@9600")
                    })?;
                    (port, Some(speed))
                }
            };
            given.push(InterfaceConfig::serial(serial, port, speed));
        }
        if !given.is_empty() {
            config.interfaces = given;
        }
        config.check_values().map_err(|problem| Report::new(Exit::Usage, problem.message).help(problem.help))
    }
}

/// An address of the command line, when it has a port.
fn with_port<'a>(option: &str, address: &'a str) -> Result<&'a str, Report> {
    if has_port(address) {
        return Ok(address);
    }
    Err(Report::new(Exit::Usage, format!("{option} {address}: this is not an address with a port"))
        .help(format!("write it like {option} 192.0.2.7:{DEFAULT_PORT}")))
}

pub(super) fn up(home: &Home, args: UpArgs) -> Result<Exit, Report> {
    start_log(&args.log, args.log_json)?;
    home.prepare()?;
    let mut config = Config::load(home)?;
    args.apply(&mut config)?;
    // Packets have a thread of their own; a small machine runs the commands on the one that waits here anyway.
    let mut runtime = match config.node.footprint {
        Footprint::Tiny => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(2)
        .max_blocking_threads(32)
        // Most of them run once, at the start: what a thread has touched is not kept for the next that may never come.
        .thread_keep_alive(BLOCKING_KEPT)
        .enable_all()
        .build()
        .map_err(|error| Report::new(Exit::Negative, format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async move {
        // Before the node answers anybody: who talks to it may end it at once.
        let stop = stop_signal(args.stop_with_stdin)
            .map_err(|error| Report::new(Exit::Negative, format!("cannot start: {error}")))?;
        let options = Options { model: args.model };
        let node = Node::start(home, config, options).await?;
        eprintln!("{} is up: identity {}, destination {}", node.name(), node.identity(), node.destination());
        eprintln!("home {}; stop with Ctrl-C", home.dir().display());
        stop.await;
        tracing::info!("stopping");
        node.stop().await;
        Ok(Exit::Done)
    });
    // A thread may still be reading standard input, which nothing can interrupt; everything else has ended.
    runtime.shutdown_background();
    ended
}

fn start_log(filter: &str, json: bool) -> Result<(), Report> {
    let filter: Targets = filter.parse().map_err(|error| {
        Report::new(Exit::Usage, format!("--log {filter}: this is not a filter ({error})"))
            .help("use error, warn, info, debug or trace")
    })?;
    // Colours are for terminals: in a file or a journal they would be noise.
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let log = tracing_subscriber::registry().with(filter);
    if json {
        log.with(lines.json()).init()
    } else {
        log.with(lines.with_target(false)).init()
    }
    Ok(())
}

/// From now on catches Ctrl-C and requests to end. The future waits for one of them, and for the end of standard input
/// where that counts. Must be called inside a runtime.
fn stop_signal(with_stdin: bool) -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stdin_end = async move {
        if !with_stdin {
            std::future::pending::<()>().await;
        }
        // In a thread of its own: a runtime that ends waits for its reads, and this one may never return.
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let read = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = ended.send(read.is_ok());
        });
        let _ = end.await;
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin_end => {}
        }
    })
}

#[cfg(feature = "embeddings")]
pub(super) fn embed_child(model: &Path) -> Result<Exit, Report> {
    wend_genome::embed::serve(model, io::stdin().lock(), io::stdout().lock())
        .map(|()| Exit::Done)
        .map_err(|error| Report::new(Exit::Negative, format!("the embedder ended: {error}")))
}

#[cfg(not(feature = "embeddings"))]
pub(super) fn embed_child(_model: &Path) -> Result<Exit, Report> {
    Err(Report::new(Exit::Usage, "this build has no embedder").help("build it with the feature `embeddings`"))
}

/// Prints the two ends of a line and carries bytes between them.
pub(super) fn serial_line(speed: u64, stop_with_stdin: bool) -> Result<Exit, Report> {
    let failed = |error: io::Error| Report::new(Exit::Negative, format!("cannot make a serial line: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let stop = stop_signal(stop_with_stdin).map_err(failed)?;
        let line = crate::demo::SerialLine::open(speed).map_err(failed)?;
        let [a, b] = line.paths();
        super::table::emit(&format!("{}\n{}\n", a.display(), b.display()))?;
        tokio::select! {
            ended = line.run() => ended.map_err(failed)?,
            () = stop => {}
        }
        Ok(Exit::Done)
    })
}
