//! Runs a plan: the one file that starts the compiler.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::blame::{self, Blame};
use super::dependencies::{self, Dependencies};
use super::diagnostics::{self, Diagnostic, Diagnostics};
use super::folder::BuildFolder;
use super::headers::{self, MissingHeader};
use super::objects;
use super::plan::{BuildPlan, Command, HERE, place};
use super::unit::{Unit, UnitCounts};
use super::{link_log, symbols};
use crate::process_tree::{self, ProcessError};
use crate::sandbox::{self, Bounds, Ending, Layers, Policy, Run, SandboxError};
use crate::toolchain::FileDigests;
use crate::toolchain::toolkit::ARCH_SIGN;

/// What a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of the whole build.
    pub time: Duration,
    /// How much of each command's output is kept.
    pub log_bytes: usize,
    /// How many files are compiled side by side.
    pub jobs: NonZeroUsize,
    /// Whether a sandbox that lacks a layer will do.
    pub sandbox: Demand,
}

/// What is asked of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Every layer that the machine gives; what is missing is reported.
    BestEffort,
    /// Every layer, or no build.
    Whole,
}

impl Limits {
    /// How long a build may take unless said otherwise: heavily templated kernels take minutes on
    /// a slow machine, and more than ten of them are more likely a mistake.
    pub const TIME_SECONDS: u64 = 600;
}

impl Default for Limits {
    /// [`Self::TIME_SECONDS`]. One MiB of log for each command: thousands of messages. As many
    /// jobs as processors.
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            time: Duration::from_secs(Self::TIME_SECONDS),
            log_bytes: 1024 * 1024,
            jobs,
            sandbox: Demand::BestEffort,
        }
    }
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildOutcome {
    /// There is a library.
    Built(BuildOutput),
    /// The submission does not build; a finding.
    CompileError(Diagnostics),
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutput {
    /// The bytes of the shared library.
    pub library: Vec<u8>,
    /// What the compilers said, with paths as the submission writes them; the same in every build.
    pub log: String,
    /// Every file that was read.
    pub dependencies: Dependencies,
    /// How it came by its units.
    pub units: UnitCounts,
    /// The sandbox that all of the commands ran in.
    pub sandbox: Layers,
}

/// A build and what can be kept of it.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: BuildOutcome,
    /// The units that it compiled, by their numbers in the plan; whether or not the others compile.
    pub compiled: Vec<(usize, Unit)>,
}

/// Why we cannot tell whether the submission builds.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build folder could not be made, read or removed.
    #[error("cannot use the build folder in {}", scratch.display())]
    Folder {
        /// The folder above it.
        scratch: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A compiler could not be started, or did not end in time.
    #[error(transparent)]
    Process(ProcessError),
    /// The sandbox lacks a layer and all of them were asked for, or it did not work.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// Ctrl-C or a request to terminate.
    #[error("the build was interrupted")]
    Interrupted,
    /// This nvcc does not know the architecture, or a flag or its value: a fault of the request.
    #[error("{}", unsupported(complaint, archs))]
    Unsupported {
        /// What nvcc says.
        complaint: String,
        /// What it can build for, if the architecture is what it does not know.
        archs: Vec<String>,
    },
    /// The compiler failed for a reason that is not in the sources.
    #[error("the compiler could not work: {reason}")]
    Environment {
        /// Its own words.
        reason: String,
        /// The whole log.
        log: String,
    },
    /// A header of a known library is not there: whether the submission builds, nobody can tell.
    #[error("{missing}")]
    MissingHeader {
        /// Which one, and whose.
        missing: Box<MissingHeader>,
        /// What the compilers said.
        log: String,
    },
    /// The linker wrote something that is no library.
    #[error("the linker's output is not a shared library")]
    Library {
        /// What the reader said.
        source: object::Error,
    },
}

fn unsupported(complaint: &str, archs: &[String]) -> String {
    if archs.is_empty() {
        return format!("nvcc does not support what the submission asks for: {complaint}");
    }
    let archs = archs.join(" ");
    format!(
        "nvcc does not support what is asked for: {complaint}: expected one of {archs}, some also with `a` or `f`"
    )
}

impl BuildError {
    /// The ways out, for people.
    pub fn ways_out(&self) -> Vec<String> {
        let way = match self {
            Self::MissingHeader { missing, .. } => return missing.ways_out(),
            Self::Folder { .. } => "choose another cache folder, or free some space",
            Self::Unsupported { complaint, .. } if complaint.contains(ARCH_SIGN) => {
                "choose another with --arch or `[target] arch`, or another CUDA with --cuda-home"
            }
            Self::Unsupported { .. } => "change `[target] nvcc_flags` in config.toml",
            Self::Process(ProcessError::TimedOut { .. }) => "allow more with --timeout",
            Self::Environment { reason, .. } if reason.contains("unsupported GNU version") => {
                "name a host compiler that this CUDA supports in PROOFMARK_HOST_COMPILER"
            }
            Self::Environment { .. } => "look at space, memory and the toolchain: `proofmark doctor`",
            Self::Process(_) | Self::Library { .. } => "look at the toolchain: `proofmark doctor`",
            Self::Sandbox(SandboxError::Incomplete { .. }) => {
                "`proofmark doctor` shows what this machine gives; without --require-sandbox the build goes on"
            }
            Self::Sandbox(_) => "look at the sandbox: `proofmark doctor`",
            Self::Interrupted => return Vec::new(),
        };
        vec![way.to_owned()]
    }
}

/// Runs a plan in a folder of its own below `scratch`, which is gone when this returns. A unit in
/// `reused`, at its number in the plan, is taken as it is instead of being compiled; whoever gives it
/// vouches that its source, everything it read, its command and the toolchain are the same.
pub fn run(
    plan: &BuildPlan,
    reused: Vec<Option<Unit>>,
    scratch: &Path,
    limits: &Limits,
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
fn policy_of(plan: &BuildPlan, folder: &Path, limits: &Limits) -> Policy {
    let written = [place::OBJECT, place::TEMPORARY, place::DRIVER].map(|name| folder.join(name));
    let linked = plan.links.iter().map(|link| link.target.as_path());
    plan.policy
        .clone()
        .bounded(Bounds::of_compilers(limits.time))
        .reading(linked)
        .reading([folder])
        .writing(written.iter().map(PathBuf::as_path))
}

struct Build<'a> {
    plan: &'a BuildPlan,
    folder: &'a Path,
    policy: Policy,
    /// What each command's sandbox was.
    layers: Mutex<Vec<Layers>>,
    limits: &'a Limits,
    /// `None` for a limit beyond the end of the clock.
    deadline: Option<Instant>,
}

/// A command that ended by itself.
struct Done {
    succeeded: bool,
    log: String,
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
            let said = done.as_ref().map(|done| self.tidy(&done.log));
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

    /// Links what was compiled, and looks at what came out.
    fn link(
        &self,
        mut output: BuildOutput,
        digests: &mut FileDigests,
        scratch: &Path,
    ) -> Result<BuildOutcome, BuildError> {
        let no_folder = |source| BuildError::Folder { scratch: scratch.to_owned(), source };
        let foreign = self.foreign_sections().map_err(no_folder)?;
        if !foreign.is_empty() {
            return Ok(BuildOutcome::CompileError(Diagnostics::of_finding(foreign, Vec::new(), output.log)));
        }
        let mut traced = String::new();
        if self.plan.links_driver {
            self.make_driver_stand_in()?;
        }
        for command in &self.plan.link {
            let done = self.start(command)?;
            let said = self.tidy(&link_log::messages(&done.log));
            output.log.push_str(&said);
            if !done.succeeded {
                return failure(&output.log);
            }
            traced.push_str(&done.log);
        }
        let linked = link_log::files(&traced);
        let reads = dependencies::read_by_linker(self.plan, self.folder, &linked, digests);
        let reads = reads.map_err(no_folder)?;
        if !reads.escapes.is_empty() {
            return Ok(BuildOutcome::CompileError(escaped(&reads.escapes, output.log)));
        }
        output.dependencies.extend(reads.dependencies);
        output.library = fs::read(self.folder.join(place::LIBRARY)).map_err(no_folder)?;
        let (findings, hints) = self.findings(&output.library, &linked)?;
        if !findings.is_empty() {
            return Ok(BuildOutcome::CompileError(Diagnostics::of_finding(findings, hints, output.log)));
        }
        output.sandbox = self.sandbox();
        Ok(BuildOutcome::Built(output))
    }

    /// What all of the commands had.
    fn sandbox(&self) -> Layers {
        let layers = self.layers.lock().expect("nobody panics while holding it");
        Layers::common(layers.iter().cloned()).unwrap_or_default()
    }

    /// What is in the objects that no linker should see.
    fn foreign_sections(&self) -> io::Result<Vec<Diagnostic>> {
        let mut found = Vec::new();
        for (index, command) in self.plan.compile.iter().enumerate() {
            let bytes = fs::read(self.object(index))?;
            let file = command.source.as_ref().map(ToString::to_string);
            if let Some(message) = objects::refusal(&bytes) {
                found.push(Diagnostic { file, ..Diagnostic::error(message) });
            }
        }
        Ok(found)
    }

    /// What makes a library useless that the linker did not object to.
    fn findings(
        &self,
        library: &[u8],
        linked: &[String],
    ) -> Result<(Vec<Diagnostic>, Vec<String>), BuildError> {
        let no_library = |source| BuildError::Library { source };
        let linked: Vec<PathBuf> = linked.iter().map(|name| self.inside(name)).collect();
        let undefined =
            symbols::undefined(library, linked.iter().map(PathBuf::as_path)).map_err(no_library)?;
        let mut findings = Vec::new();
        let mut hints = Vec::new();
        for symbol in undefined {
            if self.plan.links_driver && symbols::is_drivers(&symbol) {
                continue;
            }
            let (finding, hint) = diagnostics::undefined(&symbol, &self.callers(&symbol));
            findings.push(finding);
            hints.push(hint);
        }
        if !symbols::exports(library, &self.plan.entry_point.symbol).map_err(no_library)? {
            findings.push(self.not_exported());
        }
        hints.dedup();
        Ok((findings, hints))
    }

    /// The sources whose objects call a function that they do not define.
    fn callers(&self, symbol: &str) -> Vec<String> {
        let calls =
            |index: usize| fs::read(self.object(index)).is_ok_and(|object| symbols::calls(&object, symbol));
        let units = self.plan.units().enumerate();
        units.filter(|(index, _)| calls(*index)).map(|(_, source)| source.to_string()).collect()
    }

    fn object(&self, index: usize) -> PathBuf {
        self.folder.join(place::OBJECT).join(format!("{index}.o"))
    }

    /// Where a file is that a command of the build named.
    fn inside(&self, name: &str) -> PathBuf {
        let path = Path::new(name);
        path.strip_prefix(HERE).map_or_else(|_| path.to_owned(), |inside| self.folder.join(inside))
    }

    fn tidy(&self, log: &str) -> String {
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

    fn start(&self, command: &Command) -> Result<Done, BuildError> {
        match self.start_program(&command.program, &command.arguments) {
            Err(BuildError::Unsupported { complaint, .. }) if complaint.contains(ARCH_SIGN) => {
                let archs = self.supported_archs(&command.program);
                Err(BuildError::Unsupported { complaint, archs })
            }
            done => done,
        }
    }

    fn start_program(&self, program: &str, arguments: &[String]) -> Result<Done, BuildError> {
        let mut process = process::Command::new(program);
        process.args(arguments).current_dir(self.folder).env_clear();
        process.envs(self.plan.environment.iter().map(|(name, value)| (name, value)));
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let time = self.deadline.map_or(self.limits.time, left);
        let limits = process_tree::Limits { time, log_bytes: self.limits.log_bytes };
        let run = sandbox::run(process, &self.policy, limits, &mut |_| ());
        let Run { ending, log, layers } = run.map_err(|error| self.explain(error))?;
        if self.limits.sandbox == Demand::Whole && !layers.is_whole() {
            let missing = layers.missing_words();
            return Err(BuildError::Sandbox(SandboxError::Incomplete { missing }));
        }
        self.layers.lock().expect("nobody panics while holding it").push(layers);
        judge(&ending, log, self.folder)
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

    /// What this nvcc can build for, as it says itself; empty if it does not say.
    fn supported_archs(&self, program: &str) -> Vec<String> {
        let listed = self.start_program(program, &["--list-gpu-code".to_owned()]);
        let log = listed.map(|done| done.log).unwrap_or_default();
        log.split_whitespace().filter(|word| word.starts_with("sm_")).map(str::to_owned).collect()
    }

    /// An empty library with the driver's name, for the linker to name it in the output.
    fn make_driver_stand_in(&self) -> Result<(), BuildError> {
        let output = format!("{HERE}/{}/libcuda.so", place::DRIVER);
        let arguments =
            ["-shared", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o", &output, "-x", "c++", "/dev/null"];
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let driver = format!("{HERE}/{}/g++", place::HOST);
        let done = self.start_program(&driver, &arguments)?;
        if done.succeeded {
            return Ok(());
        }
        let reason = "cannot make a stand-in for libcuda.so".to_owned();
        Err(BuildError::Environment { reason, log: done.log })
    }

    fn not_exported(&self) -> Diagnostic {
        let symbol = &self.plan.entry_point.symbol;
        Diagnostic {
            file: Some(self.plan.entry_point.file.to_string()),
            ..Diagnostic::error(format!(
                "the library does not export `{symbol}`: expected \
                 `TVM_FFI_DLL_EXPORT_TYPED_FUNC({symbol}, …)` in one of the sources"
            ))
        }
    }
}

/// What a failed command means: the submission does not build, or a library's header is missing.
fn failure(log: &str) -> Result<BuildOutcome, BuildError> {
    let found = Diagnostics::of_failure(log);
    match headers::first_missing(&found.messages) {
        Some(missing) => Err(BuildError::MissingHeader { missing: Box::new(missing), log: found.log }),
        None => Ok(BuildOutcome::CompileError(found)),
    }
}

fn escaped(names: &[String], log: String) -> Diagnostics {
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

/// What nvcc does not support, in its own words.
fn read_complaint(log: &str) -> Option<String> {
    let complaint = log.lines().find_map(|line| line.strip_prefix(NVCC_GIVES_UP))?;
    let known = complaint.contains(ARCH_SIGN) || FLAG_SIGNS.iter().any(|sign| complaint.contains(sign));
    known.then(|| complaint.trim().to_owned())
}

fn judge(ending: &Ending, log: String, folder: &Path) -> Result<Done, BuildError> {
    if ending.is_success() {
        return Ok(Done { succeeded: true, log });
    }
    if let Some(complaint) = read_complaint(&log) {
        return Err(BuildError::Unsupported { complaint, archs: Vec::new() });
    }
    match blame::decide(ending, &log, folder) {
        Blame::Submission => Ok(Done { succeeded: false, log }),
        Blame::Machine(reason) => Err(BuildError::Environment { reason, log: diagnostics::tidy(&log) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, log: &str) -> Result<Done, BuildError> {
        judge(&Ending::Code(code), log.to_owned(), &std::env::temp_dir())
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
    }

    #[test]
    fn an_unknown_architecture_is_answered_with_the_known_ones() {
        let archs = ["sm_90", "sm_100"].map(str::to_owned).to_vec();
        let complaint = "Unsupported gpu architecture 'compute_42a'".to_owned();
        let text = BuildError::Unsupported { complaint, archs }.to_string();
        assert!(text.contains("'compute_42a': expected one of sm_90 sm_100"), "{text}");
    }
}
