//! Python code that is measured or judges: which interpreter runs it, and what it is told.
//!
//! | file | what it holds |
//! |---|---|
//! | [`interpreter`] | an interpreter and what it has |
//! | [`document`] | what a player in Python is told to load |
//! | [`syntax`] | whether a text is Python |
//! | [`home`] | where Python code of one run lives: its folders, its interpreter |
//!
//! A submission's sources become a package in a folder of their own, as FlashInfer-Bench's builder has it, since
//! the compilers of Triton and others read a function's source from its file. The folders end with the run.

pub mod document;
pub mod home;
pub mod interpreter;
pub mod syntax;

pub use document::PythonDocument;
pub use home::{HomeError, PythonHome};
pub use interpreter::{Interpreter, InterpreterError};
pub use syntax::Syntax;
