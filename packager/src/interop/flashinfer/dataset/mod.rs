//! The folder tree of a data set.
//!
//! ```text
//! definitions/<op_type>/<definition>.json
//! workloads/<op_type>/<definition>.jsonl            one trace a line, workloads alone
//! traces/<author>/<op_type>/<definition>.jsonl      one trace a line, evaluated
//! blob/workloads/<op_type>/<definition>/<definition>_<uuid>.safetensors
//! ```
//!
//! Only contents count, as for their reader: a definition is found by the name inside the file,
//! wherever under `definitions/` the file lies. Unlike their reader, one bad file does not take
//! the rest of the data set down; it is an error when it is the file that was asked for.

mod append;
mod error;
mod files;
#[cfg(test)]
mod fixtures;
mod tree;

pub use append::{append_traces, trace_path};
pub use error::DatasetError;
pub use files::{read_definition, read_traces};
pub use tree::Dataset;

const DEFINITIONS: &str = "definitions";
const WORKLOADS: &str = "workloads";
const TRACES: &str = "traces";
