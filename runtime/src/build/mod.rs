//! Builds an artifact for one exact architecture, bit for bit the same everywhere.
//!
//! | file | noun |
//! |---|---|
//! | [`flags`] | which of a submission's flags may reach nvcc |
//! | `options` | every option of nvcc and what may become of it |
//! | `stage` | what may be passed to the programs behind nvcc |
//! | [`mod@plan`] | the complete commands, before anything runs |
//! | [`nvcc`] | the one file that runs them |
//! | [`folder`] | the place where they run |
//! | [`diagnostics`] | what the compilers say about the sources |
//! | [`resources`] | what ptxas says about each kernel |
//! | [`dependencies`] | every file that was read |

pub mod buildable;
pub mod dependencies;
pub mod diagnostics;
pub mod flags;
pub mod folder;
pub mod nvcc;
mod options;
pub mod plan;
pub mod resources;
mod stage;

pub use buildable::{Unbuildable, check_buildable};
pub use dependencies::{Dependency, locate};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use flags::{FlagRefusal, Flags, Reason};
pub use folder::sweep;
pub use nvcc::{BuildError, BuildOutcome, BuildOutput, Limits, run};
pub use plan::{BuildPlan, Command, PlanError, PlanRequest, plan};
pub use resources::KernelResources;
