//! The `wend` program: parse arguments, run, map the report to an exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    wend_mesh::cli::run()
}
