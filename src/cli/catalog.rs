//! Subcommands about the catalog: publish, list, sync.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wend_commands::builtin::genome;
use wend_packet::time::UnixTime;

use super::Format;
use super::client::call;
use super::node::called;
use super::report::{Exit, Report};
use super::table::{Table, bytes, emit, emit_json, printable, seconds, short};
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
    List {
        /// Only this kind: lora, persona, dataset, service or embedder
        #[arg(long)]
        kind: Option<String>,
        /// At most so many
        #[arg(long)]
        limit: Option<u32>,
        #[command(flatten)]
        format: Format,
    },
    /// Bring this catalog and another node's into agreement now
    Sync {
        /// The node: its name, its hash or the head of its hash
        node: String,
        /// Seconds to wait
        #[arg(long, value_name = "S")]
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
    let mut text = format!(
        "published {}: {} new, {} newer, {} unchanged; {} can be found by meaning\n",
        reply.entries.len(),
        reply.added,
        reply.updated,
        reply.unchanged,
        reply.embedded,
    );
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
    let reply = call(home, &genome::Catalog { kind, limit })?;
    if json {
        return emit_json(&reply);
    }
    if reply.entries.is_empty() {
        eprintln!(
            "the catalog has no such entry; `wend publish PATH` adds one, `wend catalog sync NODE` brings others' in"
        );
        return Ok(Exit::Negative);
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
    emit(&format!("{}{} entries\n", table.text(), reply.count))
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
        "{state} with {who} after {:.1} s: {} cards received, {} sent; {} entries here now\n\
         bytes: {} of cards, {} of publishers' keys, {} to find out what differs, in {} requests\n",
        reply.elapsed_ms as f64 / 1000.0,
        reply.received,
        reply.sent,
        reply.catalog_count,
        bytes(reply.card_bytes),
        bytes(reply.key_bytes),
        bytes(reply.sync_bytes),
        reply.rounds,
    ))
}
