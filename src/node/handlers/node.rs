//! `node/…`: the node itself.

use std::path::PathBuf;

use tokio::sync::watch;
use wend_commands::builtin::node::{
    Announce, AnnounceReply, Info, InfoReply, InterfaceStatus, InterfaceSummary, Path, Paths, PathsReply, Ping,
    PingReply, Resolve, ResolveReply, Status, StatusReply,
};
use wend_commands::{Caller, Duplicate, Failure, Registry, Value};
use wend_interfaces::State;

use super::Tools;
use crate::config::InterfaceKind;
use crate::node::calls::{InterfaceView, PathView};
use crate::node::clock::unix_now;

pub(super) fn register(registry: &mut Registry, tools: &Tools) -> Result<(), Duplicate> {
    let with = tools.clone();
    registry.register(move |_: Caller, _: Info| info(with.clone()))?;
    registry.register(|_: Caller, ping: Ping| async { answer(ping) })?;
    let with = tools.clone();
    registry.register(move |_: Caller, _: Status| status(with.clone()))?;
    let with = tools.clone();
    registry.register(move |_: Caller, paths: Paths| list_paths(with.clone(), paths))?;
    let with = tools.clone();
    registry.register(move |_: Caller, _: Announce| announce(with.clone()))?;
    let with = tools.clone();
    registry.register(move |_: Caller, resolve: Resolve| find(with.clone(), resolve))
}

/// Probes the hardware once, beside everything else; empty until that is done.
pub(crate) fn probe_hardware(home: PathBuf) -> watch::Receiver<Value> {
    let (sender, receiver) = watch::channel(Value::Nil);
    tokio::task::spawn_blocking(move || {
        let limits = wend_hardware::Limits { disk: Some(home), ..Default::default() };
        let report = wend_hardware::probe(&limits);
        match rmp_serde::to_vec_named(&report).map(|bytes| Value::from_msgpack(&bytes)) {
            Ok(Ok(value)) => drop(sender.send(without_paths(value))),
            _ => tracing::error!("the hardware report has no MessagePack form"),
        }
    });
    receiver
}

/// Where this node keeps its files is nobody else's business.
fn without_paths(value: Value) -> Value {
    match value {
        Value::Map(fields) => Value::Map(
            fields
                .into_iter()
                .filter(|(key, _)| *key != Value::Text("path".to_owned()))
                .map(|(key, value)| (key, without_paths(value)))
                .collect(),
        ),
        other => other,
    }
}

/// Memory of this machine in bytes, 0 where that is not known.
pub(crate) fn memory_total_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the field is 32 bits wide on small machines")]
    u64::from(info.totalram).saturating_mul(info.mem_unit.into())
}

fn kind(tools: &Tools, view: &InterfaceView) -> &'static str {
    let id = view.parent.unwrap_or(view.id);
    match tools.about.kinds.get(&id) {
        Some(InterfaceKind::TcpServer) => "tcp-server",
        Some(InterfaceKind::TcpClient) => "tcp-client",
        Some(InterfaceKind::Serial) => "serial",
        None => "unknown",
    }
}

async fn info(tools: Tools) -> Result<InfoReply, Failure> {
    let view = tools.core.view().await?;
    let interfaces =
        view.interfaces.iter().filter(|interface| interface.parent.is_none()).map(|interface| InterfaceSummary {
            name: interface.name.to_string(),
            kind: kind(&tools, interface).to_owned(),
            up: interface.monitor.status().state == State::Up,
            bitrate_bps: interface.bitrate_bps.unwrap_or_default(),
        });
    let catalog = tools.genome.summary();
    let about = &tools.about;
    Ok(InfoReply {
        name: about.name.clone(),
        identity: about.identity,
        destination: about.destination,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: about.clock.uptime_s(),
        transport: about.transport,
        interfaces: interfaces.collect(),
        hardware: tools.hardware.borrow().clone(),
        catalog_count: catalog.count,
        catalog_root: Some(catalog.root),
    })
}

fn answer(ping: Ping) -> Result<PingReply, Failure> {
    if ping.payload.as_ref().is_some_and(|payload| payload.0.len() > Ping::MAX_PAYLOAD) {
        return Err(Failure::invalid(format!("parameter `payload` is longer than {} bytes", Ping::MAX_PAYLOAD)));
    }
    Ok(PingReply { payload: ping.payload, time: unix_now() })
}

async fn status(tools: Tools) -> Result<StatusReply, Failure> {
    let view = tools.core.view().await?;
    let catalog = tools.genome.view().await?;
    let about = &tools.about;
    Ok(StatusReply {
        name: about.name.clone(),
        identity: about.identity,
        destination: about.destination,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        home: about.home.display().to_string(),
        uptime_s: about.clock.uptime_s(),
        transport: about.transport,
        interfaces: view.interfaces.iter().map(|interface| interface_status(&tools, interface)).collect(),
        paths: count(view.paths),
        links: count(view.links),
        catalog_count: catalog.summary.count,
        catalog_own: count(catalog.own),
        catalog_root: Some(catalog.summary.root),
        model: catalog.model.map(str::to_owned),
        memory_bytes: resident_bytes(),
    })
}

fn interface_status(tools: &Tools, interface: &InterfaceView) -> InterfaceStatus {
    let status = interface.monitor.status();
    let traffic = interface.monitor.traffic();
    let detail = match (status.state, status.last_error) {
        (State::Up, _) => "up".to_owned(),
        (_, Some(error)) => format!("down: {error}"),
        (State::Connecting, None) => "connecting".to_owned(),
        (State::Down, None) => "down".to_owned(),
    };
    InterfaceStatus {
        name: interface.name.to_string(),
        kind: kind(tools, interface).to_owned(),
        up: status.state == State::Up,
        detail,
        bitrate_bps: interface.bitrate_bps.unwrap_or_default(),
        received_frames: traffic.rx_frames,
        received_bytes: traffic.rx_bytes,
        sent_frames: traffic.tx_frames,
        sent_bytes: traffic.tx_bytes,
        network: interface.network.map(hex::encode),
        access_violations: interface.access_violations,
        announces_queued: interface.announces.queued.try_into().unwrap_or(u64::MAX),
        announces_held: interface.announces.held.try_into().unwrap_or(u64::MAX),
        tunnel: interface.tunnel,
    }
}

async fn list_paths(tools: Tools, asked: Paths) -> Result<PathsReply, Failure> {
    let names: std::collections::BTreeMap<_, _> =
        tools.core.view().await?.interfaces.into_iter().map(|interface| (interface.id, interface.name)).collect();
    let now = tools.about.clock.now();
    let fits = |view: &PathView| {
        let Some(text) = &asked.matching else { return true };
        let named = view.peer.as_ref().is_some_and(|peer| peer.data.name().contains(text.as_str()));
        named || view.path.destination.to_string().starts_with(&text.to_ascii_lowercase())
    };
    let mut paths: Vec<Path> = tools
        .core
        .paths()
        .await?
        .into_iter()
        .filter(fits)
        .map(|PathView { path, peer, identity }| Path {
            destination: path.destination,
            identity,
            name: peer.as_ref().map(|peer| peer.data.name().to_owned()).unwrap_or_default(),
            hops: path.hops,
            via: (path.hops > 1).then_some(path.next_hop),
            interface: names.get(&path.on).map(ToString::to_string).unwrap_or_default(),
            age_s: now.mono.since(path.used).as_secs(),
            expires_in_s: path.expires.since(now.mono).as_secs(),
        })
        .collect();
    paths.sort_by_key(|path| (path.hops, path.destination));
    Ok(PathsReply { paths })
}

async fn announce(tools: Tools) -> Result<AnnounceReply, Failure> {
    let interfaces = tools.core.announce().await?;
    Ok(AnnounceReply { destination: tools.about.destination, interfaces })
}

async fn find(tools: Tools, asked: Resolve) -> Result<ResolveReply, Failure> {
    let destination = tools.mesh.resolve(&asked.node).await?;
    let known = tools.core.node(destination).await?;
    Ok(ResolveReply { destination, identity: known.identity, name: known.name, hops: known.hops })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Memory this process occupies, where the system tells.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}
