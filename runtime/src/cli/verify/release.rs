//! `--policy`: whether a release is what its maintainer asks for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proofmark_packager::{Arch, escape};
use serde_json::json;

use super::could_not_read;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::proof::gate::{Finding, Inventory, ReleasePolicy, inner_name, like};
use crate::proof::{Depth, Specimen, examine_to, is_compiler_check, requests_in_folder, visit};

/// Most findings shown; the JSON has all that are kept.
const SHOWN: usize = 40;
/// Most findings that are kept.
const KEPT: usize = 100_000;
/// Largest policy file, in bytes.
const POLICY_BYTES: u64 = 4 << 20;

/// What one path led to.
struct Held {
    findings: Vec<Finding>,
    more: usize,
    files: usize,
    with_code: usize,
}

/// Holds every path against a policy.
pub(super) fn run(policy: &str, paths: &[PathBuf], console: &Console) -> Result<ExitCode, Failure> {
    let policy = read(policy)?;
    let mut conforms = true;
    let mut documents = Vec::new();
    for path in paths {
        let held = hold(&policy, path)?;
        let open = held.findings.iter().filter(|finding| finding.waived.is_none()).count() + held.more;
        conforms &= open == 0;
        if paths.len() > 1 {
            console.print(format!("{}:", escape::line(&path.display().to_string())))?;
        }
        console.print(described(&policy, &held, open))?;
        documents.push(json!({
            "path": path.display().to_string(), "conforms": open == 0, "findings": held.findings,
            "findings_left_out": held.more, "files": held.files, "files_with_device_code": held.with_code,
        }));
    }
    let body = json!({ "policy": policy.name, "conforms": conforms, "inputs": documents });
    console.document("proofmark.verify-policy", 1, &body)?;
    Ok(if conforms { ExitCode::Yes } else { ExitCode::No })
}

/// A preset by its name, or else a file.
fn read(policy: &str) -> Result<ReleasePolicy, Failure> {
    if let Some(name) = policy.strip_prefix("only:") {
        let arch: Arch = name.parse().map_err(Failure::request)?;
        return Ok(ReleasePolicy::only(arch));
    }
    if let Some(model) = policy.strip_prefix("like:") {
        let path = Path::new(model);
        let inventory = Inventory::of(path, Depth::Facts).map_err(could_not_read)?;
        // What was not read may hold some: then what is to be like it is not known, which is a finding.
        if !inventory.holds_device_code() && inventory.not_known().is_empty() {
            let text = format!(
                "{model} holds no device code: expected a wheel, folder or library that does, for others to be like it"
            );
            return Err(Failure::request(text)
                .hint("a policy file is named without `like:`")
                .hint("a release that has no device code to ship: a rule with `device_code = false`"));
        }
        let name = path.file_name().map_or_else(|| model.into(), |name| name.to_string_lossy());
        return Ok(like(&name, &inventory));
    }
    let path = Path::new(policy);
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::request(format!("cannot read the policy {policy}: {error}"))
            .hint("name a TOML file, `only:sm_100a` or `like:WHEEL`; `proofmark verify --help` shows one")
    };
    let metadata = std::fs::metadata(path).map_err(|error| cannot(&error))?;
    if metadata.is_dir() {
        return Err(cannot(&"it is a folder, expected a TOML file"));
    }
    if !metadata.is_file() {
        return Err(cannot(&"it is no regular file, expected a TOML file"));
    }
    if metadata.len() > POLICY_BYTES {
        return Err(cannot(&format!("it has {} bytes, expected at most {POLICY_BYTES}", metadata.len())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cannot(&error))?;
    ReleasePolicy::parse(policy, &text).map_err(|error| {
        Failure::request(format!("{policy} is no policy: {error}"))
            .hint("`proofmark verify --help` shows one")
    })
}

fn hold(policy: &ReleasePolicy, path: &Path) -> Result<Held, Failure> {
    let requests = path.is_dir().then(|| requests_in_folder(path));
    let real = path.canonicalize().ok();
    let place = |name: &str| Some(real.as_ref()?.join(Path::new(name).strip_prefix(path).ok()?));
    let mut held = Held { findings: Vec::new(), more: 0, files: 0, with_code: 0 };
    let mut used = BTreeSet::new();
    let keep = |held: &mut Held, findings: Vec<Finding>| {
        let room = KEPT.saturating_sub(held.findings.len()).min(findings.len());
        held.more += findings.len() - room;
        held.findings.extend(findings.into_iter().take(room));
    };
    let look = |specimen: &Specimen<'_>| {
        let examination = examine_to(specimen.bytes, Depth::Facts);
        let place = place(&specimen.name);
        if place.as_deref().is_some_and(|place| is_compiler_check(place, &examination)) {
            return;
        }
        let code = || examination.machine_code().filter(|entry| !entry.is_stub());
        held.with_code += usize::from(examination.entries.iter().any(|entry| !entry.is_stub()));
        let built: BTreeSet<Arch> = code().filter_map(|entry| entry.arch).collect();
        let claim =
            requests.as_ref().zip(place).and_then(|(requests, place)| requests.claim_for(&place, &built));
        let name = inner_name(path, &specimen.name);
        let findings = policy.hold(&name, &examination, claim.as_ref(), &mut used);
        keep(&mut held, findings);
    };
    let tally = visit(path, look).map_err(could_not_read)?;
    held.files = usize::try_from(tally.files).unwrap_or(usize::MAX);
    let unread =
        tally.unread.iter().map(|one| policy.unread(&inner_name(path, &one.path), &one.reason)).collect();
    keep(&mut held, unread);
    keep(&mut held, policy.open_questions());
    let unused = policy.unused(&used, held.with_code);
    keep(&mut held, unused);
    Ok(held)
}

fn described(policy: &ReleasePolicy, held: &Held, open: usize) -> String {
    let name = escape::line(&policy.name);
    let waived = held.findings.iter().filter(|finding| finding.waived.is_some()).count();
    let mut text = match open {
        0 => format!("CONFORMS  to {name}"),
        1 => format!("VIOLATES  {name}: 1 finding"),
        open => format!("VIOLATES  {name}: {open} findings"),
    };
    if waived > 0 {
        let _ = write!(text, ", {waived} waived");
    }
    let _ = writeln!(text, "\n{} of {} files hold device code", held.with_code, held.files);
    let sorted = held.findings.iter().filter(|finding| finding.waived.is_none());
    let sorted = sorted.chain(held.findings.iter().filter(|finding| finding.waived.is_some()));
    for finding in sorted.take(SHOWN) {
        let (file, what) = (escape::line(&finding.file), escape::line(&finding.what));
        let waived = finding.waived.as_ref();
        let waived =
            waived.map_or_else(String::new, |reason| format!("  (waived: {})", escape::line(reason)));
        let _ = writeln!(text, "  {}  {file}: {what}{waived}", finding.kind.word());
    }
    let rest = (held.findings.len() + held.more).saturating_sub(SHOWN);
    if rest > 0 {
        let _ = writeln!(text, "  … and {rest} more; --json has them");
    }
    text.trim_end().to_owned()
}
