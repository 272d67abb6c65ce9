//! The first half of the line: Artifact → `BuildPlan` → `BuildOutput` → Proof → `CacheEntry`.
//!
//! Each arrow is one function in one room; [`crate::pipeline`] goes on from here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proofmark_packager::{Artifact, Digest, Gencode};

use crate::build::{self, BuildError, BuildOutcome, BuildPlan, Diagnostics, Limits, PlanError, PlanRequest};
use crate::cache::{
    BuildName, CacheEntry, CacheError, Dependencies, Ingredients, Insertion, Lookup, MissReason, Store,
};
use crate::job::Freshness;
use crate::proof::{self, Judgement, Proof, RequestedClaim};
use crate::toolchain::{FileDigests, Toolchain};

/// What a build works with besides the artifact.
pub struct BuildContext<'a> {
    /// What builds.
    pub toolchain: &'a Toolchain,
    /// What remembers file digests.
    pub digests: &'a mut FileDigests,
    /// What keeps builds.
    pub store: &'a Store,
    /// What a build may cost.
    pub limits: &'a Limits,
    /// Whether a cached build will do.
    pub freshness: Freshness,
    /// Told what takes time.
    pub narrate: &'a mut dyn FnMut(Event<'_>),
}

/// What takes time.
#[derive(Debug)]
pub enum Event<'a> {
    /// Another process builds the same plan.
    Waiting,
    /// The compiler starts, because of this.
    Building(&'a MissReason),
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
    CompileError(Diagnostics),
    /// The bytes hold something else than was asked for.
    Unproven(Box<Judgement>),
}

impl Finding {
    /// One line of words.
    pub fn words(&self) -> String {
        match self {
            Self::CompileError(_) => "it does not compile".to_owned(),
            Self::Unproven(judgement) => judgement.reasons().join("; "),
        }
    }
}

/// Where a proven build came from.
#[derive(Debug)]
pub enum CacheUse {
    /// From the cache.
    Hit,
    /// From the compiler, and why.
    Miss {
        /// Why the cache could not give it.
        reason: MissReason,
        /// The digest of an earlier library under the same key, if it was another.
        disagrees_with: Option<Digest>,
    },
}

/// A library and why it is what was asked for.
#[derive(Debug)]
pub struct ProvenBuild {
    /// Where the library stands in the cache.
    pub library: PathBuf,
    /// Its bytes.
    pub library_bytes: Vec<u8>,
    /// The proof, made from these bytes just now.
    pub proof: Proof,
    /// What went in.
    pub ingredients: Ingredients,
    /// The headers that went in.
    pub dependencies: Dependencies,
    /// The compiler's words.
    pub log: String,
    /// Where it came from.
    pub cache: CacheUse,
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

/// Takes an artifact to a proven build, from the cache or from the compiler.
pub fn rebuild(
    artifact: &Artifact,
    gencode: Gencode,
    context: &mut BuildContext<'_>,
) -> Result<Built, RebuildError> {
    let manifest = artifact.manifest();
    let plan = build::plan(PlanRequest {
        sources: artifact.sources(),
        entry_point: &manifest.build.entry_point,
        nvcc_flags: &manifest.target.nvcc_flags,
        gencode,
        toolchain: context.toolchain,
    })?;
    let ingredients = ingredients_of(artifact, &plan, context.toolchain);
    let name = &name_of(artifact);
    let reason = match look_up(name, &ingredients, context)? {
        Lookup::Hit(entry) => return Ok(proven(*entry, CacheUse::Hit)),
        Lookup::Miss(reason) => reason,
    };
    // One builder a plan: whoever waited finds the other's build.
    let right = context.store.lock(ingredients.plan_key(), || (context.narrate)(Event::Waiting))?;
    if let Lookup::Hit(entry) = look_up(name, &ingredients, context)? {
        return Ok(proven(*entry, CacheUse::Hit));
    }
    (context.narrate)(Event::Building(&reason));
    let output = match build::run(&plan, &context.store.scratch(), context.limits, context.digests)? {
        BuildOutcome::Built(output) => output,
        BuildOutcome::CompileError(diagnostics) => {
            return Ok(Built::Finding(Finding::CompileError(diagnostics)));
        }
    };
    let requested = RequestedClaim::from_command(plan.compile.iter().flat_map(|command| &command.arguments));
    let proof = match proof::prove(&requested, &output.library, gencode.real_arch) {
        Ok(proof) => proof,
        Err(judgement) => return Ok(Built::Finding(Finding::Unproven(judgement))),
    };
    let headers = output.dependencies.iter().filter(|read| !read.is_source());
    let insertion = Insertion {
        name,
        ingredients: &ingredients,
        dependencies: &headers.map(|read| (read.label.clone(), read.sha256)).collect(),
        library: &output.library,
        log: &output.log,
        proof: &proof,
    };
    let inserted = context.store.insert(&right, &insertion)?;
    let cache = CacheUse::Miss { reason, disagrees_with: inserted.disagrees_with };
    Ok(proven(inserted.entry, cache))
}

fn look_up(
    name: &BuildName,
    ingredients: &Ingredients,
    context: &mut BuildContext<'_>,
) -> Result<Lookup, CacheError> {
    if context.freshness == Freshness::Fresh {
        return Ok(Lookup::Miss(MissReason::Bypassed));
    }
    let BuildContext { toolchain, digests, store, .. } = context;
    store.look_up(name, ingredients, |label| {
        let path = build::locate(label, toolchain)?;
        digests.digest(&path).ok()
    })
}

fn name_of(artifact: &Artifact) -> BuildName {
    let solution = &artifact.manifest().solution;
    BuildName { solution: solution.name.clone(), definition: solution.definition.clone() }
}

fn ingredients_of(artifact: &Artifact, plan: &BuildPlan, toolchain: &Toolchain) -> Ingredients {
    let manifest = artifact.manifest();
    let sources = manifest.sources.iter().map(|source| (source.path.to_string(), source.sha256));
    Ingredients {
        sources: sources.collect::<BTreeMap<_, _>>(),
        entry_symbol: plan.entry_point.symbol.clone(),
        gencode: plan.gencode,
        commands: plan.command_lines(),
        toolchain: toolchain.fingerprint.clone(),
    }
}

fn proven(entry: CacheEntry, cache: CacheUse) -> Built {
    let CacheEntry { library, library_bytes, proof, ingredients, dependencies, log, .. } = entry;
    let build = ProvenBuild { library, library_bytes, proof, ingredients, dependencies, log, cache };
    Built::Proven(Box::new(build))
}
