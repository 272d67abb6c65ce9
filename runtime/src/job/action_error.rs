//! Why an action cannot be done as asked.

use crate::measure::decision::ProtocolError;

/// Why an action cannot be done as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ActionError {
    /// A submission is for another definition.
    #[error(transparent)]
    Definition(#[from] OtherDefinition),
    /// A comparison that decides nothing.
    #[error("the protocol cannot work")]
    Protocol(#[from] ProtocolError),
    /// A number by which nothing can be measured.
    #[error("{what} is {found}: expected {expected}")]
    Number {
        /// What it is for.
        what: String,
        /// What stands there.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// Nothing would be measured.
    #[error("there is no workload to measure: expected at least one")]
    NoWorkloads,
    /// What is called as a library, and would return its outputs.
    #[error("{name} returns its outputs: expected a submission that writes to the judge's buffers")]
    ReturnsOutputs {
        /// The solution's name.
        name: String,
    },
    /// Nobody is there who could make the inputs.
    #[error(
        "workload {workload} leaves its inputs to the definition's own function: expected the definition's own \
         code as the reference"
    )]
    CustomInputs {
        /// The workload.
        workload: String,
    },
    /// Nobody is there who could judge the outputs.
    #[error(
        "{definition} judges outputs by a function of its own: expected the definition's own code as the reference"
    )]
    OwnCheck {
        /// The definition.
        definition: String,
    },
}

/// A submission for another definition than the one that is measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, `{name}`, is for {found}, and what is measured is {expected}")]
pub struct OtherDefinition {
    pub(super) what: &'static str,
    pub(super) name: String,
    pub(super) found: String,
    pub(super) expected: String,
}
