//! One run's lines: what an interrupted run had finished, and what this one adds.

use std::path::Path;

use proofmark_packager::interop::flashinfer::{Timestamp, Workload};

use super::journal::{Journal, JournalError};
use super::line::{Context, Record, WorkloadRecord};
use crate::measure::WorkloadFinding;
use crate::measure::judge::Tolerance;
use crate::measure::seed::Seed;

/// One run's lines.
#[derive(Debug)]
pub struct RunLog {
    journal: Option<Journal>,
    context: Context,
    tolerance: Tolerance,
    seed: Seed,
    records: Vec<WorkloadRecord>,
}

impl RunLog {
    /// Starts a run, or goes on with the last one in the file that is the same in everything that
    /// decides what a number means. It then keeps that run's name; its lines keep their own seed and time.
    pub fn open(
        path: Option<&Path>,
        mut context: Context,
        tolerance: Tolerance,
        seed: Seed,
    ) -> Result<Self, JournalError> {
        let Some(path) = path else {
            return Ok(Self { journal: None, context, tolerance, seed, records: Vec::new() });
        };
        let (journal, contents) = Journal::open(path)?;
        let same = |record: &WorkloadRecord| {
            let expected = tolerance.for_workload(&record.finding.workload);
            record.context.continues(&context) && record.tolerance == expected
        };
        let known = contents.records.into_iter().filter_map(|record| match record {
            Record::Workload(record) if same(&record) && is_finished(&record.finding) => Some(*record),
            _ => None,
        });
        let mut records: Vec<WorkloadRecord> = known.collect();
        if let Some(last) = records.last() {
            context.run_id = last.context.run_id;
            records.retain(|record| record.context.run_id == context.run_id);
        }
        Ok(Self { journal: Some(journal), context, tolerance, seed, records })
    }

    /// What every line of this run says of it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether a workload was finished, with the very inputs that are asked for now.
    pub fn is_finished(&self, workload: &Workload) -> bool {
        self.records.iter().any(|record| record.finding.workload == *workload)
    }

    /// Adds a finding, on the disk when this returns.
    pub fn append(&mut self, finding: WorkloadFinding) -> Result<(), JournalError> {
        let record = WorkloadRecord {
            timestamp: Timestamp::now(),
            context: self.context.clone(),
            seed: self.seed.of_workload(finding.workload.uuid()),
            tolerance: self.tolerance.for_workload(&finding.workload),
            finding,
        };
        if let Some(journal) = &mut self.journal {
            journal.append(&Record::Workload(Box::new(record.clone())))?;
        }
        self.records.push(record);
        Ok(())
    }

    /// The lines of the workloads that are asked for, in that order.
    pub fn into_records(self, workloads: &[Workload]) -> Vec<WorkloadRecord> {
        let latest = |workload: &Workload| {
            self.records.iter().rev().find(|record| record.finding.workload == *workload)
        };
        workloads.iter().filter_map(latest).cloned().collect()
    }
}

fn is_finished(finding: &WorkloadFinding) -> bool {
    finding.verdict.is_some() || finding.refusal.is_some()
}

#[cfg(test)]
mod tests {
    use proofmark_packager::Digest;

    use super::super::line::tests::record;
    use super::*;
    use crate::measure::verdict::Verdict;

    const SEED: Seed = Seed(7);

    fn finding(uuid: &str) -> WorkloadFinding {
        record(uuid).finding
    }

    fn names(log: &RunLog) -> Vec<&str> {
        log.records.iter().map(|record| record.finding.workload.uuid()).collect()
    }

    #[test]
    fn an_interrupted_run_keeps_its_name_and_each_line_its_own_seed_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let (context, tolerance) = (record("a").context, Tolerance::default());
        let mut first = RunLog::open(Some(&path), context.clone(), tolerance, SEED).unwrap();
        first.append(finding("a")).unwrap();
        let mut unfinished = finding("b");
        unfinished.verdict = None;
        first.append(unfinished).unwrap();
        let mut late = finding("c");
        late.verdict = Some(Verdict::Timeout { reason: "300 s".to_owned() });
        first.append(late).unwrap();
        let begun = first.records[0].clone();
        drop(first);
        let again = Context { run_id: Some(crate::record::RunId::fresh()), ..context.clone() };
        let mut second = RunLog::open(Some(&path), again, tolerance, Seed(8)).unwrap();
        assert_eq!((names(&second), second.context.run_id), (vec!["a", "c"], context.run_id));
        assert!(second.is_finished(&begun.finding.workload) && !second.is_finished(&finding("b").workload));
        second.append(finding("b")).unwrap();
        let workloads = ["a", "b", "c"].map(|uuid| finding(uuid).workload);
        let records = second.into_records(&workloads);
        assert_eq!(records[0], begun);
        let seeds: Vec<Seed> = records.iter().map(|record| record.seed).collect();
        assert_eq!(seeds, [SEED.of_workload("a"), Seed(8).of_workload("b"), SEED.of_workload("c")]);
    }

    #[test]
    fn another_definition_tolerance_seed_rule_or_workload_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let (context, tolerance) = (record("a").context, Tolerance::default());
        RunLog::open(Some(&path), context.clone(), tolerance, SEED).unwrap().append(finding("a")).unwrap();
        let known = |context: &Context, tolerance| {
            RunLog::open(Some(&path), context.clone(), tolerance, SEED).unwrap().records.len()
        };
        assert_eq!(known(&context, tolerance), 1);
        assert_eq!(known(&context, Tolerance { rtol: 0.5, ..tolerance }), 0);
        let edited = Context { definition_digest: Some(Digest::of_bytes(b"edited")), ..context.clone() };
        assert_eq!(known(&edited, tolerance), 0);
        let named = Context { seed_commitment: Some(SEED.commitment()), ..context.clone() };
        assert_eq!(known(&named, tolerance), 0);
        let other = Workload::new("a", [("n".to_owned(), 4)], []).unwrap();
        let log = RunLog::open(Some(&path), context, tolerance, SEED).unwrap();
        assert!(!log.is_finished(&other), "the same uuid with another axis");
    }
}
