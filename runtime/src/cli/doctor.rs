//! `proofmark doctor`: can this machine do what the verbs need, and if not, how can it?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use proofmark_packager::Arch;
use proofmark_player::python::{PLAYER_VARIABLE, player_library};
use rustix::fs::{Access, access, statvfs};
use serde::Serialize;
use serde_json::json;

use super::cache_folder::{CacheFolder, WRITABLE_FOLDER};
use super::console::Console;
use super::exit_code::ExitCode;
use super::explain::KEEP_PLAYER_LIBRARY;
use super::failure::Failure;
use crate::device;
use crate::process_tree::{self, RunLimits};
use crate::python::interpreter::DEFAULT_PYTHON;
use crate::sandbox::{self, Layers};
use crate::toolchain::lock_file::{Component, ComponentName};
use crate::toolchain::search::{find_tvm_ffi, search_host_compiler};
use crate::toolchain::{FileDigests, Search, Toolchain, ToolchainError, ToolkitFault, find};

/// Check what this machine has for building, what is missing, and how to get it.
///
/// Starts no download and changes nothing. Exit code 1 if builds are not possible as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark doctor
  proofmark doctor --arch sm_103a
  proofmark doctor --json")]
pub struct Arguments {
    /// Check for builds for this architecture.
    #[arg(long, default_value_t = Arch::SM_100A)]
    arch: Arch,
    /// Check with this CUDA installation.
    #[arg(long, value_name = "DIR")]
    cuda_home: Option<std::path::PathBuf>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// How one check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// There, and fit.
    Good,
    /// Not as good as it could be; nothing depends on it.
    Note,
    /// Missing or unfit; a verb needs it.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// What it is: `host compiler`.
    subject: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// The ways out, if it is not good.
    ways_out: Vec<String>,
}

impl Check {
    fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self { subject, state: State::Good, found: found.into(), ways_out: Vec::new() }
    }

    fn note(subject: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::good(subject, found) }
    }

    fn bad(subject: &'static str, found: impl Into<String>, ways_out: Vec<String>) -> Self {
        Self { state: State::Bad, ways_out, ..Self::good(subject, found) }
    }
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let mut search = Search::from_environment();
    search.cuda_home.clone_from(&arguments.cuda_home);
    search.arch = Some(arguments.arch);
    // Everything is read: a doctor believes no memory.
    let mut digests = FileDigests::forgetful();
    let toolchain = find(&search, &mut digests);
    let mut checks = vec![Check::good("machine", machine())];
    checks.extend(building(&search, &toolchain, &mut digests));
    checks.extend(toolchain.as_ref().ok().map(|toolchain| architecture(toolchain, arguments.arch)));
    checks.push(cache_folder(&arguments.cache));
    let layers = sandbox::probe();
    checks.extend(sandbox_layers(&layers));
    checks.extend(installing(&search, toolchain.is_err()));
    checks.extend(measuring());
    checks.push(python_player());
    for check in &checks {
        let mark = match check.state {
            State::Good => "ok  ",
            State::Note => "note",
            State::Bad => "BAD ",
        };
        console.print(format!("{mark}  {:<14}  {}", check.subject, check.found))?;
        for way_out in &check.ways_out {
            console.print(format!("      {:<14}  → {way_out}", ""))?;
        }
    }
    let healthy = checks.iter().all(|check| check.state != State::Bad);
    let fingerprint = toolchain.as_ref().ok().map(|toolchain| &toolchain.fingerprint);
    let body = json!({
        "healthy": healthy,
        "arch": arguments.arch,
        "checks": checks,
        "sandbox": layers,
        "toolchain": fingerprint,
        "toolchain_digest": fingerprint.map(crate::toolchain::Fingerprint::digest),
    });
    console.document("proofmark.doctor", 1, &body)?;
    Ok(if healthy { ExitCode::Yes } else { ExitCode::No })
}

fn machine() -> String {
    let system = rustix::system::uname();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{} {} {}, {processors} processors",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy()
    )
}

/// What a build is made with.
fn building(
    search: &Search,
    toolchain: &Result<Toolchain, ToolchainError>,
    digests: &mut FileDigests,
) -> Vec<Check> {
    match toolchain {
        Ok(toolchain) => found_toolchain(toolchain),
        Err(error) => missing_toolchain(search, error, digests),
    }
}

fn found_toolchain(toolchain: &Toolchain) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for passed in &toolchain.passed_over {
        let text = format!("passed over {} ({}): {}", passed.home.display(), passed.origin, passed.reason);
        checks.push(Check::note("cuda", text));
    }
    let cuda = format!("{} in {} ({})", toolchain.release(), toolchain.home().display(), toolchain.origin);
    let host = &toolchain.host_compiler;
    checks.extend([
        Check::good("cuda", cuda),
        Check::good("host compiler", format!("{} in {}", host.version, host.driver.display())),
        Check::good("linker", host.linker_version.clone()),
        Check::good(
            "tvm-ffi",
            format!("{} in {}", toolchain.tvm_ffi.version, toolchain.tvm_ffi.home.display()),
        ),
        Check::good("fingerprint", toolchain.fingerprint.digest().short()),
    ]);
    checks
}

/// What nvcc itself says of the architecture.
fn architecture(toolchain: &Toolchain, arch: Arch) -> Check {
    const SUBJECT: &str = "architecture";
    match toolchain.toolkit.ask(arch, &toolchain.host_compiler.driver) {
        Ok(()) => Check::good(SUBJECT, format!("nvcc builds for {arch}")),
        Err(fault) => {
            let way_out = match fault {
                ToolkitFault::UnknownArch { .. } => {
                    "choose another with --arch, or another CUDA with --cuda-home"
                }
                _ => "choose another CUDA with --cuda-home",
            };
            Check::bad(SUBJECT, fault.to_string(), vec![way_out.to_owned()])
        }
    }
}

/// What confines compilers here. A missing layer is a note: builds go on without it unless asked not to.
fn sandbox_layers(layers: &Layers) -> Vec<Check> {
    const SUBJECT: &str = "sandbox";
    let held = layers.held.iter().map(|(layer, words)| match words.as_str() {
        "" => layer.to_string(),
        words => format!("{layer} ({words})"),
    });
    let held = held.collect::<Vec<_>>().join(", ");
    let mut checks = Vec::new();
    if !held.is_empty() {
        checks.push(Check::good(SUBJECT, held));
    }
    if !layers.is_whole() {
        let mut check = Check::note(SUBJECT, format!("not to be had here: {}", layers.missing_words()));
        check.ways_out = vec![
            "a kernel with Landlock and user namespaces gives all of them; containers often refuse \
             namespaces"
                .to_owned(),
            "`--require-sandbox` refuses to compile without them".to_owned(),
        ];
        checks.push(check);
    }
    checks
}

/// Where proven builds are kept.
fn cache_folder(place: &CacheFolder) -> Check {
    const SUBJECT: &str = "cache folder";
    let folder = match place.named() {
        Ok(folder) => folder,
        Err(failure) => return Check::bad(SUBJECT, failure.to_string(), failure.hints().to_vec()),
    };
    if can_hold(&folder) {
        return Check::good(SUBJECT, room(&folder));
    }
    let found = format!("{} cannot be written", folder.display());
    Check::bad(SUBJECT, found, vec![WRITABLE_FOLDER.to_owned()])
}

/// The search ends at the first trouble; a doctor names all of them.
fn missing_toolchain(search: &Search, error: &ToolchainError, digests: &mut FileDigests) -> Vec<Check> {
    let subject = match error {
        ToolchainError::Unfit { .. } | ToolchainError::NoCompiler { .. } => "cuda",
        ToolchainError::NoTvmFfi | ToolchainError::BrokenTvmFfi { .. } => "tvm-ffi",
        ToolchainError::HostCompiler(_) => "host compiler",
    };
    let mut checks = vec![Check::bad(subject, error.to_string(), error.ways_out())];
    if subject != "host compiler" {
        checks.push(match search_host_compiler(search, digests) {
            Ok(host) => {
                Check::good("host compiler", format!("{} in {}", host.version, host.driver.display()))
            }
            Err(error) => Check::bad("host compiler", error.to_string(), error.ways_out()),
        });
    }
    if subject == "cuda"
        && let Err(error) = find_tvm_ffi(search, digests)
    {
        checks.push(Check::bad("tvm-ffi", error.to_string(), error.ways_out()));
    }
    checks
}

/// What `toolchain install` needs; it matters only while something is missing.
fn installing(search: &Search, needed: bool) -> Vec<Check> {
    let trouble = |subject, found: String, ways_out: Vec<String>| {
        if needed { Check::bad(subject, found, ways_out) } else { Check::note(subject, found) }
    };
    let mut checks = Vec::new();
    match &search.data {
        Some(data) => {
            checks.push(if can_hold(data.path()) {
                Check::good("data folder", room(data.path()))
            } else {
                let text = format!("{} cannot be written", data.path().display());
                trouble("data folder", text, vec!["name another in PROOFMARK_DATA".to_owned()])
            });
            for folder in data.partial().unwrap_or_default() {
                let text =
                    format!("unfinished installation in {}; the next one removes it", folder.display());
                checks.push(Check::note("data folder", text));
            }
        }
        None => checks.push(trouble(
            "data folder",
            "unknown: HOME is not set".to_owned(),
            vec!["name one in PROOFMARK_DATA".to_owned()],
        )),
    }
    if ComponentName::TOOLCHAIN.iter().any(|&name| Component::pinned(name, &search.machine).is_none()) {
        let text = format!("nothing is pinned for {}", search.machine);
        checks.push(trouble(
            "pinned",
            text,
            vec!["install a CUDA toolkit and name it in CUDA_HOME".to_owned()],
        ));
    }
    checks.push(match pip() {
        Some(version) => Check::good("pip", version),
        None => trouble(
            "pip",
            format!("`{DEFAULT_PYTHON} -m pip` does not answer"),
            vec![
                "`apt install python3-pip`, `dnf install python3-pip` or the like".to_owned(),
                "or `proofmark toolchain install --wheels FOLDER`".to_owned(),
            ],
        ),
    });
    checks
}

/// A folder, and what is free where it is or would be.
fn room(folder: &Path) -> String {
    let space = standing(folder).and_then(|place| statvfs(place).ok());
    let free = space.map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
    format!("{}, {} free", folder.display(), HumanBytes(free))
}

/// Whether a folder can be written, or made where it is not there yet.
fn can_hold(folder: &Path) -> bool {
    standing(folder)
        .is_some_and(|place| place.is_dir() && access(place, Access::WRITE_OK | Access::EXEC_OK).is_ok())
}

/// The nearest place on the way to a path that exists.
fn standing(path: &Path) -> Option<&Path> {
    path.ancestors()
        .map(|place| if place.as_os_str().is_empty() { Path::new(".") } else { place })
        .find(|place| place.symlink_metadata().is_ok())
}

/// Asked in an empty folder: Python imports modules from the one that it runs in, where a stranger's may lie.
fn pip() -> Option<String> {
    let empty = tempfile::tempdir().ok()?;
    let mut command = Command::new(DEFAULT_PYTHON);
    command.current_dir(empty.path()).args(["-m", "pip", "--version", "--disable-pip-version-check"]);
    let limits = RunLimits { time: Duration::from_secs(20), log_bytes: 4096 };
    let finished = process_tree::run(command, limits, &mut |_| ()).ok()?;
    // `pip 23.2.1 from /…/pip (python 3.11)`: the folder says nothing.
    let words: Vec<&str> = finished.log.split_whitespace().take(2).collect();
    (finished.status.success() && words.first() == Some(&"pip")).then(|| words.join(" "))
}

/// The library that Python loads to be measured.
fn python_player() -> Check {
    const SUBJECT: &str = "python";
    let named = std::env::var_os(PLAYER_VARIABLE).map(PathBuf::from);
    let program = std::env::current_exe().unwrap_or_default();
    match player_library(named.as_deref(), &program) {
        Ok(path) => Check::good(SUBJECT, format!("measured through {}", path.display())),
        Err(error) => Check {
            ways_out: vec![KEEP_PLAYER_LIBRARY.to_owned()],
            ..Check::note(
                SUBJECT,
                format!("{error}; entries in Python and definitions' own references need it"),
            )
        },
    }
}

/// What measuring and profiling need: the GPU and its driver. All that does neither works without them, so
/// their absence is a note.
fn measuring() -> Vec<Check> {
    let description = device::describe();
    let is_ready = description.readiness.is_ready();
    let check = |line: String| {
        let check = if is_ready { Check::good("gpu", line) } else { Check::note("gpu", line) };
        let way_out = description.readiness.hint().map(str::to_owned);
        Check { ways_out: way_out.into_iter().collect(), ..check }
    };
    description.lines().into_iter().map(check).collect()
}
