//! What the index knows of a line: enough to find it and to fill a table, never the truth itself.

use proofmark_packager::{Digest, DigestBuilder};
use serde::Serialize;

use super::entry::{LedgerEntry, LedgerLine};
use super::moment;
use super::trace::REPORTED;
use crate::record::{Context, Record, WorkloadRecord};
use crate::recording::Trust;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerKind {
    /// A finished workload.
    Workload,
    /// A finished comparison.
    Comparison,
    /// Another harness's figure.
    Trace,
    /// A sealed artifact.
    Seal,
    /// A candidate, and what became of it.
    Challenge,
    /// A new champion.
    Promotion,
}

/// Every verdict, decision and answer that a line can have, ours and the boards', as the index keeps it.
pub const VERDICTS: [&str; 17] = [
    "passed",
    "incorrect_numerical",
    "incorrect_shape",
    "incorrect_dtype",
    "runtime_error",
    "compile_error",
    "timeout",
    "not_recorded",
    "untrusted_timing",
    "reward_hack",
    "invalid_reference",
    "better",
    "worse",
    "equal",
    "undecided",
    "keep",
    "reject",
];

impl LedgerKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Workload, Self::Comparison, Self::Trace, Self::Seal, Self::Challenge, Self::Promotion];

    /// The word in a table and in the index.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Comparison => "comparison",
            Self::Trace => "trace",
            Self::Seal => "seal",
            Self::Challenge => "challenge",
            Self::Promotion => "promotion",
        }
    }

    /// The kind of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One entry, as tables show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The SHA-256 of its line.
    pub id: Digest,
    /// What it is.
    pub kind: LedgerKind,
    /// When; empty where it does not say.
    pub time: String,
    /// What was measured together.
    pub run: Option<String>,
    /// The definition's name.
    pub definition: String,
    /// The solution's name; of a comparison the candidate's.
    pub solution: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// The artifact; of a comparison the candidate's.
    pub artifact: Option<Digest>,
    /// The library that ran.
    pub library: Option<Digest>,
    /// What it was built for.
    pub arch: Option<String>,
    /// What it ran on.
    pub device: Option<String>,
    /// The workload's uuid.
    pub workload: Option<String>,
    /// The verdict, decision or answer.
    pub verdict: Option<String>,
    /// `hermetic`, `live` or `reported`.
    pub trust: Option<String>,
    /// The scored latency, where it passed.
    pub latency_ns: Option<f64>,
    /// `measured` here, or `imported`.
    pub origin: String,
}

/// One run: the workloads that were measured together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// Its name.
    pub run: String,
    /// When its last workload was finished.
    pub time: String,
    /// The definition's name.
    pub definition: String,
    /// The solution's name.
    pub solution: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// The artifact.
    pub artifact: Option<Digest>,
    /// What it was built for.
    pub arch: Option<String>,
    /// What it ran on.
    pub device: Option<String>,
    /// How many workloads.
    pub workloads: u64,
    /// How many passed.
    pub passed: u64,
    /// `hermetic`, `live`, `reported`, or `mixed`, which has no mean.
    pub trust: String,
    /// The mean of the medians; absent unless all passed and are of one kind.
    pub mean_ns: Option<f64>,
    /// `measured` here, or `imported`.
    pub origin: String,
}

impl Row {
    /// What the index keeps of a line; `None` for a line that says where others came from.
    pub fn of(id: Digest, entry: &LedgerEntry, origin: &str) -> Option<Self> {
        let mut row = match entry {
            LedgerEntry::Record(record) => of_record(record),
            LedgerEntry::Own(line) => of_own(line)?,
        };
        row.id = id;
        row.time = moment::normal(&row.time);
        origin.clone_into(&mut row.origin);
        Some(row)
    }

    fn empty(kind: LedgerKind) -> Self {
        Self {
            id: Digest::of_bytes(&[]),
            kind,
            time: String::new(),
            run: None,
            definition: String::new(),
            solution: String::new(),
            author: None,
            artifact: None,
            library: None,
            arch: None,
            device: None,
            workload: None,
            verdict: None,
            trust: None,
            latency_ns: None,
            origin: String::new(),
        }
    }

    fn of_context(kind: LedgerKind, context: &Context) -> Self {
        Self {
            definition: context.definition.clone(),
            solution: context.solution.clone(),
            author: Some(context.author.clone()).filter(|author| !author.is_empty()),
            artifact: context.artifact,
            library: Some(context.library),
            arch: Some(context.arch.to_string()),
            device: Some(context.environment.device.clone()),
            ..Self::empty(kind)
        }
    }
}

fn of_record(record: &Record) -> Row {
    match record {
        Record::Workload(record) => of_workload(record),
        Record::Comparison(record) => Row {
            time: record.timestamp.to_string(),
            run: record.b.run_id.map(|run| run.to_string()),
            verdict: Some(decision_name(&record.report.decision).to_owned()),
            trust: Some(record.trust.name().to_owned()),
            ..Row::of_context(LedgerKind::Comparison, &record.b)
        },
    }
}

fn decision_name(decision: &crate::measure::decision::Decision) -> &'static str {
    use crate::measure::decision::Decision;
    match decision {
        Decision::Better => "better",
        Decision::Worse => "worse",
        Decision::Equal => "equal",
        Decision::Undecided { .. } => "undecided",
    }
}

fn of_workload(record: &WorkloadRecord) -> Row {
    let finding = &record.finding;
    Row {
        time: record.timestamp.to_string(),
        run: Some(run_of(&record.context)),
        workload: Some(finding.workload.uuid().to_owned()),
        verdict: finding.verdict.as_ref().map(|verdict| verdict.name().to_owned()),
        trust: Some(finding.trust.name().to_owned()),
        latency_ns: finding.latency_ns(),
        ..Row::of_context(LedgerKind::Workload, &record.context)
    }
}

/// A run's name; lines of version 1 have none, and are told apart by what ran, for what, on what.
pub fn run_of(context: &Context) -> String {
    let Some(run) = context.run_id else {
        let digest = DigestBuilder::new("proofmark/unnamed run/1")
            .text(&context.definition)
            .text(&context.solution)
            .digest(&context.library)
            .text(context.environment.uuid.as_deref().unwrap_or_default())
            .text(context.environment.driver.as_deref().unwrap_or_default())
            .finish();
        return format!("v1-{}", digest.short());
    };
    run.to_string()
}

fn of_own(line: &LedgerLine) -> Option<Row> {
    let trust = |trust: &Option<Trust>| trust.as_ref().map(|trust| trust.name().to_owned());
    Some(match line {
        LedgerLine::Batch(_) => return None,
        LedgerLine::Seal(seal) => Row {
            time: seal.timestamp.as_ref().map(ToString::to_string).unwrap_or_default(),
            definition: seal.definition.clone(),
            solution: seal.solution.clone(),
            author: Some(seal.author.clone()),
            artifact: Some(seal.artifact),
            library: Some(seal.library),
            arch: Some(seal.arch.to_string()),
            device: seal.device.clone(),
            ..Row::empty(LedgerKind::Seal)
        },
        LedgerLine::Trace(trace) => {
            let Some(figures) = trace.figures() else { return Some(Row::empty(LedgerKind::Trace)) };
            let group = DigestBuilder::new("proofmark/reported run/1")
                .text(trace.board.name())
                .text(&figures.definition)
                .text(&figures.solution)
                .text(&figures.device)
                .finish();
            Row {
                time: figures.timestamp,
                run: Some(format!("{}-{}", trace.board.name(), group.short())),
                definition: figures.definition,
                solution: figures.solution,
                device: Some(figures.device),
                workload: Some(figures.workload),
                verdict: Some(figures.verdict),
                trust: Some(REPORTED.to_owned()),
                latency_ns: figures.latency_ns,
                ..Row::empty(LedgerKind::Trace)
            }
        }
        LedgerLine::Challenge(line) => Row {
            time: line.timestamp.to_string(),
            definition: line.slot.definition.clone(),
            solution: line.solution.clone(),
            author: Some(line.author.clone()),
            artifact: Some(line.candidate),
            arch: Some(line.slot.arch.to_string()),
            device: Some(line.slot.device.clone()),
            verdict: Some(line.answer.name().to_owned()),
            trust: trust(&line.trust),
            ..Row::empty(LedgerKind::Challenge)
        },
        LedgerLine::Promotion(line) => Row {
            time: line.timestamp.to_string(),
            definition: line.slot.definition.clone(),
            solution: line.solution.clone(),
            author: Some(line.author.clone()),
            artifact: Some(line.artifact),
            arch: Some(line.slot.arch.to_string()),
            device: Some(line.slot.device.clone()),
            trust: trust(&line.trust),
            ..Row::empty(LedgerKind::Promotion)
        },
    })
}

#[cfg(test)]
mod tests {
    use proofmark_packager::interop::flashinfer::Status;

    use super::*;
    use crate::ledger::entry::Answer;
    use crate::ledger::trace::SOL_STATUSES;
    use crate::measure::decision::Decision;
    use crate::measure::verdict::Verdict;

    #[test]
    fn every_verdict_that_a_line_can_have_can_be_asked_for() {
        let reason = String::new;
        let ours = [
            Verdict::Passed,
            Verdict::IncorrectNumerical { reason: reason() },
            Verdict::IncorrectShape { reason: reason() },
            Verdict::IncorrectDtype { reason: reason() },
            Verdict::RuntimeError { reason: reason() },
            Verdict::Timeout { reason: reason() },
            Verdict::NotRecorded { reason: reason() },
            Verdict::UntrustedTiming { reason: reason() },
        ];
        let boards = Status::ALL.map(Status::name).into_iter().chain(SOL_STATUSES);
        let decisions = [Decision::Better, Decision::Worse, Decision::Equal];
        let names = ours.iter().map(|verdict| verdict.name().to_owned());
        let names = names.chain(boards.map(str::to_ascii_lowercase));
        let names = names.chain(decisions.iter().map(|one| decision_name(one).to_owned()));
        let answers =
            [Answer::Keep, Answer::Reject, Answer::Undecided].map(|answer| answer.name().to_owned());
        let names: std::collections::BTreeSet<String> = names.chain(answers).collect();
        assert_eq!(names, VERDICTS.iter().map(ToString::to_string).collect());
    }
}
