//! `proofmark verify`: which architectures do these bytes contain?

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use proofmark_packager::Arch;
use serde_json::{Value, json};

use super::console::{AnswerFormat, Console};
use super::exit_code::ExitCode;
use super::failure::Failure;
use crate::proof::{
    Depth, Entry, Examination, InputError, Judgement, Policy, RequestedClaim, Tally, Verdict,
    claim_in_compile_commands, claim_in_log, claim_in_ninja, combine, examine_to, judge, visit,
};
use crate::rebuild::ProvenBuild;

mod explanation;
mod headline;
mod table;
mod unbuilt;

/// Name of this verb's document.
const SCHEMA: &str = "proofmark.verify";

/// Tell from bytes alone which GPU architectures a build contains.
///
/// Needs no CUDA and no GPU, unless it is given sources: a submission folder, an artifact or a
/// solution.json is rebuilt first. Reads cubins, fatbins, PTX, objects, archives, libraries, programs,
/// wheels and folders of them; in a build folder also what build.ninja or compile_commands.json
/// asked for, and says when the bytes disagree. Links in a folder are followed; what cannot be read
/// there is named. `/dev/stdin` reads what is piped in.
///
/// Exit code 0: exact, every path of several. 1: anything else. 2: no such input. 3: could not judge.
///
/// Examples:
///   proofmark verify kernel.so
///   proofmark verify a.so b.so --json
///   proofmark verify torch/lib/libtorch_cuda.so --list
///   proofmark verify build/ --arch sm_90a --allow-ptx
///   proofmark verify kernel.so --arch sm_100a --allow sm_90a,sm_120a --json
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Build outputs, wheels, folders of them, or the text log of a compiler; each is judged alone.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The architecture that must be there, and alone [default: a submission's own, else sm_100a].
    #[arg(long)]
    arch: Option<Arch>,
    /// Accept PTX beside the machine code.
    #[arg(long)]
    allow_ptx: bool,
    /// Accept machine code for these architectures as well, such as sm_90a,sm_120a.
    #[arg(long, value_delimiter = ',', value_name = "ARCHS")]
    allow: Vec<Arch>,
    /// Say what is in it, without judging.
    #[arg(long)]
    list: bool,
    /// With --list, also unpack large compressed libraries to name their kernels.
    #[arg(long, requires = "list")]
    kernels: bool,
    /// Teach how the answer was found and what it is worth.
    #[arg(long)]
    explain: bool,
}

/// Compressed device code beyond this stays packed in a list unless kernels are asked for, in
/// bytes: up to here, unpacking is not felt.
const LIST_UNPACK_BYTES: u64 = 64 << 20;

/// One file or member with what was found in it.
struct Examined {
    name: String,
    examination: Examination,
    judgement: Judgement,
}

/// Everything that is known about one path.
struct Answer {
    verdict: Verdict,
    policy: Policy,
    requested: Option<RequestedClaim>,
    examined: Vec<Examined>,
    tally: Tally,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let mut answers = Vec::new();
    for path in &arguments.paths {
        let rebuilt = if !unbuilt::holds_sources(path) {
            None
        } else if arguments.paths.len() > 1 {
            let text = format!("{} holds sources, which are rebuilt one at a time", path.display());
            return Err(Failure::request(text).hint("give it as the only path"));
        } else {
            match unbuilt::rebuild(path, arguments.arch, console)? {
                Ok(build) => Some(build),
                Err(finding) => return Ok(finding),
            }
        };
        answers.push(examine_path(path, arguments, rebuilt.as_deref())?);
    }
    present(arguments, &answers, console)?;
    let yes = arguments.list || answers.iter().all(|answer| answer.verdict == Verdict::Exact);
    Ok(if yes { ExitCode::Yes } else { ExitCode::No })
}

/// Prints the answers; several paths make one document with one of the usual bodies for each.
fn present(arguments: &Arguments, answers: &[Answer], console: &Console) -> Result<(), Failure> {
    let body = |answer| if arguments.list { inventory(answer) } else { judged(answer) };
    let named = || arguments.paths.iter().zip(answers);
    if console.format() == AnswerFormat::Json {
        let document = match answers {
            [answer] => body(answer),
            _ => json!({
                "inputs": named()
                    .map(|(path, answer)| json!({ "path": path.display().to_string(), "answer": body(answer) }))
                    .collect::<Vec<_>>(),
            }),
        };
        return console.document(SCHEMA, 1, &document);
    }
    for (path, answer) in named() {
        if answers.len() > 1 {
            console.print(format!("{}:", path.display()))?;
        }
        console.print(if arguments.list { table::list(answer) } else { table::report(answer) })?;
        if arguments.explain {
            console.print(explanation::text(answer.verdict, &answer.policy))?;
        }
    }
    Ok(())
}

fn examine_path(
    path: &Path,
    arguments: &Arguments,
    rebuilt: Option<&ProvenBuild>,
) -> Result<Answer, Failure> {
    let arch = rebuilt.map(|build| build.entry.proof.arch()).or(arguments.arch).unwrap_or(Arch::SM_100A);
    let policy = Policy {
        allow_ptx: arguments.allow_ptx,
        also_allowed: arguments.allow.clone(),
        ..Policy::for_file(arch)
    };
    let (place, requested) = match rebuilt {
        Some(build) => (build.entry.library.as_path(), Some(build.entry.proof.requested().clone())),
        None => (path, requested_beside(path)),
    };
    let mut examined = Vec::new();
    let tally = visit(place, |specimen| {
        let examination = examine_to(specimen.bytes, depth(arguments, specimen.bytes));
        let judgement = judge(&examination, claim_for(&examination, requested.as_ref()), &policy);
        examined.push(Examined { name: specimen.name.clone(), examination, judgement });
    })
    .map_err(could_not_read)?;
    let verdict = combine(examined.iter().map(|one| (&one.examination, &one.judgement)), &tally.unread);
    Ok(Answer { verdict, policy, requested, examined, tally })
}

fn could_not_read(error: InputError) -> Failure {
    let wrong_request = match &error {
        InputError::NotAFile { .. } => true,
        InputError::Unreadable { source, .. } => {
            matches!(source.kind(), ErrorKind::NotFound | ErrorKind::FileTooLarge | ErrorKind::InvalidInput)
        }
    };
    let failure = if wrong_request { Failure::request(error) } else { Failure::could_not_judge(error) };
    failure.hint("give a cubin, fatbin, object, archive, library, wheel, or a folder of them")
}

/// How deep to read: a proof reads all, a list no more than is cheap.
fn depth(arguments: &Arguments, bytes: &[u8]) -> Depth {
    match (arguments.list, arguments.kernels) {
        (false, _) => Depth::Digests,
        (true, true) => Depth::Facts,
        (true, false) if bytes.len() as u64 <= LIST_UNPACK_BYTES => Depth::Facts,
        (true, false) => Depth::Headers,
    }
}

/// What was asked for, by the files that a build leaves beside its output, or by the log itself.
fn requested_beside(path: &Path) -> Option<RequestedClaim> {
    let read = |name: &str| {
        let file = path.join(name);
        file.is_file().then(|| fs::read_to_string(file).ok()).flatten()
    };
    if path.is_dir() {
        let ninja = read("build.ninja").and_then(|text| claim_in_ninja(&text));
        return ninja.or_else(|| claim_in_compile_commands(&read("compile_commands.json")?));
    }
    // A pipe can be read but once, and its bytes come first.
    let is_text = path.is_file()
        && path.extension().is_none_or(|end| matches!(end.to_str(), Some("json" | "ninja" | "log" | "txt")));
    let text = is_text.then(|| fs::read_to_string(path).ok()).flatten()?;
    let is_named = |name: &str| path.extension().is_some_and(|end| end == name);
    if is_named("json") {
        claim_in_compile_commands(&text)
    } else if is_named("ninja") {
        claim_in_ninja(&text)
    } else {
        claim_in_log(&text)
    }
}

/// A claim speaks about files that hold device code.
fn claim_for<'a>(examination: &Examination, claim: Option<&'a RequestedClaim>) -> Option<&'a RequestedClaim> {
    claim.filter(|_| !examination.entries.iter().all(Entry::is_stub))
}

/// The document of a list: what is there, with no word about what it is worth.
fn inventory(answer: &Answer) -> Value {
    let mut entries = Vec::new();
    let mut files = Vec::new();
    for one in &answer.examined {
        let first_entry = entries.len();
        for entry in &one.examination.entries {
            let mut value = json!(entry);
            value["file"] = json!(one.name);
            value["stub"] = json!(entry.is_stub());
            entries.push(value);
        }
        files.push(json!({
            "path": one.name,
            "format": one.examination.format,
            "size_bytes": one.examination.size_bytes,
            "first_entry": first_entry,
            "entries": one.examination.entries.len(),
            "containers": one.examination.containers,
            "wrappers": one.examination.wrappers,
            "unaccounted": one.examination.unaccounted,
            "unexplained": one.examination.unexplained,
            "missing_libraries": one.examination.missing_libraries,
            "runtime_jit": one.examination.runtime_jit,
        }));
    }
    let labels = if answer.examined.iter().any(|one| !one.examination.runtime_jit.is_empty()) {
        vec!["runtime-jit"]
    } else {
        Vec::new()
    };
    json!({
        "labels": labels, "requested": answer.requested, "entries": entries, "files": files,
        "unread": answer.tally.unread,
    })
}

/// The document of a judgement: the verdict, then the list with what each file led to.
fn judged(answer: &Answer) -> Value {
    let unread = answer.tally.unread.iter().map(|one| format!("{}: {}", one.path, one.reason));
    let found = answer.examined.iter().flat_map(|one| one.judgement.reasons().iter().cloned());
    let mut reasons: Vec<String> = unread.chain(found).collect();
    if reasons.is_empty() {
        reasons.push(table::nothing_in(&answer.tally));
    }
    let mut document = json!({ "verdict": answer.verdict, "policy": answer.policy, "reasons": reasons });
    if let (Value::Object(fields), Value::Object(listed)) = (&mut document, inventory(answer)) {
        fields.extend(listed);
    }
    for (index, one) in answer.examined.iter().enumerate() {
        let file = &mut document["files"][index];
        file["verdict"] = json!(one.judgement.verdict());
        file["reasons"] = json!(one.judgement.reasons());
        file["witnesses"] = json!(one.judgement.witnesses());
    }
    document
}
