//! `--kernels-missing`: kernels that machine code for one architecture has and for another lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use proofmark_packager::{Arch, escape};
use serde_json::json;

use super::could_not_read;
use super::lines::unread_lines;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::proof::gate::Inventory;
use crate::proof::{Depth, Unread, demangle};

/// Most kernels shown for an architecture; the JSON has all.
const SHOWN: usize = 12;

/// Answers for every path; all files of one count together, because a release may have a library for each
/// architecture.
pub(super) fn run(paths: &[PathBuf], arch: Option<Arch>, console: &Console) -> Result<ExitCode, Failure> {
    let mut documents = Vec::new();
    let mut none_missing = true;
    for path in paths {
        let inventory = Inventory::of(path, Depth::Facts).map_err(could_not_read)?;
        let by_arch = inventory.kernels_by_arch();
        // Where there is no machine code, nothing has every kernel.
        let missing = if by_arch.is_empty() { BTreeMap::new() } else { missing(&by_arch, arch) };
        let unread = inventory.not_known();
        none_missing &= !missing.is_empty() && missing.values().all(BTreeSet::is_empty) && unread.is_empty();
        if paths.len() > 1 {
            console.print(format!("{}:", escape::line(&path.display().to_string())))?;
        }
        console.print(described(&missing, &unread))?;
        let archs: Vec<_> = missing
            .iter()
            .map(|(arch, kernels)| json!({ "arch": arch, "missing": kernels.iter().collect::<Vec<_>>() }))
            .collect();
        let path = path.display().to_string();
        documents.push(json!({ "path": path, "archs": archs, "known": unread.is_empty(), "unread": unread }));
    }
    console.document("proofmark.verify-kernels", 1, &json!({ "inputs": documents }))?;
    Ok(if none_missing { ExitCode::Yes } else { ExitCode::No })
}

fn missing(
    by_arch: &BTreeMap<Arch, BTreeSet<Rc<str>>>,
    arch: Option<Arch>,
) -> BTreeMap<Arch, BTreeSet<String>> {
    let all: BTreeSet<&Rc<str>> = by_arch.values().flatten().collect();
    let asked: Vec<Arch> = arch.map_or_else(|| by_arch.keys().copied().collect(), |arch| vec![arch]);
    let nothing = BTreeSet::new();
    asked
        .into_iter()
        .map(|arch| {
            let own = by_arch.get(&arch).unwrap_or(&nothing);
            (arch, all.iter().filter(|name| !own.contains(**name)).map(ToString::to_string).collect())
        })
        .collect()
}

fn described(missing: &BTreeMap<Arch, BTreeSet<String>>, unread: &[Unread]) -> String {
    if unread.is_empty() {
        let text = by_arch(missing);
        return if text.is_empty() { "no machine code".to_owned() } else { text.trim_end().to_owned() };
    }
    let text =
        unread_lines(unread, "unreadable") + "not known  which kernels are missing; in what was read:\n";
    let found = by_arch(missing);
    text + if found.is_empty() { "no machine code" } else { found.trim_end() }
}

fn by_arch(missing: &BTreeMap<Arch, BTreeSet<String>>) -> String {
    let mut text = String::new();
    for (arch, kernels) in missing {
        match kernels.len() {
            0 => _ = writeln!(text, "{arch}  has every kernel that another architecture has"),
            count => _ = writeln!(text, "{arch}  lacks {count} kernels that another architecture has"),
        }
        for name in kernels.iter().take(SHOWN) {
            let _ = writeln!(text, "    {}", escape::line(&demangle(name)));
        }
        if kernels.len() > SHOWN {
            let _ = writeln!(text, "    … and {} more; --json has all", kernels.len() - SHOWN);
        }
    }
    text
}
