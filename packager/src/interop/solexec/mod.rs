//! NVIDIA SOL-ExecBench: problems, solutions and results.
//!
//! | file | noun |
//! |---|---|
//! | [`solution`] | what the board takes, read as an artifact and written from one |
//! | `extension` | what the board's builder makes of C++ sources |
//! | [`compile_options`] | the flags that its compilers and its linker get |
//! | [`architecture`] | which architecture a list of flags asks for |
//! | [`languages`] | their two groups of languages |
//! | [`problem`] | a folder of definition and workloads, and what of it can be measured |
//! | [`definition`] | the operator: axes that may be expressions, inputs, outputs, reference |
//! | [`expression`] | the arithmetic of an axis |
//! | [`element_type`] | the element types |
//! | [`workload`] | one point of use with its tolerance |
//! | [`trace`] | one line of results |
//! | [`score()`] | their score of one workload |
//!
//! Read from their repository at 8d2237d. Their rules are checked one by one, all violations at once; what
//! is written names every field of their models. Stricter than they are: a solution names a language, a
//! path of captured tensors stays inside the data set, and one exact architecture is asked for. That a
//! reference is Python is not checked.

pub mod architecture;
pub mod compile_options;
pub mod definition;
pub mod element_type;
pub mod expression;
mod extension;
pub mod languages;
pub mod problem;
mod score;
pub mod solution;
pub mod trace;
pub mod workload;

pub use compile_options::{CompileOptions, FlagsBeside};
pub use definition::Definition;
pub use problem::{Problem, ProblemError};
pub use score::score;
pub use trace::{Status, Trace};
pub use workload::{ToleranceSpec, Workload};
