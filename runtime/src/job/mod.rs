//! What is to be done, and what came out of it: values that any machine can take in and give back.
//!
//! A [`Job`] holds everything that decides what the answer means: the submission's bytes, the
//! architecture, the definition with its digest, workloads, tolerance, the reference. It holds nothing
//! of the machine: where the toolchain, the cache and the driver are is a setting of whoever runs it.
//!
//! | file | what it holds |
//! |---|---|
//! | [`request`] | the job and its document |
//! | `action_error` | why an action cannot be done as asked |
//! | [`input`] | a submission or a built library, by digest and bytes |
//! | [`task`] | the definition, the chosen workloads, where captured tensors lie |
//! | [`reference`](mod@reference) | what outputs are held against |
//! | [`measuring`] | how to measure |
//! | [`extension`] | which submissions are built as modules of Python |
//! | [`subject`] | a proven library, and what came with it |
//! | [`outcome`] | what came out |

mod action_error;
pub mod extension;
pub mod input;
pub mod measuring;
pub mod outcome;
pub mod reference;
pub mod request;
pub mod subject;
pub mod task;

pub use action_error::{ActionError, OtherDefinition};
pub use extension::is_extension;
pub use input::{Input, returns_outputs};
pub use measuring::{Measure, Measuring};
pub use outcome::{Measured, MeasurementOutcome, Outcome, ReplayedSpeed};
pub use reference::Reference;
pub use request::{Action, Job, JobError, ReplaySource};
pub use subject::BuiltSubject;
pub use task::{Task, TaskError, TaskSources};
