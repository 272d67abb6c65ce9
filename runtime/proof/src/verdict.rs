//! Judges an examination: are these bytes exactly what was asked for?
//!
//! The rule fails closed. One contradiction, one range that could not be read, or nothing that
//! confirms, and the answer is not [`ProofVerdict::Exact`].

use proofmark_packager::{Arch, Feature};
use serde::{Deserialize, Serialize};

use super::cubin::CubinType;
use super::examination::{Entry, Examination, FileFormat};
use super::fatbin::EntryKind;
use super::folder::Unread;
use super::requested::{RequestedClaim, RequestedForm};
use super::witness::{Stance, Witness, bare_family, front_end, linked_in, question};

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofVerdict {
    /// Machine code for this architecture, and nothing that the policy does not allow.
    Exact,
    /// Machine code for it, but also other architectures, PTX or intermediate code.
    Mixed,
    /// No machine code for it, but code that could run there: with fewer features, such as `sm_100`,
    /// or still to be compiled or linked, such as PTX.
    Weaker,
    /// Nothing for it.
    Absent,
    /// Witnesses disagree with each other.
    Contradicted,
    /// Some of it could not be read or accounted for.
    Unreadable,
}

/// Whether code that still waits for the device linker counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlinked {
    /// It counts where such code belongs: objects, archives, fatbins and cubins.
    Counts,
    /// It never counts.
    Refused,
}

/// Whether device code outside the sections that toolkits fill is acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loose {
    /// It is judged like any other.
    Judged,
    /// It never is: a compiler would not have put it there.
    Refused,
}

/// What to hold the bytes against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The architecture that must be there.
    pub arch: Arch,
    /// Whether PTX may be there as well.
    pub allow_ptx: bool,
    /// Architectures whose machine code may be there as well.
    pub also_allowed: Vec<Arch>,
    /// What unlinked code counts for.
    pub unlinked: Unlinked,
    /// What code outside its sections counts for.
    pub loose: Loose,
}

impl Policy {
    /// For any file that someone hands us.
    pub fn for_file(arch: Arch) -> Self {
        Self {
            arch,
            allow_ptx: false,
            also_allowed: Vec::new(),
            unlinked: Unlinked::Counts,
            loose: Loose::Judged,
        }
    }

    /// For a library that we just built from sources: nothing but what a compiler puts there.
    pub fn for_build(arch: Arch) -> Self {
        Self { unlinked: Unlinked::Refused, loose: Loose::Refused, ..Self::for_file(arch) }
    }
}

/// A verdict with everything that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Judgement {
    verdict: ProofVerdict,
    policy: Policy,
    reasons: Vec<String>,
    witnesses: Vec<Witness>,
}

impl Judgement {
    /// The verdict.
    pub fn verdict(&self) -> ProofVerdict {
        self.verdict
    }

    /// What the bytes were held against.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Why it is this verdict, in words, the weightiest first.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Every witness, in order of entries.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }
}

/// Holds an examination, and the command that led to it if there was one, against a policy.
pub fn judge(examination: &Examination, requested: Option<&RequestedClaim>, policy: &Policy) -> Judgement {
    let heard: Vec<Witness> =
        examination.entries.iter().enumerate().flat_map(|(index, entry)| question(index, entry)).collect();
    let (verdict, mut reasons) = weigh(examination, &heard, policy);
    let commands: Vec<Witness> = requested
        .into_iter()
        .flat_map(|claim| [question_command(claim, policy, verdict), compare(claim, examination)])
        .collect();
    let against = contradictions(&commands);
    let positive = matches!(verdict, ProofVerdict::Exact | ProofVerdict::Mixed);
    let verdict = if positive && !against.is_empty() { ProofVerdict::Contradicted } else { verdict };
    if positive && verdict == ProofVerdict::Contradicted {
        reasons = against;
    } else {
        reasons.extend(against);
    }
    let witnesses = heard.into_iter().chain(commands).collect();
    Judgement { verdict, policy: policy.clone(), reasons, witnesses }
}

/// What one file says when several are asked together: nothing, if it holds no device code or but the
/// device linker's empty images.
pub fn say(examination: &Examination, judgement: &Judgement) -> Option<ProofVerdict> {
    let has_say =
        judgement.verdict != ProofVerdict::Absent || !examination.entries.iter().all(Entry::is_stub);
    has_say.then_some(judgement.verdict)
}

/// What several files say together: the weightiest trouble first. What was not read could be anything.
pub fn combine(said: impl IntoIterator<Item = ProofVerdict>, unread: &[Unread]) -> ProofVerdict {
    let mut said: Vec<ProofVerdict> = said.into_iter().collect();
    if !unread.is_empty() {
        said.push(ProofVerdict::Unreadable);
    }
    let any = |verdict| said.contains(&verdict);
    if said.is_empty() {
        ProofVerdict::Absent
    } else if any(ProofVerdict::Contradicted) {
        ProofVerdict::Contradicted
    } else if any(ProofVerdict::Unreadable) {
        ProofVerdict::Unreadable
    } else if said.iter().all(|&verdict| verdict == ProofVerdict::Exact) {
        ProofVerdict::Exact
    } else if any(ProofVerdict::Exact) || any(ProofVerdict::Mixed) {
        ProofVerdict::Mixed
    } else if any(ProofVerdict::Weaker) {
        ProofVerdict::Weaker
    } else {
        ProofVerdict::Absent
    }
}

/// What speaks against believing a file, whatever is asked of it: its witnesses disagree, or something of
/// it was not read or explained.
pub(super) fn faults(examination: &Examination) -> Vec<(ProofVerdict, String)> {
    let heard: Vec<Witness> =
        examination.entries.iter().enumerate().flat_map(|(index, entry)| question(index, entry)).collect();
    let family = examination.entries.iter().filter_map(family_doubt);
    let against = contradictions(&heard).into_iter().chain(family);
    let open = Policy::for_file(Arch::SM_100A);
    let unread = unreadable(examination, &open).into_iter().chain(unexplained(examination));
    let of = |verdict| move |reason| (verdict, reason);
    against.map(of(ProofVerdict::Contradicted)).chain(unread.map(of(ProofVerdict::Unreadable))).collect()
}

fn contradictions(witnesses: &[Witness]) -> Vec<String> {
    witnesses
        .iter()
        .filter(|witness| witness.stance == Stance::Contradicts)
        .map(|witness| {
            let place = witness.offset.map_or(String::new(), |offset| format!("at {offset:#x}: "));
            format!("{place}{} says {}: {}", witness.name, witness.found, witness.meaning)
        })
        .collect()
}

fn weigh(examination: &Examination, witnesses: &[Witness], policy: &Policy) -> (ProofVerdict, Vec<String>) {
    let contradictions = contradictions(witnesses);
    if !contradictions.is_empty() {
        return (ProofVerdict::Contradicted, contradictions);
    }
    let unreadable = unreadable(examination, policy);
    if !unreadable.is_empty() {
        return (ProofVerdict::Unreadable, unreadable);
    }
    let target: Vec<&Entry> =
        examination.entries.iter().filter(|entry| counts(entry, examination.format, policy)).collect();
    if target.is_empty() {
        return without_target(examination, policy);
    }
    if let Some(reason) = target.iter().find_map(|entry| family_doubt(entry)) {
        return (ProofVerdict::Contradicted, vec![reason]);
    }
    let mut strangers: Vec<String> =
        examination.entries.iter().filter(|entry| !is_permitted(entry, policy)).map(describe).collect();
    strangers.extend(examination.entries.iter().filter_map(|entry| describe_linked_in(entry, policy)));
    let unexplained = unexplained(examination);
    if strangers.is_empty() && !unexplained.is_empty() {
        return (ProofVerdict::Unreadable, unexplained);
    }
    strangers.extend(unexplained);
    if strangers.is_empty() {
        (ProofVerdict::Exact, vec![describe_target(&target, policy)])
    } else {
        (ProofVerdict::Mixed, strangers)
    }
}

fn describe_target(target: &[&Entry], policy: &Policy) -> String {
    let kernels: usize =
        target.iter().filter_map(|entry| entry.cubin.as_ref()).map(|cubin| cubin.kernels.len()).sum();
    let images = if target.len() == 1 { "image" } else { "images" };
    let names = if kernels == 1 { "kernel" } else { "kernels" };
    let rest = if policy.allow_ptx || !policy.also_allowed.is_empty() {
        "nothing that was not allowed"
    } else {
        "nothing else"
    };
    format!(
        "{} {images} of machine code for {} with {kernels} {names}, and {rest}",
        target.len(),
        policy.arch
    )
}

fn unreadable(examination: &Examination, policy: &Policy) -> Vec<String> {
    let mut reasons: Vec<String> = examination
        .unaccounted
        .iter()
        .chain(examination.entries.iter().flat_map(|entry| &entry.problems))
        .map(ToString::to_string)
        .collect();
    for entry in &examination.entries {
        let at = entry.offset;
        match entry.kind {
            EntryKind::Concat if entry.problems.is_empty() => {
                reasons.push(format!("at {at:#x}: a concatenated entry that was not decoded"));
            }
            EntryKind::Elf | EntryKind::Cubin if entry.cubin.is_none() && entry.problems.is_empty() => {
                reasons.push(format!("at {at:#x}: machine code that was not read"));
            }
            _ => {}
        }
        if entry.place.loose && policy.loose == Loose::Refused {
            reasons.push(format!("at {at:#x}: device code where no compiler puts it"));
        }
    }
    reasons
}

/// Bytes that no rule explains, around device code and in it.
fn unexplained(examination: &Examination) -> Vec<String> {
    let around = examination.unexplained.iter().map(ToString::to_string);
    let inside = examination.entries.iter().flat_map(|entry| {
        let cubin = entry.cubin.iter();
        cubin.flat_map(|cubin| &cubin.unexplained).map(|problem| {
            format!("in the image at {:#x}, at {:#x}: {}", entry.offset, problem.offset, problem.reason)
        })
    });
    around.chain(inside).collect()
}

/// Whether an entry may be there at all.
fn is_permitted(entry: &Entry, policy: &Policy) -> bool {
    match entry.kind {
        EntryKind::Elf | EntryKind::Cubin => {
            let named = |arch| arch == policy.arch || policy.also_allowed.contains(&arch);
            entry.arch.is_some_and(named) && family_of(entry).is_none_or(named) && front_end(entry).is_none()
        }
        EntryKind::Ptx => policy.allow_ptx,
        EntryKind::Lto | EntryKind::Concat | EntryKind::Unknown => false,
    }
}

/// Whether an entry is what the policy asks for: machine code that can run, or wait to be linked
/// where such code belongs.
fn counts(entry: &Entry, format: FileFormat, policy: &Policy) -> bool {
    let is_target = entry.arch == Some(policy.arch) && front_end(entry).is_none();
    let Some(cubin) = entry.cubin.as_ref().filter(|_| is_target) else { return false };
    match cubin.elf_type {
        CubinType::Executable => cubin.kernels.iter().any(|kernel| kernel.code_bytes > 0),
        CubinType::Extensible => policy.unlinked == Unlinked::Counts && !cubin.kernels.is_empty(),
        CubinType::Relocatable => {
            let linked_file = matches!(format, FileFormat::Library | FileFormat::Executable);
            policy.unlinked == Unlinked::Counts && !linked_file && !cubin.is_empty()
        }
    }
}

/// A bare cubin whose text names the family is no proof of the plain architecture.
fn family_doubt(entry: &Entry) -> Option<String> {
    let named = family_of(entry)?;
    Some(format!("the tool that made it was asked for {named}, which leaves no other mark in a bare cubin"))
}

/// The family that the tool of a bare cubin for the plain architecture was asked for.
fn family_of(entry: &Entry) -> Option<Arch> {
    bare_family(entry.cubin.as_ref()?, entry.arch?).filter(|_| entry.kind == EntryKind::Cubin)
}

fn without_target(examination: &Examination, policy: &Policy) -> (ProofVerdict, Vec<String>) {
    let arch = policy.arch;
    if examination.entries.is_empty() {
        return (ProofVerdict::Absent, vec!["no device code".to_owned()]);
    }
    let found: Vec<String> = examination.entries.iter().map(describe).collect();
    let weaker = examination.entries.iter().any(|entry| !entry.is_stub() && could_run(entry, arch));
    (if weaker { ProofVerdict::Weaker } else { ProofVerdict::Absent }, found)
}

/// Whether an entry that is not what was asked for could still run on that device, perhaps after
/// the driver compiled it.
fn could_run(entry: &Entry, target: Arch) -> bool {
    let Some(arch) = entry.arch else { return false };
    let same_number = arch.number == target.number;
    let earlier = arch.number <= target.number;
    let same_major = arch.number / 10 == target.number / 10;
    match arch.feature {
        Feature::Specific => same_number,
        Feature::Plain if !entry.is_machine_code() => earlier,
        Feature::Family | Feature::Plain => same_major && earlier,
    }
}

/// Says which weaker objects a linked image swallowed, unless the policy allows them.
fn describe_linked_in(entry: &Entry, policy: &Policy) -> Option<String> {
    let objects = linked_in(entry);
    let stranger = objects.iter().find(|&arch| !policy.also_allowed.contains(arch))?;
    let arch = entry.arch?;
    Some(format!("at {:#x}: machine code for {arch} with an object for {stranger} linked in", entry.offset))
}

fn describe(entry: &Entry) -> String {
    let arch = entry.arch.map_or("an unknown architecture".to_owned(), |arch| arch.to_string());
    let family = family_of(entry).map_or(String::new(), |family| format!(", made for the family {family}"));
    let what = match entry.kind {
        EntryKind::Elf | EntryKind::Cubin if entry.is_stub() => "empty machine code",
        EntryKind::Elf | EntryKind::Cubin => "machine code",
        EntryKind::Ptx => "PTX",
        EntryKind::Lto => "LTO-IR",
        EntryKind::Concat => "a concatenated entry",
        EntryKind::Unknown => "an entry of unknown kind",
    };
    let front_end =
        front_end(entry).map_or(String::new(), |number| format!(", compiled for compute_{number}"));
    format!("at {:#x}: {what} for {arch}{family}{front_end}", entry.offset)
}

/// The requested claim as a witness about the policy.
fn question_command(claim: &RequestedClaim, policy: &Policy, verdict: ProofVerdict) -> Witness {
    let acceptable = claim.images.iter().all(|image| match image.form {
        RequestedForm::MachineCode => {
            image.virtual_arch == image.arch
                && (image.arch == policy.arch || policy.also_allowed.contains(&image.arch))
        }
        RequestedForm::Ptx => policy.allow_ptx,
        RequestedForm::Lto => false,
    });
    let asked = claim.images.iter().any(|image| {
        image.form == RequestedForm::MachineCode
            && image.arch == policy.arch
            && image.virtual_arch == policy.arch
    });
    let weaker_front_end = claim
        .images
        .iter()
        .any(|image| image.form == RequestedForm::MachineCode && image.virtual_arch != image.arch);
    // A build of our own is known to the last word; in somebody else's folder a file of options may be gone.
    let half_read = !claim.unread.is_empty() && policy.loose == Loose::Judged;
    let (meaning, stance) = if acceptable && claim.unclear.is_empty() && half_read {
        ("the command could not be read to its end, and what was read asks for nothing else", Stance::Silent)
    } else if acceptable && asked && claim.unclear.is_empty() && claim.unread.is_empty() {
        ("the command asks for this architecture, compiled against its own features", Stance::Confirms)
    } else if weaker_front_end {
        let meaning = "the front end compiled against other features than the machine code's, so code \
                       behind feature macros is missing while every marker in the bytes agrees";
        (meaning, Stance::Contradicts)
    } else if verdict == ProofVerdict::Mixed {
        ("the command asks for more than this architecture, and so the bytes say", Stance::Silent)
    } else {
        ("the command does not ask for exactly this architecture", Stance::Contradicts)
    };
    command_witness("command", claim, meaning, stance)
}

/// Whether the bytes hold what the command asked for: they do not when a build failed or was
/// skipped and left an older file.
fn compare(claim: &RequestedClaim, examination: &Examination) -> Witness {
    let mut asked: Vec<Arch> = claim
        .images
        .iter()
        .filter(|image| image.form == RequestedForm::MachineCode)
        .map(|image| image.arch)
        .collect();
    let mut built: Vec<Arch> =
        examination.machine_code().filter(|entry| !entry.is_stub()).filter_map(|entry| entry.arch).collect();
    for list in [&mut asked, &mut built] {
        list.sort();
        list.dedup();
    }
    let may_ask_more = !claim.unread.is_empty() && asked.iter().all(|arch| built.contains(arch));
    let (meaning, stance) = if !claim.unclear.is_empty() || built.is_empty() || may_ask_more {
        ("the command leaves open what it asks for, or there is nothing to compare", Stance::Silent)
    } else if asked == built {
        ("the bytes hold the machine code that the command asks for", Stance::Confirms)
    } else {
        (
            "the bytes hold other machine code than the command asks for: a stale or foreign file",
            Stance::Contradicts,
        )
    };
    command_witness("command against bytes", claim, meaning, stance)
}

fn command_witness(
    name: &'static str,
    claim: &RequestedClaim,
    meaning: &'static str,
    stance: Stance,
) -> Witness {
    let unread = claim.unread.iter().map(|what| format!("{what}, not read"));
    let found =
        claim.images.iter().map(ToString::to_string).chain(claim.unclear.iter().cloned()).chain(unread);
    let found: Vec<String> = found.collect();
    Witness {
        name: name.into(),
        entry: None,
        offset: None,
        found: found.join("; "),
        meaning: meaning.into(),
        stance,
    }
}
