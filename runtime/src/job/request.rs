//! The job and its document.

use proofmark_packager::json::{self as json_budget, Budget, JsonError};
use proofmark_packager::{Arch, Bundle, Digest, DigestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::action_error::{ActionError, OtherDefinition};
use super::input::{Input, returns_outputs};
use super::measuring::{Measure, Measuring};
use super::reference::Reference;
use crate::measure::decision::Protocol;
use crate::rebuild::Freshness;
use crate::record::RunId;

/// Name of the document.
pub const SCHEMA: &str = "proofmark.job";
/// Its version. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;
/// No document is larger, in bytes: the largest library that is measured takes 128 MiB of it in base64, and how much
/// else a document may hold is counted before it is read. Reading one takes some three times as much memory.
pub const LARGEST_JOB_BYTES: u64 = 144 << 20;

/// Domain of a job's digest.
const DIGEST_DOMAIN: &str = "proofmark/job/1";

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The name of this run.
    pub run_id: RunId,
    /// What to build for, and what a library must be proven to be.
    pub arch: Arch,
    /// Whether a cached build will do.
    pub freshness: Freshness,
    /// What to do, and with what.
    pub action: Action,
}

/// What to do, and with what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Build and prove.
    Build {
        /// The submission.
        #[serde(with = "artifact")]
        subject: Box<Bundle>,
    },
    /// Build, prove, measure where possible: what a seal needs.
    Seal {
        /// The submission.
        #[serde(with = "artifact")]
        subject: Box<Bundle>,
        /// Whether to measure.
        measure: Measure,
    },
    /// Build again, prove again, measure again where possible, and compare with the evidence; or launch what
    /// was sealed.
    Replay {
        /// The sealed artifact.
        #[serde(with = "artifact")]
        subject: Box<Bundle>,
        /// Whether to measure.
        measure: Measure,
        /// What is replayed.
        #[serde(default)]
        source: ReplaySource,
    },
    /// Measure with every call checked.
    Bench {
        /// The submission or library.
        subject: Input,
        /// How.
        measuring: Box<Measuring>,
    },
    /// Decide which of two is faster.
    Compare {
        /// What stands: A.
        incumbent: Input,
        /// What may replace it: B.
        candidate: Input,
        /// How.
        measuring: Box<Measuring>,
        /// The protocol.
        protocol: Box<Protocol>,
        /// Seconds after which what is not known stays unknown.
        limit_s: Option<u64>,
    },
}

/// What a replay begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplaySource {
    /// The sources: everything is built and recorded again.
    #[default]
    Sources,
    /// The sealed recordings and their machine code: nothing is built.
    Recordings,
}

impl Action {
    /// The verb, as a document names it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::Seal { .. } => "seal",
            Self::Replay { .. } => "replay",
            Self::Bench { .. } => "bench",
            Self::Compare { .. } => "compare",
        }
    }

    /// Whether nothing can be answered without a GPU.
    pub fn needs_gpu(&self) -> bool {
        let is_launched = matches!(self, Self::Replay { source: ReplaySource::Recordings, .. });
        is_launched || matches!(self, Self::Bench { .. } | Self::Compare { .. })
    }

    /// How it measures, if it does.
    pub fn measuring(&self) -> Option<&Measuring> {
        match self {
            Self::Build { .. } => None,
            Self::Seal { measure, .. } | Self::Replay { measure, .. } => match measure {
                Measure::Not { .. } => None,
                Measure::WherePossible { measuring } => Some(measuring),
            },
            Self::Bench { measuring, .. } | Self::Compare { measuring, .. } => Some(measuring),
        }
    }

    /// Refuses what cannot be done as asked, before anything is built for it.
    pub fn check(&self) -> Result<(), ActionError> {
        self.check_definitions()?;
        if let Self::Compare { protocol, .. } = self {
            protocol.check()?;
        }
        let Some(measuring) = self.measuring() else { return Ok(()) };
        if measuring.task.workloads.is_empty() {
            return Err(ActionError::NoWorkloads);
        }
        measuring.check()?;
        self.check_outputs(&measuring.reference)?;
        let custom = measuring.task.workloads.iter().find(|workload| workload.is_custom());
        match (custom, &measuring.reference) {
            (Some(workload), Reference::Submission { .. }) => {
                Err(ActionError::CustomInputs { workload: workload.uuid().to_owned() })
            }
            (None, Reference::Submission { .. }) if measuring.task.definition.own_check().is_some() => {
                Err(ActionError::OwnCheck { definition: measuring.task.definition.name().to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses what would return its outputs. A seal and a replay are done without measuring it.
    fn check_outputs(&self, reference: &Reference) -> Result<(), ActionError> {
        let reference = match reference {
            Reference::Submission { input } => Some(input),
            Reference::Definition => None,
        };
        let subjects = match self {
            Self::Bench { subject, .. } => [Some(subject), None],
            Self::Compare { incumbent, candidate, .. } => [Some(incumbent), Some(candidate)],
            Self::Build { .. } | Self::Seal { .. } | Self::Replay { .. } => [None, None],
        };
        let mut artifacts = subjects.into_iter().chain([reference]).flatten().filter_map(Input::artifact);
        match artifacts.find(|artifact| returns_outputs(artifact)) {
            Some(artifact) => {
                Err(ActionError::ReturnsOutputs { name: artifact.manifest().solution.name.clone() })
            }
            None => Ok(()),
        }
    }

    /// Refuses submissions for another definition than the one that is measured: what they compute cannot be
    /// held against each other. A bare library does not say what it is for.
    fn check_definitions(&self) -> Result<(), OtherDefinition> {
        let of = |what, input: &Input, measuring: &Measuring| match input {
            Input::Artifact(bundle) => for_definition(what, bundle, measuring),
            Input::Library(_) => Ok(()),
        };
        let reference = |measuring: &Measuring| match &measuring.reference {
            Reference::Submission { input } => of("the reference", input, measuring),
            Reference::Definition => Ok(()),
        };
        match self {
            Self::Build { .. } => Ok(()),
            Self::Seal { subject, measure } | Self::Replay { subject, measure, .. } => match measure {
                Measure::Not { .. } => Ok(()),
                Measure::WherePossible { measuring } => {
                    for_definition("the submission", subject, measuring).and_then(|()| reference(measuring))
                }
            },
            Self::Bench { subject, measuring } => {
                of("the submission", subject, measuring).and_then(|()| reference(measuring))
            }
            Self::Compare { incumbent, candidate, measuring, .. } => of("A", incumbent, measuring)
                .and_then(|()| of("B", candidate, measuring))
                .and_then(|()| reference(measuring)),
        }
    }
}

fn for_definition(what: &'static str, bundle: &Bundle, measuring: &Measuring) -> Result<(), OtherDefinition> {
    let solution = &bundle.artifact.manifest().solution;
    let expected = measuring.task.definition.name();
    if solution.definition == expected {
        return Ok(());
    }
    let (name, found) = (solution.name.clone(), solution.definition.clone());
    Err(OtherDefinition { what, name, found, expected: expected.to_owned() })
}

/// Why a document is no job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It is no JSON, or not the JSON of a job.
    #[error("not a job")]
    Format(#[from] serde_json::Error),
    /// It holds or nests too much, or holds a name twice.
    #[error("not a job")]
    Document(#[source] JsonError),
    /// It is another document.
    #[error("schema is {found}: expected `{SCHEMA}`")]
    Schema {
        /// What stands there.
        found: Value,
    },
    /// It is newer than this program.
    #[error("schema_version is {found}: this program reads version {VERSION}")]
    Version {
        /// What stands there.
        found: Value,
    },
}

/// The document, as it is written piece by piece.
#[derive(Serialize)]
struct WrittenJob<'a> {
    schema: &'static str,
    schema_version: u32,
    /// Absent where it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
    arch: Arch,
    freshness: Freshness,
    action: &'a Action,
}

impl Job {
    /// The document, to be written: with a library in it, it is too large to be kept twice.
    pub fn written(&self) -> impl Serialize + '_ {
        let Self { run_id, arch, freshness, action } = self;
        let (schema, schema_version) = (SCHEMA, VERSION);
        WrittenJob {
            schema,
            schema_version,
            run_id: Some(*run_id),
            arch: *arch,
            freshness: *freshness,
            action,
        }
    }

    /// The document.
    pub fn document(&self) -> Value {
        serde_json::to_value(self.written()).expect("a job is plain JSON")
    }

    /// The digest of all that it says but the name of its run: two jobs of one digest ask for the same.
    pub fn digest(&self) -> Digest {
        let Self { run_id: _, arch, freshness, action } = self;
        let (schema, schema_version) = (SCHEMA, VERSION);
        let asked =
            WrittenJob { schema, schema_version, run_id: None, arch: *arch, freshness: *freshness, action };
        let text = Digest::of_written(|writer| serde_json::to_writer(writer, &asked));
        DigestBuilder::new(DIGEST_DOMAIN).digest(&text.expect("a job is plain JSON")).finish()
    }

    /// Reads a document.
    pub fn from_document(text: &str) -> Result<Self, JobError> {
        json_budget::check(text.as_bytes(), Budget::SAMPLES).map_err(JobError::Document)?;
        json_budget::check_names(text).map_err(JobError::Document)?;
        let mut fields: Map<String, Value> = serde_json::from_str(text)?;
        let mut take = |name: &str| fields.shift_remove(name).unwrap_or(Value::Null);
        let (schema, version) = (take("schema"), take("schema_version"));
        if schema != SCHEMA {
            return Err(JobError::Schema { found: schema });
        }
        if version != VERSION {
            return Err(JobError::Version { found: version });
        }
        Ok(serde_json::from_value(Value::Object(fields))?)
    }
}

/// A submission alone, written as an [`Input`].
mod artifact {
    use proofmark_packager::Bundle;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Input;

    pub(super) fn serialize<S: Serializer>(bundle: &Bundle, serializer: S) -> Result<S::Ok, S::Error> {
        Input::Artifact(Box::new(bundle.clone())).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Bundle>, D::Error> {
        match Input::deserialize(deserializer)? {
            Input::Artifact(bundle) => Ok(bundle),
            Input::Library(_) => Err(D::Error::custom("a library cannot be built: expected an artifact")),
        }
    }
}
