//! Everything that is known about one path, gathered file by file: only sums and what is shown stays in
//! memory, so that a folder of hundreds of thousands of files costs little.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proofmark_packager::Arch;
use proofmark_packager::submission::{open_config, target_of};

use super::contents::Contents;
use super::examined::{Examined, FileLine};
use super::extraction::Extraction;
use super::headline::Weaker;
use super::spool::Spool;
use super::{Arguments, could_not_read};
use crate::cli::console::{AnswerFormat, Console};
use crate::cli::failure::Failure;
use crate::proof::{
    Depth, Entry, Examination, Policy, ProofVerdict, RequestedClaim, Requests, RuntimeJit, Specimen,
    VisitTally, claim_of_file, combine, examine_to, is_compiler_check, judge, requests_in_folder, say, visit,
    visit_to,
};
use crate::rebuild::ProvenBuild;

/// Compressed images of larger files stay packed in a list unless kernels are asked for, in bytes: up to here, unpacking
/// is not felt.
const LIST_UNPACK_BYTES: u64 = 8 << 20;
/// Most files of which more than their verdict is kept for a table; the JSON has all.
const KEPT_FILES: usize = 1000;

/// Everything that is known about one path.
pub(super) struct Answer {
    pub(super) verdict: ProofVerdict,
    pub(super) policy: Policy,
    pub(super) requests: Option<Requests>,
    /// The claim of a rebuild.
    pub(super) rebuilt: Option<RequestedClaim>,
    pub(super) contents: Contents,
    pub(super) weaker: Weaker,
    /// Files that say something, up to a number.
    pub(super) files: Vec<FileLine>,
    /// How many there are.
    pub(super) speaking: usize,
    /// How many files were examined.
    pub(super) examined: usize,
    /// Files of CMake's own compiler check, which are not judged.
    pub(super) passed_over: usize,
    pub(super) runtime_jit: BTreeSet<RuntimeJit>,
    /// Files, each with a library that it needs and does not name, in words.
    pub(super) missing_libraries: BTreeSet<(String, String)>,
    pub(super) tally: VisitTally,
    /// Whether device code was looked for in other forms too.
    pub(super) is_whole: bool,
    pub(super) spool: Option<Spool>,
}

impl Answer {
    /// Examines a path, and the library that was rebuilt from it.
    pub(super) fn about(
        path: &Path,
        arguments: &Arguments,
        rebuilt: Option<&ProvenBuild>,
        mut extraction: Option<&mut Extraction>,
        console: &Console,
    ) -> Result<Self, Failure> {
        let arch = rebuilt.map(|build| build.entry.proof.arch()).or(arguments.arch);
        let arch = arch.or_else(|| arch_of_submission(path)).unwrap_or(Arch::SM_100A);
        let policy = Policy {
            allow_ptx: arguments.allow_ptx,
            also_allowed: arguments.allow.clone(),
            ..Policy::for_file(arch)
        };
        let mut gathering = Gathering {
            answer: Self {
                verdict: ProofVerdict::Absent,
                policy,
                requests: None,
                rebuilt: rebuilt.map(|build| build.entry.proof.requested().clone()),
                contents: Contents::default(),
                weaker: Weaker::default(),
                files: Vec::new(),
                speaking: 0,
                examined: 0,
                passed_over: 0,
                runtime_jit: BTreeSet::new(),
                missing_libraries: BTreeSet::new(),
                tally: VisitTally::default(),
                is_whole: !arguments.lists() || extraction.is_some(),
                spool: (console.format() == AnswerFormat::Json).then(Spool::default),
            },
            said: BTreeSet::new(),
            lists: arguments.lists(),
            kernels: arguments.kernels,
            root: None,
            failure: None,
        };
        let mut tally = VisitTally::default();
        if let Some(build) = rebuilt {
            let claim = build.entry.proof.requested().clone();
            let look =
                |specimen: &Specimen<'_>| gathering.look(specimen, Some(&claim), extraction.as_deref_mut());
            tally = visit(&build.entry.library, look).map_err(could_not_read)?;
        }
        if rebuilt.is_none() || path.is_dir() {
            gathering.answer.requests = requests_beside(path);
            gathering.root = path.canonicalize().ok().map(|real| (path.to_owned(), real));
            let depth = if gathering.answer.is_whole { Depth::Facts } else { Depth::Images };
            let look = |specimen: &Specimen<'_>| gathering.look(specimen, None, extraction.as_deref_mut());
            let found = visit_to(path, depth, look).map_err(could_not_read)?;
            tally.files += found.files;
            tally.size_bytes += found.size_bytes;
            tally.unread.extend(found.unread);
        }
        let Gathering { mut answer, said, failure, .. } = gathering;
        if let Some(failure) = failure {
            return Err(failure);
        }
        answer.verdict = combine(said, &tally.unread);
        answer.tally = tally;
        Ok(answer)
    }

    /// Every claim that is about this path, each once.
    pub(super) fn claims(&self) -> Vec<RequestedClaim> {
        let asked = self.requests.iter().flat_map(Requests::distinct_claims);
        self.rebuilt.iter().cloned().chain(asked).collect()
    }
}

/// A submission folder names its architecture, built or not.
fn arch_of_submission(path: &Path) -> Option<Arch> {
    let (_, text) = path.is_dir().then(|| open_config(path).ok()).flatten()?;
    target_of(&text).ok().map(|target| target.arch)
}

/// What was asked for, by the files that a build leaves beside its output, or by the log itself.
fn requests_beside(path: &Path) -> Option<Requests> {
    if path.is_dir() {
        let requests = requests_in_folder(path);
        return (!requests.is_empty() || !requests.notes.is_empty()).then_some(requests);
    }
    claim_of_file(path)
}

struct Gathering {
    answer: Answer,
    said: BTreeSet<ProofVerdict>,
    lists: bool,
    kernels: bool,
    /// The path as given and as it really is.
    root: Option<(PathBuf, PathBuf)>,
    failure: Option<Failure>,
}

impl Gathering {
    fn look(
        &mut self,
        specimen: &Specimen<'_>,
        claim: Option<&RequestedClaim>,
        extraction: Option<&mut Extraction>,
    ) {
        if self.failure.is_some() {
            return;
        }
        let examination = examine_to(specimen.bytes, self.depth(specimen.bytes));
        let place = self.place(&specimen.name);
        if place.as_deref().is_some_and(|place| is_compiler_check(place, &examination)) {
            self.answer.passed_over += 1;
            return;
        }
        if let Some(extraction) = extraction
            && let Err(failure) = extraction.take(specimen, &examination)
        {
            self.failure = Some(failure);
        }
        let own = || self.claim_for(place.as_deref()?, &examination);
        let claim = claim.cloned().or_else(own);
        // A claim speaks about files that hold device code.
        let claim = claim.filter(|_| !examination.entries.iter().all(Entry::is_stub));
        let judgement = (!self.lists).then(|| judge(&examination, claim.as_ref(), &self.answer.policy));
        let one = Examined {
            name: &specimen.name,
            examination: &examination,
            judgement: judgement.as_ref(),
            claim: claim.as_ref(),
        };
        self.said.extend(judgement.as_ref().and_then(|judgement| say(&examination, judgement)));
        self.keep(&one);
    }

    /// The real place of a file; what lies in an archive has none.
    fn place(&self, name: &str) -> Option<PathBuf> {
        let (given, real) = self.root.as_ref()?;
        let inner = Path::new(name).strip_prefix(given).ok()?;
        Some(if inner.as_os_str().is_empty() { real.clone() } else { real.join(inner) })
    }

    fn claim_for(&self, place: &Path, examination: &Examination) -> Option<RequestedClaim> {
        let built = examination.machine_code().filter(|entry| !entry.is_stub());
        let built: BTreeSet<Arch> = built.filter_map(|entry| entry.arch).collect();
        self.answer.requests.as_ref()?.claim_for(place, &built)
    }

    fn keep(&mut self, one: &Examined<'_>) {
        let answer = &mut self.answer;
        answer.examined += 1;
        answer.contents.add(one, self.lists);
        answer.weaker.add(one.examination, &answer.policy);
        answer.runtime_jit.extend(one.examination.runtime_jit.iter().cloned());
        let missing = one.examination.missing_libraries.iter();
        let missing = missing.map(|missing| (one.name.to_owned(), missing.to_string()));
        answer.missing_libraries.extend(missing);
        if let Some(spool) = &mut answer.spool
            && let Err(error) = spool.add(one)
        {
            self.failure = Some(Failure::could_not_judge(error));
        }
        let speaks = !one.examination.entries.is_empty()
            || match one.judgement {
                Some(judgement) => judgement.verdict() != ProofVerdict::Absent,
                None => !one.examination.unaccounted.is_empty(),
            };
        if !speaks {
            return;
        }
        answer.speaking += 1;
        if answer.files.len() < KEPT_FILES {
            answer.files.push(FileLine::of(one));
        }
    }

    /// How deep to read: a proof reads all, a list no more than is cheap.
    fn depth(&self, bytes: &[u8]) -> Depth {
        match (self.lists, self.answer.is_whole) {
            (false, _) => Depth::Digests,
            (true, true) => Depth::Facts,
            (true, false) if self.kernels || bytes.len() as u64 <= LIST_UNPACK_BYTES => Depth::Images,
            (true, false) => Depth::Headers,
        }
    }
}
