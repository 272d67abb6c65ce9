//! Where compilers run: a place from which a stranger's sources reach nothing.
//!
//! Sources steer the programs that compile them: which files are read, what the linker loads, how much
//! memory is used. So every compiler process runs behind the layers below. Each is tried on its own; what
//! a machine does not give is reported by name, in `doctor` and in a build's answer, and
//! `--require-sandbox` refuses to go on without it.
//!
//! | layer | what it takes away |
//! |---|---|
//! | `user namespace` | every right over anything outside, also where we run as root |
//! | `pid namespace` | the sight of other processes; the end of the first ends all |
//! | `network namespace` | every network interface |
//! | `ipc namespace` | shared memory and queues of others |
//! | `mounts` | every file that is not named in the policy: it does not exist |
//! | `landlock` | the same once more, by the kernel's own rules, and writing outside the build |
//! | `no new privileges` | programs that give rights to whoever starts them |
//! | `seccomp` | system calls that no compiler needs |
//! | `limits` | memory, file sizes, processes, open files, processor time |
//!
//! Nothing here needs unsafe code: our own binary is started twice, under a hidden verb. The *keeper*
//! makes the namespaces, starts the *first process* in them, and watches a socket whose other end we
//! hold: when we end, however we end, the socket closes and the keeper ends all that it started. The
//! first process confines itself, starts the compiler, and reports how it ended.
//!
//! ```text
//! proofmark ──socket── keeper ──socket── first process ── nvcc ── sh, cicc, ptxas, g++ …
//! ```
//!
//! | file | noun |
//! |---|---|
//! | [`policy`] | what a program may read, write and use |
//! | [`layer`] | the layers, and which of them a run had |
//! | `lifeline` | orders and reports, and how they travel |
//! | [`runner`] | our side: starts, watches, reads the report |
//! | `keeper` | makes namespaces, ends everything when we end |
//! | `first` | confines itself, starts the program |
//! | `mounts`, `paths`, `system_calls`, `limits` | one layer each |

mod first;
mod keeper;
pub mod layer;
pub(crate) mod lifeline;
pub(crate) mod limits;
mod mounts;
mod paths;
pub mod policy;
pub mod runner;
mod system_calls;

pub use layer::{Layer, Layers};
pub use lifeline::Ending;
pub use policy::{Bounds, Policy};
pub use runner::{Run, SandboxError, announce_launcher, probe, run, supervise};

/// The hidden verbs of our own binary.
const KEEPER_VERB: &str = "sandbox-keeper";
const FIRST_VERB: &str = "sandbox-first";

/// Makes this program one that can start sandboxes; the first call of its `main`, before any thread is
/// started. Gives the exit code with which the program must end at once where it was itself started to be a
/// part of a sandbox. A program that uses this library and does not call it can compile nothing.
///
/// ```no_run
/// let arguments: Vec<_> = std::env::args_os().collect();
/// if let Some(code) = proofmark::sandbox::take_part(&arguments) {
///     std::process::exit(code.into());
/// }
/// ```
#[must_use = "a part of a sandbox must end with this code"]
pub fn take_part(arguments: &[std::ffi::OsString]) -> Option<u8> {
    let code = run_verb(arguments);
    if code.is_none() {
        // Even after an update has replaced the file, this is the program that runs.
        announce_launcher("/proc/self/exe");
    }
    code
}

/// Runs a hidden verb, if the command line is one, and gives its exit code.
fn run_verb(arguments: &[std::ffi::OsString]) -> Option<u8> {
    let verb = arguments.get(1)?;
    let program = arguments.get(2..).unwrap_or_default();
    if verb == KEEPER_VERB {
        return Some(keeper::run(program));
    }
    (verb == FIRST_VERB).then(|| first::run(program))
}
