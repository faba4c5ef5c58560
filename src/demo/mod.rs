//! `wend demo`: three real nodes, two kinds of link, one mesh, told step by step with what really happened.
//!
//! ```text
//! laptop ──TCP── workshop ──serial line, half duplex, 9600 bit/s── field
//! ```

mod cast;
mod line;
mod narrator;
mod story;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

pub use line::SerialLine;

use crate::cli::{Exit, Report};
use narrator::Narrator;

/// The arguments of `wend demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the nodes running and say how to explore them
    #[arg(long)]
    keep: bool,
    /// Print one JSON document instead of the story
    #[arg(long)]
    json: bool,
    /// Folder of the embedding model; default: the installed one, which is installed when it is absent
    #[arg(long, value_name = "DIR", env = "WEND_MODEL", hide_env_values = true)]
    model: Option<PathBuf>,
}

/// Runs the demo.
///
/// # Errors
/// Which step failed, and why.
pub fn run(args: &DemoArgs) -> Result<Exit, Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Report::new(Exit::Negative, format!("cannot start: {error}")))?;
    let (json, keep, model) = (args.json, args.keep, args.model.clone());
    runtime.block_on(async move {
        let story = tokio::task::spawn_blocking(move || {
            let mut narrator = Narrator::new(json);
            let told = story::tell(&mut narrator, model.as_deref(), keep);
            narrator.finish(told)
        });
        tokio::select! {
            told = story => told.unwrap_or_else(|error| {
                Err(Report::new(Exit::Negative, format!("the demo broke down: {error}")))
            }),
            _ = tokio::signal::ctrl_c() => {
                // The nodes stop when this process ends, for their standard input ends with it; give them the moment to
                // do so before their folder is removed.
                cast::abandon(Duration::from_secs(5));
                eprintln!("interrupted; the nodes were stopped and their folder removed");
                std::process::exit(130);
            }
        }
    })
}
