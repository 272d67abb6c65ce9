//! How to measure: everything that decides what a number means, and nothing of the machine.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use proofmark_player::Refusals;
use serde::{Deserialize, Serialize};

use super::action_error::ActionError;
use super::reference::Reference;
use super::task::Task;
use crate::measure::judge::Tolerance;
use crate::measure::statistics::StoppingRule;
use crate::measure::{Live, Neighbours, Options, Seed, Strides, TensorHome};

/// How to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measuring {
    /// What is to be computed.
    pub task: Task,
    /// What outputs are held against.
    pub reference: Reference,
    /// The seed, to repeat a run; `None` draws a fresh secret.
    pub seed: Option<Seed>,
    /// Time for each workload's samples, in milliseconds.
    #[serde(rename = "budget_ms", with = "milliseconds")]
    pub budget: Duration,
    /// How many samples each workload has; `None` takes as many as its median needs to be known well enough.
    #[serde(default)]
    pub samples: Option<NonZeroUsize>,
    /// Time that one call may take, in milliseconds.
    #[serde(rename = "call_limit_ms", with = "milliseconds")]
    pub call_limit: Duration,
    /// Where tensors live.
    pub sharing: TensorHome,
    /// What is measured live, and labelled so.
    #[serde(default)]
    pub live: Live,
    /// Whether the subject's tensors have gaps between their elements.
    #[serde(default, skip_serializing_if = "Strides::is_contiguous")]
    pub strides: Strides,
}

/// Most samples of a workload: more than anybody waits for.
const LARGEST_SAMPLE_COUNT: usize = 1_000_000;

impl Measuring {
    /// How to measure where calls are only recorded.
    pub fn recording(task: Task, reference: Reference) -> Self {
        Self {
            task,
            reference,
            seed: None,
            budget: StoppingRule::default().budget,
            samples: None,
            call_limit: Duration::from_secs(10),
            sharing: TensorHome::Auto,
            live: Live::Never,
            strides: Strides::Contiguous,
        }
    }

    /// Refuses numbers by which nothing can be measured.
    pub(super) fn check(&self) -> Result<(), ActionError> {
        let refuse = |what: String, found: String, expected: &'static str| {
            Err(ActionError::Number { what, found, expected })
        };
        if self.call_limit.is_zero() {
            return refuse("the time that a call may take".to_owned(), "0 ms".to_owned(), "at least 1 ms");
        }
        if let Some(count) = self.samples.filter(|count| count.get() > LARGEST_SAMPLE_COUNT) {
            return refuse("the number of samples".to_owned(), count.to_string(), "1 to 1000000");
        }
        let expected = "absolute and relative errors of 0 or more and a share from 0 to 1";
        let shown = |one: &Tolerance| format!("{}, {}, {}", one.atol, one.rtol, one.required_matched_ratio);
        if !self.task.tolerance.is_valid() {
            return refuse("the tolerance".to_owned(), shown(&self.task.tolerance), expected);
        }
        for workload in &self.task.workloads {
            let tolerance = self.task.tolerance.for_workload(workload);
            if !tolerance.is_valid() {
                return refuse(
                    format!("the tolerance of workload {}", workload.uuid()),
                    shown(&tolerance),
                    expected,
                );
            }
        }
        Ok(())
    }

    /// The options of a run on this machine: where programs and libraries are is not the job's to say.
    pub fn options(&self, program: PathBuf, tvm_ffi: Option<PathBuf>, cupti: Option<PathBuf>) -> Options {
        let by_precision = StoppingRule { budget: self.budget, ..StoppingRule::default() };
        Options {
            program,
            tvm_ffi,
            cupti,
            seed: self.seed.unwrap_or_else(Seed::secret),
            tolerance: self.task.tolerance,
            stopping: match self.samples {
                Some(count) => {
                    StoppingRule { least_count: count.get(), largest_count: count.get(), ..by_precision }
                }
                None => by_precision,
            },
            call_limit: self.call_limit,
            data_root: self.task.data_root.clone(),
            sharing: self.sharing,
            live: self.live,
            strides: self.strides,
            refusals: Refusals::Silent,
            neighbours: Neighbours::default(),
        }
    }
}

/// Whether a verb that can do without measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Measure {
    /// Not, and why.
    Not {
        /// Why, in words.
        reason: String,
    },
    /// Where there is a GPU that can run the build.
    WherePossible {
        /// How.
        measuring: Box<Measuring>,
    },
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
