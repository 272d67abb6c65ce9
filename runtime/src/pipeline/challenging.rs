//! A sample of a shared cache, built again and compared.

use proofmark_packager::{Arch, Digest};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use super::resources::Resources;
use super::{Listener, PipelineError, Settings};
use crate::build::BuildError;
use crate::cache::{BuildName, Key};
use crate::cause_text;
use crate::measure::seed::fill_with_secret;
use crate::rebuild::{Built, Freshness, RebuildError};
use crate::shared_cache::{Found, ObjectError};

/// What came of building a sample of a shared cache again.
#[derive(Debug, Serialize)]
pub struct CacheAudit {
    /// How many entries there are.
    pub entries: usize,
    /// Those that were chosen, in the order of their names.
    pub challenged: Vec<AuditedEntry>,
}

/// One entry that was built again.
#[derive(Debug, Serialize)]
pub struct AuditedEntry {
    /// Its statement.
    pub name: String,
    /// What is stated, where somebody who is allowed states it.
    pub stated: Option<Stated>,
    /// How the comparison came out.
    pub answer: AuditAnswer,
}

/// What is stated of an entry.
#[derive(Debug, Serialize)]
pub struct Stated {
    /// Which build it is.
    pub key: Key,
    /// Whose build it was first.
    pub first_built_as: BuildName,
    /// What it was built for.
    pub arch: Arch,
    /// Who says so.
    pub signed_by: Vec<String>,
    /// Which library came out there.
    pub library_sha256: Digest,
}

/// How the comparison of an entry came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum AuditAnswer {
    /// The same bytes come out here.
    Identical,
    /// Other bytes come out here, of the same inputs.
    Differs {
        /// Which library came out here.
        here_sha256: Digest,
    },
    /// Nothing that is proven comes out here, of the same inputs.
    Unproven {
        /// What comes out.
        reason: String,
    },
    /// It is not believed.
    Refused {
        /// Why.
        reason: String,
    },
    /// It cannot be built here as it was built there, so nothing is said of it, and nothing for it.
    OtherInputs {
        /// Why not.
        reason: String,
    },
}

impl CacheAudit {
    /// How many entries have this answer.
    pub fn count(&self, is_it: impl Fn(&AuditAnswer) -> bool) -> usize {
        self.challenged.iter().filter(|one| is_it(&one.answer)).count()
    }
}

/// Builds a random sample of so many entries of the shared cache again, and compares.
pub fn audit_cache(
    settings: &Settings,
    count: usize,
    listen: &mut Listener<'_>,
) -> Result<CacheAudit, PipelineError> {
    let mut resources = Resources::open(settings)?;
    // What is compared with the shared cache does not come from there, nor goes there.
    let mut shared = resources.shared.take().ok_or(ObjectError::Gone)?;
    let mut names = shared.statements()?;
    let entries = names.len();
    let mut seed = [0; 32];
    fill_with_secret(&mut seed);
    names.shuffle(&mut ChaCha12Rng::from_seed(seed));
    names.truncate(count);
    names.sort();
    let mut challenged = Vec::new();
    for name in names {
        challenged.push(match shared.stated_as(&name)? {
            Err(reason) => AuditedEntry { name, stated: None, answer: AuditAnswer::Refused { reason } },
            Ok(found) => {
                // Without a toolchain nothing can be judged; all else is of this entry alone.
                resources.find_toolchain(found.build.arch, listen)?;
                let answer = resources.challenge(&found, listen).unwrap_or_else(AuditAnswer::of);
                AuditedEntry { name, stated: Some(Stated::of(found)), answer }
            }
        });
    }
    Ok(CacheAudit { entries, challenged })
}

impl AuditAnswer {
    /// What it means that an entry could not be built again: it asks for what is not built, or it lacks something
    /// here.
    #[expect(clippy::needless_pass_by_value, reason = "an error is answered once")]
    fn of(error: PipelineError) -> Self {
        let is_its_own = matches!(
            error,
            PipelineError::Unbuildable(_)
                | PipelineError::Request { .. }
                | PipelineError::Action(_)
                | PipelineError::Rebuild(
                    RebuildError::Plan(_) | RebuildError::Build(BuildError::Unsupported { .. })
                )
        );
        let reason = cause_text::text(&error);
        if is_its_own { Self::Refused { reason } } else { Self::OtherInputs { reason } }
    }
}

impl Stated {
    fn of(found: Found) -> Self {
        Self {
            key: found.statement.key,
            first_built_as: found.statement.first_built_as,
            arch: found.build.arch,
            signed_by: found.fetched_from.signed_by,
            library_sha256: found.statement.library,
        }
    }
}

impl Resources<'_> {
    fn challenge(&mut self, found: &Found, listen: &mut Listener<'_>) -> Result<AuditAnswer, PipelineError> {
        let Found { statement, build, .. } = found;
        let other = |reason: &str| Ok(AuditAnswer::OtherInputs { reason: reason.to_owned() });
        if build.link_rule != self.settings.link_rule {
            return other("it was linked by another rule: --link-as names it");
        }
        if self.plan_key(&build.request, build.arch, listen)? != statement.plan {
            return other("its sources, commands or toolchain are others than those here");
        }
        let name = &statement.first_built_as;
        let built = self.build_request(&build.request, name, build.arch, Freshness::Fresh, listen)?;
        let here = match built {
            Built::Proven(here) => here,
            Built::Finding(finding) => {
                return Ok(AuditAnswer::Unproven { reason: finding.words() });
            }
        };
        if here.entry.key != statement.key {
            return other("it was built with other headers than those here");
        }
        let here_sha256 = here.entry.proof.library_digest();
        Ok(if here_sha256 == statement.library {
            AuditAnswer::Identical
        } else {
            AuditAnswer::Differs { here_sha256 }
        })
    }
}
