//! What a person is told when something ends, and the exit code it ends with.

use std::process::ExitCode;

use wend_commands::Code;

use super::table::printable_lines;
use crate::config::ConfigError;
use crate::control::ControlError;
use crate::home::HomeError;
use crate::node::StartError;

/// How a run of the program ended. docs/architecture.md, section 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// A negative answer: no path, no result, denied.
    Negative,
    /// Wrong usage or configuration.
    Usage,
    /// No running node.
    NoNode,
    /// Not in time.
    Expired,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Negative => 1,
            Exit::Usage => 2,
            Exit::NoNode => 3,
            Exit::Expired => 4,
        })
    }
}

/// One failure as a person reads it: what happened, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How the program ends.
    pub exit: Exit,
    /// What happened, to what.
    pub message: String,
    /// File and line it is about.
    pub place: Option<String>,
    /// What to do next.
    pub help: Option<String>,
}

impl Report {
    /// A failure with the exit code and the message given.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), place: None, help: None }
    }

    /// The same with a word on what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Prints it to standard error and gives the exit code. Other nodes' words may be in it.
    pub fn print(&self) -> ExitCode {
        eprintln!("error: {}", printable_lines(&self.message));
        if let Some(place) = &self.place {
            eprintln!("  config: {}", printable_lines(place));
        }
        if let Some(help) = &self.help {
            eprintln!("  help: {}", printable_lines(help));
        }
        self.exit.into()
    }
}

impl From<HomeError> for Report {
    fn from(error: HomeError) -> Self {
        let help = match &error {
            HomeError::Nowhere => None,
            HomeError::Folder { .. } => {
                Some("check that the folder it is in exists and is yours, or choose another with --home DIR")
            }
            HomeError::NotAFolder { .. } => Some("choose a folder with --home DIR or WEND_HOME; `wend up` makes it"),
            HomeError::File { .. } => Some("check that the file and its folder belong to you and the disk is not full"),
            HomeError::Identity { .. } => {
                Some("restore it from a backup; or move it away and the node starts as somebody new")
            }
            HomeError::InUse { .. } => Some("stop it first, or choose another home with --home DIR"),
            HomeError::TooLong { .. } => Some("choose a shorter folder with --home DIR"),
        };
        Self { exit: Exit::Usage, message: error.to_string(), place: None, help: help.map(str::to_owned) }
    }
}

impl From<ConfigError> for Report {
    fn from(error: ConfigError) -> Self {
        let place = match error.line {
            Some(line) => format!("{}, line {line}", error.path.display()),
            None => error.path.display().to_string(),
        };
        Self { exit: Exit::Usage, message: error.message, place: Some(place), help: Some(error.help) }
    }
}

impl From<StartError> for Report {
    fn from(error: StartError) -> Self {
        let help = error.help();
        match error {
            StartError::Home(error) => error.into(),
            StartError::Config(error) => error.into(),
            other => Self { exit: Exit::Usage, message: other.to_string(), place: None, help },
        }
    }
}

impl From<ControlError> for Report {
    fn from(error: ControlError) -> Self {
        let message = error.to_string();
        match error {
            ControlError::NoNode { .. } => {
                Self::new(Exit::NoNode, message).help("start one with `wend up`, or name its home with --home DIR")
            }
            ControlError::Denied { .. } => {
                Self::new(Exit::NoNode, message).help("only the user who started a node can talk to it")
            }
            ControlError::Failed(failure) => {
                let exit = match failure.code {
                    Code::EXPIRED => Exit::Expired,
                    Code::UNKNOWN | Code::INVALID => Exit::Usage,
                    _ => Exit::Negative,
                };
                Self::new(exit, failure.detail)
            }
            ControlError::Broken(_) | ControlError::Closed => {
                Self::new(Exit::NoNode, message).help("look at the output of `wend up` for the reason")
            }
        }
    }
}
