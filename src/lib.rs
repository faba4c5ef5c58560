//! Wend: a delay-tolerant mesh of sovereign nodes over whatever links there are.
//!
//! This crate is the node: the shell of sockets, disk and clocks around the machines of the other crates of the
//! workspace, and the command line in front of it. `docs/architecture.md` shows how they fit.

pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod home;
pub mod node;
