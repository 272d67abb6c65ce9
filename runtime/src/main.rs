//! The `proofmark` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = proofmark::sandbox::run_verb(&arguments) {
        return code.into();
    }
    // Even after an update has replaced the file, this is the program that runs.
    proofmark::sandbox::announce_launcher("/proc/self/exe");
    proofmark::cli::run(arguments).into()
}
