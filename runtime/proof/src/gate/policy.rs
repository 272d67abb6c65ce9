//! Rules and waivers, held against one file after the other.
//!
//! Files without device code need no rule. The first rule whose globs match a file is about it; device code
//! that no rule is about is a finding, so that nothing ships unasked.

use std::collections::BTreeSet;

use proofmark_packager::{Arch, Feature};

use super::finding::{Finding, FindingKind};
use crate::verdict::faults;
use crate::witness::{front_end, linked_in};
use crate::{Entry, EntryKind, Examination, Policy, ProofVerdict, RequestedClaim, Unread, judge, reach};

/// Most reasons of one kind that one file gives.
const REASONS: usize = 20;

/// A glob over paths: `*` and `?` stay within a folder, `**` crosses folders.
#[derive(Debug, Clone)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// Reads a glob; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        glob::Pattern::new(text).map(Self).map_err(|error| format!("{error}"))
    }

    /// The glob that matches one path alone.
    pub fn exactly(path: &str) -> Self {
        Self(glob::Pattern::new(&glob::Pattern::escape(path)).unwrap_or_default())
    }

    /// Whether it matches a path.
    pub fn matches(&self, path: &str) -> bool {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.0.matches_with(path, options)
    }

    /// As written.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }
}

/// Which architectures may be there beside what is required.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All.
    Any,
    /// These.
    These(BTreeSet<Arch>),
}

impl Allowed {
    /// None at all.
    pub fn none() -> Self {
        Self::These(BTreeSet::new())
    }

    fn allows(&self, arch: Option<Arch>) -> bool {
        match self {
            Self::Any => true,
            Self::These(archs) => arch.is_some_and(|arch| archs.contains(&arch)),
        }
    }
}

/// What is asked of the files that some globs match.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What to call it.
    pub name: String,
    /// The files it is about.
    pub files: Vec<Pattern>,
    /// Whether they may hold device code at all.
    pub device_code: bool,
    /// Machine code for each of these must be there.
    pub require: BTreeSet<Arch>,
    /// Machine code that may be there as well.
    pub allow: Allowed,
    /// PTX that may be there.
    pub ptx: Allowed,
    /// Whether LTO-IR may be there.
    pub lto_ir: bool,
    /// GPUs, by number, on which something in the file must run.
    pub runs_on: Vec<u32>,
}

/// Findings that are accepted.
#[derive(Debug, Clone)]
pub struct Waiver {
    /// In which files.
    pub files: Vec<Pattern>,
    /// Of which kinds; empty for all.
    pub findings: Vec<FindingKind>,
    /// Why.
    pub reason: String,
}

/// What a maintainer asks of a release.
#[derive(Debug, Clone)]
pub struct ReleasePolicy {
    /// What to call it.
    pub name: String,
    /// The rules, the first that matches decides.
    pub rules: Vec<Rule>,
    /// The waivers.
    pub waivers: Vec<Waiver>,
    /// Whether code that appears at run time is a finding.
    pub refuses_runtime_jit: bool,
    /// What is not known of the release that it was made from.
    pub not_known: Vec<Unread>,
}

impl ReleasePolicy {
    /// Exactly one architecture in every file with device code.
    pub fn only(arch: Arch) -> Self {
        let rule = Rule {
            name: format!("only {arch}"),
            files: vec![Pattern::new("**").expect("a plain glob")],
            device_code: true,
            require: BTreeSet::from([arch]),
            allow: Allowed::none(),
            ptx: Allowed::none(),
            lto_ir: false,
            runs_on: Vec::new(),
        };
        Self {
            name: rule.name.clone(),
            rules: vec![rule],
            waivers: Vec::new(),
            refuses_runtime_jit: false,
            not_known: Vec::new(),
        }
    }

    /// Holds one file against it. `used` gathers the rules that were about a file with device code.
    pub fn hold(
        &self,
        file: &str,
        examination: &Examination,
        claim: Option<&RequestedClaim>,
        used: &mut BTreeSet<usize>,
    ) -> Vec<Finding> {
        let mut found: Vec<(FindingKind, String)> = Vec::new();
        let code: Vec<&Entry> = examination.entries.iter().filter(|entry| !entry.is_stub()).collect();
        found.extend(integrity(examination, claim));
        if self.refuses_runtime_jit {
            let signs = examination.runtime_jit.iter().take(REASONS);
            found.extend(signs.map(|sign| (FindingKind::RuntimeJit, sign.words())));
        }
        if !code.is_empty() {
            match self.rules.iter().position(|rule| rule.files.iter().any(|glob| glob.matches(file))) {
                Some(index) => {
                    used.insert(index);
                    found.extend(self.rules[index].hold(examination, &code));
                }
                None => found
                    .push((FindingKind::DeviceCode, "device code, and no rule is about this file".into())),
            }
        }
        found.into_iter().map(|(kind, what)| self.finding(file, kind, what)).collect()
    }

    /// Something that could not be read.
    pub fn unread(&self, file: &str, reason: &str) -> Finding {
        self.finding(file, FindingKind::Unreadable, reason.to_owned())
    }

    /// What is not known of the release that it was made from, so that nothing can be held against that.
    pub fn open_questions(&self) -> Vec<Finding> {
        let of = |one: &Unread| {
            let what = format!("what is to be like it is not known: in the model, {}", one.reason);
            self.finding(&one.path, FindingKind::Unreadable, what)
        };
        self.not_known.iter().map(of).collect()
    }

    /// Rules that turned out to be about nothing, of `with_code` files that hold device code.
    pub fn unused(&self, used: &BTreeSet<usize>, with_code: usize) -> Vec<Finding> {
        if with_code == 0 && self.rules.iter().any(|rule| rule.device_code) {
            let what = "no file holds device code, and this policy is about files that do".to_owned();
            return vec![self.finding(&self.name, FindingKind::NoDeviceCode, what)];
        }
        let asks = |rule: &Rule| !rule.require.is_empty() || !rule.runs_on.is_empty();
        let rules = self.rules.iter().enumerate().filter(|(index, rule)| asks(rule) && !used.contains(index));
        rules
            .map(|(_, rule)| {
                let what = "no file with device code matches this rule".to_owned();
                self.finding(&rule.name, FindingKind::UnusedRule, what)
            })
            .collect()
    }

    fn finding(&self, file: &str, kind: FindingKind, what: String) -> Finding {
        let waiver = self.waivers.iter().find(|waiver| {
            let is_kind = waiver.findings.is_empty() || waiver.findings.contains(&kind);
            is_kind && waiver.files.iter().any(|glob| glob.matches(file))
        });
        Finding { file: file.to_owned(), kind, what, waived: waiver.map(|waiver| waiver.reason.clone()) }
    }
}

/// A policy that asks for one architecture and lets everything else pass, to hear what speaks against it.
fn open_policy(arch: Arch, entries: &[Entry]) -> Policy {
    let also_allowed = entries.iter().filter_map(|entry| entry.arch).collect();
    Policy { allow_ptx: true, also_allowed, ..Policy::for_file(arch) }
}

/// What could not be read, and what disagrees.
fn integrity(examination: &Examination, claim: Option<&RequestedClaim>) -> Vec<(FindingKind, String)> {
    let found = faults(examination).into_iter().map(|(verdict, reason)| match verdict {
        ProofVerdict::Contradicted => (FindingKind::Contradicted, reason),
        _ => (FindingKind::Unreadable, reason),
    });
    let found: Vec<_> = found.take(REASONS).collect();
    // The command is held against the bytes, not against one of the architectures that are asked for.
    if found.is_empty() { claim.map(|claim| stale(examination, claim)).unwrap_or_default() } else { found }
}

/// Whether the bytes hold other machine code than the build files beside them ask for.
fn stale(examination: &Examination, claim: &RequestedClaim) -> Vec<(FindingKind, String)> {
    let archs: BTreeSet<Arch> =
        examination.machine_code().filter(|entry| !entry.is_stub()).filter_map(|entry| entry.arch).collect();
    let asked: BTreeSet<Arch> = claim.machine_code().collect();
    let is_open = !claim.unclear.is_empty() || !claim.unread.is_empty();
    if archs.is_empty() || is_open || archs == asked {
        return Vec::new();
    }
    let list = |archs: &BTreeSet<Arch>| archs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = format!("holds machine code for {}, and its command asks for {}", list(&archs), list(&asked));
    vec![(FindingKind::Contradicted, what)]
}

impl Rule {
    fn hold(&self, examination: &Examination, code: &[&Entry]) -> Vec<(FindingKind, String)> {
        let mut found = Vec::new();
        if !self.device_code {
            let entries = code.iter().take(REASONS);
            found.extend(entries.map(|entry| (FindingKind::DeviceCode, described(entry))));
            return found;
        }
        for &arch in &self.require {
            let judgement = judge(examination, None, &open_policy(arch, &examination.entries));
            match judgement.verdict() {
                ProofVerdict::Weaker | ProofVerdict::Absent => {
                    found.push((FindingKind::Missing, format!("no machine code for {arch}")));
                }
                ProofVerdict::Exact
                | ProofVerdict::Mixed
                | ProofVerdict::Contradicted
                | ProofVerdict::Unreadable => {}
            }
        }
        let mut strangers: BTreeSet<(FindingKind, Option<Arch>, String)> = BTreeSet::new();
        for entry in code {
            let required = entry.arch.is_some_and(|arch| self.require.contains(&arch));
            for what in self.foreign_parts(entry) {
                strangers.insert((FindingKind::MachineCode, entry.arch, what));
            }
            let kind = match entry.kind {
                EntryKind::Elf | EntryKind::Cubin if required || self.allow.allows(entry.arch) => continue,
                EntryKind::Elf | EntryKind::Cubin => FindingKind::MachineCode,
                EntryKind::Ptx if self.ptx.allows(entry.arch) => continue,
                EntryKind::Ptx => FindingKind::Ptx,
                EntryKind::Lto if self.lto_ir => continue,
                EntryKind::Lto => FindingKind::LtoIr,
                EntryKind::Concat | EntryKind::Unknown => FindingKind::Unreadable,
            };
            strangers.insert((kind, entry.arch, described(entry)));
        }
        found.extend(strangers.into_iter().map(|(kind, _, what)| (kind, what)));
        for &gpu in &self.runs_on {
            if !code.iter().any(|entry| reach(entry, gpu).is_some()) {
                found.push((FindingKind::RunsOn, format!("nothing in it runs on sm_{gpu}")));
            }
        }
        found
    }
}

impl Rule {
    /// Code for an architecture whose features the compiler did not use, and objects for others that are
    /// linked in, unless machine code for those is allowed too.
    fn foreign_parts(&self, entry: &Entry) -> Vec<String> {
        let allows = |arch| self.require.contains(&arch) || self.allow.allows(Some(arch));
        let plain = |number| Arch { number, feature: Feature::Plain };
        let front = front_end(entry).filter(|&number| !allows(plain(number)));
        let arch = entry.arch.map_or_else(String::new, |arch| arch.to_string());
        let front = front.map(|number| {
            format!("machine code for {arch} compiled for compute_{number}, which is not allowed")
        });
        let objects = linked_in(entry).into_iter().filter(|&arch| !allows(arch));
        let objects = objects.map(|linked| {
            format!("machine code for {arch} with an object for {linked} linked in, which is not allowed")
        });
        front.into_iter().chain(objects).collect()
    }
}

fn described(entry: &Entry) -> String {
    let arch = entry.arch.map_or_else(|| "an unknown architecture".to_owned(), |arch| arch.to_string());
    let what = match entry.kind {
        EntryKind::Elf | EntryKind::Cubin => "machine code",
        EntryKind::Ptx => "PTX",
        EntryKind::Lto => "LTO-IR",
        EntryKind::Concat | EntryKind::Unknown => "code of an unknown kind",
    };
    format!("{what} for {arch}, which is not allowed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examine;

    fn exact() -> Examination {
        examine(include_bytes!("../../../../tests/fixtures/proof/exact_13.0.so"))
    }

    fn kinds(policy: &ReleasePolicy, file: &str, examination: &Examination) -> Vec<(FindingKind, bool)> {
        let found = policy.hold(file, examination, None, &mut BTreeSet::new());
        found.iter().map(|finding| (finding.kind, finding.waived.is_some())).collect()
    }

    #[test]
    fn a_file_that_holds_what_is_required_gives_no_finding() {
        assert!(kinds(&ReleasePolicy::only(Arch::SM_100A), "a/k.so", &exact()).is_empty());
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_are_found() {
        let policy = ReleasePolicy::only("sm_90a".parse().unwrap());
        let found = kinds(&policy, "k.so", &exact());
        assert_eq!(found, [(FindingKind::Missing, false), (FindingKind::MachineCode, false)]);
        let with_ptx = examine(include_bytes!("../../../../tests/fixtures/proof/with_ptx_13.0.fatbin"));
        let found = kinds(&ReleasePolicy::only(Arch::SM_100A), "k.fatbin", &with_ptx);
        assert!(found.iter().all(|(kind, _)| *kind == FindingKind::Ptx) && !found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_waiver_accepts_its_own_kinds_in_its_own_files() {
        let mut policy = ReleasePolicy::only("sm_90a".parse().unwrap());
        policy.waivers.push(Waiver {
            files: vec![Pattern::new("vendor/**").unwrap()],
            findings: vec![FindingKind::MachineCode],
            reason: "theirs".into(),
        });
        let found = kinds(&policy, "vendor/x/k.so", &exact());
        assert_eq!(found, [(FindingKind::Missing, false), (FindingKind::MachineCode, true)]);
        assert!(kinds(&policy, "k.so", &exact()).iter().all(|(_, waived)| !waived));
    }

    #[test]
    fn device_code_that_no_rule_is_about_is_found() {
        let mut policy = ReleasePolicy::only(Arch::SM_100A);
        policy.rules[0].files = vec![Pattern::new("lib/*.so").unwrap()];
        assert_eq!(kinds(&policy, "bin/k.so", &exact()), [(FindingKind::DeviceCode, false)]);
        assert_eq!(kinds(&policy, "lib/deep/k.so", &exact()), [(FindingKind::DeviceCode, false)]);
        assert!(kinds(&policy, "lib/k.so", &exact()).is_empty());
        assert_eq!(policy.unused(&BTreeSet::new(), 1)[0].kind, FindingKind::UnusedRule);
    }

    #[test]
    fn what_is_not_explained_is_found_whatever_else_is_allowed() {
        let mut policy = ReleasePolicy::only(Arch::SM_100A);
        policy.rules[0].ptx = Allowed::Any;
        policy.rules[0].lto_ir = true;
        policy.rules[0].require.clear();
        policy.rules[0].allow = Allowed::Any;
        for file in [
            &include_bytes!("../../../../tests/fixtures/proof/exact_13.0.so")[..],
            include_bytes!("../../../../tests/fixtures/proof/lto_13.0.o"),
        ] {
            assert!(kinds(&policy, "k", &examine(file)).is_empty());
            let longer = [file, b"whatever this may be"].concat();
            assert_eq!(kinds(&policy, "k", &examine(&longer)), [(FindingKind::Unreadable, false)]);
        }
    }

    #[test]
    fn a_weaker_front_end_is_not_what_is_required() {
        let weak = examine(include_bytes!("../../../../tests/fixtures/proof/weak_front_end_13.0.fatbin"));
        let found = kinds(&ReleasePolicy::only(Arch::SM_100A), "k.fatbin", &weak);
        assert_eq!(found, [(FindingKind::Missing, false), (FindingKind::MachineCode, false)]);
    }

    #[test]
    fn a_gpu_that_nothing_runs_on_is_found() {
        let mut policy = ReleasePolicy::only(Arch::SM_100A);
        policy.rules[0].runs_on = vec![100, 120];
        assert_eq!(kinds(&policy, "k.so", &exact()), [(FindingKind::RunsOn, false)]);
    }
}
