//! How a build ended, and what it made.

use super::dependencies::Dependencies;
use super::diagnostics::Diagnostics;
use super::unit::{Unit, UnitCounts};
use crate::sandbox::Layers;

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildOutcome {
    /// There is a library.
    Built(BuildOutput),
    /// The submission does not build; a finding.
    CompileError(Diagnostics),
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutput {
    /// The bytes of the shared library.
    pub library: Vec<u8>,
    /// What the compilers said, with paths as the submission writes them; the same in every build.
    pub log: String,
    /// Every file that was read.
    pub dependencies: Dependencies,
    /// How it came by its units.
    pub units: UnitCounts,
    /// The sandbox that all of the commands ran in.
    pub sandbox: Layers,
}

/// A build and what can be kept of it.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: BuildOutcome,
    /// The units that it compiled, by their numbers in the plan; whether or not the others compile.
    pub compiled: Vec<(usize, Unit)>,
}
