//! Says in tables what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use proofmark_packager::Arch;

use super::headline::{headline, word};
use super::{Answer, Examined};
use crate::proof::{
    Compression, Entry, EntryKind, Kernel, RequestedClaim, RuntimeJit, Tally, Unread, Verdict, demangle,
};

/// Most reasons and kernels shown; the JSON has all.
const SHOWN: usize = 12;
/// Longest kernel name shown, in letters.
const NAME_LETTERS: usize = 72;

/// The judgement with what led to it.
pub(super) fn report(answer: &Answer) -> String {
    let examined = &answer.examined;
    let mut text = headline(answer.verdict, &answer.policy, examined) + "\n";
    let with_code: Vec<&Examined> = examined.iter().filter(|one| speaks(one)).collect();
    if with_code.iter().any(|one| !one.examination.entries.is_empty()) {
        let _ = writeln!(text, "{}", contents(answer));
    }
    text += &requested(answer.requested.as_ref());
    text += &unread(&answer.tally.unread);
    for one in &with_code {
        if examined.len() > 1 || !answer.tally.unread.is_empty() {
            let _ = writeln!(text, "{}: {}", one.name, word(one.judgement.verdict()).to_lowercase());
        }
        text += &limited(one.judgement.reasons(), "  because  ");
    }
    if with_code.is_empty() {
        let _ = writeln!(text, "  because  {}", nothing_in(&answer.tally));
    }
    text += &missing_libraries(examined);
    text += &labels(examined);
    text.trim_end().to_owned()
}

/// Libraries that a proven file needs and does not name.
fn missing_libraries(examined: &[Examined]) -> String {
    let missing = examined.iter().flat_map(|one| &one.examination.missing_libraries);
    let lines: BTreeSet<String> = missing.map(ToString::to_string).collect();
    limited(&lines.into_iter().collect::<Vec<_>>(), "note  ")
}

/// That there is no device code, and where it was looked for.
pub(super) fn nothing_in(tally: &Tally) -> String {
    let files = if tally.files == 1 { "file" } else { "files" };
    format!("no device code found in {} {files} of {}", tally.files, size(tally.size_bytes))
}

fn requested(claim: Option<&RequestedClaim>) -> String {
    let Some(claim) = claim else { return String::new() };
    let asked: Vec<String> =
        claim.images.iter().map(ToString::to_string).chain(claim.unclear.clone()).collect();
    format!("requested  {}\n", asked.join("; "))
}

fn unread(unread: &[Unread]) -> String {
    let lines: Vec<String> = unread.iter().map(|one| format!("{}: {}", one.path, one.reason)).collect();
    limited(&lines, "not read  ")
}

/// What is in it, by architecture, then the kernels.
pub(super) fn list(answer: &Answer) -> String {
    let examined = &answer.examined;
    let mut text = contents(answer);
    let entries = || examined.iter().flat_map(|one| &one.examination.entries);
    let kernels: BTreeMap<&str, (&Kernel, BTreeSet<Arch>)> =
        entries().fold(BTreeMap::new(), |mut known, entry| {
            for kernel in entry.cubin.iter().flat_map(|cubin| &cubin.kernels) {
                let row: &mut (&Kernel, BTreeSet<Arch>) =
                    known.entry(kernel.name.as_str()).or_insert((kernel, BTreeSet::new()));
                row.1.extend(entry.arch);
            }
            known
        });
    if !kernels.is_empty() {
        let _ = write!(text, "\n{}", kernel_table(&kernels));
    }
    let packed = entries().filter(|entry| is_packed(entry)).count();
    if packed > 0 {
        let _ = write!(text, "\n{packed} compressed images stay packed; --kernels reads them too");
    }
    let unaccounted: Vec<String> = examined
        .iter()
        .flat_map(|one| &one.examination.unaccounted)
        .map(|problem| format!("at {:#x}: {}", problem.offset, problem.reason))
        .collect();
    if !unaccounted.is_empty() {
        text.push('\n');
        text += limited(&unaccounted, "unaccounted  ").trim_end();
    }
    text.push('\n');
    text += &requested(answer.requested.as_ref());
    text += &unread(&answer.tally.unread);
    text += &labels(examined);
    text.trim_end().to_owned()
}

fn speaks(one: &Examined) -> bool {
    !one.examination.entries.is_empty() || one.judgement.verdict() != Verdict::Absent
}

fn is_packed(entry: &Entry) -> bool {
    entry.is_machine_code() && entry.cubin.is_none() && entry.problems.is_empty()
}

/// One row an architecture and kind.
#[derive(Default)]
struct Row {
    images: usize,
    stubs: usize,
    kernels: BTreeSet<String>,
    packed: bool,
    image_bytes: u64,
    stored_bytes: u64,
    compressions: BTreeSet<&'static str>,
    toolkits: BTreeSet<String>,
    special: bool,
    text_archs: BTreeSet<Arch>,
}

fn contents(answer: &Answer) -> String {
    let mut rows: BTreeMap<(Option<Arch>, &'static str), Row> = BTreeMap::new();
    for entry in answer.examined.iter().flat_map(|one| &one.examination.entries) {
        add(rows.entry((entry.arch, kind(entry))).or_default(), entry);
    }
    if rows.is_empty() {
        return nothing_in(&answer.tally);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["arch", "kind", "images", "kernels", "size", "stored", "as", "toolkit", ""]);
    for column in [2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for ((arch, kind), row) in rows {
        let arch = arch.map_or("?".to_owned(), |arch| arch.to_string());
        let images = if row.stubs > 0 {
            format!("{} (+{} empty)", row.images, row.stubs)
        } else {
            row.images.to_string()
        };
        let kernels = if row.packed { "packed".to_owned() } else { row.kernels.len().to_string() };
        let texts = row.text_archs.iter().map(|arch| format!("built as {arch}"));
        let special: Vec<String> = texts.chain(row.special.then(|| "tcgen05".to_owned())).collect();
        table.add_row([
            arch,
            kind.to_owned(),
            images,
            kernels,
            size(row.image_bytes),
            size(row.stored_bytes),
            row.compressions.into_iter().collect::<Vec<_>>().join(","),
            row.toolkits.into_iter().collect::<Vec<_>>().join(","),
            special.join(", "),
        ]);
    }
    table.to_string()
}

fn add(row: &mut Row, entry: &Entry) {
    if entry.is_stub() {
        row.stubs += 1;
    } else {
        row.images += 1;
    }
    row.packed |= is_packed(entry);
    row.image_bytes += entry.image_bytes;
    row.stored_bytes += match &entry.header {
        Some(header) if header.compressed_bytes != 0 => u64::from(header.compressed_bytes),
        _ => entry.image_bytes,
    };
    row.compressions.extend(match entry.compression {
        Some(Compression::Lz4) => Some("lz4"),
        Some(Compression::Zstd) => Some("zstd"),
        Some(Compression::None) => Some("plain"),
        None => None,
    });
    if let Some(cubin) = &entry.cubin {
        row.kernels.extend(cubin.kernels.iter().map(|kernel| kernel.name.clone()));
        row.toolkits.extend(cubin.toolkit());
        row.special |= !cubin.special.is_empty();
        let named = cubin.tools.iter().filter_map(|tool| tool.arch);
        row.text_archs.extend(named.filter(|&named| Some(named) != entry.arch));
    }
    if let Some(ptx) = &entry.ptx {
        row.kernels.extend(ptx.kernels.iter().cloned());
        row.toolkits.extend(ptx.version.as_ref().map(|version| format!("PTX {version}")));
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::Elf | EntryKind::Cubin if entry.place.loose => "machine code (loose)",
        EntryKind::Elf | EntryKind::Cubin => "machine code",
        EntryKind::Ptx if entry.place.loose => "PTX (loose)",
        EntryKind::Ptx => "PTX",
        EntryKind::Lto => "LTO-IR",
        EntryKind::Concat => "concatenated",
        EntryKind::Unknown => "unknown",
    }
}

fn kernel_table(kernels: &BTreeMap<&str, (&Kernel, BTreeSet<Arch>)>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["kernel", "code", "registers", "stack", "shared", "for"]);
    let number = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
    for (name, (kernel, archs)) in kernels.iter().take(SHOWN) {
        let mut name = demangle(name);
        if name.chars().count() > NAME_LETTERS {
            name = name.chars().take(NAME_LETTERS).chain("…".chars()).collect();
        }
        let archs: Vec<String> = archs.iter().map(ToString::to_string).collect();
        table.add_row([
            name,
            size(kernel.code_bytes),
            number(kernel.registers),
            number(kernel.stack_bytes),
            size(kernel.shared_bytes),
            archs.join(" "),
        ]);
    }
    let rest = kernels.len().saturating_sub(SHOWN);
    let more =
        if rest > 0 { format!("\n… and {rest} more kernels; --json has all") } else { String::new() };
    format!("{table}{more}")
}

fn labels(examined: &[Examined]) -> String {
    let signs: BTreeSet<&RuntimeJit> = examined.iter().flat_map(|one| &one.examination.runtime_jit).collect();
    let Some(first) = signs.first() else { return String::new() };
    let what = match first {
        RuntimeJit::Needs(name) => format!("needs {name}"),
        RuntimeJit::Imports(name) => format!("imports {name}"),
        RuntimeJit::Names(name) => format!("names {name}"),
        RuntimeJit::CarriesSource(text) => format!("carries CUDA source (`{text}`)"),
    };
    format!("runtime-jit  {what}: code made while it runs is in no file, so this answer cannot cover it\n")
}

fn limited(lines: &[String], lead: &str) -> String {
    let mut text = String::new();
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "{lead}{line}");
    }
    if lines.len() > SHOWN {
        let _ = writeln!(text, "{lead}… and {} more; --json has all", lines.len() - SHOWN);
    }
    text
}

/// A size in the largest unit that keeps it above one.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut rest = 0;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024 {
            break;
        }
        rest = value % 1024 * 10 / 1024;
        value /= 1024;
        unit = next;
    }
    if unit == "B" || value >= 100 { format!("{value} {unit}") } else { format!("{value}.{rest} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_a_person_would_say_them() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(852_288_392), "812 MiB");
    }
}
