//! Subcommands about the catalog: publish, list, sync.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wend_commands::builtin::genome;
use wend_packet::time::UnixTime;

use super::Format;
use super::client::call;
use super::node::{called, patience};
use super::report::{Exit, Report};
use super::table::{Table, bytes, counted, emit, emit_json, printable, seconds, short};
use crate::home::Home;
use crate::node::unix_now;

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// Folder of an adapter (adapter_config.json, adapter_model.safetensors), or a JSONL file of descriptions
    path: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct CatalogArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the entries, newest first
    #[command(after_help = "Example: wend catalog list --kind lora")]
    List {
        /// Only this kind: lora, persona, dataset, service or embedder
        #[arg(long)]
        kind: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        #[command(flatten)]
        format: Format,
    },
    /// Bring this catalog and another node's into agreement now
    #[command(after_help = "Example: wend catalog sync workshop")]
    Sync {
        /// The node: its name, its hash or the head of its hash
        node: String,
        /// Seconds to wait
        #[arg(long, value_name = "S", value_parser = patience, allow_hyphen_values = true)]
        timeout: Option<u32>,
        #[command(flatten)]
        format: Format,
    },
}

pub(super) fn publish(home: &Home, args: &PublishArgs) -> Result<Exit, Report> {
    let path = std::path::absolute(&args.path)
        .map_err(|error| Report::new(Exit::Usage, format!("{} is not a usable path: {error}", args.path.display())))?;
    let reply = call(home, &genome::Publish { path: path.to_string_lossy().into_owned() })?;
    let exit = if reply.refused.is_empty() { Exit::Done } else { Exit::Negative };
    if args.format.json {
        emit_json(&reply)?;
        return Ok(exit);
    }
    let accepted = reply.added + reply.updated + reply.unchanged;
    let mut text = String::new();
    if accepted > 0 {
        let found_by = match reply.embedded {
            0 => "found by words only: `wend model install` adds meaning".to_owned(),
            embedded => format!("{embedded} can be found by meaning"),
        };
        text = format!(
            "{}: {} new, {} updated, {} unchanged; {found_by}\n",
            counted(accepted, "entry", "entries"),
            reply.added,
            reply.updated,
            reply.unchanged,
        );
    }
    let mut table = Table::new(["entry", "kind", "name"]);
    for entry in reply.entries.iter().take(20) {
        table.row([short(&entry.entry), entry.kind.clone(), entry.name.clone()]);
    }
    if !reply.entries.is_empty() {
        text.push_str(&table.text());
    }
    if reply.entries.len() > 20 {
        text.push_str(&format!("and {} more; `wend catalog` lists them\n", reply.entries.len() - 20));
    }
    emit(&text)?;
    for refusal in &reply.refused {
        eprintln!("error: {}: {}", printable(&refusal.place), printable(&refusal.reason));
    }
    Ok(exit)
}

pub(super) fn catalog(home: &Home, args: &CatalogArgs) -> Result<Exit, Report> {
    match &args.action {
        None => list(home, None, None, args.format.json),
        Some(Action::List { kind, limit, format }) => list(home, kind.clone(), *limit, format.json || args.format.json),
        Some(Action::Sync { node, timeout, format }) => sync(home, node, *timeout, format.json || args.format.json),
    }
}

fn list(home: &Home, kind: Option<String>, limit: Option<u32>, json: bool) -> Result<Exit, Report> {
    let reply = call(home, &genome::Catalog { kind: kind.clone(), limit })?;
    let exit = if kind.is_some() && reply.entries.is_empty() { Exit::Negative } else { Exit::Done };
    if json {
        return emit_json(&reply).map(|_| exit);
    }
    if reply.entries.is_empty() {
        let what = kind.map_or_else(|| "is empty".to_owned(), |kind| format!("has no {}", printable(&kind)));
        eprintln!("the catalog {what}; `wend publish PATH` adds an entry, `wend catalog sync NODE` brings others' in");
        return Ok(exit);
    }
    let now = unix_now();
    let mut table = Table::new(["entry", "kind", "name", "publisher", "manifest", "expires in"]);
    for entry in &reply.entries {
        table.row([
            short(&entry.entry),
            entry.kind.clone(),
            entry.name.clone(),
            if entry.own { "this node".into() } else { short(&entry.publisher) },
            if entry.manifest { "here".into() } else { "at its holder".into() },
            left(now, entry.expires),
        ]);
    }
    emit(&format!("{}{}\n", table.text(), counted(reply.count, "entry in all", "entries in all")))
}

fn left(now: UnixTime, then: UnixTime) -> String {
    seconds(then.0.saturating_sub(now.0))
}

fn sync(home: &Home, node: &str, timeout: Option<u32>, json: bool) -> Result<Exit, Report> {
    let reply = call(home, &genome::CatalogSync { node: node.to_owned(), deadline_s: timeout })?;
    if json {
        return emit_json(&reply);
    }
    let who = called(&reply.name, reply.destination);
    let state = if reply.equal { "in agreement" } else { "not yet in agreement; run it again" };
    emit(&format!(
        "{state} with {who} after {:.1} s: {} received, {} sent; {} here now\n\
         bytes: {} of cards, {} of publishers' keys, {} to find out what differs, in {}\n",
        reply.elapsed_ms as f64 / 1000.0,
        counted(reply.received, "card", "cards"),
        reply.sent,
        counted(reply.catalog_count, "entry", "entries"),
        bytes(reply.card_bytes),
        bytes(reply.key_bytes),
        bytes(reply.sync_bytes),
        counted(reply.rounds, "request", "requests"),
    ))
}
