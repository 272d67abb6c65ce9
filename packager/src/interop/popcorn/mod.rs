//! GPU MODE: what its server, kernelbot, takes, and its problems.
//!
//! | file | noun |
//! |---|---|
//! | [`submission`] | `submission.py`, written from an artifact |
//! | [`problem`] | a folder with `task.yml` and `reference.py` |
//! | [`competition`] | the list that says a problem's leaderboard and GPUs |
//! | [`signature`] | what a problem's data and answer hold, as a person says it |
//! | [`task`] | a problem as a task that can be measured |
//! | [`word`] | the word that the server refuses wherever it stands |
//! | `data` | how `data` holds what a kernel reads, as a definition keeps it |
//! | `adapter` | `custom_kernel(data)`, from the definition's signature |
//! | `python_entry` | what is wrong with a Python entry |
//! | `literal` | texts as Python writes them |
//!
//! Read from kernelbot at 4bdd839 and reference-kernels at f83cb92. Two traps of the server are minded here:
//! a text with the word `stream` is answered with an error of the server, and a torch extension whose flags
//! name no architecture gets plain `sm_100`.

mod adapter;
pub mod competition;
mod data;
mod literal;
pub mod problem;
mod python_entry;
pub mod signature;
pub mod submission;
pub mod task;
pub mod word;

pub use competition::Listing;
pub use problem::{Problem, ProblemError};
pub use signature::Signature;
pub use submission::{Leaderboard, Packed};
pub use task::PopcornTask;
