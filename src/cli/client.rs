//! Talking to the running node from a subcommand.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wend_commands::{Command, CommandName, Value};

use super::report::Report;
use crate::control::{Client, Progress};
use crate::home::Home;

/// Runs a command on the running node.
pub(super) fn call<C: Command>(home: &Home, command: &C) -> Result<C::Reply, Report> {
    home.check()?;
    let bar = Bar::new();
    let result = Client::connect(home)?.call(command, |progress| bar.show(&progress));
    bar.clear();
    Ok(result?)
}

/// Runs a command by name on the running node.
pub(super) fn call_untyped(home: &Home, name: CommandName, params: &Value) -> Result<Value, Report> {
    home.check()?;
    let bar = Bar::new();
    let result = Client::connect(home)?.call_untyped(name, params, |progress| bar.show(&progress));
    bar.clear();
    Ok(result?)
}

/// Progress on a terminal; silence elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(|| ProgressBar::new_spinner().with_style(spinner())))
    }

    fn show(&self, progress: &Progress) {
        let Some(bar) = &self.0 else { return };
        bar.enable_steady_tick(Duration::from_millis(120));
        let step = super::table::printable(&progress.step);
        match progress.total {
            0 => bar.set_message(step),
            total => bar.set_message(format!("{step}: {} of {total}", progress.done)),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}
