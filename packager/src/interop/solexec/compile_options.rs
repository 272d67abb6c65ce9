//! `spec.compile_options`: the flags of a compiler of C++, of nvcc and of the linker, each told its own.
//!
//! | theirs | an artifact's |
//! |---|---|
//! | the architecture in `cuda_cflags`, or what the board adds without one | `[target] arch` |
//! | the other `cuda_cflags`, but for those that only a linker reads | `[target] nvcc_flags` |
//! | `cflags`, `ld_flags` | kept beside; `[sol-execbench]` in a folder's config.toml |
//!
//! nvcc compiles there and links nothing, so `-lcurand` among `cuda_cflags` does nothing. In `[target] nvcc_flags`
//! it is for both, and written to `ld_flags`.

use serde::Serialize;
use serde_json::{Value, json};

use super::architecture::{self, Asked};
use crate::artifact::Artifact;
use crate::interop::document::{Object, quote, texts_of};
use crate::interop::linker_flags::{self, SplitFlags};
use crate::interop::unread;
use crate::interop::violation::FormatViolation;
use crate::submission::Target;
use crate::target::{Arch, Gencode};

/// Their flags for a solution that has compile options without these.
const DEFAULT_CUDA_FLAGS: [&str; 2] = ["-O3", "--use_fast_math"];

/// Their linker flags for a solution that has compile options without these.
const DEFAULT_LINKER_FLAGS: [&str; 1] = ["-lcuda"];

/// What their model of `spec.compile_options` has.
const FIELDS: [&str; 3] = ["cflags", "cuda_cflags", "ld_flags"];

/// The flags of one solution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompileOptions {
    /// For the compiler of C++.
    pub cflags: Vec<String>,
    /// For nvcc, which compiles and links nothing; the architecture is the first of them.
    pub cuda_cflags: Vec<String>,
    /// For the linker.
    pub ld_flags: Vec<String>,
}

/// Flags that an artifact has beside its `[target]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlagsBeside {
    /// For the compiler of C++, where a solution or config.toml says them.
    pub cflags: Option<Vec<String>>,
    /// For the linker, where a solution or config.toml says them.
    pub ld_flags: Option<Vec<String>>,
}

impl FlagsBeside {
    /// Those of an artifact.
    #[must_use]
    pub fn of(artifact: &Artifact) -> Self {
        let spec = artifact.manifest().unknown.get("spec").unwrap_or(&Value::Null);
        let list = |field: &str| texts_of(&spec["compile_options"][field]);
        Self { cflags: list("cflags"), ld_flags: list("ld_flags") }
    }
}

impl CompileOptions {
    /// What a builder of torch extensions is to be told of an artifact.
    #[must_use]
    pub fn of(artifact: &Artifact) -> Self {
        let target = &artifact.manifest().target;
        let FlagsBeside { cflags, ld_flags } = FlagsBeside::of(artifact);
        let SplitFlags { compiler, linker } = linker_flags::split(&target.nvcc_flags);
        let mut cuda_cflags = vec![format!("-gencode={}", Gencode::exact(target.arch))];
        cuda_cflags.extend(compiler);
        let mut ld_flags = ld_flags.unwrap_or_else(|| texts(&DEFAULT_LINKER_FLAGS));
        for flag in linker {
            if !ld_flags.contains(&flag) {
                ld_flags.push(flag);
            }
        }
        Self { cflags: cflags.unwrap_or_default(), cuda_cflags, ld_flags }
    }
}

/// What was read.
pub(super) struct ReadOptions {
    pub(super) target: Target,
    /// The flags of the other compilers, as they are kept.
    pub(super) beside: Value,
    /// What of the flags does not mean what it looks like.
    pub(super) notes: Vec<String>,
}

/// Reads the options of a solution.
pub(super) fn read(value: Option<Value>, violations: &mut Vec<FormatViolation>) -> Option<ReadOptions> {
    // Without options the board makes some, with the architecture alone: its defaults fill in the linker's.
    let Some(value) = value else {
        let beside = json!({"cflags": [], "ld_flags": DEFAULT_LINKER_FLAGS});
        return Some(ReadOptions { target: Target::default(), beside, notes: Vec::new() });
    };
    let mut fields = Object::open("spec.compile_options".to_owned(), value, violations)?;
    let mut list = |field: &str, default: &[&str]| match fields.take_optional(field) {
        None => texts(default),
        Some(value) => texts_of(&value).unwrap_or_else(|| {
            violations.push(FormatViolation::new(fields.place(field), "a list of texts", quote(&value)));
            Vec::new()
        }),
    };
    let cflags = list("cflags", &[]);
    let cuda_cflags = list("cuda_cflags", &DEFAULT_CUDA_FLAGS);
    let ld_flags = list("ld_flags", &DEFAULT_LINKER_FLAGS);
    for (field, value) in fields.rest() {
        let place = format!("spec.compile_options.{field}");
        let expected = match unread::meant(&field, &FIELDS) {
            Some(meant) => format!("`{meant}`: no other field has flags"),
            None => format!("one of {}: no other field has flags", FIELDS.join(", ")),
        };
        violations.push(FormatViolation::new(place, expected, quote(&value)));
    }
    let (asked, flags) = architecture::split(&cuda_cflags);
    let SplitFlags { compiler: nvcc_flags, linker } = linker_flags::split(&flags);
    let mut notes = Vec::new();
    let idle: Vec<_> = linker.into_iter().filter(|flag| !ld_flags.contains(flag)).collect();
    if !idle.is_empty() {
        notes.push(format!(
            "`{}` in `spec.compile_options.cuda_cflags` links nothing, as nvcc only compiles there, and is left \
             out: `ld_flags` is what is linked",
            idle.join(" ")
        ));
    }
    let arch = match asked {
        Asked::Exact(arch) => arch,
        Asked::WithPtx(arch) => {
            notes.push(format!(
                "`-arch={arch}` puts PTX beside the machine code: read as `-gencode={}`, which does not and is what \
                 is built and packed here",
                Gencode::exact(arch)
            ));
            arch
        }
        // What the board adds for its own GPU.
        Asked::Nothing => Arch::SM_100A,
        Asked::Other(found) => {
            let place = "spec.compile_options.cuda_cflags";
            let expected = "one exact architecture, such as -gencode=arch=compute_100a,code=sm_100a, or none";
            violations.push(FormatViolation::new(place, expected, format!("`{found}`")));
            return None;
        }
    };
    let beside = json!({"cflags": cflags, "ld_flags": ld_flags});
    Some(ReadOptions { target: Target { arch, nvcc_flags }, beside, notes })
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
