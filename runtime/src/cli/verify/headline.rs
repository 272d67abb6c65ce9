//! The answer in one line.

use crate::proof::{Entry, EntryKind, Policy, Verdict};

use super::Examined;

/// The verdict and what it means here.
pub(super) fn headline(verdict: Verdict, policy: &Policy, examined: &[Examined]) -> String {
    format!("{}  {}", word(verdict), sentence(verdict, policy, examined))
}

/// The verdict in one word.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Exact => "EXACT",
        Verdict::Mixed => "MIXED",
        Verdict::Weaker => "WEAKER",
        Verdict::Absent => "ABSENT",
        Verdict::Contradicted => "CONTRADICTED",
        Verdict::Unreadable => "UNREADABLE",
    }
}

fn sentence(verdict: Verdict, policy: &Policy, examined: &[Examined]) -> String {
    let arch = policy.arch;
    match verdict {
        Verdict::Exact if policy.allow_ptx || !policy.also_allowed.is_empty() => {
            format!("machine code for {arch}, and nothing that was not allowed")
        }
        Verdict::Exact => format!("machine code for {arch}, and nothing else"),
        Verdict::Mixed => format!("machine code for {arch}, but not alone"),
        Verdict::Weaker => weaker(policy, examined),
        Verdict::Absent => format!("no code for {arch}"),
        Verdict::Contradicted => "the witnesses disagree, so nothing is proven".to_owned(),
        Verdict::Unreadable => {
            "some of it could not be read or accounted for, so nothing is proven".to_owned()
        }
    }
}

/// What there is in place of the machine code that was asked for.
fn weaker(policy: &Policy, examined: &[Examined]) -> String {
    let arch = policy.arch;
    let entries =
        || examined.iter().flat_map(|one| &one.examination.entries).filter(|entry| !entry.is_stub());
    let has = |kind| entries().any(|entry| is_for(entry, policy) && entry.kind == kind);
    let later = match (has(EntryKind::Ptx), has(EntryKind::Lto)) {
        (true, true) => "PTX and LTO-IR for it, which are compiled later",
        (true, false) => "PTX for it, which the driver compiles when it is loaded",
        (false, true) => "LTO-IR for it, which is compiled when it is linked",
        (false, false) if entries().any(|entry| is_for(entry, policy) && entry.is_machine_code()) => {
            return format!("no machine code for {arch} that was compiled for it and could be launched");
        }
        (false, false) => {
            return format!("no machine code for {arch}; only code with fewer features that could run there");
        }
    };
    let rest = if entries().all(|entry| is_for(entry, policy)) { "" } else { "; the rest is for others" };
    format!("no machine code for {arch}; only {later}{rest}")
}

fn is_for(entry: &Entry, policy: &Policy) -> bool {
    entry.arch == Some(policy.arch)
}
