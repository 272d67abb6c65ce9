//! What an outcome says, held against the job that it answers.
//!
//! An outcome is a file that others can write. So nothing of it is taken alone: it must name the job's digest,
//! its records must be of what the job measures, its figures must follow from its records, its verdict must be one
//! that the job's verb gives, and its exit code must be that verdict's. What does not agree is named and counts for
//! nothing. What nobody can know from these alone, whether a measurement took place, is the word of whoever may
//! write the folder of results.

use std::collections::HashSet;

use proofmark_packager::interop::flashinfer::Workload;
use proofmark_packager::{Arch, Artifact, Digest, Gencode, escape};
use serde::Serialize;
use serde_json::{Value, json};

use crate::job::{Action, Input, Job, Measuring};
use crate::measure::decision::{Arm, Decision};
use crate::measure::verdict::Verdict;
use crate::proof::RecordedProof;
use crate::record::BenchReport;
use crate::record::{ComparisonRecord, Context, Record, WorkloadRecord};

/// What an outcome says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardAnswer {
    /// The verdict or decision, or how many workloads passed.
    pub word: String,
    /// The mean over all workloads, in microseconds, where every one passed.
    pub mean_us: Option<f64>,
    /// How much longer B takes than A, as a ratio, where they were compared.
    pub ratio: Option<f64>,
    /// The digest of the library.
    pub library: Option<Digest>,
    /// The exit code of the verb.
    pub exit_code: u8,
}

/// An outcome that agrees with its job.
#[derive(Debug)]
pub struct Answered {
    /// What it says.
    pub answer: ShardAnswer,
    /// Its records, as they were measured.
    pub records: Vec<Record>,
}

/// Why an outcome counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// Two things that must be the same are not.
    #[error("its {what} is {found}: expected {expected}")]
    Other {
        /// What differs.
        what: String,
        /// As it stands there.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// A part of it is none.
    #[error("its {what} cannot be read: {reason}")]
    Unreadable {
        /// The part.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// How a build ends whose library is no proven one.
const FINDINGS: [&str; 2] = ["compile_error", "unproven"];

/// What the verb's exit code is where the answer is no.
const NO: u8 = 1;
/// Where nobody can tell.
const UNKNOWN: u8 = 3;

/// The digest of the job that an outcome names.
pub fn job_of(outcome: &Value) -> Option<Digest> {
    outcome["job"].as_str()?.parse().ok()
}

/// Holds an outcome against its job.
pub fn answered(job: &Job, outcome: &mut Value) -> Result<Answered, Disagreement> {
    let digest = job.digest();
    require("job", job_of(outcome) == Some(digest), &outcome["job"], digest)?;
    let records = take_records(outcome)?;
    let answer = match &job.action {
        Action::Build { subject } => of_build(job.arch, &subject.artifact, outcome)?,
        Action::Bench { subject, measuring } => of_run(job.arch, (subject, measuring), outcome, &records)?,
        Action::Compare { incumbent, candidate, measuring, protocol, .. } => {
            let both = (incumbent, candidate, &**measuring);
            let answer = of_comparison(job.arch, both, outcome, &records)?;
            for record in &records {
                if let Record::Comparison(record) = record {
                    let found = &record.report.protocol;
                    require("protocol", *found == **protocol, &json!(found), json!(protocol))?;
                }
            }
            answer
        }
        other @ (Action::Seal { .. } | Action::Replay { .. }) => {
            return Err(differs("verb", &json!(other.verb()), "one that a plan holds"));
        }
    };
    let measures = matches!(job.action, Action::Bench { .. } | Action::Compare { .. });
    require("records", measures || records.is_empty(), &json!(records.len()), "none of a build")?;
    let (found, expected) = (&outcome["exit_code"], answer.exit_code);
    require("exit code", *found == json!(expected), found, format!("{expected}, for {}", answer.word))?;
    Ok(Answered { answer, records })
}

/// Takes the records out of an outcome.
fn take_records(outcome: &mut Value) -> Result<Vec<Record>, Disagreement> {
    let unreadable = |reason: String| Disagreement::Unreadable { what: "records", reason };
    let Value::Array(records) = outcome["records"].take() else {
        return Err(unreadable("expected a list".to_owned()));
    };
    let read = |record: Value| {
        let record: Record = serde_json::from_value(record).map_err(|error| unreadable(error.to_string()))?;
        record.check().map_err(|error| unreadable(error.to_string()))?;
        Ok(record)
    };
    records.into_iter().map(read).collect()
}

fn of_build(arch: Arch, artifact: &Artifact, outcome: &Value) -> Result<ShardAnswer, Disagreement> {
    if let Some(finding) = finding(outcome)? {
        return Ok(finding);
    }
    if artifact.manifest().build.language.is_compiled() {
        require_text(outcome, "verdict", "proven")?;
        require_text(outcome, "arch", &arch.to_string())?;
        require_text(outcome, "gencode", &Gencode::exact(arch).to_string())?;
        let library = digest(outcome, "library_sha256")?;
        let (proven, proof_arch) = (&outcome["proof"]["library_digest"], &outcome["proof"]["arch"]);
        require("proven library", *proven == json!(library), proven, library)?;
        require("proven arch", *proof_arch == json!(arch), proof_arch, arch)?;
        require_proof(outcome)?;
        return Ok(ShardAnswer::of_word("proven", 0).with_library(library));
    }
    let all = outcome["libraries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_proven = all.iter().all(|library| library["verdict"] == "proven");
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let is_complete = is_empty(&outcome["unreached"]) && outcome["import_error"].is_null();
    let (word, code) = match (is_proven, is_complete) {
        (false, _) => ("not_proven", NO),
        (true, false) => ("unknown", UNKNOWN),
        (true, true) => ("proven", 0),
    };
    require_text(outcome, "verdict", word)?;
    Ok(ShardAnswer::of_word(word, code))
}

/// Holds a proof against itself.
fn require_proof(outcome: &Value) -> Result<(), Disagreement> {
    let said = &outcome["proof"]["verdict"];
    require("proof's verdict", said == "exact", said, "exact")?;
    let proof: RecordedProof =
        serde_json::from_value(outcome["proof"].clone()).map_err(|error| unreadable("proof", &error))?;
    if let Some(found) = proof.contradiction() {
        return Err(differs("proof", &json!(found), "one that agrees with itself"));
    }
    let kernels: Vec<&str> = proof.kernels().collect();
    require("kernels", outcome["kernels"] == json!(kernels), &outcome["kernels"], "those of its proof")
}

/// A build that is no proven one, which any verb may end with.
fn finding(outcome: &Value) -> Result<Option<ShardAnswer>, Disagreement> {
    let verdict = outcome["verdict"].as_str();
    let Some(word) = verdict.and_then(|verdict| FINDINGS.into_iter().find(|known| *known == verdict)) else {
        return Ok(None);
    };
    require("library", outcome["library_sha256"].is_null(), &outcome["library_sha256"], "none")?;
    Ok(Some(ShardAnswer::of_word(word, NO)))
}

fn of_run(
    arch: Arch,
    (subject, measuring): (&Input, &Measuring),
    outcome: &Value,
    records: &[Record],
) -> Result<ShardAnswer, Disagreement> {
    if let Some(finding) = finding(outcome)? {
        require("records", records.is_empty(), &json!(records.len()), "none without a library")?;
        return Ok(finding);
    }
    let mut runs: Vec<&WorkloadRecord> = Vec::new();
    for record in records {
        match record {
            Record::Workload(record) => runs.push(record),
            Record::Comparison(_) => return Err(differs("record", &json!("comparison"), "of a workload")),
        }
    }
    let library = digest(outcome, "library_sha256")?;
    require_text(outcome, "arch", &arch.to_string())?;
    let expected = measuring.task.workloads.len();
    let mut seen = HashSet::new();
    for record in &runs {
        require_context(&record.context, subject, measuring, arch)?;
        require("library", record.context.library == library, &json!(record.context.library), library)?;
        let first = &runs[0].context;
        let is_one = record.context.continues(first) && record.context.run_id == first.run_id;
        require("records", is_one, &json!("of several runs"), "one run on one device")?;
        require_workload(record, measuring)?;
        let uuid = record.finding.workload.uuid();
        require("records", seen.insert(uuid), &json!(format!("two of workload {uuid}")), "one of each")?;
    }
    let findings = runs.iter().map(|record| &record.finding);
    let report = runs.first().map(|first| BenchReport::new(&first.context, None, findings, expected));
    let passed = report.as_ref().map_or(0, |report| report.passed);
    let overall = report.as_ref().and_then(|report| report.overall);
    require("expected", outcome["expected"] == json!(expected), &outcome["expected"], expected)?;
    require("passed", outcome["passed"] == json!(passed), &outcome["passed"], passed)?;
    let figures = json!(overall);
    require("overall", outcome["overall"] == figures, &outcome["overall"], &figures)?;
    let is_complete = report.is_some_and(|report| report.is_complete());
    let mut answer = ShardAnswer::of_word(format!("{passed} of {expected} passed"), u8::from(!is_complete));
    answer.mean_us = overall.map(|means| means.arithmetic_mean_ns / 1e3);
    Ok(answer.with_library(library))
}

/// Whether a record is of a workload of the job, judged and weighed as the job says.
fn require_workload(record: &WorkloadRecord, measuring: &Measuring) -> Result<(), Disagreement> {
    let task = &measuring.task;
    let workload = &record.finding.workload;
    let is_asked = task.workloads.iter().any(|asked| asked == workload);
    require("workload", is_asked, &json!(workload.uuid()), "one of the job's")?;
    let tolerance = task.tolerance.for_workload(workload);
    require("tolerance", record.tolerance == tolerance, &json!(record.tolerance), json!(tolerance))?;
    let traffic = task.definition.shapes(workload).map_or(0, |shapes| shapes.traffic_bytes());
    let found = record.finding.traffic_bytes;
    require("traffic in bytes", found == traffic, &json!(found), traffic)
}

/// Whether a record is of what the job measures, in everything that the job decides.
fn require_context(
    context: &Context,
    subject: &Input,
    measuring: &Measuring,
    arch: Arch,
) -> Result<(), Disagreement> {
    let artifact = subject.artifact();
    let definition_digest = measuring.task.definition_digest();
    let author = artifact.map_or("", |artifact| artifact.manifest().solution.author.as_str());
    let commitment = measuring.seed.map(crate::measure::Seed::commitment);
    let held = [
        ("solution", json!(context.solution), json!(subject.name().to_owned() + measuring.strides.label())),
        ("author", json!(context.author), json!(author)),
        ("artifact", json!(context.artifact), json!(artifact.map(Artifact::digest))),
        ("definition", json!(context.definition), json!(measuring.task.definition.name())),
        ("definition's digest", json!(context.definition_digest), json!(definition_digest)),
        ("reference", json!(context.reference), json!(measuring.reference.digest(definition_digest))),
        ("arch", json!(context.arch), json!(arch)),
        ("seed's commitment", json!(context.seed_commitment), json!(commitment)),
        ("live", json!(context.live), json!(measuring.live)),
        ("strides", json!(context.strides), json!(measuring.strides)),
    ];
    require("record's run", context.run_id.is_some(), &Value::Null, "its name")?;
    for (what, found, expected) in held {
        require(&format!("record's {what}"), found == expected, &found, &expected)?;
    }
    match subject {
        Input::Artifact(_) => Ok(()),
        Input::Library(_) => {
            let (found, expected) = (context.library, subject.digest());
            require("record's library", found == expected, &json!(found), expected)
        }
    }
}

fn of_comparison(
    arch: Arch,
    (incumbent, candidate, measuring): (&Input, &Input, &Measuring),
    outcome: &Value,
    records: &[Record],
) -> Result<ShardAnswer, Disagreement> {
    let none = |word: &str| {
        let found = json!(records.len());
        require("records", records.is_empty(), &found, format!("none where the answer is {word}"))
    };
    if let Some(finding) = finding(outcome)? {
        none(&finding.word)?;
        return Ok(finding);
    }
    let uuids: Vec<&str> = measuring.task.workloads.iter().map(Workload::uuid).collect();
    if outcome["decision"] == "disqualified" {
        none("disqualified")?;
        let workload = outcome["workload"].as_str().unwrap_or_default();
        require("workload", uuids.contains(&workload), &outcome["workload"], "one of the job's")?;
        let unreadable = |what| move |error: serde_json::Error| unreadable(what, &error);
        let _: Arm = serde_json::from_value(outcome["arm"].clone()).map_err(unreadable("arm"))?;
        let verdict: Verdict =
            serde_json::from_value(outcome["verdict"].clone()).map_err(unreadable("verdict"))?;
        require("verdict", !verdict.is_passed(), &outcome["verdict"], "one that is no pass")?;
        return Ok(ShardAnswer::of_word("disqualified", NO));
    }
    let [Record::Comparison(record)] = records else {
        return Err(differs("records", &json!(records.len()), "one comparison"));
    };
    let ComparisonRecord { a, b, trust, report, .. } = &**record;
    for (context, input, arm) in [(a, incumbent, "a"), (b, candidate, "b")] {
        require_context(context, input, measuring, arch)?;
        let (found, library) = (&outcome[arm]["library_sha256"], json!(context.library));
        require("library", *found == library, found, &library)?;
    }
    require("record's run", a.run_id == b.run_id, &json!(a.run_id), json!(b.run_id))?;
    require("trust", outcome["trust"] == json!(trust), &outcome["trust"], json!(trust))?;
    require("report", outcome["report"] == json!(report), &json!("another"), "the one of its record")?;
    let follows = record.recomputed().as_ref() == Some(report);
    require("report", follows, &json!("another"), "the one that its samples give")?;
    let compared: Vec<&str> = report.workloads.iter().map(|one| one.uuid.as_str()).collect();
    require("workloads", compared == uuids, &json!(compared), json!(uuids))?;
    let (word, code) = match report.decision {
        Decision::Better => ("better", 0),
        Decision::Worse => ("worse", NO),
        Decision::Equal => ("equal", NO),
        Decision::Undecided { .. } => ("undecided", UNKNOWN),
    };
    let ratio = report.ratio.as_ref().map(|ratio| ratio.mean);
    Ok(ShardAnswer { ratio, ..ShardAnswer::of_word(word, code) })
}

impl ShardAnswer {
    fn of_word(word: impl Into<String>, exit_code: u8) -> Self {
        Self { word: word.into(), mean_us: None, ratio: None, library: None, exit_code }
    }

    fn with_library(self, library: Digest) -> Self {
        Self { library: Some(library), ..self }
    }
}

fn unreadable(what: &'static str, error: &serde_json::Error) -> Disagreement {
    Disagreement::Unreadable { what, reason: error.to_string() }
}

/// Longest piece of an outcome that an answer repeats, in characters.
const LONGEST_WORDS: usize = 120;

#[expect(clippy::needless_pass_by_value, reason = "what is expected is a value made for this call")]
fn differs(what: &str, found: &Value, expected: impl ToString) -> Disagreement {
    let words = |text: &str| -> String { escape::line(text).chars().take(LONGEST_WORDS).collect() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Disagreement::Other {
        what: what.to_owned(),
        found: words(&text(found)),
        expected: words(expected.to_string().trim_matches('"')),
    }
}

fn require(what: &str, holds: bool, found: &Value, expected: impl ToString) -> Result<(), Disagreement> {
    if holds { Ok(()) } else { Err(differs(what, found, expected)) }
}

fn require_text(outcome: &Value, name: &str, expected: &str) -> Result<(), Disagreement> {
    require(name, outcome[name] == expected, &outcome[name], expected)
}

fn digest(outcome: &Value, name: &str) -> Result<Digest, Disagreement> {
    let found = &outcome[name];
    let digest = found.as_str().and_then(|text| text.parse().ok());
    digest.ok_or_else(|| differs(name, found, "a SHA-256"))
}
