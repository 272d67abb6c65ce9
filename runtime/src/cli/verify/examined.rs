//! One file or member with what was found in it.

use std::collections::BTreeSet;
use std::fmt;

use proofmark_packager::Arch;

use crate::proof::{Examination, Judgement, ProofVerdict, RequestedClaim};

/// Most reasons of one file that are kept for a table.
const KEPT_REASONS: usize = 13;

/// One file or member with what was found in it.
pub(super) struct Examined<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What it holds.
    pub(super) examination: &'a Examination,
    /// What that is worth; a list does not ask.
    pub(super) judgement: Option<&'a Judgement>,
    /// What was asked of it.
    pub(super) claim: Option<&'a RequestedClaim>,
}

/// What something is for: machine code in the order of architectures, then PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MadeFor {
    pub(super) is_ptx: bool,
    pub(super) arch: Arch,
}

impl fmt::Display for MadeFor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", if self.is_ptx { "PTX " } else { "" }, self.arch)
    }
}

/// A file that has something to say, as a table shows it.
pub(super) struct FileLine {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) device_bytes: u64,
    pub(super) archs: BTreeSet<MadeFor>,
    pub(super) verdict: Option<ProofVerdict>,
    pub(super) reasons: Vec<String>,
    pub(super) more_reasons: usize,
}

impl FileLine {
    pub(super) fn of(one: &Examined<'_>) -> Self {
        let entries = || one.examination.entries.iter().filter(|entry| !entry.is_stub());
        let reasons = one.judgement.map(Judgement::reasons).unwrap_or_default();
        let archs = entries().filter(|entry| entry.is_machine_code()).filter_map(|entry| entry.arch);
        let ptx = entries().filter_map(|entry| entry.ptx.as_ref()?.target);
        Self {
            name: one.name.to_owned(),
            size_bytes: one.examination.size_bytes,
            device_bytes: entries().map(|entry| entry.image_bytes).sum(),
            archs: archs
                .map(|arch| MadeFor { is_ptx: false, arch })
                .chain(ptx.map(|arch| MadeFor { is_ptx: true, arch }))
                .collect(),
            verdict: one.judgement.map(Judgement::verdict),
            reasons: reasons.iter().take(KEPT_REASONS).cloned().collect(),
            more_reasons: reasons.len().saturating_sub(KEPT_REASONS),
        }
    }
}
