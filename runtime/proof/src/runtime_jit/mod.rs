//! Signs that device code may appear while a program runs, which no file of it shows.
//!
//! A label, not an accusation: the big frameworks carry it too. What gives it must hardly ever be in a
//! program that does nothing of the kind, so a sign is always something that such a program needs:
//!
//! | sign | needed by |
//! |---|---|
//! | a library among those it needs | whoever is linked against NVRTC, `nvJitLink`, NVVM, the PTX compiler |
//! | an undefined function, in a library, object or archive | whoever compiles or loads modules, or asks the driver or the loader for functions by name |
//! | a call into the CUDA runtime that is linked in | the same with a static runtime, which holds the names of all such functions itself |
//! | the name of a library or function as text | `dlopen` and `dlsym` |
//! | CUDA source, or PTX with a blank for its target | whoever hands a text to a compiler |
//! | the name of `ptxas` or `nvcc`, and a function that starts programs | whoever runs a compiler |
//! | a library among those it needs | whoever links a run-time compiler: `libnvrtc`, `libnvJitLink`, `libnvvm` |
//!
//! A stripped library with a static CUDA runtime shows its calls of that runtime by the names that the runtime's functions
//! hold themselves, and none of its calls of the loader, which the runtime makes as well.

mod calls;
mod elf;
mod functions;
mod text;
mod unnamed;
mod words;

use serde::Serialize;

pub(super) use elf::{ElfSigns, SignsWanted, elf_signs};
pub(super) use text::{is_text, python_signs, signs_of, text_signs};
pub(super) use words::{REACH_BYTES, Word, Words, beginnings, between, distinct, word_at};

/// One sign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "sign", content = "found")]
pub enum RuntimeJit {
    /// Needs a library that compiles or loads device code.
    Needs(String),
    /// Imports a function that compiles or loads device code, or that finds one by its name.
    Imports(String),
    /// Calls such a function that is linked into it.
    Calls(String),
    /// Holds the name of such a library or function as text, for `dlopen` and `dlsym`.
    Names(String),
    /// Holds CUDA source as text.
    CarriesSource(String),
    /// Holds PTX as text whose target is filled in later.
    PtxTemplate(String),
    /// Runs a compiler as a program.
    Runs(String),
    /// Is Python that compiles device code.
    Python(String),
}

impl RuntimeJit {
    /// The sign in words.
    pub fn words(&self) -> String {
        match self {
            Self::Needs(name) => format!("needs {name}"),
            Self::Imports(name) => format!("imports {name}"),
            Self::Calls(name) => format!("calls {name}"),
            Self::Names(name) => format!("names {name}"),
            Self::CarriesSource(text) => format!("carries CUDA source (`{text}`)"),
            Self::PtxTemplate(text) => format!("carries PTX with an open target (`{text}`)"),
            Self::Runs(name) => format!("runs {name}"),
            Self::Python(text) => format!("compiles from Python (`{text}`)"),
        }
    }
}
