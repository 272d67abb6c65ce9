//! `proofmark build`: a submission becomes a proven library.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::line::{self, LineOptions};
use super::{input, output};
use crate::build::accepted_flags;
use crate::capture::{self, CapturedEntry};
use crate::job::{Action, Outcome};

const EXAMPLES: &str = "Examples:
  proofmark build my-kernel
  proofmark build out.zip --arch sm_90a -o my_kernel.so
  proofmark build my-kernel --json | jq -r .library";

/// Rebuild a submission for one exact architecture and prove what came out.
///
/// The library is a TVM-FFI module. It is kept in the cache, proven again whenever it is taken from
/// there, and has the same bytes wherever and whenever the same toolchain builds it.
///
/// Of a Python entry that compiles CUDA while it runs, every library that it would compile is built and proven. What
/// it would compile is found by importing it in a sandbox, with stand-ins for torch, Triton and the like: calls of
/// `tvm_ffi.cpp` and of torch's `load` and `load_inline`, and nvcc as a program, from sources to a shared library.
///
/// Exit code 0: proven. 1: it does not compile, or the bytes hold something else.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", accepted_flags())
)]
pub struct Arguments {
    /// Submission folder, artifact or solution.json.
    path: PathBuf,
    /// Copy the library here; `-` for stdout. Of a Python entry, a new folder for its libraries.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    line: LineOptions,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    if let Some(folder) = arguments.output.as_ref().filter(|path| path.is_dir()) {
        return Err(Failure::request(format!("{} is a folder: expected a file name", folder.display())));
    }
    if let Some(path) = &arguments.output {
        output::check(path)?;
    }
    let opened = input::open_one(&arguments.path, console)?;
    let digest = opened.bundle.artifact.digest();
    let arch = line::arch_of(&opened.bundle, arguments.line.arch, console);
    let action = Action::Build { subject: Box::new(opened.bundle) };
    let settings = arguments.line.machine.settings()?;
    let Some(outcome) = arguments.line.run(arch, action, &settings, console)? else {
        return Ok(ExitCode::Yes);
    };
    let mut extra = vec![("digest", json!(digest))];
    if let Outcome::Entry(entry) = &outcome {
        if let Some(folder) = &arguments.output {
            write_entry(entry, folder)?;
            extra.push(("output", json!(crate::path_text::text(folder))));
        }
        return line::answer("proofmark.entry", &outcome, extra, console);
    }
    if let (Outcome::Built(build), Some(path)) = (&outcome, &arguments.output) {
        output::write_to(path, &build.entry.library_bytes)?;
        if path.as_os_str() == "-" {
            // Stdout belongs to the file.
            return Ok(ExitCode::Yes);
        }
        extra.push(("output", json!(crate::path_text::text(path))));
    }
    let code = line::answer("proofmark.build", &outcome, extra, console)?;
    if let Outcome::Built(build) = &outcome {
        build
            .entry
            .proof
            .missing_libraries()
            .iter()
            .for_each(|one| console.say(format!("note: proven, but {one}")));
    }
    if let (Outcome::Built(_), Some(path)) = (&outcome, &arguments.output) {
        console.print(format!("copied       {}", path.display()))?;
    }
    Ok(code)
}

/// Writes the libraries of a Python entry into a folder that is not there yet.
fn write_entry(entry: &CapturedEntry, folder: &Path) -> Result<(), Failure> {
    let refuse = |error: std::io::Error| {
        Failure::could_not_judge(format!("cannot write {}: {error}", folder.display()))
    };
    std::fs::create_dir(folder).map_err(refuse)?;
    capture::write_answers(entry, folder).map_err(refuse)
}
