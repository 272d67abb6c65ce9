//! FlashInfer-Bench: definitions, workloads, traces and the data-set folders that hold them.
//!
//! | file | noun |
//! |---|---|
//! | [`solution`] | what the contest takes: metadata, sources, both of its hashes |
//! | [`dtype`] | the element types |
//! | [`definition`] | the operator: axes, inputs, outputs, reference |
//! | [`workload`] | one point of use: axis values, where each input comes from |
//! | [`shapes`] | a definition's tensors at one workload |
//! | [`trace`] | one line of a JSONL file: a workload, or a workload with its evaluation |
//! | [`evaluation`] | how a solution did on a workload |
//! | [`timestamp`] | when that was |
//! | [`dataset`] | the folder tree that holds all of these |
//!
//! Reading is lenient where their reader is: an absent `type` is inferred, unknown fields are
//! kept and the order of every map stays. Writing is strict: `type` always stands, statuses come
//! with exactly the parts that their models demand, and numbers that JSON cannot spell are
//! written the way their reader understands them.
//!
//! Compared with their models on 899 mutated traces and definitions (pydantic 2.14.3), everything
//! written here is accepted there, and reading differs on purpose only: `null` passes where a
//! default exists; `true` and `"3"` are no numbers; an infinite latency is none; a path must stay
//! inside the data set. Python itself (that a reference parses, that a constraint is an
//! expression) is not checked.

pub mod dataset;
pub mod definition;
pub mod dtype;
pub mod evaluation;
pub mod shapes;
pub mod solution;
pub mod timestamp;
pub mod trace;
pub mod workload;

pub use super::named::Named;
pub use super::violation::{FormatViolation, Invalid};
pub use dataset::{Dataset, DatasetError};
pub use definition::{Axis, Definition, OWN_CHECK, TensorSpec};
pub use dtype::Dtype;
pub use evaluation::{
    Correctness, Evaluation, EvaluationEnvironment, EvaluationOutcome, Performance, Status,
};
pub use shapes::{Shapes, Tensor};
pub use timestamp::Timestamp;
pub use trace::Trace;
pub use workload::{BlobPath, InputSpec, Scalar, Workload};
