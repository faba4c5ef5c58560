//! Subcommands about the node and the nodes around it.

use clap::Args;
use serde::Serialize;
use wend_commands::builtin::{mesh, node};
use wend_commands::nearest::suggestion;
use wend_commands::{CommandName, Value, json};
use wend_packet::destination::DestinationName;
use wend_packet::{DestinationHash, IdentityHash};

use super::Format;
use super::client::{call, call_untyped};
use super::report::{Exit, Report};
use super::table::{Table, bitrate, bytes, counted, emit, emit_json, printable, printable_json, seconds, short};
use crate::home::Home;
use crate::node::node_name;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct PathsArgs {
    /// Only what starts with these digits or has this in its name
    matching: Option<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct AnnounceArgs {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct PingArgs {
    /// The node: its name, its hash or the head of its hash
    node: String,
    /// How many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "S", value_parser = patience, allow_hyphen_values = true)]
    timeout: Option<u32>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// Run it there: name, hash or head of the hash of a node
    #[arg(long)]
    node: Option<String>,
    /// The command, such as node/info; docs/commands.md lists them
    command: String,
    /// Parameters; a value that is JSON is that, any other is text
    #[arg(value_name = "KEY=VALUE", conflicts_with = "params")]
    pairs: Vec<String>,
    /// All parameters as one JSON object
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// Seconds to wait for the reply
    #[arg(long, value_name = "S", requires = "node", value_parser = patience, allow_hyphen_values = true)]
    timeout: Option<u32>,
    /// Print one JSON document, on one line
    #[arg(long)]
    json: bool,
}

/// Longest time a person can ask a command to wait, in seconds.
const PATIENCE_MAX_S: u32 = 86_400;

/// How long to wait, as a person gives it.
pub(super) fn patience(text: &str) -> Result<u32, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=PATIENCE_MAX_S).contains(seconds));
    seconds.ok_or_else(|| format!("give whole seconds, 1 to {PATIENCE_MAX_S}"))
}

pub(super) fn status(home: &Home, args: StatusArgs) -> Result<Exit, Report> {
    let status = call(home, &node::Status {})?;
    if args.format.json {
        return emit_json(&status);
    }
    let mut about = Table::plain();
    let root = status.catalog_root.map(|root| format!(", root {}", short(&root))).unwrap_or_default();
    let own = status.catalog_own;
    about.row(["node".into(), status.name.clone()]);
    about.row(["identity".into(), status.identity.to_string()]);
    about.row(["destination".into(), status.destination.to_string()]);
    about.row(["home".into(), status.home.clone()]);
    about.row([
        "version".into(),
        format!("{}, up {}, process {}", status.version, seconds(status.uptime_s), status.process),
    ]);
    about.row(["memory".into(), status.memory_bytes.map_or_else(|| "not known".into(), bytes)]);
    about.row(["relays for others".into(), yes_no(status.transport)]);
    about.row(["paths, links".into(), format!("{}, {}", status.paths, status.links)]);
    let entries = counted(status.catalog_count, "entry", "entries");
    about.row(["catalog".into(), format!("{entries}, {own} published here{root}")]);
    about.row([
        "search by".into(),
        status
            .model
            .as_ref()
            .map_or_else(|| "words; `wend model install` adds meaning".into(), |model| format!("meaning ({model})")),
    ]);
    let mut links = Table::new(["interface", "type", "network", "state", "bitrate", "received", "sent"]);
    for interface in &status.interfaces {
        links.row([
            interface.name.clone(),
            interface.kind.clone(),
            network(interface),
            interface.detail.clone(),
            bitrate(interface.bitrate_bps),
            bytes(interface.received_bytes),
            bytes(interface.sent_bytes),
        ]);
    }
    emit(&format!("{}\n{}", about.text(), links.text()))
}

/// The closed network of an interface, with what it kept out.
fn network(interface: &node::InterfaceStatus) -> String {
    let network = interface.network.clone().unwrap_or_else(|| "open".to_owned());
    match interface.access_violations {
        0 => network,
        refused => format!("{network}, {} refused", counted(refused, "frame", "frames")),
    }
}

#[derive(Debug, Serialize)]
struct Id {
    identity: IdentityHash,
    destination: DestinationHash,
    home: String,
}

/// Needs no running node: the identity is a file.
pub(super) fn id(home: &Home, args: IdArgs) -> Result<Exit, Report> {
    home.check()?;
    if !home.identity_file().exists() {
        let message = format!("no node has been set up in {}", home.dir().display());
        return Err(Report::new(Exit::NoNode, message).help("`wend up` makes an identity on first use"));
    }
    let identity = home.identity()?.hash();
    let destination = DestinationName::of(&node_name(), identity);
    let id = Id { identity, destination, home: home.dir().display().to_string() };
    if args.format.json {
        return emit_json(&id);
    }
    let mut table = Table::plain();
    table.row(["identity".into(), id.identity.to_string()]);
    table.row(["destination".into(), id.destination.to_string()]);
    table.row(["home".into(), id.home]);
    emit(&table.text())
}

pub(super) fn paths(home: &Home, args: PathsArgs) -> Result<Exit, Report> {
    let reply = call(home, &node::Paths { matching: args.matching.clone() })?;
    let exit = match &args.matching {
        Some(_) if reply.paths.is_empty() => Exit::Negative,
        _ => Exit::Done,
    };
    if args.format.json {
        return emit_json(&reply).map(|_| exit);
    }
    if reply.paths.is_empty() {
        match args.matching {
            Some(matching) => eprintln!(
                "no known destination is called or begins with `{}`; `wend paths` lists all",
                printable(&matching)
            ),
            None => {
                eprintln!("no destinations are known yet: paths are learnt from announces, and when something is sent")
            }
        }
        return Ok(exit);
    }
    let mut table = Table::new(["destination", "name", "hops", "via", "interface", "heard"]);
    for path in &reply.paths {
        table.row([
            path.destination.to_string(),
            if path.name.is_empty() { "-".into() } else { path.name.clone() },
            path.hops.to_string(),
            path.via.map_or_else(|| "direct".into(), |via| short(&via)),
            path.interface.clone(),
            format!("{} ago", seconds(path.age_s)),
        ]);
    }
    emit(&table.text())
}

pub(super) fn announce(home: &Home, args: AnnounceArgs) -> Result<Exit, Report> {
    let reply = call(home, &node::Announce {})?;
    if args.format.json {
        return emit_json(&reply);
    }
    if reply.interfaces.is_empty() {
        return Err(Report::new(Exit::Negative, "no interface is up, so nothing was announced")
            .help("`wend status` shows why each interface is down"));
    }
    emit(&format!("announced {} on {}\n", reply.destination, printable(&reply.interfaces.join(", "))))
}

pub(super) fn ping(home: &Home, args: &PingArgs) -> Result<Exit, Report> {
    let mut replies = Vec::new();
    for _ in 0..args.count.max(1) {
        let ping = mesh::Ping { node: args.node.clone(), payload_bytes: None, deadline_s: args.timeout };
        let reply = call(home, &ping)?;
        if !args.format.json {
            let setup = match reply.setup_ms {
                0 => String::new(),
                setup => format!(", after {setup} ms for path and link"),
            };
            let round_trip = match reply.round_trip_ms {
                0 => "less than 1 ms".into(),
                round_trip => format!("{round_trip} ms"),
            };
            let line = format!(
                "{}: {round_trip} over {}{setup}\n",
                called(&reply.name, reply.destination),
                counted(reply.hops, "hop", "hops")
            );
            emit(&line)?;
        }
        replies.push(reply);
    }
    if args.format.json { emit_json(&replies) } else { Ok(Exit::Done) }
}

pub(super) fn exec(home: &Home, args: &ExecArgs) -> Result<Exit, Report> {
    let name: CommandName = args.command.parse().map_err(|_| {
        let known = wend_commands::builtin::describe();
        let near = suggestion(&args.command, known.iter().map(|known| known.name.as_str()));
        Report::new(Exit::Usage, format!("`{}` is not the name of a command{near}", printable(&args.command)))
            .help("names look like node/info; docs/commands.md lists them")
    })?;
    let params = match &args.params {
        Some(text) => json::from_json(text),
        None => json::from_pairs(&args.pairs),
    }
    .map_err(|error| {
        Report::new(Exit::Usage, error.to_string())
            .help("write parameters like text=\"soil moisture\" limit=3, or like --params '{\"limit\": 3}'")
    })?;
    let value = match &args.node {
        None => call_untyped(home, name, &params)?,
        Some(node) => {
            let execute =
                mesh::Execute { node: node.clone(), command: name, params: Some(params), deadline_s: args.timeout };
            call(home, &execute)?.value
        }
    };
    if args.json {
        let text = serde_json::to_string(&value)
            .map_err(|error| Report::new(Exit::Negative, format!("the reply has no JSON form: {error}")))?;
        return emit(&(printable_json(&text) + "\n"));
    }
    let mut text = String::new();
    outline(&value, 0, &mut text);
    emit(&text)
}

/// A value as indented text: `key: value`, lists as dashes.
fn outline(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Map(fields) => {
            for (key, value) in fields {
                match value {
                    Value::Map(_) | Value::List(_) => {
                        out.push_str(&format!("{indent}{}:\n", scalar(key)));
                        outline(value, depth + 1, out);
                    }
                    _ => out.push_str(&format!("{indent}{}: {}\n", scalar(key), scalar(value))),
                }
            }
        }
        Value::List(items) => {
            for item in items {
                match item {
                    Value::Map(_) | Value::List(_) => {
                        out.push_str(&format!("{indent}-\n"));
                        outline(item, depth + 1, out);
                    }
                    _ => out.push_str(&format!("{indent}- {}\n", scalar(item))),
                }
            }
        }
        _ => out.push_str(&format!("{indent}{}\n", scalar(value))),
    }
}

/// A value that is neither list nor map, for a person.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Nil => "-".into(),
        Value::Text(text) => printable(text),
        other => serde_json::to_string(other).map_or_else(|_| "?".into(), |text| text.trim_matches('"').to_owned()),
    }
}

/// A node as a person knows it: its name, when it has one, and the head of its hash.
pub(super) fn called(name: &str, destination: DestinationHash) -> String {
    if name.is_empty() { short(&destination) } else { format!("{} ({})", printable(name), short(&destination)) }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes".into() } else { "no".into() }
}
