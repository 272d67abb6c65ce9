//! Builds an artifact for one exact architecture, bit for bit the same everywhere.
//!
//! | file | noun |
//! |---|---|
//! | [`request`] | what is to be built, wherever it came from |
//! | [`interface`] | how a library meets its caller |
//! | [`mod@kits`] | which kits a submission asks for |
//! | [`stand_in`] | libraries that are linked by name alone |
//! | [`flags`] | which of a submission's flags may reach nvcc |
//! | [`other_flags`] | those of the compiler of C++ and of the linker |
//! | `options` | every option of nvcc and what may become of it |
//! | `stage` | what may be passed to the programs behind nvcc |
//! | [`mod@plan`] | the complete commands, before anything runs |
//! | [`limits`] | what a build may use |
//! | [`nvcc`] | the one file that runs them |
//! | `link` | what follows the compilers, and what the linker must not see |
//! | [`outcome`], [`error`] | how a build ended, or why nobody can tell |
//! | [`folder`] | the place where they run |
//! | [`mod@unit`] | what one source became, so that it need not be compiled again |
//! | `objects` | what may not reach the linker |
//! | `blame` | whose fault a failure is |
//! | [`diagnostics`] | what the compilers say about the sources |
//! | `link_log` | what the linker says, and which files it read |
//! | `symbols` | what a library exports and what it lacks |
//! | [`headers`] | which package brings a header that is not there |
//! | [`resources`] | what ptxas says about each kernel |
//! | [`dependencies`] | every file that was read |

mod blame;
mod buildable;
pub mod dependencies;
pub mod diagnostics;
pub mod error;
pub mod flags;
pub mod folder;
pub mod headers;
pub mod interface;
pub mod kits;
pub mod limits;
mod link;
mod link_log;
pub mod nvcc;
mod objects;
mod options;
pub mod other_flags;
pub mod outcome;
pub mod plan;
pub mod request;
pub mod resources;
mod stage;
pub mod stand_in;
mod symbols;
pub mod unit;

pub use buildable::{Unbuildable, check_buildable};
pub use dependencies::{Dependencies, is_header_label, locate, packed_path};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use error::BuildError;
pub use flags::{FlagRefusal, Flags, Reason, accepted_flags};
pub use folder::sweep;
pub use interface::{Interface, TORCH_MODULE};
pub use kits::kits_of;
pub use limits::{BuildLimits, Demand};
pub use nvcc::run;
pub use other_flags::OtherFlags;
pub use outcome::{BuildOutcome, BuildOutput, Ended};
pub use plan::{BuildPlan, Command, PlanError, PlanRequest, plan};
pub use request::BuildRequest;
pub use resources::KernelResources;
pub use stand_in::{LinkRule, Linkable};
pub use unit::{Unit, UnitCounts};
