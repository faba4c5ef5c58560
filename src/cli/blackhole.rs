//! Who is shut out of the node.

use clap::{Args, Subcommand};
use wend_commands::builtin::blackhole;
use wend_packet::IdentityHash;

use super::Format;
use super::client::call;
use super::report::{Exit, Report};
use super::table::{Table, emit, emit_json, printable, seconds, short};
use crate::home::Home;
use crate::node::unix_now;

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(super) struct BlackholeArgs {
    #[command(subcommand)]
    command: BlackholeCommand,
}

#[derive(Debug, Subcommand)]
enum BlackholeCommand {
    /// List the identities that are shut out
    #[command(after_help = "Example: wend blackhole ls --json")]
    Ls {
        #[command(flatten)]
        format: Format,
    },
    /// Shut an identity out: no announces, paths or links of it
    #[command(after_help = "Example: wend blackhole add 6b9f66014d9853faab220fba47d02761 --hours 24")]
    Add {
        /// Its hash, 32 hexadecimal digits
        identity: IdentityHash,
        /// For so many hours; until it is removed by default
        #[arg(long, value_name = "H", value_parser = clap::value_parser!(u32).range(1..))]
        hours: Option<u32>,
        /// Why; published with the list
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Let an identity in again
    #[command(after_help = "Example: wend blackhole remove 6b9f66014d9853faab220fba47d02761")]
    Remove {
        /// Its hash, 32 hexadecimal digits
        identity: IdentityHash,
        #[command(flatten)]
        format: Format,
    },
}

pub(super) fn blackhole(home: &Home, args: BlackholeArgs) -> Result<Exit, Report> {
    match args.command {
        BlackholeCommand::Ls { format } => list(home, format),
        BlackholeCommand::Add { identity, hours, reason, format } => {
            let reply = call(home, &blackhole::Add { identity, hours, reason })?;
            let exit = if reply.added { Exit::Done } else { Exit::Negative };
            if format.json {
                return emit_json(&reply).map(|_| exit);
            }
            match reply.added {
                true => emit(&format!("{identity} is shut out\n")).map(|_| exit),
                false => {
                    eprintln!("{identity} is shut out already; remove it first to change that entry");
                    Ok(exit)
                }
            }
        }
        BlackholeCommand::Remove { identity, format } => {
            let reply = call(home, &blackhole::Remove { identity })?;
            let exit = if reply.removed { Exit::Done } else { Exit::Negative };
            if format.json {
                return emit_json(&reply).map(|_| exit);
            }
            match reply.removed {
                true => emit(&format!("{identity} is let in again\n")).map(|_| exit),
                false => {
                    eprintln!("{identity} was not shut out; `wend blackhole ls` lists who is");
                    Ok(exit)
                }
            }
        }
    }
}

fn list(home: &Home, format: Format) -> Result<Exit, Report> {
    let reply = call(home, &blackhole::List {})?;
    if format.json {
        return emit_json(&reply);
    }
    if reply.entries.is_empty() {
        eprintln!("nobody is shut out");
        return Ok(Exit::Done);
    }
    let now = unix_now();
    let mut table = Table::new(["identity", "by", "for", "reason"]);
    for entry in &reply.entries {
        table.row([
            entry.identity.to_string(),
            if entry.own { "this node".into() } else { short(&entry.source) },
            entry.until.map_or_else(|| "ever".into(), |until| seconds(until.0.saturating_sub(now.0))),
            entry.reason.as_deref().map_or_else(|| "-".into(), printable),
        ]);
    }
    emit(&table.text())
}
