//! `--kernels-missing`: kernels that machine code for one architecture has and for another lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use proofmark_packager::{Arch, escape};
use serde_json::{Value, json};

use super::could_not_read;
use super::lines::unread_lines;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::proof::gate::Inventory;
use crate::proof::{Depth, Unread, demangle};

/// Most kernels shown of a file for an architecture; the JSON has all.
const SHOWN: usize = 12;
/// Most files shown for an architecture; the JSON has all.
const SHOWN_FILES: usize = 40;

/// The kernels that machine code of one file lacks for an architecture, by architecture, then file.
type Missing = BTreeMap<Arch, BTreeMap<String, BTreeSet<String>>>;

/// Answers for every path, file by file: a kernel of the same name in another library is another kernel.
pub(super) fn run(paths: &[PathBuf], arch: Option<Arch>, console: &Console) -> Result<ExitCode, Failure> {
    let mut documents = Vec::new();
    let mut none_missing = true;
    for path in paths {
        let inventory = Inventory::of(path, Depth::Facts).map_err(could_not_read)?;
        // Where there is no machine code, nothing has every kernel.
        let missing = missing(&inventory, arch);
        let unread = inventory.not_known();
        let lacks_none = missing.values().all(|files| files.values().all(BTreeSet::is_empty));
        none_missing &= !missing.is_empty() && lacks_none && unread.is_empty();
        if paths.len() > 1 {
            console.print(format!("{}:", escape::line(&path.display().to_string())))?;
        }
        console.print(described(&missing, &unread))?;
        let path = path.display().to_string();
        let archs: Vec<_> = missing.iter().map(|(arch, files)| document(*arch, files)).collect();
        documents.push(json!({ "path": path, "archs": archs, "known": unread.is_empty(), "unread": unread }));
    }
    console.document("proofmark.verify-kernels", 1, &json!({ "inputs": documents }))?;
    Ok(if none_missing { ExitCode::Yes } else { ExitCode::No })
}

fn document(arch: Arch, files: &BTreeMap<String, BTreeSet<String>>) -> Value {
    let files: Vec<_> =
        files.iter().map(|(file, kernels)| json!({ "file": file, "missing": kernels })).collect();
    json!({ "arch": arch, "files": files })
}

/// What each file with machine code lacks for the architecture that is asked for, or for each that any file has.
fn missing(inventory: &Inventory, arch: Option<Arch>) -> Missing {
    let by_arch = inventory.kernels_by_arch();
    if by_arch.is_empty() {
        return Missing::new();
    }
    let asked: Vec<Arch> = arch.map_or_else(|| by_arch.into_keys().collect(), |arch| vec![arch]);
    let mut missing = Missing::new();
    for (name, file) in &inventory.files {
        let own = file.kernels_by_arch();
        let all: BTreeSet<_> = own.values().flatten().collect();
        if own.is_empty() {
            continue;
        }
        for &arch in &asked {
            let there = own.get(&arch);
            let lacks = all.iter().filter(|kernel| there.is_none_or(|there| !there.contains(**kernel)));
            let lacks = lacks.map(ToString::to_string).collect();
            missing.entry(arch).or_default().insert(name.clone(), lacks);
        }
    }
    missing
}

fn described(missing: &Missing, unread: &[Unread]) -> String {
    if unread.is_empty() {
        let text = by_arch(missing);
        return if text.is_empty() { "no machine code".to_owned() } else { text.trim_end().to_owned() };
    }
    let text =
        unread_lines(unread, "unreadable") + "not known  which kernels are missing; in what was read:\n";
    let found = by_arch(missing);
    text + if found.is_empty() { "no machine code" } else { found.trim_end() }
}

fn by_arch(missing: &Missing) -> String {
    let mut text = String::new();
    for (arch, files) in missing {
        let lacking: Vec<_> = files.iter().filter(|(_, kernels)| !kernels.is_empty()).collect();
        let count: usize = lacking.iter().map(|(_, kernels)| kernels.len()).sum();
        let nouns = if count == 1 { "kernel" } else { "kernels" };
        let _ = match (count, files.len()) {
            (0, 1) => writeln!(text, "{arch}  has every kernel that another architecture has"),
            (0, _) => {
                writeln!(text, "{arch}  has every kernel that another architecture has in the same file")
            }
            (_, 1) => writeln!(text, "{arch}  lacks {count} {nouns} that another architecture has"),
            (_, all) => {
                let (some, nouns) = (lacking.len(), format!("{nouns} that another architecture has"));
                writeln!(text, "{arch}  lacks {count} {nouns} in the same file, in {some} of {all} files")
            }
        };
        for (file, kernels) in lacking.iter().take(SHOWN_FILES) {
            let mut indent = "    ";
            if files.len() > 1 {
                let _ = writeln!(text, "    {}: {}", escape::line(file), kernels.len());
                indent = "      ";
            }
            for name in kernels.iter().take(SHOWN) {
                let _ = writeln!(text, "{indent}{}", escape::line(&demangle(name)));
            }
            if kernels.len() > SHOWN {
                let _ = writeln!(text, "{indent}… and {} more; --json has all", kernels.len() - SHOWN);
            }
        }
        if lacking.len() > SHOWN_FILES {
            let _ = writeln!(text, "    … and {} more files; --json has all", lacking.len() - SHOWN_FILES);
        }
    }
    text
}
