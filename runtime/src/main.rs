//! The `proofmark` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    proofmark::cli::run(std::env::args_os()).into()
}
