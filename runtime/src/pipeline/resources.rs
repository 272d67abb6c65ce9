//! What a job works with on this machine: opened once, handed on.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proofmark_packager::interop::flashinfer::Definition;
use proofmark_packager::{Arch, Artifact, Gencode};
use proofmark_player::Refusals;
use proofmark_player::process::own_program;

use super::{Event, Listener, PipelineError};
use crate::build::{BuildLimits, BuildRequest, LinkRule, TORCH_MODULE, check_buildable, kits_of};
use crate::cache::{BuildName, PlanKey, Store};
use crate::measure::Neighbours;
use crate::python::{Interpreter, InterpreterError, PythonHome};
use crate::rebuild::{self, BuildContext, BuildEvent, Built, Freshness, RebuildError};
use crate::shared_cache::{SharedCache, Sharing};
use crate::toolchain::install::{ObtainError, Progress, Step, WheelSource, find_or_install};
use crate::toolchain::{
    self, DigestTrust, FileDigests, Kit, KitName, KitSearch, KitSearchError, Search, Toolchain,
    search::find_tvm_ffi,
};

/// Where things are on this machine, and what may be spent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the build cache.
    pub cache: PathBuf,
    /// What others built, and may have.
    pub sharing: Option<Sharing>,
    /// Where a toolchain is looked for.
    pub search: Search,
    /// Whether a missing toolchain may be fetched.
    pub download: Download,
    /// Whether remembered file digests count.
    pub trust: DigestTrust,
    /// What a build may cost.
    pub limits: BuildLimits,
    /// What is linked without being asked for.
    pub link_rule: LinkRule,
    /// The Python whose pip fetches, whose headers modules are built with, and which runs Python entries.
    pub python: PathBuf,
    /// `libtvm_ffi.so`; `None` takes the one that the toolchain builds against.
    pub tvm_ffi: Option<PathBuf>,
    /// `libcupti.so`; `None` looks for it.
    pub cupti: Option<PathBuf>,
    /// The player's library, by which Python is measured; `None` looks beside the program.
    pub player_library: Option<PathBuf>,
    /// What becomes of system calls that players refuse.
    pub refusals: Refusals,
    /// What other processes on the same GPU mean.
    pub neighbours: Neighbours,
    /// Where results are appended, and what of an interrupted run is taken from.
    pub record: Option<PathBuf>,
}

/// Whether a missing toolchain may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Download {
    /// Through pip, checked against pinned digests.
    Allowed,
    /// Never.
    Refused,
}

/// The cache, the remembered digests, and the toolchain once it is needed.
pub(crate) struct Resources<'job> {
    pub(super) settings: &'job Settings,
    pub(super) store: Store,
    pub(super) shared: Option<SharedCache>,
    digests: FileDigests,
    toolchain: Option<Toolchain>,
    interpreter: Option<Interpreter>,
}

impl<'job> Resources<'job> {
    /// Opens the cache.
    pub(crate) fn open(settings: &'job Settings) -> Result<Self, PipelineError> {
        let store = Store::open(&settings.cache)?;
        let digests = FileDigests::open(store.root(), settings.trust);
        let shared = settings.sharing.as_ref().map(SharedCache::open).transpose()?;
        Ok(Self { settings, store, shared, digests, toolchain: None, interpreter: None })
    }

    /// Takes an artifact to a proven build.
    pub(crate) fn build(
        &mut self,
        artifact: &Artifact,
        arch: Arch,
        freshness: Freshness,
        listen: &mut Listener<'_>,
    ) -> Result<Built, PipelineError> {
        check_buildable(artifact)?;
        let solution = &artifact.manifest().solution;
        let name = BuildName { solution: solution.name.clone(), definition: solution.definition.clone() };
        self.build_request(&BuildRequest::of(artifact), &name, arch, freshness, listen)
    }

    /// Takes a request to a proven build.
    pub(crate) fn build_request(
        &mut self,
        request: &BuildRequest,
        build_name: &BuildName,
        arch: Arch,
        freshness: Freshness,
        listen: &mut Listener<'_>,
    ) -> Result<Built, PipelineError> {
        self.with_context(request, &build_name.solution, arch, freshness, listen, |context| {
            rebuild::rebuild(request, build_name, Gencode::exact(arch), context)
        })
    }

    /// Names the plan of a request as it would be built here, without building anything.
    pub(crate) fn plan_key(
        &mut self,
        request: &BuildRequest,
        arch: Arch,
        listen: &mut Listener<'_>,
    ) -> Result<PlanKey, PipelineError> {
        self.with_context(request, "", arch, Freshness::Fresh, listen, |context| {
            rebuild::plan_key(request, Gencode::exact(arch), context)
        })
    }

    fn with_context<T>(
        &mut self,
        request: &BuildRequest,
        name: &str,
        arch: Arch,
        freshness: Freshness,
        listen: &mut Listener<'_>,
        work: impl FnOnce(&mut BuildContext<'_>) -> Result<T, RebuildError>,
    ) -> Result<T, PipelineError> {
        self.find_toolchain(arch, listen)?;
        let kits = self.find_kits(request, listen)?;
        let mut narrate = |event: BuildEvent<'_>| match event {
            BuildEvent::Waiting => listen(Event::Waiting),
            BuildEvent::Building(reason) => listen(Event::Building { name, arch, reason }),
            BuildEvent::Sharing(notice) => listen(Event::Sharing(notice)),
        };
        let mut context = BuildContext {
            toolchain: self.toolchain.as_ref().expect("found just above"),
            kits: &kits,
            link_rule: self.settings.link_rule,
            digests: &mut self.digests,
            store: &self.store,
            limits: &self.settings.limits,
            shared: self.shared.as_mut(),
            freshness,
            narrate: &mut narrate,
        };
        let done = work(&mut context)?;
        // What is not remembered is hashed again next time: slower, never wrong.
        let _ = self.digests.save();
        Ok(done)
    }

    /// A place for a submission in Python.
    pub(crate) fn python_home(&mut self, artifact: &Artifact) -> Result<PythonHome, PipelineError> {
        let program = own_program().map_err(|source| PipelineError::Program { source })?;
        let named = self.settings.player_library.as_deref();
        Ok(PythonHome::of_submission(artifact, self.interpreter()?, named, &program)?)
    }

    /// A place for a submission that was built as a module of Python.
    pub(crate) fn extension_home(&mut self, library: &[u8]) -> Result<PythonHome, PipelineError> {
        let program = own_program().map_err(|source| PipelineError::Program { source })?;
        let named = self.settings.player_library.as_deref();
        Ok(PythonHome::of_extension(TORCH_MODULE, library, self.interpreter()?, named, &program)?)
    }

    /// A place for a definition's own reference.
    pub(crate) fn definition_home(&mut self, definition: &Definition) -> Result<PythonHome, PipelineError> {
        let program = own_program().map_err(|source| PipelineError::Program { source })?;
        let named = self.settings.player_library.as_deref();
        Ok(PythonHome::of_definition(self.definition_interpreter(definition)?, named, &program)?)
    }

    /// What runs a definition's own reference.
    pub(super) fn definition_interpreter(
        &mut self,
        definition: &Definition,
    ) -> Result<&Interpreter, PipelineError> {
        self.find_interpreter().map_err(|source| {
            let definition = definition.name().to_owned();
            PipelineError::NoReference { definition, source: Box::new(source) }
        })
    }

    pub(super) fn interpreter(&mut self) -> Result<&Interpreter, PipelineError> {
        Ok(self.find_interpreter()?)
    }

    fn find_interpreter(&mut self) -> Result<&Interpreter, InterpreterError> {
        match &mut self.interpreter {
            Some(interpreter) => Ok(interpreter),
            none => Ok(none.insert(Interpreter::with_torch(&self.settings.python)?)),
        }
    }

    /// The absolute path of the library that kernels are called through.
    pub(crate) fn tvm_ffi(&mut self) -> Result<PathBuf, PipelineError> {
        let path = match (&self.settings.tvm_ffi, &self.toolchain) {
            (Some(path), _) => path.clone(),
            (None, Some(toolchain)) => toolchain.tvm_ffi.library(),
            (None, None) => find_tvm_ffi(&self.settings.search, &mut self.digests)
                .map_err(|source| PipelineError::TvmFfi { source: Box::new(source) })?
                .library(),
        };
        let is_named = self.settings.tvm_ffi.is_some();
        path.canonicalize().map_err(|source| PipelineError::NoTvmFfi { path, is_named, source })
    }

    /// Finds the kits that a request asks for, and installs what is missing if that is allowed.
    fn find_kits(
        &mut self,
        request: &BuildRequest,
        listen: &mut Listener<'_>,
    ) -> Result<Vec<Kit>, PipelineError> {
        let names = kits_of(&request.sources, &request.dependencies, &request.interface);
        self.kits_named(&names, &mut Installing(listen))
    }

    /// Finds kits by their names.
    pub(super) fn kits_named(
        &mut self,
        names: &BTreeSet<KitName>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Kit>, PipelineError> {
        let toolchain = self.toolchain.as_ref().expect("found before");
        let search = KitSearch {
            data: self.settings.search.data.as_ref(),
            machine: &self.settings.search.machine,
            cuda_home: toolchain.home(),
            python: &self.settings.python,
        };
        let may_fetch = self.settings.download == Download::Allowed;
        let found = search.find(names, &mut self.digests, may_fetch, progress);
        found.map_err(|error| match error {
            KitSearchError::Install(error) => PipelineError::Toolchain { source: Box::new(error.into()) },
            KitSearchError::Python(error) => error.into(),
        })
    }

    /// Finds the toolchain, and installs the pinned one if there is none and that is allowed.
    pub(super) fn find_toolchain(
        &mut self,
        arch: Arch,
        listen: &mut Listener<'_>,
    ) -> Result<(), PipelineError> {
        if self.toolchain.is_some() {
            return Ok(());
        }
        let search = Search { arch: Some(arch), ..self.settings.search.clone() };
        let found = match self.settings.download {
            Download::Refused => toolchain::find(&search, &mut self.digests).map_err(ObtainError::from),
            Download::Allowed => {
                let wheels = WheelSource::Pip { python: self.settings.python.clone() };
                find_or_install(&search, &mut self.digests, wheels, &mut Installing(listen))
            }
        };
        self.toolchain = Some(found.map_err(|source| PipelineError::Toolchain { source: Box::new(source) })?);
        Ok(())
    }
}

/// An installation as events of the job.
pub(super) struct Installing<'a, 'b>(pub(super) &'a mut Listener<'b>);

impl Progress for Installing<'_, '_> {
    fn step(&mut self, step: &Step) {
        (self.0)(Event::Installing(step));
    }
}
