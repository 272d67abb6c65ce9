//! `proofmark verify`: which architectures do these bytes contain?

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use proofmark_packager::{Arch, escape};

use super::console::{AnswerFormat, Console};
use super::exit_code::ExitCode;
use super::failure::Failure;
use crate::proof::{InputError, ProofVerdict};
use crate::rebuild::ProvenBuild;

mod answer;
mod contents;
mod difference;
mod document;
mod examined;
mod explanation;
mod extraction;
mod headline;
mod lines;
mod missing;
mod release;
mod runs_on;
mod spool;
mod table;
mod unbuilt;

use answer::Answer;
use extraction::Extraction;

/// Name of this verb's document.
const SCHEMA: &str = "proofmark.verify";

/// Tell from bytes alone which GPU architectures a build contains.
///
/// Needs no CUDA and no GPU and builds nothing, unless it is told to with --build.
/// Reads cubins, fatbins, PTX, objects, archives, libraries, programs, wheels and
/// folders of them; in a build folder also what build.ninja, compile_commands.json
/// and CMake's Makefiles asked for, file by file, and says when the bytes disagree.
/// Links in a folder are followed; what cannot be read there is named. `/dev/stdin`
/// reads what is piped in.
///
/// Exit code 0: exact, every path of several; with --policy: nothing but what is
/// waived; with --diff: there is device code and it does not differ; with
/// --kernels-missing: there is machine code and no file of it lacks any; with --runs-on:
/// every file with device code, on all; with --list: all was read; with --extract and
/// nothing to judge by: all was read and written. 1: anything else, and whatever could
/// not be read. 2: no such input, a folder without a file, or a policy that cannot be
/// read or is like a release without device code. 3: could not judge.
///
/// Examples:
///   proofmark verify kernel.so
///   proofmark verify a.so b.so --json
///   proofmark verify my-kernel --build
///   proofmark verify torch/lib/libtorch_cuda.so --list
///   proofmark verify build/ --arch sm_90a --allow-ptx
///   proofmark verify kernel.so --arch sm_100a --allow sm_90a,sm_120a --json
///   proofmark verify dist/pkg.whl --policy release.toml
///   proofmark verify dist/pkg.whl --policy like:pkg-1.0.whl
///   proofmark verify --diff pkg-1.0.whl dist/pkg.whl
///   proofmark verify dist/pkg.whl --runs-on sm_100,sm_120
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("question").args(["list", "policy", "diff", "kernels_missing", "runs_on"]))]
#[command(after_long_help = POLICY_HELP)]
pub struct Arguments {
    /// Build outputs, wheels, folders of them, or the text log of a compiler; each is judged alone.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The architecture that must be there, and alone [default: a submission's own, else sm_100a].
    #[arg(long, conflicts_with_all = ["policy", "diff", "runs_on"])]
    arch: Option<Arch>,
    /// Accept PTX beside the machine code.
    #[arg(long, conflicts_with_all = ["list", "policy", "diff", "kernels_missing", "runs_on"])]
    allow_ptx: bool,
    /// Accept machine code for these architectures as well, such as sm_90a,sm_120a.
    #[arg(long, value_delimiter = ',', value_name = "ARCHS")]
    #[arg(conflicts_with_all = ["list", "policy", "diff", "kernels_missing", "runs_on"])]
    allow: Vec<Arch>,
    /// Rebuild a submission folder, artifact or solution.json first, and judge the library too.
    #[arg(long, conflicts_with_all = ["policy", "diff", "kernels_missing", "runs_on"])]
    build: bool,
    /// Say what is in it, without judging: device code as it stands, and not what other data packs or writes out.
    #[arg(long)]
    list: bool,
    /// With --list, also unpack the compressed images of files above 8 MiB, to name their kernels.
    #[arg(long, requires = "list")]
    kernels: bool,
    /// Hold every file against a policy: a TOML file, or `only:ARCH`, or `like:WHEEL`.
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Show what changed between two wheels, folders or files: architectures, kernels, sizes.
    #[arg(long)]
    diff: bool,
    /// Name kernels that machine code for one architecture has and for another lacks; --arch asks for one.
    #[arg(long)]
    kernels_missing: bool,
    /// Say for each of these GPUs whether every file with device code runs there, and by what.
    #[arg(long, value_delimiter = ',', value_name = "ARCHS")]
    runs_on: Vec<Arch>,
    /// Write every image into this folder, decompressed, with an index; judges only if told by what.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["policy", "diff", "kernels_missing", "runs_on"])]
    extract: Option<PathBuf>,
    /// Teach how the answer was found and what it is worth.
    #[arg(long, conflicts_with_all = ["list", "policy", "diff", "kernels_missing", "runs_on"])]
    explain: bool,
}

impl Arguments {
    /// Whether it is only said what is there. Images are taken out without judging, unless something is named
    /// to judge by.
    fn lists(&self) -> bool {
        let judges = self.arch.is_some() || self.allow_ptx || !self.allow.is_empty() || self.build;
        self.list || (self.extract.is_some() && !judges && !self.explain)
    }
}

/// How a policy file is written, for `--help`.
const POLICY_HELP: &str = "A policy file:
  policy = 1                    version of this format
  fail_on = [\"runtime-jit\"]     labels that are findings

  [[rule]]                      the first whose globs match a file is about it
  files = [\"mypkg/lib*.so\"]     from the root; ** crosses folders
  require = [\"sm_90a\"]          machine code in each file with device code
  allow = [\"sm_80\"]             may be there as well: a list, or \"any\"
  ptx = [\"sm_90\"]               PTX that may be there: a list, \"any\",
                                or \"none\", the default
  lto_ir = false                whether LTO-IR may be there
  runs_on = [\"sm_103\"]          something in each file must run there

  [[rule]]
  files = [\"**\"]
  device_code = false           no device code in any other file

  [[waiver]]
  files = [\"mypkg/vendor/**\"]
  findings = [\"unreadable\"]     kinds; all when left out: missing,
                                machine-code, ptx, lto-ir, device-code,
                                runs-on, contradicted, unreadable,
                                runtime-jit, unused-rule, no-device-code
  reason = \"unpacked and read by hand for 3.5.0\"

Without a file: `--policy only:sm_100a`, and `--policy like:old.whl`:
each file must ship what the file of its name in old.whl ships.";

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    require_files(&arguments.paths)?;
    if let Some(policy) = &arguments.policy {
        return release::run(policy, &arguments.paths, console);
    }
    if arguments.diff {
        return difference::run(&arguments.paths, console);
    }
    if arguments.kernels_missing {
        return missing::run(&arguments.paths, arguments.arch, console);
    }
    if !arguments.runs_on.is_empty() {
        return runs_on::run(&arguments.paths, &arguments.runs_on, console);
    }
    if arguments.list && !arguments.build && arguments.arch.is_some() {
        let text = "--list says what is there for every architecture and judges none: it takes no --arch";
        return Err(
            Failure::request(text).hint("leave --list out to be told whether that one is there, and alone")
        );
    }
    let lists = arguments.lists();
    let mut extraction = arguments.extract.as_deref().map(Extraction::into_folder).transpose()?;
    let mut answers = Vec::new();
    for path in &arguments.paths {
        let rebuilt = match rebuilt(path, arguments, console)? {
            Ok(rebuilt) => rebuilt,
            Err(finding) => return Ok(finding),
        };
        let answer = Answer::about(path, arguments, rebuilt.as_deref(), extraction.as_mut(), console)?;
        if rebuilt.is_none() && path.is_dir() && answer.speaking == 0 && unbuilt::holds_sources(path) {
            say_that_it_holds_sources(path, console);
        }
        answers.push(answer);
    }
    let all_written = match extraction {
        Some(extraction) => {
            let unread = answers.iter().flat_map(|answer| &answer.tally.unread);
            extraction.finish(unread, console)?
        }
        None => true,
    };
    present(arguments, &mut answers, console)?;
    let is_yes = |answer: &Answer| {
        let was_read = || answer.tally.unread.is_empty() && answer.contents.unaccounted.is_empty();
        if lists { was_read() } else { answer.verdict == ProofVerdict::Exact }
    };
    let yes = all_written && answers.iter().all(is_yes);
    Ok(if yes { ExitCode::Yes } else { ExitCode::No })
}

/// Refuses a folder without a file: where nothing is looked at, no question has the answer yes.
fn require_files(paths: &[PathBuf]) -> Result<(), Failure> {
    let holds_files = |path: &Path| {
        let mut entries = walkdir::WalkDir::new(path).into_iter();
        // What cannot be listed is named later, as what could not be read.
        entries.any(|entry| entry.map_or(true, |entry| !entry.file_type().is_dir()))
    };
    match paths.iter().find(|path| path.is_dir() && !holds_files(path)) {
        None => Ok(()),
        Some(path) => {
            let text = format!("{} is a folder without a file: there is nothing to look at", path.display());
            Err(Failure::request(text).hint("name the wheel, the library or the folder that was built"))
        }
    }
}

fn say_that_it_holds_sources(path: &Path, console: &Console) {
    let text = format!("note: {} holds sources; --build builds them and judges the library", path.display());
    console.say(escape::line(&text));
}

/// The rebuild of a path that holds sources, where one is asked for.
fn rebuilt(
    path: &Path,
    arguments: &Arguments,
    console: &Console,
) -> Result<Result<Option<Box<ProvenBuild>>, ExitCode>, Failure> {
    let holds_sources = unbuilt::holds_sources(path);
    if !arguments.build {
        if holds_sources && !path.is_dir() {
            say_that_it_holds_sources(path, console);
        }
        return Ok(Ok(None));
    }
    if !holds_sources {
        let text = format!("{} holds no sources that could be built", path.display());
        return Err(
            Failure::request(text).hint("--build takes a submission folder, an artifact or a solution.json")
        );
    }
    if arguments.paths.len() > 1 {
        let text = format!("{} holds sources, which are rebuilt one at a time", path.display());
        return Err(Failure::request(text).hint("give it as the only path"));
    }
    unbuilt::rebuild(path, arguments.arch, console).map(|built| built.map(Some))
}

/// Prints the answers; several paths make one document with one of the usual bodies for each.
fn present(arguments: &Arguments, answers: &mut [Answer], console: &Console) -> Result<(), Failure> {
    if console.format() == AnswerFormat::Json {
        return document::write(&arguments.paths, answers, arguments.lists());
    }
    let several = answers.len() > 1;
    for (path, answer) in arguments.paths.iter().zip(answers) {
        if several {
            console.print(format!("{}:", escape::line(&path.display().to_string())))?;
        }
        console.print(if arguments.lists() { table::list(answer) } else { table::report(answer) })?;
        if arguments.explain {
            console.print(explanation::text(answer.verdict, &answer.policy))?;
        }
    }
    Ok(())
}

fn could_not_read(error: InputError) -> Failure {
    let wrong_request = match &error {
        InputError::NotAFile { .. } => true,
        InputError::Unreadable { source, .. } => {
            matches!(source.kind(), ErrorKind::NotFound | ErrorKind::FileTooLarge | ErrorKind::InvalidInput)
        }
    };
    let failure = if wrong_request { Failure::request(error) } else { Failure::could_not_judge(error) };
    failure.hint("give a cubin, fatbin, object, archive, library, wheel, or a folder of them")
}
