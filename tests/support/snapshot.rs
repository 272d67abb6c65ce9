//! Replaces in what people read whatever differs between two runs or two machines.

use std::path::Path;

use super::{Outcome, Sandbox, data_folder};

/// The whole of an answer: the exit code, what stdout says, what stderr says.
pub fn answer(sandbox: &Sandbox, outcome: &Outcome) -> String {
    let mut text = format!("exit code {}\n", outcome.code);
    for (name, stream) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        if !stream.is_empty() {
            let mut shown = redacted(sandbox, stream);
            if shown.contains("<number>") {
                // Columns are as wide as the numbers in them.
                shown = shown.lines().map(|line| one_space(line) + "\n").collect();
            }
            text += &format!("--- {name}\n{}\n", shown.trim_end());
        }
    }
    text
}

/// A line with one space where there were several between words.
fn one_space(line: &str) -> String {
    let words = line.trim_start();
    let start = &line[..line.len().min(2).min(line.len() - words.len())];
    format!("{start}{}", words.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text without digests, folders of this run, sizes in bytes and the name of the host compiler.
fn redacted(sandbox: &Sandbox, text: &str) -> String {
    let folder = |path: &Path| path.display().to_string();
    let mut text = text
        .replace(&folder(&sandbox.cache()), "<cache>")
        .replace(&folder(&sandbox.home()), "<home>")
        .replace(&folder(sandbox.path("").parent().expect("a folder")), "<sandbox>");
    if text.contains("nvcc") {
        text = text.replace(&folder(data_folder()), "<data>");
    }
    text.lines().map(|line| without_machine(&without_digests(line)) + "\n").collect()
}

/// Digests, whole and short, keys and offsets become their kind.
fn without_digests(line: &str) -> String {
    let is_hex = |one: char| one.is_ascii_digit() || ('a'..='f').contains(&one);
    let mut shown = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if length == 0 {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, behind) = rest.split_at(length);
        let hex = word.chars().all(is_hex);
        let is_offset = word.strip_prefix("0x").is_some_and(|digits| digits.chars().all(is_hex));
        let is_number = word.chars().all(|one| one.is_ascii_digit());
        // What is as large depends on the headers and libraries of the machine.
        let is_size = is_number && behind.starts_with(" bytes");
        shown += match length {
            64 | 40 if hex => "<digest>",
            12 if hex => "<short>",
            2 if hex && shown.ends_with("entries/") => "<short>",
            _ if is_offset => "<offset>",
            _ if is_size => "<size>",
            4.. if is_number => "<number>",
            _ => word,
        };
        rest = behind;
    }
    shown
}

/// The compilers are the machine's own, or may be.
fn without_machine(line: &str) -> String {
    match line.find("nvcc 1") {
        Some(at) => format!("{}<compilers>", &line[..at]),
        None => line.to_owned(),
    }
}
