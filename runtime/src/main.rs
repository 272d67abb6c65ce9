//! The `proofmark` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::run(std::env::args_os()).into()
}
