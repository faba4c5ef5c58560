//! The command line: one definition for parser, help and completions, one file per group of subcommands.

mod blackhole;
mod catalog;
mod client;
mod model;
mod node;
mod report;
mod run;
mod search;
#[cfg(feature = "sim")]
mod sim;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub(crate) use model::install as install_model;
pub use report::{Exit, Report};
pub(crate) use table::{Table, bytes, emit, emit_json, short};

/// The list of subcommands fits a terminal of 80 columns and 24 lines, with two blank lines less than usual.
const HELP: &str = "{about-with-newline}{usage-heading} {usage}\n{all-args}{after-help}";

/// A delay-tolerant mesh of sovereign nodes over whatever links there are.
#[derive(Debug, Parser)]
#[command(name = "wend", version, max_term_width = 80, help_template = HELP, arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
struct Cli {
    /// Folder of the node
    #[arg(long, env = "WEND_HOME", hide_env_values = true, value_name = "DIR", global = true)]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Whether a person or a program reads the result.
#[derive(Debug, Clone, Copy, Args)]
pub struct Format {
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole idea: three nodes, two kinds of link, one mesh
    #[command(after_help = "Example: wend demo --keep")]
    Demo(crate::demo::DemoArgs),
    /// Run a node in the foreground until Ctrl-C
    #[command(after_help = "Example: wend up --name attic --connect 192.0.2.7:4965")]
    Up(run::UpArgs),
    /// Show the running node: interfaces, links, traffic, catalog
    #[command(after_help = "Example: wend status --json")]
    Status(node::StatusArgs),
    /// Show who the node is: identity and destination
    #[command(after_help = "Example: wend id")]
    Id(node::IdArgs),
    /// Show known destinations and the way to each
    #[command(after_help = "Example: wend paths")]
    Paths(node::PathsArgs),
    /// Announce the node on every interface now
    #[command(after_help = "Example: wend announce")]
    Announce(node::AnnounceArgs),
    /// Measure the way to a node and back
    #[command(after_help = "Example: wend ping workshop --count 3")]
    Ping(node::PingArgs),
    /// Run a command, here or on another node
    #[command(after_help = "Example: wend exec --node workshop node/info")]
    Exec(node::ExecArgs),
    /// Publish skills: an adapter's folder, or a JSONL file
    #[command(after_help = "Example: wend publish ./my-adapter")]
    Publish(catalog::PublishArgs),
    /// Find skills by meaning
    #[command(after_help = "Example: wend search \"review rust code for unsafe blocks\" --limit 5")]
    Search(search::SearchArgs),
    /// Show all about an entry; fetches its signed manifest when needed
    #[command(after_help = "Example: wend show 3f9a41c2")]
    Show(search::ShowArgs),
    /// List the catalog, or bring it into agreement with another's
    #[command(after_help = "Example: wend catalog sync workshop")]
    Catalog(catalog::CatalogArgs),
    /// Install the embedding model, or say whether it is there
    #[command(after_help = "Example: wend model install")]
    Model(model::ModelArgs),
    /// Show or change who is shut out
    #[command(after_help = "Example: wend blackhole ls")]
    Blackhole(blackhole::BlackholeArgs),
    /// Simulate a mesh in virtual time, and say whether it held
    #[cfg(feature = "sim")]
    #[command(after_help = "Example: wend sim mixed --seed 3 --plot mixed.svg")]
    Sim(sim::SimArgs),
    /// Print completions for a shell
    #[command(after_help = "Example: wend completions bash > /etc/bash_completion.d/wend")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Embeds texts for a node that runs this as its child.
    #[command(hide = true)]
    EmbedChild {
        /// Folder of the model.
        model: PathBuf,
    },
    /// Carries bytes between two pseudo-terminals for the demo.
    #[command(hide = true)]
    SerialLine {
        /// Bit/s.
        speed: u64,
        /// End when standard input does.
        #[arg(long)]
        stop_with_stdin: bool,
    },
}

/// Runs what the arguments ask for, prints what went wrong, and says how it ended.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // A closed pipe while help is printed is a clean exit.
            drop(error.print());
            return code.into();
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(report) => report.print(),
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Report> {
    let home = || crate::home::Home::locate(cli.home.clone()).map_err(Report::from);
    match cli.command {
        Command::Demo(args) => crate::demo::run(&args),
        Command::Up(args) => run::up(&home()?, args),
        Command::Status(args) => node::status(&home()?, args),
        Command::Id(args) => node::id(&home()?, args),
        Command::Paths(args) => node::paths(&home()?, args),
        Command::Announce(args) => node::announce(&home()?, args),
        Command::Ping(args) => node::ping(&home()?, &args),
        Command::Exec(args) => node::exec(&home()?, &args),
        Command::Publish(args) => catalog::publish(&home()?, &args),
        Command::Search(args) => search::search(&home()?, &args),
        Command::Show(args) => search::show(&home()?, &args),
        Command::Catalog(args) => catalog::catalog(&home()?, &args),
        Command::Blackhole(args) => blackhole::blackhole(&home()?, args),
        Command::Model(args) => model::model(&home()?, &args),
        #[cfg(feature = "sim")]
        Command::Sim(args) => sim::sim(&args),
        Command::Completions { shell } => {
            // Into memory first: writing to a closed pipe is a clean end, which the generator does not know.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wend", &mut script);
            emit(&String::from_utf8_lossy(&script))
        }
        Command::EmbedChild { model } => run::embed_child(&model),
        Command::SerialLine { speed, stop_with_stdin } => run::serial_line(speed, stop_with_stdin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every subcommand a person sees, those of subcommands too, by the words they are called with.
    fn visible(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let mut all = Vec::new();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = format!("{name} {}", sub.get_name());
            all.extend(visible(sub, &name));
            all.push((name, sub.clone()));
        }
        all
    }

    #[test]
    fn the_definition_is_sound_and_every_visible_subcommand_has_an_example_of_itself() {
        let command = Cli::command();
        command.clone().debug_assert();
        for (name, sub) in visible(&command, "wend") {
            assert!(sub.get_about().is_some(), "{name} says what it does");
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with(&format!("Example: {name}")), "{name} has an example, found {help:?}");
        }
    }
}
