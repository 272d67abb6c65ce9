//! Runs a plan: the one file that starts the compiler.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use proofmark_packager::Arch;

use super::blame::{self, Blame, Memory};
use super::dependencies;
use super::diagnostics::{self, Diagnostic, Diagnostics};
use super::error::BuildError;
use super::folder::BuildFolder;
use super::headers;
use super::limits::{BuildLimits, Demand};
use super::outcome::{BuildOutcome, BuildOutput, Ended};
use super::plan::{BuildPlan, Command, HERE, place};
use super::unit::{Unit, UnitCounts};
use crate::process_tree::{self, ProcessError};
use crate::sandbox::limits::memory_room;
use crate::sandbox::{self, Bounds, Ending, Layers, Policy, Run, SandboxError};
use crate::toolchain::FileDigests;
use crate::toolchain::toolkit::ARCH_SIGN;

/// Runs a plan in a folder of its own below `scratch`, which is gone when this returns. A unit in
/// `reused`, at its number in the plan, is taken as it is instead of being compiled; whoever gives it
/// vouches that its source, everything it read, its command and the toolchain are the same.
pub fn run(
    plan: &BuildPlan,
    reused: Vec<Option<Unit>>,
    scratch: &Path,
    limits: &BuildLimits,
    digests: &mut FileDigests,
) -> Result<Ended, BuildError> {
    let no_folder = |source| BuildError::Folder { scratch: scratch.to_owned(), source };
    let folder = BuildFolder::create(scratch, plan).map_err(no_folder)?;
    let run = Build {
        plan,
        folder: folder.path(),
        policy: policy_of(plan, folder.path(), limits),
        limits,
        deadline: Instant::now().checked_add(limits.time),
        layers: Mutex::new(Vec::new()),
    };
    let outcome = run.to_the_end(reused, digests, scratch);
    // A folder that stays is swept later; the outcome is worth more than the complaint.
    let _ = folder.remove();
    outcome
}

/// What the commands may read and write: the toolchain and the sources, and what the commands make.
fn policy_of(plan: &BuildPlan, folder: &Path, limits: &BuildLimits) -> Policy {
    let written = [place::OBJECT, place::TEMPORARY, place::DRIVER].map(|name| folder.join(name));
    let linked = plan.links.iter().map(|link| link.target.as_path());
    plan.policy
        .clone()
        .bounded(Bounds::of_compilers(limits.time))
        .reading(linked)
        .reading([folder])
        .writing(written.iter().map(PathBuf::as_path))
}

/// A build while it runs.
pub(super) struct Build<'a> {
    pub(super) plan: &'a BuildPlan,
    pub(super) folder: &'a Path,
    policy: Policy,
    /// What each command's sandbox was.
    layers: Mutex<Vec<Layers>>,
    limits: &'a BuildLimits,
    /// `None` for a limit beyond the end of the clock.
    deadline: Option<Instant>,
}

/// A command that ended by itself.
pub(super) struct Done {
    pub(super) succeeded: bool,
    pub(super) log: String,
}

impl Build<'_> {
    fn to_the_end(
        &self,
        mut reused: Vec<Option<Unit>>,
        digests: &mut FileDigests,
        scratch: &Path,
    ) -> Result<Ended, BuildError> {
        let no_folder = |source| BuildError::Folder { scratch: scratch.to_owned(), source };
        reused.resize(self.plan.compile.len(), None);
        let done = self.compile(&reused)?;
        let mut logs = Vec::new();
        let mut compiled = Vec::new();
        let mut escapes = Vec::new();
        for (index, done) in done.iter().enumerate() {
            let said = done.as_ref().map(|done| {
                let said = self.tidy(&done.log);
                self.plan.units().nth(index).map_or(said.clone(), |unit| diagnostics::name_unit(&said, unit))
            });
            let log = said.or_else(|| Some(reused[index].as_ref()?.log.clone())).unwrap_or_default();
            if done.as_ref().is_some_and(|done| done.succeeded) {
                let reads = dependencies::read_by_unit(self.plan, self.folder, index, digests);
                let reads = reads.map_err(no_folder)?;
                if reads.escapes.is_empty() {
                    let object = fs::read(self.object(index)).map_err(no_folder)?;
                    compiled.push((index, Unit { reads: reads.dependencies, log: log.clone(), object }));
                }
                escapes.extend(reads.escapes);
            }
            logs.push(log);
        }
        let log = logs.concat();
        let outcome = if done.iter().flatten().any(|done| !done.succeeded) {
            failure(&log)?
        } else if escapes.is_empty() {
            let counts = UnitCounts { compiled: compiled.len(), reused: done.len() - compiled.len() };
            for (index, unit) in reused.iter().enumerate() {
                // Written when nothing of this build is compiled any more.
                if let Some(unit) = unit {
                    fs::write(self.object(index), &unit.object).map_err(no_folder)?;
                }
            }
            let units = reused.iter().flatten().chain(compiled.iter().map(|(_, unit)| unit));
            let read = units.flat_map(|unit| unit.reads.clone()).collect();
            let output = BuildOutput {
                library: Vec::new(),
                log,
                dependencies: read,
                units: counts,
                sandbox: Layers::default(),
            };
            self.link(output, digests, scratch)?
        } else {
            BuildOutcome::CompileError(escaped(&escapes, log))
        };
        Ok(Ended { outcome, compiled })
    }

    /// What all of the commands had.
    pub(super) fn sandbox(&self) -> Layers {
        let layers = self.layers.lock().expect("nobody panics while holding it");
        Layers::common(layers.iter().cloned()).unwrap_or_default()
    }

    pub(super) fn object(&self, index: usize) -> PathBuf {
        self.folder.join(place::OBJECT).join(format!("{index}.o"))
    }

    /// Where a file is that a command of the build named.
    pub(super) fn inside(&self, name: &str) -> PathBuf {
        let path = Path::new(name);
        path.strip_prefix(HERE).map_or_else(|_| path.to_owned(), |inside| self.folder.join(inside))
    }

    pub(super) fn tidy(&self, log: &str) -> String {
        diagnostics::name_sources(&diagnostics::tidy(log), self.plan.units())
    }

    /// Compiles every file that is not reused, some side by side. All of them are tried, so that all
    /// errors are told.
    fn compile(&self, reused: &[Option<Unit>]) -> Result<Vec<Option<Done>>, BuildError> {
        let commands = &self.plan.compile;
        let wanted: Vec<usize> = (0..commands.len()).filter(|&index| reused[index].is_none()).collect();
        let next = AtomicUsize::new(0);
        let slots: Vec<Mutex<Option<Result<Done, BuildError>>>> =
            commands.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            while let Some(&index) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let done = self.start(&commands[index]);
                *slots[index].lock().expect("no worker panics while it holds a slot") = Some(done);
            }
        };
        std::thread::scope(|scope| {
            let helpers = self.limits.jobs.get().min(wanted.len()).saturating_sub(1);
            for _ in 0..helpers {
                scope.spawn(work);
            }
            work();
        });
        let taken = slots
            .into_iter()
            .map(|slot| slot.into_inner().expect("no worker panics while it holds a slot").transpose());
        taken.collect()
    }

    pub(super) fn start(&self, command: &Command) -> Result<Done, BuildError> {
        match self.start_program(&command.program, &command.arguments) {
            Err(BuildError::Unsupported { complaint, .. }) if complaint.contains(ARCH_SIGN) => {
                let archs = self.supported_archs(&command.program);
                Err(BuildError::Unsupported { complaint, archs })
            }
            done => done,
        }
    }

    pub(super) fn start_program(&self, program: &str, arguments: &[String]) -> Result<Done, BuildError> {
        let mut process = process::Command::new(program);
        process.args(arguments).current_dir(self.folder).env_clear();
        process.envs(self.plan.environment.iter().map(|(name, value)| (name, value)));
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let time = self.deadline.map_or(self.limits.time, left);
        let limits = process_tree::RunLimits { time, log_bytes: self.limits.log_bytes };
        let run = sandbox::run(&process, &self.policy, limits, &mut |_| ());
        let Run { ending, log, layers, peak_bytes } = run.map_err(|error| self.explain(error))?;
        if self.limits.sandbox == Demand::Whole && !layers.is_whole() {
            let missing = layers.missing_words();
            return Err(BuildError::Sandbox(SandboxError::Incomplete { missing }));
        }
        self.layers.lock().expect("nobody panics while holding it").push(layers);
        let memory = Memory { peak_bytes, room_bytes: memory_room(self.policy.bounds.memory_bytes) };
        judge(&ending, log, self.folder, memory, &self.policy.bounds)
    }

    /// Names the program as people know it, and the limit of the whole build.
    fn explain(&self, error: SandboxError) -> BuildError {
        let SandboxError::Process(error) = error else { return BuildError::Sandbox(error) };
        let named = |program: String| program.rsplit('/').next().unwrap_or_default().to_owned();
        BuildError::Process(match error {
            ProcessError::Interrupted => return BuildError::Interrupted,
            ProcessError::Start { program, source } => {
                ProcessError::Start { program: named(program), source }
            }
            ProcessError::Contact { program, source } => {
                ProcessError::Contact { program: named(program), source }
            }
            ProcessError::TimedOut { program, log, .. } => {
                ProcessError::TimedOut { program: named(program), limit: self.limits.time, log }
            }
        })
    }

    /// What this nvcc can build for, as it says itself, the oldest first; empty if it does not say.
    fn supported_archs(&self, program: &str) -> Vec<Arch> {
        let listed = self.start_program(program, &["--list-gpu-code".to_owned()]);
        let log = listed.map(|done| done.log).unwrap_or_default();
        archs_in(&log)
    }
}

/// The architectures that a list names, the oldest first; nvcc gives them in the order of its own table.
fn archs_in(list: &str) -> Vec<Arch> {
    let archs: BTreeSet<Arch> = list.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    archs.into_iter().collect()
}

/// What a failed command means: the submission does not build, or a library's header is missing.
pub(super) fn failure(log: &str) -> Result<BuildOutcome, BuildError> {
    let found = Diagnostics::of_failure(log);
    match headers::first_missing(&found.messages) {
        Some(missing) => Err(BuildError::MissingHeader { missing: Box::new(missing), log: found.log }),
        None => Ok(BuildOutcome::CompileError(found)),
    }
}

pub(super) fn escaped(names: &[String], log: String) -> Diagnostics {
    let finding = |name: &String| {
        Diagnostic::error(format!(
            "the sources read `{name}`, which is neither in the artifact nor in the toolchain"
        ))
    };
    Diagnostics::of_finding(names.iter().map(finding).collect(), Vec::new(), log)
}

/// How nvcc begins when it gives up by itself.
const NVCC_GIVES_UP: &str = "nvcc fatal   : ";

/// Signs that nvcc gave up because of a flag. Ours are right for every nvcc that we build with, so
/// it is one of the submission's.
const FLAG_SIGNS: [&str; 5] = [
    "is not defined for option",
    ": expected a",
    ": expected true or false",
    "edefinition of argument",
    "nknown option",
];

/// What nvcc does not support, in its own words. It finds that out before it starts anything, so that
/// nobody else has said anything: sources may print the same words later.
fn read_complaint(log: &str) -> Option<String> {
    if log.lines().any(|line| !line.starts_with("nvcc ")) {
        return None;
    }
    let complaint = log.lines().find_map(|line| line.strip_prefix(NVCC_GIVES_UP))?;
    let known = complaint.contains(ARCH_SIGN) || FLAG_SIGNS.iter().any(|sign| complaint.contains(sign));
    known.then(|| complaint.trim().to_owned())
}

fn judge(
    ending: &Ending,
    log: String,
    folder: &Path,
    memory: Memory,
    bounds: &Bounds,
) -> Result<Done, BuildError> {
    if ending.is_success() {
        return Ok(Done { succeeded: true, log });
    }
    if let Some(complaint) = read_complaint(&log) {
        return Err(BuildError::Unsupported { complaint, archs: Vec::new() });
    }
    match blame::decide(ending, &log, folder, memory, bounds) {
        Blame::Submission => Ok(Done { succeeded: false, log }),
        Blame::Machine(reason) => Err(BuildError::Environment { reason, log: diagnostics::tidy(&log) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, log: &str) -> Result<Done, BuildError> {
        let bounds = Bounds::of_compilers(std::time::Duration::from_secs(1));
        judge(&Ending::Code(code), log.to_owned(), &std::env::temp_dir(), Memory::default(), &bounds)
    }

    #[test]
    fn sources_cannot_pass_their_errors_off_as_trouble_of_the_machine() {
        let quoted = "k.cu:1:2: error: #error No space left on device\n";
        assert!(ended(1, quoted).is_ok_and(|done| !done.succeeded));
        let real = "k.s: fatal error: No space left on device\n";
        assert!(matches!(ended(1, real), Err(BuildError::Environment { .. })));
        assert!(ended(0, real).is_ok_and(|done| done.succeeded));
    }

    #[test]
    fn what_this_nvcc_does_not_support_is_the_requests_fault() {
        for (log, way_out) in [
            ("nvcc fatal   : Unsupported gpu architecture 'compute_42a'\n", "--arch"),
            ("nvcc fatal   : Value 'c++99' is not defined for option 'std'\n", "nvcc_flags"),
            ("nvcc fatal   : Value '32' is not defined for option 'machine'\n", "nvcc_flags"),
            ("nvcc fatal   : 'maybe': expected true or false\n", "nvcc_flags"),
            ("nvcc fatal   : 'abc': expected a number\n", "nvcc_flags"),
            ("nvcc fatal   : redefinition of argument 'std'\n", "nvcc_flags"),
            ("nvcc fatal   : Unknown option '-compress-mode'\n", "nvcc_flags"),
        ] {
            let Err(error @ BuildError::Unsupported { .. }) = ended(1, log) else { panic!("{log}") };
            assert!(error.ways_out()[0].contains(way_out), "{log}");
        }
        let ours = "nvcc fatal   : Could not open output file '/proc/self/cwd/object/0.d'\n";
        assert!(matches!(ended(1, ours), Err(BuildError::Environment { .. })));
        let quoted = "k.cu:1:2: error: #error nvcc fatal   : Unsupported gpu architecture\n";
        assert!(!matches!(ended(1, quoted), Err(BuildError::Unsupported { .. })));
        let printed = "nvcc fatal   : Unknown option 'x'\n{standard input}:7: Error: .err encountered\n";
        assert!(ended(1, printed).is_ok_and(|done| !done.succeeded));
    }

    #[test]
    fn an_unknown_architecture_is_answered_with_the_known_ones() {
        let archs = archs_in("sm_110\nsm_103\nsm_90\nsm_100\nlto_90\n");
        let complaint = "Unsupported gpu architecture 'compute_42a'".to_owned();
        let text = BuildError::Unsupported { complaint, archs }.to_string();
        assert!(text.contains("'compute_42a': expected one of sm_90 sm_100 sm_103 sm_110,"), "{text}");
    }
}
