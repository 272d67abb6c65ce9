//! What a page shows: a run with what is known of its build.

use proofmark_packager::format::{MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE};
use proofmark_packager::{Bundle, Digest};

use crate::evidence::{BuildEvidence, ReplayError, sealed};
use crate::proof::RecordedProof;
use crate::record::BenchReport;
use crate::record::{ComparisonRecord, Record, WorkloadRecord};

/// One run, or one artifact that was sealed without measurements.
#[derive(Debug)]
pub struct Exhibit {
    /// The solution's name.
    pub solution: String,
    /// Who wrote it.
    pub author: String,
    /// What it implements.
    pub definition: String,
    /// What it was built for.
    pub arch: String,
    /// Where it comes from: a file's name, or the run's.
    pub source: String,
    /// The records in order; empty where nothing was measured.
    pub records: Vec<WorkloadRecord>,
    /// The numbers, computed from the records.
    pub report: Option<BenchReport>,
    /// What a sealed artifact says of itself.
    pub seal: Option<SealFacts>,
}

/// What a sealed artifact says of itself. Nothing here was proven again.
#[derive(Debug)]
pub struct SealFacts {
    /// The artifact's identity.
    pub artifact: Digest,
    /// Its evidence.
    pub evidence: Digest,
    /// How it was built.
    pub build: BuildEvidence,
    /// Why it is one architecture, as recorded.
    pub proof: RecordedProof,
    /// How many witnesses confirm, as recorded.
    pub witnesses: usize,
}

impl Exhibit {
    /// A sealed artifact.
    pub fn of_artifact(bundle: &Bundle, source: String) -> Result<Self, ReplayError> {
        let sealed = sealed::read(bundle)?;
        let artifact = bundle.artifact.digest();
        let manifest = bundle.artifact.manifest();
        let witnesses = bundle.evidence.get(PROOF_EVIDENCE).map_or(0, count_witnesses);
        let mut exhibit = Self {
            solution: manifest.solution.name.clone(),
            author: manifest.solution.author.clone(),
            definition: manifest.solution.definition.clone(),
            arch: sealed.build.gencode.real_arch.to_string(),
            source,
            records: Vec::new(),
            report: None,
            seal: Some(SealFacts {
                artifact,
                evidence: bundle.evidence.digest(artifact),
                build: sealed.build,
                proof: sealed.proof,
                witnesses,
            }),
        };
        if bundle.evidence.get(MEASUREMENTS_EVIDENCE).is_some() {
            exhibit.measured(sealed.measurements);
        }
        Ok(exhibit)
    }

    /// One run out of a file or a ledger.
    pub fn of_run(records: Vec<WorkloadRecord>, source: String) -> Option<Self> {
        let context = records.last()?.context.clone();
        let mut exhibit = Self {
            solution: context.solution,
            author: context.author,
            definition: context.definition,
            arch: context.arch.to_string(),
            source,
            records: Vec::new(),
            report: None,
            seal: None,
        };
        exhibit.measured(records);
        Some(exhibit)
    }

    fn measured(&mut self, records: Vec<WorkloadRecord>) {
        let mut last: Vec<WorkloadRecord> = Vec::new();
        // Of a workload that was measured again, the last time counts.
        for record in records {
            match last
                .iter_mut()
                .find(|known| known.finding.workload.uuid() == record.finding.workload.uuid())
            {
                Some(known) => *known = record,
                None => last.push(record),
            }
        }
        self.report = BenchReport::of_records(&last);
        self.records = last;
    }

    /// `hermetic`, `live` or `mixed`, over the workloads that have a latency.
    pub fn trust(&self) -> &'static str {
        let mut names: Vec<&str> = self
            .records
            .iter()
            .filter(|record| record.finding.latency_ns().is_some())
            .map(|record| record.finding.trust.name())
            .collect();
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [] => "not measured",
            ["hermetic"] => "hermetic",
            ["live"] => "live",
            _ => "mixed",
        }
    }

    /// The device, where it was measured.
    pub fn device(&self) -> &str {
        self.records.last().map_or("", |record| record.context.environment.device.as_str())
    }
}

fn count_witnesses(proof: &[u8]) -> usize {
    let document: serde_json::Value = serde_json::from_slice(proof).unwrap_or_default();
    let confirms = |witness: &&serde_json::Value| witness["stance"] == "confirms";
    document["witnesses"].as_array().map_or(0, |all| all.iter().filter(confirms).count())
}

/// Tells the records of a file apart: its runs in order of their first line, and its comparisons.
pub fn sort_records(records: Vec<Record>) -> (Vec<Vec<WorkloadRecord>>, Vec<ComparisonRecord>) {
    let mut runs: Vec<(String, Vec<WorkloadRecord>)> = Vec::new();
    let mut comparisons = Vec::new();
    for record in records {
        match record {
            Record::Comparison(comparison) => comparisons.push(*comparison),
            Record::Workload(record) => {
                let run = crate::ledger::row::run_of(&record.context);
                match runs.iter_mut().find(|(name, _)| *name == run) {
                    Some((_, records)) => records.push(*record),
                    None => runs.push((run, vec![*record])),
                }
            }
        }
    }
    (runs.into_iter().map(|(_, records)| records).collect(), comparisons)
}
