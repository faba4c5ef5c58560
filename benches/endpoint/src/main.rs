//! `benchnode server DIR` and `benchnode client DIR DESTINATION`: an endpoint on Wend's packet layer, driven by lines of
//! JSON on standard input, that answers on standard output. The reference endpoint of benches/compare speaks the same.
//!
//! One thread does everything but long jobs: drivers, packet layer and benchmark wake each other without leaving it.

mod client;
mod config;
mod protocol;
mod server;
mod shell;

use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wend_interfaces::{Backoff, Driver, Ports, ProfileOptions, supervise, tcp};
use wend_packet::DestinationHash;
use wend_packet::destination::DestinationName;
use wend_packet::hash::sha256;
use wend_packet::identity::Identity;
use wend_packet::link::{ProofStrategy, ResourceStrategy};
use wend_packet::stack::{Capacities, Destination, Footprint, Stack, StackConfig};

use self::client::Client;
use self::config::{Config, Medium};
use self::server::Server;
use self::shell::{Application, Shell};

/// What an endpoint is started as.
enum Role {
    Server,
    Client(DestinationHash),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (role, folder) = match arguments.as_slice() {
        ["server", folder] => (Role::Server, folder),
        ["client", folder, to] => match DestinationHash::from_str(to) {
            Ok(to) => (Role::Client(to), folder),
            Err(error) => return fail(&error),
        },
        _ => return fail(&"usage: benchnode server DIR | benchnode client DIR DESTINATION"),
    };
    let config = match Config::load(Path::new(folder)) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(role, &config)),
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("benchnode: {error}");
    ExitCode::FAILURE
}

async fn run(role: Role, config: &Config) -> ExitCode {
    let random = UnwrapErr(SysRng);
    let stack_config = StackConfig {
        transport_enabled: config.transport,
        capacities: Capacities::of(Footprint::Hub),
        ..StackConfig::new(Identity::generate(&mut UnwrapErr(SysRng)))
    };
    let mut shell = Shell::new(Stack::new(stack_config, Box::new(random)));
    let mut ready = json!({ "ev": "ready", "version": env!("CARGO_PKG_VERSION") });
    let mut application: Box<dyn Application> = match role {
        Role::Server => match shell.stack.register(served()) {
            Ok(destination) => {
                ready["dest"] = destination.to_string().into();
                Box::new(Server::new(destination))
            }
            Err(error) => return fail(&error),
        },
        Role::Client(to) => Box::new(Client::new(to)),
    };

    let (ports, events) = Ports::new();
    let stop = CancellationToken::new();
    for (interface, seed) in config.interfaces.iter().zip(1..) {
        let options = ProfileOptions { bitrate_bps: interface.bitrate_bps, ..ProfileOptions::default() };
        let driver: Box<dyn Driver> = match &interface.medium {
            Medium::Server(address) => Box::new(tcp::Server::new(address.clone(), options)),
            Medium::Client(address) => Box::new(tcp::Client::new(address.clone(), options)),
        };
        let (port, handle) = match ports.port(&interface.name) {
            Ok(pair) => pair,
            Err(error) => return fail(&error),
        };
        shell.attach(handle);
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500), seed);
        tokio::spawn(supervise(driver, port, backoff, stop.clone()));
    }
    drop(ports);
    protocol::say(&ready);
    shell.run(&mut *application, events, protocol::commands()).await;
    stop.cancel();
    ExitCode::SUCCESS
}

/// The destination that benchmarks talk to; its key is known to everybody.
fn served() -> Destination {
    let (exchange, signing) = (sha256(&[b"bench-server-x"]), sha256(&[b"bench-server-e"]));
    let (Ok(identity), Ok(name)) =
        (Identity::from_slice(&[exchange, signing].concat()), DestinationName::new("bench", &["perf"]))
    else {
        unreachable!("a key has 64 bytes, and no part of the name holds a dot")
    };
    Destination {
        proofs: ProofStrategy::All,
        resources: ResourceStrategy::All,
        channel: Some(vec![server::MESSAGE]),
        request_paths: vec![server::ECHO.to_owned()],
        ..Destination::new(identity, name)
    }
}
