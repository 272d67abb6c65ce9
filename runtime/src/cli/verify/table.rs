//! Says in tables what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use proofmark_packager::{Arch, escape};

use super::answer::Answer;
use super::headline::{headline, word};
use super::lines::{SHOWN, limited, unread_lines};
use crate::proof::{Kernel, Unread, VisitTally, demangle};
use crate::report::figures::or_none;

/// Most files in a table.
const SHOWN_FILES: usize = 40;
/// Longest kernel name shown, in letters.
const NAME_LETTERS: usize = 72;

/// The judgement with what led to it.
pub(super) fn report(answer: &Answer) -> String {
    let mut text = headline(answer.verdict, &answer.policy, &answer.weaker) + "\n";
    if !answer.contents.rows.is_empty() {
        let _ = writeln!(text, "{}", contents(answer));
    }
    text += &requested(answer);
    text += &unread(&answer.tally.unread);
    text += &by_file(answer);
    let several = answer.examined > 1 || !answer.tally.unread.is_empty();
    for one in answer.files.iter().take(SHOWN) {
        if several {
            let _ = writeln!(
                text,
                "{}: {}",
                escape::line(&one.name),
                one.verdict.map(word).unwrap_or_default().to_lowercase()
            );
        }
        text += &limited(&one.reasons, one.more_reasons, "  because  ");
    }
    if answer.speaking > SHOWN {
        let _ = writeln!(text, "… and {} more files; --json has all", answer.speaking - SHOWN);
    }
    if answer.speaking == 0 {
        let _ = writeln!(text, "  because  {}", nothing_in(&answer.tally));
    }
    text += &missing_libraries(answer);
    text += &labels(answer);
    text.trim_end().to_owned()
}

/// Libraries that a proven file needs and does not name.
fn missing_libraries(answer: &Answer) -> String {
    let of = |(file, missing): &(String, String)| {
        if answer.examined > 1 { format!("{file}: {missing}") } else { missing.clone() }
    };
    let lines: Vec<String> = answer.missing_libraries.iter().map(of).collect();
    limited(&lines, 0, "note  ")
}

/// Sizes and verdicts of several files.
fn by_file(answer: &Answer) -> String {
    if answer.speaking < 2 {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["file", "size", "device code", "for", "verdict"]);
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for one in answer.files.iter().take(SHOWN_FILES) {
        table.add_row([
            escape::line(&one.name),
            size(one.size_bytes),
            size(one.device_bytes),
            one.archs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            one.verdict.map(word).unwrap_or_default().to_lowercase(),
        ]);
    }
    let rest = answer.speaking.saturating_sub(SHOWN_FILES);
    let more = if rest > 0 { format!("\n… and {rest} more files; --json has all") } else { String::new() };
    format!("{table}{more}\n")
}

/// That there is no device code, and where it was looked for.
pub(super) fn nothing_in(tally: &VisitTally) -> String {
    let files = if tally.files == 1 { "file" } else { "files" };
    format!("no device code found in {} {files} of {}", tally.files, size(tally.size_bytes))
}

/// What the build files ask for: one claim for all, or each with the files that it is about.
fn requested(answer: &Answer) -> String {
    let mut text = String::new();
    let claims = answer.claims();
    for claim in claims.iter().take(SHOWN) {
        let about = match (&answer.requests, claims.len()) {
            (Some(requests), 2..) => {
                let mut targets = requests.targets().filter(|target| target.claim == *claim);
                let first = targets.next().map_or_else(String::new, |target| target.target);
                let rest = targets.count();
                let first = first.rsplit('/').next().unwrap_or_default().to_owned();
                if rest > 0 { format!("  ({first} and {rest} more)") } else { format!("  ({first})") }
            }
            _ => String::new(),
        };
        let asked = claim.images.iter().map(ToString::to_string).chain(claim.unclear.clone());
        let asked: Vec<String> =
            asked.chain(claim.unread.iter().map(|what| format!("{what}, not read"))).collect();
        let _ = writeln!(text, "requested  {}{}", escape::line(&asked.join("; ")), escape::line(&about));
    }
    if claims.len() > SHOWN {
        let _ = writeln!(text, "requested  … and {} more; --json has all", claims.len() - SHOWN);
    }
    let notes = answer.requests.as_ref().map_or(&[][..], |requests| &requests.notes[..]);
    text += &limited(notes, 0, "note  ");
    if answer.passed_over > 0 {
        let files = if answer.passed_over == 1 { "file" } else { "files" };
        let _ = writeln!(
            text,
            "passed over  {} {files} of the build system's own compiler check",
            answer.passed_over
        );
    }
    text
}

fn unread(unread: &[Unread]) -> String {
    unread_lines(unread, "not read")
}

/// What is in it, by architecture, then the kernels.
pub(super) fn list(answer: &Answer) -> String {
    let mut text = contents(answer);
    if answer.speaking > 1 {
        let _ = write!(text, "\n{}", by_file_listed(answer));
    }
    let kernels = &answer.contents.kernels;
    if !kernels.is_empty() {
        let _ = write!(text, "\n{}", kernel_table(kernels));
    }
    let packed = answer.contents.packed;
    if packed > 0 {
        let _ = write!(text, "\n{packed} compressed images stay packed; --kernels reads them too");
    }
    let unaccounted = &answer.contents.unaccounted;
    if !unaccounted.is_empty() {
        text.push('\n');
        text += limited(unaccounted, answer.contents.more_unaccounted, "unaccounted  ").trim_end();
    }
    text.push('\n');
    text += &requested(answer);
    text += &unread(&answer.tally.unread);
    text += &labels(answer);
    text.trim_end().to_owned()
}

/// Sizes of several files, without a word about what they are worth.
fn by_file_listed(answer: &Answer) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["file", "size", "device code", "for"]);
    for one in answer.files.iter().take(SHOWN_FILES) {
        table.add_row([
            escape::line(&one.name),
            size(one.size_bytes),
            size(one.device_bytes),
            one.archs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ]);
    }
    let rest = answer.speaking.saturating_sub(SHOWN_FILES);
    if rest > 0 { format!("{table}\n… and {rest} more files; --json has all") } else { table.to_string() }
}

fn contents(answer: &Answer) -> String {
    let rows = &answer.contents.rows;
    if rows.is_empty() {
        let not_looked_for = "\nwhether other data holds some, packed or written out, is told without --list";
        return nothing_in(&answer.tally) + if answer.is_whole { "" } else { not_looked_for };
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
        let kernels = or_none(row.kernel_count().map(|count| count.to_string()));
        let texts = row.text_archs.iter().map(|arch| format!("built as {arch}"));
        let special: Vec<String> = texts.chain(row.special.then(|| "tcgen05".to_owned())).collect();
        let toolkits: Vec<String> = row.toolkits.iter().map(|toolkit| escape::line(toolkit)).collect();
        table.add_row([
            arch,
            (*kind).to_owned(),
            images,
            kernels,
            size(row.image_bytes),
            size(row.stored_bytes),
            row.compressions.iter().copied().collect::<Vec<_>>().join(","),
            toolkits.join(","),
            special.join(", "),
        ]);
    }
    table.to_string()
}

fn kernel_table(kernels: &BTreeMap<String, (Kernel, BTreeSet<Arch>)>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["kernel", "code", "registers", "stack", "shared", "for"]);
    let number = |value: Option<u32>| value.map_or("?".to_owned(), |value| value.to_string());
    for (name, (kernel, archs)) in kernels.iter().take(SHOWN) {
        let mut name = escape::line(&demangle(name));
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

fn labels(answer: &Answer) -> String {
    let Some(first) = answer.runtime_jit.first() else { return String::new() };
    // A list looks for one.
    let rest = if answer.is_whole { answer.runtime_jit.len() - 1 } else { 0 };
    let more = if rest > 0 {
        format!(" and {rest} other sign{}", if rest == 1 { "" } else { "s" })
    } else {
        String::new()
    };
    let what = escape::line(&first.words());
    format!(
        "runtime-jit  {what}{more}: code made while it runs is in no file, so this answer cannot cover it\n"
    )
}

/// A size in the largest unit that keeps it above one.
pub(super) fn size(bytes: u64) -> String {
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
