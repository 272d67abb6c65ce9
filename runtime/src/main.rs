//! The `proofmark` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = proofmark::sandbox::take_part(&arguments) {
        return code.into();
    }
    proofmark::cli::run(arguments).into()
}
