//! Finds what a Python entry compiles while it runs, so that it is built and proven before anything loads it.
//!
//! The entry is imported in a sandbox, with the functions of TVM-FFI and torch that compile, and nvcc as a program,
//! replaced by ones that note what they are asked for: a [`Request`], which becomes a [`BuildRequest`](crate::build::BuildRequest) like
//! any other. What needs a GPU is stood in for, torch and Triton always, so that every machine finds the same.
//! The process that runs the entry later asks again and is given the libraries: `intercept.py` does both.
//!
//! ```text
//! <folder>/                 what `answers` writes
//! ├── answers.json          each request's digest and its library
//! ├── intercept.py          what gives them
//! └── <digest12>.so
//! ```
//!
//! | file | noun |
//! |---|---|
//! | [`mod@document`] | what it reports |
//! | [`mod@run`] | the sandbox that it runs in |
//! | [`mod@translate`] | a request as ours |
//! | [`entry`] | what came of all of them |
//! | [`answers`] | how libraries reach the process that runs the entry |

pub mod answers;
pub mod document;
pub mod entry;
pub mod run;
pub mod translate;

pub use answers::write_answers;
pub use document::{Document, Request, Unreached};
pub use entry::{CapturedEntry, CapturedLibrary};
pub use run::{CaptureError, Surroundings, may_compile, run};
pub use translate::{TranslateError, Translated, translate};

/// The module that stands in for the compiling functions, for capturing and for answering.
pub const INTERCEPT: &str = include_str!("intercept.py");
