//! The requested claim: what compiler commands asked for, and where build systems keep them.
//!
//! | file | noun |
//! |---|---|
//! | `claim` | what one nvcc call asks for |
//! | `shell` | a command line, cut into the calls in it |
//! | `call` | a call of a compiler, under whatever name, with the files of options that it names |
//! | `ninja`, `makefile`, `database`, `log` | the four places where commands are written down |
//! | `steps` | what makes which file, and so which claim is about which file |
//! | `discovery` | the build files below a folder |
//! | `compiler_check` | what `CMake` leaves there of its own |
//! | `allowance` | how much of it is read |
//!
//! These files say what should have been built, never what was: a failed or skipped step leaves
//! them ahead of the library beside them. Claims stay with the file that they are about: two
//! libraries of one build may rightly be for two architectures.

mod allowance;
mod call;
mod claim;
mod compiler_check;
mod database;
mod discovery;
mod log;
mod makefile;
mod ninja;
mod shell;
mod steps;

pub use claim::{RequestedClaim, RequestedForm, RequestedImage};
pub use compiler_check::is_compiler_check;
pub use discovery::{claim_of_file, requests_in_folder};
pub use steps::{Requests, TargetClaim};
