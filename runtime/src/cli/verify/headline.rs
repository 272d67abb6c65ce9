//! The answer in one line.

use crate::proof::{Entry, EntryKind, Examination, Policy, ProofVerdict};

/// What there is in place of the machine code that was asked for, over all files.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "four independent sightings")]
pub(super) struct Weaker {
    ptx: bool,
    lto: bool,
    machine_code: bool,
    for_others: bool,
}

impl Weaker {
    /// Takes in one file.
    pub(super) fn add(&mut self, examination: &Examination, policy: &Policy) {
        for entry in examination.entries.iter().filter(|entry| !entry.is_stub()) {
            let is_for_it = entry.arch == Some(policy.arch);
            self.for_others |= !is_for_it;
            self.ptx |= is_for_it && entry.kind == EntryKind::Ptx;
            self.lto |= is_for_it && entry.kind == EntryKind::Lto;
            self.machine_code |= is_for_it && Entry::is_machine_code(entry);
        }
    }
}

/// The verdict and what it means here.
pub(super) fn headline(verdict: ProofVerdict, policy: &Policy, weaker: &Weaker) -> String {
    format!("{}  {}", word(verdict), sentence(verdict, policy, weaker))
}

/// The verdict in one word.
pub(super) fn word(verdict: ProofVerdict) -> &'static str {
    match verdict {
        ProofVerdict::Exact => "EXACT",
        ProofVerdict::Mixed => "MIXED",
        ProofVerdict::Weaker => "WEAKER",
        ProofVerdict::Absent => "ABSENT",
        ProofVerdict::Contradicted => "CONTRADICTED",
        ProofVerdict::Unreadable => "UNREADABLE",
    }
}

fn sentence(verdict: ProofVerdict, policy: &Policy, found: &Weaker) -> String {
    let arch = policy.arch;
    match verdict {
        ProofVerdict::Exact if policy.allow_ptx || !policy.also_allowed.is_empty() => {
            format!("machine code for {arch}, and nothing that was not allowed")
        }
        ProofVerdict::Exact => format!("machine code for {arch}, and nothing else"),
        ProofVerdict::Mixed => format!("machine code for {arch}, but not alone"),
        ProofVerdict::Weaker => weaker(policy, found),
        ProofVerdict::Absent => format!("no code for {arch}"),
        ProofVerdict::Contradicted => "the witnesses disagree, so nothing is proven".to_owned(),
        ProofVerdict::Unreadable => {
            "some of it could not be read or accounted for, so nothing is proven".to_owned()
        }
    }
}

fn weaker(policy: &Policy, found: &Weaker) -> String {
    let arch = policy.arch;
    let later = match (found.ptx, found.lto) {
        (true, true) => "PTX and LTO-IR for it, which are compiled later",
        (true, false) => "PTX for it, which the driver compiles when it is loaded",
        (false, true) => "LTO-IR for it, which is compiled when it is linked",
        (false, false) if found.machine_code => {
            return format!("no machine code for {arch} that was compiled for it and could be launched");
        }
        (false, false) => {
            return format!("no machine code for {arch}; only code with fewer features that could run there");
        }
    };
    let rest = if found.for_others { "; the rest is for others" } else { "" };
    format!("no machine code for {arch}; only {later}{rest}")
}
