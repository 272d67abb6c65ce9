//! `--runs-on`: whether anything in a path runs on a GPU, and by what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use proofmark_packager::{Arch, escape};
use serde_json::json;

use super::could_not_read;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::proof::gate::inner_name;
use crate::proof::{Depth, Reach, examine_to, reach, visit};

/// Most files shown; the JSON has all.
const SHOWN: usize = 40;

/// What runs on one GPU.
#[derive(Default)]
struct OnGpu {
    best: Option<Reach>,
    archs: BTreeSet<String>,
    files: BTreeMap<String, Option<Reach>>,
}

/// Answers for every path.
pub(super) fn run(paths: &[PathBuf], gpus: &[Arch], console: &Console) -> Result<ExitCode, Failure> {
    let mut on_all = true;
    let mut documents = Vec::new();
    for path in paths {
        let mut found: Vec<(u32, OnGpu)> = gpus.iter().map(|gpu| (gpu.number, OnGpu::default())).collect();
        let tally = visit(path, |specimen| {
            let examination = examine_to(specimen.bytes, Depth::Facts);
            let entries: Vec<_> = examination.entries.iter().filter(|entry| !entry.is_stub()).collect();
            if entries.is_empty() {
                return;
            }
            let name = inner_name(path, &specimen.name);
            for (gpu, on_gpu) in &mut found {
                let mut best = None;
                for entry in &entries {
                    let Some(by) = reach(entry, *gpu) else { continue };
                    best = stronger(best, Some(by));
                    let form = if by == Reach::Ptx { "PTX " } else { "" };
                    on_gpu.archs.extend(entry.arch.map(|arch| format!("{form}{arch}")));
                }
                on_gpu.best = stronger(on_gpu.best, best);
                on_gpu.files.insert(name.clone(), best);
            }
        })
        .map_err(could_not_read)?;
        on_all &= found.iter().all(|(_, on_gpu)| on_gpu.best.is_some());
        if paths.len() > 1 {
            console.print(format!("{}:", escape::line(&path.display().to_string())))?;
        }
        for one in &tally.unread {
            console.print(format!("not read  {}", escape::line(&format!("{}: {}", one.path, one.reason))))?;
        }
        console.print(described(&found))?;
        let answers: Vec<_> = found
            .iter()
            .map(|(gpu, on_gpu)| {
                json!({
                    "gpu": format!("sm_{gpu}"), "runs": on_gpu.best.is_some(), "by": on_gpu.best,
                    "archs": on_gpu.archs, "files": on_gpu.files,
                })
            })
            .collect();
        let path = path.display().to_string();
        documents.push(json!({ "path": path, "gpus": answers, "unread": tally.unread }));
    }
    console.document("proofmark.verify-runs-on", 1, &json!({ "inputs": documents }))?;
    Ok(if on_all { ExitCode::Yes } else { ExitCode::No })
}

fn stronger(one: Option<Reach>, other: Option<Reach>) -> Option<Reach> {
    one.into_iter().chain(other).min()
}

fn word(by: Option<Reach>) -> &'static str {
    match by {
        Some(Reach::MachineCode) => "yes, by machine code",
        Some(Reach::Family) => "yes, by family",
        Some(Reach::Ptx) => "yes, by PTX",
        None => "no",
    }
}

fn described(found: &[(u32, OnGpu)]) -> String {
    let mut lines: Vec<String> = found
        .iter()
        .map(|(gpu, on_gpu)| {
            let archs: Vec<String> = on_gpu.archs.iter().cloned().collect();
            let archs = if archs.is_empty() { String::new() } else { format!("  ({})", archs.join(", ")) };
            format!("runs on sm_{gpu}: {}{archs}", word(on_gpu.best))
        })
        .collect();
    let files = found.first().map_or(0, |(_, on_gpu)| on_gpu.files.len());
    if files > 1 {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let gpus = found.iter().map(|(gpu, _)| format!("sm_{gpu}"));
        table.set_header(std::iter::once("file".to_owned()).chain(gpus));
        for name in found[0].1.files.keys().take(SHOWN) {
            let cells = found.iter().map(|(_, on_gpu)| {
                word(on_gpu.files.get(name).copied().flatten()).trim_start_matches("yes, by ").to_owned()
            });
            table.add_row(std::iter::once(escape::line(name)).chain(cells));
        }
        lines.push(table.to_string());
        if files > SHOWN {
            lines.push(format!("… and {} more files; --json has all", files - SHOWN));
        }
    }
    lines.join("\n")
}
