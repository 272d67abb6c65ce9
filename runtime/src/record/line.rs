//! One line of a record file.

use proofmark_packager::interop::flashinfer::Timestamp;
use proofmark_packager::{Arch, Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::line_v1;
use super::run_id::RunId;

use crate::measure::decision::{Comparison, Event, Report};
use crate::measure::environment::{Environment, Reading};
use crate::measure::finding::WorkloadFinding;
use crate::measure::judge::Tolerance;
use crate::measure::seed::Seed;
use crate::measure::timing::LEAST_KERNEL_NS;
use crate::measure::verdict::Verdict;
use crate::measure::{Live, Strides};
use crate::recording::Trust;

/// Name of the format, in every line.
pub const SCHEMA: &str = "proofmark.record";
/// Version of the format, in every line. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 2;

/// No call takes longer, in nanoseconds: a thousand seconds.
const LONGEST_NS: f64 = 1e12;

/// What was measured, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The run; absent in lines of version 1.
    pub run_id: Option<RunId>,
    /// The solution's name.
    pub solution: String,
    /// Who wrote it.
    pub author: String,
    /// The artifact's digest; absent for a bare library.
    pub artifact: Option<Digest>,
    /// Digest of the library that ran.
    pub library: Digest,
    /// Digest of what the results were held against, as a job names it; absent in lines of version 1.
    pub reference: Option<Digest>,
    /// Digest of the library that the reference ran as.
    pub reference_library: Digest,
    /// The definition's name.
    pub definition: String,
    /// The definition's digest; absent in lines of version 1.
    pub definition_digest: Option<Digest>,
    /// The architecture that the library was proven for.
    pub arch: Arch,
    /// Digest of the toolchain's fingerprint; absent for a bare library and in lines of version 1.
    pub toolchain: Option<Digest>,
    /// The commitment to a seed that the job named; absent where each run draws a fresh secret.
    pub seed_commitment: Option<Digest>,
    /// What was measured live; before there were recordings, everything.
    #[serde(default = "Live::before_recordings")]
    pub live: Live,
    /// Whether the subject's tensors had gaps; absent where they were contiguous, as they are for a board.
    #[serde(default, skip_serializing_if = "Strides::is_contiguous")]
    pub strides: Strides,
    /// The device and what surrounds it.
    pub environment: Environment,
    /// Speed of a plain device copy in the same run, read and written bytes together, a second.
    pub copy_bytes_per_second: Option<f64>,
}

impl Context {
    /// Whether a workload that was finished there need not be measured again here: the same bytes, built
    /// by the same toolchain, held against the same reference for the same definition with the same rules for
    /// seeds, strides and measuring live, on the same device under the same driver and our own same version. Names of people and
    /// solutions do not matter; lines of version 1 name too little to go on from.
    pub fn continues(&self, other: &Self) -> bool {
        let identity = |context: &Self| {
            let Self {
                run_id: _,
                solution: _,
                author: _,
                artifact,
                library,
                reference,
                reference_library,
                definition,
                definition_digest,
                arch,
                toolchain,
                seed_commitment,
                live,
                strides,
                environment: Environment { device, uuid, driver, proofmark, python, reference_python, .. },
                copy_bytes_per_second: _,
            } = context.clone();
            let built = (artifact, library, arch, toolchain);
            let held = (reference, reference_library, definition, definition_digest);
            (
                built,
                held,
                (seed_commitment, live, strides),
                (device, uuid, driver, proofmark, python, reference_python),
            )
        };
        self.definition_digest.is_some() && identity(self) == identity(other)
    }
}

/// One finished workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadRecord {
    /// When it was finished.
    pub timestamp: Timestamp,
    /// What was measured, and on what.
    pub context: Context,
    /// The seed that its inputs were made from.
    pub seed: Seed,
    /// How far outputs could be off.
    pub tolerance: Tolerance,
    /// What it showed.
    pub finding: WorkloadFinding,
}

/// One finished comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRecord {
    /// When it was finished.
    pub timestamp: Timestamp,
    /// The incumbent.
    pub a: Context,
    /// The candidate.
    pub b: Context,
    /// Whether the numbers rest on recordings.
    #[serde(default = "Trust::before_recordings")]
    pub trust: Trust,
    /// What is known.
    pub report: Report,
    /// Every answer that the comparison got, raw samples included; the report follows from them.
    pub events: Vec<Event>,
    /// The device, from time to time.
    pub readings: Vec<Reading>,
}

impl ComparisonRecord {
    /// Draws the report from the raw samples again; `None` where they do not lead to one.
    pub fn recomputed(&self) -> Option<Report> {
        let workloads = self.report.workloads.iter().map(|workload| workload.uuid.clone()).collect();
        let (protocol, seed) = (self.report.protocol.clone(), self.report.seed);
        Comparison::replay(protocol, workloads, seed.0, self.events.iter().cloned()).ok()?.report()
    }
}

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// One finished workload.
    Workload(Box<WorkloadRecord>),
    /// One finished comparison.
    Comparison(Box<ComparisonRecord>),
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON, or not the JSON of its kind.
    #[error("not a record")]
    Format(#[from] serde_json::Error),
    /// It belongs to another format.
    #[error("schema is {found}: expected `{SCHEMA}`")]
    Schema {
        /// What stands there.
        found: Value,
    },
    /// It is newer than this program, or damaged.
    #[error("version is {found}: this program reads versions 1 and {VERSION}")]
    Version {
        /// What stands there.
        found: Value,
    },
    /// A line of the ledger's own that is newer than this program, or damaged.
    #[error("version of the ledger's line is {found}: this program reads version 1")]
    LedgerVersion {
        /// What stands there.
        found: Value,
    },
    /// A number that no measurement gives.
    #[error("{what} is {found:e}: no measurement gives that")]
    Number {
        /// What it is.
        what: &'static str,
        /// What stands there.
        found: f64,
    },
    /// It holds or nests too much.
    #[error("not a record")]
    TooMuch(#[source] proofmark_packager::json::JsonError),
}

/// What a line says of itself: read alone, so that a newer line says that it is newer.
#[derive(Deserialize)]
pub(crate) struct Head {
    /// The format.
    #[serde(default)]
    pub(crate) schema: Value,
    /// Its version.
    #[serde(default)]
    pub(crate) version: Value,
}

impl Record {
    /// Reads one line.
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        let Head { schema, version } = serde_json::from_str(line)?;
        if schema != SCHEMA {
            return Err(LineError::Schema { found: schema });
        }
        let record: Self = match version.as_u64() {
            Some(1) => serde_json::from_value(line_v1::upgrade(serde_json::from_str(line)?))?,
            Some(version) if version == u64::from(VERSION) => serde_json::from_str(line)?,
            _ => return Err(LineError::Version { found: version }),
        };
        record.check()?;
        Ok(record)
    }

    /// Refuses numbers that no run gives, whoever wrote them.
    pub fn check(&self) -> Result<(), LineError> {
        let Self::Workload(record) = self else { return Ok(()) };
        let refuse = |what, found: f64| Err(LineError::Number { what, found });
        let Tolerance { atol, rtol, required_matched_ratio } = record.tolerance;
        if !record.tolerance.is_valid() {
            let error = |value: f64| value.is_finite() && value >= 0.0;
            let found = [atol, rtol].into_iter().find(|value| !error(*value));
            return refuse("a tolerance", found.unwrap_or(required_matched_ratio));
        }
        let passed = record.finding.verdict.as_ref().is_some_and(Verdict::is_passed);
        if let Some(scored) = record.finding.measurements.first().filter(|_| passed) {
            let is_no_time = |sample: &&f64| !(**sample > 0.0 && **sample <= LONGEST_NS);
            if let Some(sample) = scored.samples_ns.iter().find(is_no_time) {
                return refuse("a sample in nanoseconds", *sample);
            }
        }
        match record.finding.latency_ns() {
            Some(median) if median < LEAST_KERNEL_NS => {
                refuse("the median of samples in nanoseconds", median)
            }
            _ => Ok(()),
        }
    }

    /// Writes one line, without the line feed, and makes sure that it reads back: a number that
    /// JSON cannot spell must be noticed now, not in years.
    pub fn to_line(&self) -> Result<String, LineError> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            version: u32,
            #[serde(flatten)]
            record: &'a Record,
        }
        let line = serde_json::to_string(&Line { schema: SCHEMA, version: VERSION, record: self })?;
        Self::from_line(&line)?;
        Ok(line)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proofmark_packager::interop::flashinfer::Workload;

    use super::*;
    use crate::measure::measurement::{L2State, Measurement, Method};
    use crate::measure::statistics::StopReason;

    pub(crate) fn record(uuid: &str) -> WorkloadRecord {
        let workload = Workload::new(uuid, [("n".to_owned(), 3)], []).unwrap();
        let mut finding = WorkloadFinding::new(workload, 4096);
        finding.verdict = Some(Verdict::Passed);
        finding.reference_ns = Some(75_500.5);
        finding.measurements.push(Measurement {
            method: Method::CuptiSpan,
            l2_state: L2State::Cold,
            warmup_count: 10,
            samples_ns: vec![3712.0, 3680.0, 3744.1],
            dropped: Vec::new(),
            stop_reason: StopReason::BudgetSpent,
            clocks: None,
            floor_ns: None,
        });
        WorkloadRecord {
            timestamp: Timestamp::from(std::time::UNIX_EPOCH),
            context: Context {
                run_id: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
                solution: "mine".to_owned(),
                author: "me".to_owned(),
                artifact: Some(Digest::of_bytes(b"artifact")),
                library: Digest::of_bytes(b"library"),
                reference: Some(Digest::of_bytes(b"reference")),
                reference_library: Digest::of_bytes(b"reference library"),
                definition: "double".to_owned(),
                definition_digest: Some(Digest::of_bytes(b"definition")),
                arch: Arch::SM_100A,
                toolchain: Some(Digest::of_bytes(b"toolchain")),
                seed_commitment: None,
                live: Live::Never,
                strides: Strides::Contiguous,
                environment: Environment { device: "NVIDIA H200".to_owned(), ..Environment::default() },
                copy_bytes_per_second: Some(4.25e12),
            },
            seed: Seed(u64::MAX),
            tolerance: Tolerance::default(),
            finding,
        }
    }

    #[test]
    fn reads_back_every_bit_that_it_wrote() {
        let record = Record::Workload(Box::new(record("u")));
        let line = record.to_line().unwrap();
        assert!(
            line.starts_with(r#"{"schema":"proofmark.record","version":2,"record":"workload","#),
            "{line}"
        );
        assert!(!line.contains('\n'));
        assert_eq!(Record::from_line(&line).unwrap(), record);
    }

    #[test]
    fn a_comparison_can_be_drawn_from_its_samples_again() {
        use crate::measure::decision::Protocol;
        use crate::measure::decision::simulation::{World, run};

        let protocol = Protocol { samples_per_cell: 1, blocks_per_process: 4, ..Protocol::default() };
        let comparison = run(&protocol, &World { truth: 0.05, ..World::default() }, 2, 1);
        let context = record("u").context;
        let compared = ComparisonRecord {
            timestamp: Timestamp::from(std::time::UNIX_EPOCH),
            a: context.clone(),
            b: context,
            trust: Trust::Hermetic,
            report: comparison.report().unwrap(),
            events: comparison.events().to_vec(),
            readings: Vec::new(),
        };
        let line = Record::Comparison(Box::new(compared)).to_line().unwrap();
        let Record::Comparison(mut read) = Record::from_line(&line).unwrap() else { panic!("{line}") };
        assert_eq!(read.recomputed().as_ref(), Some(&read.report));
        read.events.pop();
        assert_eq!(read.recomputed(), None);
    }

    #[test]
    fn refuses_to_write_what_would_not_read_back() {
        let mut broken = record("u");
        broken.finding.measurements[0].samples_ns.push(f64::NAN);
        assert!(Record::Workload(Box::new(broken)).to_line().is_err());
    }

    #[test]
    fn refuses_numbers_that_no_measurement_gives() {
        let line = Record::Workload(Box::new(record("u"))).to_line().unwrap();
        for (from, to, expected) in [
            ("3712.0", "0.0", "a sample in nanoseconds is 0e0: no measurement gives that"),
            ("3712.0", "-5.0", "a sample in nanoseconds is -5e0: no measurement gives that"),
            ("3712.0", "1e308", "a sample in nanoseconds is 1e308: no measurement gives that"),
            (
                "[3712.0,3680.0,3744.1]",
                "[0.001]",
                "the median of samples in nanoseconds is 1e-3: no measurement gives that",
            ),
            ("\"atol\":0.01", "\"atol\":-1.0", "a tolerance is -1e0: no measurement gives that"),
            (
                "\"required_matched_ratio\":1.0",
                "\"required_matched_ratio\":2.0",
                "a tolerance is 2e0: no measurement gives that",
            ),
        ] {
            let forged = line.replacen(from, to, 1);
            assert_ne!(forged, line, "{from}");
            assert_eq!(Record::from_line(&forged).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn says_which_version_it_reads() {
        let line = Record::Workload(Box::new(record("u"))).to_line().unwrap();
        let newer = line.replacen(r#""version":2"#, r#""version":3,"new":true"#, 1);
        let refused = Record::from_line(&newer).unwrap_err();
        assert_eq!(refused.to_string(), "version is 3: this program reads versions 1 and 2");
        for foreign in ["{}", "[]", "", "{\"schema\":\"other\",\"version\":1}", "\"text\""] {
            assert!(Record::from_line(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn a_run_continues_only_with_the_same_bytes_on_the_same_device() {
        let base = record("u").context;
        let differs = |change: fn(&mut Context)| {
            let mut other = base.clone();
            change(&mut other);
            !base.continues(&other)
        };
        assert!(!differs(|other| other.author = "another".to_owned()));
        assert!(differs(|other| other.library = Digest::of_bytes(b"rebuilt")));
        assert!(differs(|other| other.environment.uuid = Some("GPU-1".to_owned())));
        assert!(differs(|other| other.environment.driver = Some("580".to_owned())));
        assert!(differs(|other| other.environment.proofmark = "0.2.0".to_owned()));
        assert!(differs(|other| other.definition_digest = Some(Digest::of_bytes(b"edited"))));
        assert!(differs(|other| other.toolchain = None));
        assert!(differs(|other| other.reference = Some(Digest::of_bytes(b"another"))));
        assert!(differs(|other| other.seed_commitment = Some(Seed(1).commitment())));
        assert!(differs(|other| other.live = Live::WhereNeeded));
        assert!(differs(|other| other.strides = Strides::Rows));
        assert!(!differs(|other| other.run_id = None));
    }
}
