//! What the compiler made of one source, so that it need not be made again.

use super::dependencies::Dependencies;

/// One compiled source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Every file that went in, the source included.
    pub reads: Dependencies,
    /// What the compilers said, tidied.
    pub log: String,
    /// The bytes of the object file.
    pub object: Vec<u8>,
}

/// How a build came by its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct UnitCounts {
    /// Compiled by this build.
    pub compiled: usize,
    /// Objects of earlier builds, whose sources, headers, command and toolchain were the same.
    pub reused: usize,
}

impl std::fmt::Display for UnitCounts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { compiled, reused } = self;
        write!(formatter, "{compiled} of {} compiled", compiled + reused)?;
        match reused {
            0 => Ok(()),
            _ => write!(formatter, ", {reused} unchanged since an earlier build"),
        }
    }
}
