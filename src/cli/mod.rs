//! The commands, one file each, and what their exit codes mean (sysexits).

use std::process::ExitCode;

/// Parses the arguments and runs the command they name.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
