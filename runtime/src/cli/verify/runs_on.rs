//! `--runs-on`: whether a path runs on a GPU, and by what: every file of it that holds device code must.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use proofmark_packager::{Arch, escape};
use serde_json::{Value, json};

use super::could_not_read;
use super::examined::MadeFor;
use super::lines::unread_lines;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::proof::gate::{Surveyed, survey};
use crate::proof::{Depth, Reach, Unread, known_gpus, reach};

/// Most files shown; the JSON has all.
const SHOWN: usize = 40;
/// Most files that a refusal names.
const NAMED: usize = 3;

/// Whether something runs on a GPU; the weightiest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// It does, by this.
    Runs(Reach),
    /// Something of it could not be read.
    NotKnown,
    /// Nothing in it does.
    No,
}

impl Answer {
    fn of(one: &Surveyed<'_>, best: Option<Reach>) -> Self {
        match best {
            _ if !one.doubts.is_empty() => Self::NotKnown,
            Some(by) => Self::Runs(by),
            None => Self::No,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Runs(Reach::MachineCode) => "machine code",
            Self::Runs(Reach::Family) => "family",
            Self::Runs(Reach::Ptx) => "PTX",
            Self::NotKnown => "not known",
            Self::No => "no",
        }
    }

    /// The word of the document for one file.
    fn means(self) -> Value {
        match self {
            Self::Runs(by) => json!(by),
            Self::NotKnown => json!("not_known"),
            Self::No => Value::Null,
        }
    }
}

/// What runs on one GPU.
#[derive(Default)]
struct OnGpu {
    archs: BTreeSet<MadeFor>,
    files: BTreeMap<String, Answer>,
}

impl OnGpu {
    fn add(&mut self, one: &Surveyed<'_>, gpu: u32) {
        let mut best = None;
        for entry in one.examination.entries.iter().filter(|entry| !entry.is_stub()) {
            let Some(by) = reach(entry, gpu) else { continue };
            best = best.into_iter().chain([by]).min();
            let is_ptx = by == Reach::Ptx;
            self.archs.extend(entry.arch.map(|arch| MadeFor { is_ptx, arch }));
        }
        let answer = Answer::of(one, best);
        let known = self.files.entry(one.name.to_owned()).or_insert(answer);
        *known = answer.max(*known);
    }

    /// The whole runs where each of its files does, by the weakest of their means.
    fn whole(&self, unread: &[Unread]) -> Answer {
        let weakest = self.files.values().copied().max();
        match weakest {
            Some(Answer::No) => Answer::No,
            _ if !unread.is_empty() => Answer::NotKnown,
            weakest => weakest.unwrap_or(Answer::No),
        }
    }

    /// What runs there, in words.
    fn archs(&self) -> Vec<String> {
        self.archs.iter().map(MadeFor::to_string).collect()
    }

    fn sentence(&self, unread: &[Unread]) -> String {
        let of =
            |answer| self.files.iter().filter(move |(_, one)| **one == answer).map(|(name, _)| &name[..]);
        let said = match self.whole(unread) {
            Answer::No if self.files.is_empty() => "no, there is no device code".to_owned(),
            Answer::No => format!("no, nothing runs there in {}", listed(of(Answer::No))),
            Answer::NotKnown => {
                let names: BTreeSet<&str> =
                    of(Answer::NotKnown).chain(unread.iter().map(|one| &one.path[..])).collect();
                format!("not known, because of {}", listed(names.into_iter()))
            }
            runs @ Answer::Runs(_) => format!("yes, by {}", runs.word()),
        };
        let archs = self.archs();
        let archs = if archs.is_empty() { String::new() } else { format!("  ({})", archs.join(", ")) };
        said + &archs
    }
}

/// The first names of several.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let first: Vec<String> = all.iter().take(NAMED).map(|name| escape::line(name)).collect();
    let rest = all.len().saturating_sub(NAMED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    first.join(", ") + &more
}

/// Answers for every path.
pub(super) fn run(paths: &[PathBuf], gpus: &[Arch], console: &Console) -> Result<ExitCode, Failure> {
    require_known(gpus)?;
    let mut on_all = true;
    let mut documents = Vec::new();
    for path in paths {
        let mut found: Vec<(u32, OnGpu)> = gpus.iter().map(|gpu| (gpu.number, OnGpu::default())).collect();
        let mut doubted = Vec::new();
        let unread = survey(path, Depth::Facts, |one| {
            let holds_code = one.examination.entries.iter().any(|entry| !entry.is_stub());
            // A file without device code does not matter, unless it may hold some.
            if !holds_code && one.doubts.is_empty() {
                return;
            }
            let of = |reason: &String| Unread { path: one.name.to_owned(), reason: reason.clone() };
            doubted.extend(one.doubts.iter().map(of));
            for (gpu, on_gpu) in &mut found {
                on_gpu.add(one, *gpu);
            }
        })
        .map_err(could_not_read)?;
        let runs = |on_gpu: &OnGpu| matches!(on_gpu.whole(&unread), Answer::Runs(_));
        on_all &= found.iter().all(|(_, on_gpu)| runs(on_gpu));
        if paths.len() > 1 {
            console.print(format!("{}:", escape::line(&path.display().to_string())))?;
        }
        let all_unread: Vec<Unread> = unread.iter().cloned().chain(doubted).collect();
        console.print(unread_lines(&all_unread, "unreadable") + &described(&found, &unread))?;
        let answers: Vec<_> = found.iter().map(|(gpu, on_gpu)| document(*gpu, on_gpu, &unread)).collect();
        let path = path.display().to_string();
        documents.push(json!({ "path": path, "gpus": answers, "unread": all_unread }));
    }
    console.document("proofmark.verify-runs-on", 1, &json!({ "inputs": documents }))?;
    Ok(if on_all { ExitCode::Yes } else { ExitCode::No })
}

/// Refuses a number that no GPU has: PTX runs on every later one, so that the answer would be yes.
fn require_known(gpus: &[Arch]) -> Result<(), Failure> {
    match gpus.iter().find(|gpu| !known_gpus().contains(&gpu.number)) {
        None => Ok(()),
        Some(gpu) => {
            let known: Vec<String> = known_gpus().iter().map(|number| format!("sm_{number}")).collect();
            let text = format!("no architecture {gpu} is known: expected one of {}", known.join(", "));
            Err(Failure::request(text)
                .hint("a GPU that is newer than this program needs a newer release of it"))
        }
    }
}

fn document(gpu: u32, on_gpu: &OnGpu, unread: &[Unread]) -> Value {
    let (runs, by) = match on_gpu.whole(unread) {
        Answer::Runs(by) => (Some(true), Some(by)),
        Answer::NotKnown => (None, None),
        Answer::No => (Some(false), None),
    };
    let files: BTreeMap<&String, Value> =
        on_gpu.files.iter().map(|(name, answer)| (name, answer.means())).collect();
    json!({
        "gpu": format!("sm_{gpu}"), "runs": runs, "by": by, "archs": on_gpu.archs(), "files": files,
    })
}

fn described(found: &[(u32, OnGpu)], unread: &[Unread]) -> String {
    let mut lines: Vec<String> =
        found.iter().map(|(gpu, on_gpu)| format!("runs on sm_{gpu}: {}", on_gpu.sentence(unread))).collect();
    let files = found.first().map_or(0, |(_, on_gpu)| on_gpu.files.len());
    if files > 1 {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let gpus = found.iter().map(|(gpu, _)| format!("sm_{gpu}"));
        table.set_header(std::iter::once("file".to_owned()).chain(gpus));
        for name in found[0].1.files.keys().take(SHOWN) {
            let cells = found.iter().map(|(_, on_gpu)| {
                on_gpu.files.get(name).copied().map_or(String::new(), |answer| answer.word().to_owned())
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
