//! The first half of the line: Artifact → `BuildPlan` → `BuildOutput` → Proof → `CacheEntry`.
//!
//! Each arrow is one function in one room; [`crate::pipeline`] goes on from here.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use proofmark_packager::{Digest, Gencode, SourcePath};
use serde::{Deserialize, Serialize};

use crate::build::{
    self, BuildError, BuildLimits, BuildOutcome, BuildPlan, BuildRequest, Diagnostic, Diagnostics,
    KernelResources, LinkRule, PlanError, PlanRequest, Unit, UnitCounts, diagnostics, resources,
};
use crate::cache::{
    BuildName, CacheEntry, CacheError, Ingredients, Inserted, Insertion, Lookup, MissReason, PlanKey,
    PlanLock, Store, UnitKey,
};
use crate::proof::{self, Judgement, ProofVerdict, RequestedClaim};
use crate::sandbox::Layers;
use crate::shared_cache::{SharedCache, SharingNotice};
use crate::toolchain::{FileDigests, Kit, Toolchain};

/// Whether a cached build will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// A proven build from the cache, proven again.
    Cached,
    /// A build of its own, whatever the cache holds.
    Fresh,
}

/// What a build works with besides the request.
pub struct BuildContext<'a> {
    /// What builds.
    pub toolchain: &'a Toolchain,
    /// Headers that the request asks for beside it.
    pub kits: &'a [Kit],
    /// What is linked without being asked for.
    pub link_rule: LinkRule,
    /// What remembers file digests.
    pub digests: &'a mut FileDigests,
    /// What keeps builds.
    pub store: &'a Store,
    /// What a build may cost.
    pub limits: &'a BuildLimits,
    /// What others built, and may have.
    pub shared: Option<&'a mut SharedCache>,
    /// Whether a cached build will do.
    pub freshness: Freshness,
    /// Told what takes time.
    pub narrate: &'a mut dyn FnMut(BuildEvent<'_>),
}

/// What takes time.
#[derive(Debug)]
pub enum BuildEvent<'a> {
    /// Another process builds the same plan.
    Waiting,
    /// The compiler starts, because of this.
    Building(&'a MissReason),
    /// Something about the shared cache.
    Sharing(&'a SharingNotice),
}

/// What came of a build: a finding, whichever it is.
#[derive(Debug)]
#[must_use]
pub enum Built {
    /// Built and proven.
    Proven(Box<ProvenBuild>),
    /// A build that is no proven one.
    Finding(Finding),
}

/// Why there is no proven build: an answer, not an error.
#[derive(Debug)]
pub enum Finding {
    /// The sources do not compile.
    CompileError {
        /// What the compiler said.
        diagnostics: Diagnostics,
        /// When it said so.
        said: Said,
    },
    /// The bytes hold something else than was asked for.
    Unproven(Box<Judgement>),
}

/// When a compiler found that sources do not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It ran for this request.
    Now,
    /// It ran for another request for the same build, some seconds ago.
    Recently,
}

impl Finding {
    /// One line of words.
    pub fn words(&self) -> String {
        match self {
            Self::CompileError { .. } => "it does not compile".to_owned(),
            Self::Unproven(judgement) => judgement.reasons().join("; "),
        }
    }
}

/// Where a proven build came from.
#[derive(Debug)]
pub enum CacheUse {
    /// From the cache.
    Hit,
    /// From a shared cache; the entry says which.
    Fetched {
        /// Why the cache here could not give it.
        reason: MissReason,
        /// The digest of an earlier library under the same key, if it was another.
        disagrees_with: Option<Digest>,
    },
    /// From the compiler, and why.
    Miss {
        /// Why the cache could not give it.
        reason: MissReason,
        /// The digest of an earlier library under the same key, if it was another.
        disagrees_with: Option<Digest>,
        /// How many sources were compiled, and how many objects of earlier builds were used again.
        units: UnitCounts,
    },
}

/// How much of a build was made just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildExtent {
    /// All of it: only then do equal bytes say that it can be made again.
    Rebuilt,
    /// Some sources were compiled, others came as objects of earlier builds.
    PartlyRebuilt,
    /// Nothing: the library is the cache's, or a shared cache's.
    Cached,
}

/// A library that is what was asked for, and how it came about.
#[derive(Debug)]
pub struct ProvenBuild {
    /// The library as the cache keeps it, with the proof that its bytes gave just now.
    pub entry: CacheEntry,
    /// What each kernel uses of the device, as ptxas said when it was compiled.
    pub resources: Vec<KernelResources>,
    /// What the compilers and the linker had doubts about.
    pub warnings: Vec<Diagnostic>,
    /// Where it came from.
    pub cache: CacheUse,
    /// The sandbox that it was built in just now; `None` if it came from the cache.
    pub sandbox: Option<Layers>,
}

impl ProvenBuild {
    /// How much of it was made just now.
    pub fn extent(&self) -> RebuildExtent {
        match &self.cache {
            CacheUse::Miss { units: UnitCounts { reused: 0, .. }, .. } => RebuildExtent::Rebuilt,
            CacheUse::Miss { .. } => RebuildExtent::PartlyRebuilt,
            CacheUse::Hit | CacheUse::Fetched { .. } => RebuildExtent::Cached,
        }
    }

    /// Whether all of it was made just now.
    pub fn is_rebuilt(&self) -> bool {
        self.extent() == RebuildExtent::Rebuilt
    }
}

/// Why nothing could be said of a build.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The submission asks for what cannot be built.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The compiler could not be run.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Names the plan of a request, without building anything.
pub fn plan_key(
    request: &BuildRequest,
    gencode: Gencode,
    context: &BuildContext<'_>,
) -> Result<PlanKey, RebuildError> {
    Ok(ingredients_of(&plan_of(request, gencode, context)?, context.toolchain).plan_key())
}

fn plan_of(
    request: &BuildRequest,
    gencode: Gencode,
    context: &BuildContext<'_>,
) -> Result<BuildPlan, PlanError> {
    build::plan(PlanRequest {
        sources: &request.sources,
        entry_file: request.entry_file.as_ref(),
        units: request.units.as_deref(),
        interface: &request.interface,
        nvcc_flags: &request.nvcc_flags,
        host_flags: request.host_flags.as_deref(),
        gencode,
        toolchain: context.toolchain,
        kits: context.kits,
        link_rule: context.link_rule,
    })
}

/// Takes a request to a proven build, from the cache or from the compiler.
pub fn rebuild(
    request: &BuildRequest,
    name: &BuildName,
    gencode: Gencode,
    context: &mut BuildContext<'_>,
) -> Result<Built, RebuildError> {
    let plan = plan_of(request, gencode, context)?;
    let ingredients = ingredients_of(&plan, context.toolchain);
    let requested = RequestedClaim::from_command(plan.compile.iter().flat_map(|command| &command.arguments));
    let reason = match look_up(name, &ingredients, context)? {
        Lookup::Hit(entry) => return Ok(hit(*entry, request, context)),
        Lookup::Miss(reason) => reason,
    };
    // One builder a plan: whoever waited finds the other's build. Waiting for another builder counts, waiting for a
    // shared cache does not: that has a patience of its own.
    let began = Instant::now();
    let plan_key = ingredients.plan_key();
    let right =
        context.store.lock(plan_key, context.limits.time, || (context.narrate)(BuildEvent::Waiting))?;
    let time = context.limits.time.saturating_sub(began.elapsed());
    if let Lookup::Hit(entry) = look_up(name, &ingredients, context)? {
        return Ok(hit(*entry, request, context));
    }
    let wanted = Wanted { request, name, ingredients: &ingredients, requested: &requested };
    if let Some(Inserted { entry, disagrees_with }) = fetch(&wanted, &right, context)? {
        return Ok(proven(entry, CacheUse::Fetched { reason, disagrees_with }, None));
    }
    let is_fresh = context.freshness == Freshness::Fresh;
    if let Some(diagnostics) = context.store.recent_failure(plan_key, SystemTime::now()).filter(|_| !is_fresh)
    {
        return Ok(Built::Finding(Finding::CompileError { diagnostics, said: Said::Recently }));
    }
    (context.narrate)(BuildEvent::Building(&reason));
    let units = unit_keys(&plan, &ingredients);
    let reused = reusable(&units, &ingredients, context);
    let limits = BuildLimits { time, ..*context.limits };
    let ended = build::run(&plan, reused, &context.store.scratch(), &limits, context.digests)?;
    for (index, unit) in &ended.compiled {
        // What cannot be kept, because another process clears the cache, is compiled again: slower, never wrong.
        let _ = context.store.keep_unit(units[*index], unit);
    }
    let output = match ended.outcome {
        BuildOutcome::Built(output) => output,
        BuildOutcome::CompileError(diagnostics) => {
            // What is not remembered is compiled again: slower, never wrong.
            let _ = context.store.remember_failure(&right, plan_key, &diagnostics);
            return Ok(Built::Finding(Finding::CompileError { diagnostics, said: Said::Now }));
        }
    };
    let proof = match proof::prove(&requested, &output.library, gencode.real_arch) {
        Ok(proof) => proof,
        Err(judgement)
            if judgement.verdict() == ProofVerdict::Absent && resources::read(&output.log).is_empty() =>
        {
            let diagnostics = Diagnostics::of_no_kernel(output.log);
            return Ok(Built::Finding(Finding::CompileError { diagnostics, said: Said::Now }));
        }
        Err(judgement) => return Ok(Built::Finding(Finding::Unproven(judgement))),
    };
    let headers = output.dependencies.iter().filter(|(label, _)| build::packed_path(label).is_none());
    let insertion = Insertion {
        name,
        ingredients: &ingredients,
        dependencies: &headers.map(|(label, sha256)| (label.clone(), *sha256)).collect(),
        library: &output.library,
        log: &output.log,
        proof: &proof,
        fetched_from: None,
    };
    let inserted = context.store.insert(&right, &insertion)?;
    let cache = CacheUse::Miss { reason, disagrees_with: inserted.disagrees_with, units: output.units };
    share(&inserted.entry, request, context);
    Ok(proven(inserted.entry, cache, Some(output.sandbox)))
}

fn look_up(
    name: &BuildName,
    ingredients: &Ingredients,
    context: &mut BuildContext<'_>,
) -> Result<Lookup, CacheError> {
    if context.freshness == Freshness::Fresh {
        return Ok(Lookup::Miss(MissReason::Bypassed));
    }
    let BuildContext { toolchain, kits, digests, store, .. } = context;
    store.look_up(name, ingredients, |label| {
        let path = build::locate(label, toolchain, kits)?;
        digests.digest(&path).ok()
    })
}

/// What is looked for in a shared cache.
struct Wanted<'a> {
    request: &'a BuildRequest,
    name: &'a BuildName,
    ingredients: &'a Ingredients,
    requested: &'a RequestedClaim,
}

/// Takes a build from the shared cache into ours, proven like one that was made here.
fn fetch(
    wanted: &Wanted<'_>,
    right: &PlanLock,
    context: &mut BuildContext<'_>,
) -> Result<Option<Inserted>, RebuildError> {
    let BuildContext { toolchain, kits, digests, store, shared, freshness, narrate, .. } = context;
    let Some(shared) = shared.as_mut().filter(|_| *freshness == Freshness::Cached) else { return Ok(None) };
    let current = |label: &str| {
        // A label of others may lead to a pipe or a device.
        let path = build::locate(label, toolchain, kits).filter(|path| path.is_file())?;
        digests.digest(&path).ok()
    };
    let mut tell = |notice: SharingNotice| narrate(BuildEvent::Sharing(&notice));
    let Some(found) = shared.look_up(wanted.ingredients.plan_key(), current, &mut tell) else {
        return Ok(None);
    };
    let library = &found.build.library;
    let arch = wanted.ingredients.gencode.real_arch;
    let refused = match proof::prove(wanted.requested, library, arch) {
        // What went in is archived so that it can be built again: of something else that would show nothing.
        Ok(_) if !same_request(&found.build.request, wanted.request) || found.build.arch != arch => {
            "the sources and flags in it are not those of this build".to_owned()
        }
        Ok(_) if !wanted.request.interface.is_exported_by(library).unwrap_or(false) => {
            "its library does not export what is called".to_owned()
        }
        Ok(proof) => {
            let insertion = Insertion {
                name: wanted.name,
                ingredients: wanted.ingredients,
                dependencies: &found.statement.dependencies,
                library,
                log: &found.build.log,
                proof: &proof,
                fetched_from: Some(&found.fetched_from),
            };
            return Ok(Some(store.insert(right, &insertion)?));
        }
        Err(judgement) => format!("it is not proven: {}", judgement.reasons().join("; ")),
    };
    let place = shared.place().clone();
    tell(SharingNotice::Refused { place, name: found.name, reason: refused, others: 0 });
    Ok(None)
}

/// Whether two requests are one, in whatever order their files stand.
fn same_request(archived: &BuildRequest, wanted: &BuildRequest) -> bool {
    let ordered = |request: &BuildRequest| {
        let mut request = request.clone();
        request.sources.sort_by(|a, b| a.path.cmp(&b.path));
        request
    };
    ordered(archived) == ordered(wanted)
}

/// Puts a build that was made here into the shared cache, where that was asked for.
fn share(entry: &CacheEntry, request: &BuildRequest, context: &mut BuildContext<'_>) {
    let BuildContext { shared, link_rule, narrate, .. } = context;
    if let Some(shared) = shared.as_mut() {
        let mut tell = |notice: SharingNotice| narrate(BuildEvent::Sharing(&notice));
        shared.share(entry, request, *link_rule, &mut tell);
    }
}

/// A hit here may be news there.
fn hit(entry: CacheEntry, request: &BuildRequest, context: &mut BuildContext<'_>) -> Built {
    share(&entry, request, context);
    proven(entry, CacheUse::Hit, None)
}

/// Names each unit of a plan, in its order.
fn unit_keys(plan: &BuildPlan, ingredients: &Ingredients) -> Vec<UnitKey> {
    let key =
        |(index, source): (usize, &SourcePath)| ingredients.unit_key(source.as_str(), &plan.unit_line(index));
    plan.units().enumerate().map(key).collect()
}

/// The units that need not be compiled, at their places in the plan; none of a fresh build.
fn reusable(
    units: &[UnitKey],
    ingredients: &Ingredients,
    context: &mut BuildContext<'_>,
) -> Vec<Option<Unit>> {
    if context.freshness == Freshness::Fresh {
        return vec![None; units.len()];
    }
    let BuildContext { toolchain, kits, digests, store, .. } = context;
    // Units read mostly the same headers.
    let mut known = BTreeMap::new();
    let mut current = |label: &str| match build::packed_path(label) {
        Some(path) => ingredients.sources.get(path).copied(),
        None => *known.entry(label.to_owned()).or_insert_with(|| {
            let path = build::locate(label, toolchain, kits)?;
            digests.digest(&path).ok()
        }),
    };
    units.iter().map(|&unit| store.unit(unit, &mut current)).collect()
}

fn ingredients_of(plan: &BuildPlan, toolchain: &Toolchain) -> Ingredients {
    Ingredients {
        sources: plan.source_digests(),
        entry_symbol: plan.interface.key(),
        gencode: plan.gencode,
        commands: plan.command_lines(),
        toolchain: toolchain.fingerprint.clone().with_kits(&plan.kits),
    }
}

fn proven(entry: CacheEntry, cache: CacheUse, sandbox: Option<Layers>) -> Built {
    // Read from the words that are kept, so that a hit shows what the first build showed.
    let (resources, warnings) = (resources::read(&entry.log), diagnostics::warnings(&entry.log));
    Built::Proven(Box::new(ProvenBuild { entry, resources, warnings, cache, sandbox }))
}
