//! The JSON document, written piece by piece: its long lists go through a file while the path is read.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::SCHEMA;
use super::answer::Answer;
use super::spool::REASONS;
use super::table;
use crate::cli::failure::Failure;
use crate::proof::TargetClaim;

/// Most targets that the document names.
const TARGETS: usize = 10_000;

/// Writes the document of every answer; several make one with a body for each.
pub(super) fn write(paths: &[PathBuf], answers: &mut [Answer], lists: bool) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout().lock());
    let written = write_all(&mut output, paths, answers, lists).and_then(|()| output.flush());
    match written {
        // A reader that went away (`| head`) is no failure of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::could_not_judge(error)),
        _ => Ok(()),
    }
}

fn write_all(
    output: &mut impl Write,
    paths: &[PathBuf],
    answers: &mut [Answer],
    lists: bool,
) -> io::Result<()> {
    writeln!(output, "{{\n  \"schema\": {},\n  \"schema_version\": 1,", json!(SCHEMA))?;
    if let [answer] = answers {
        body(output, answer, lists)?;
        return output.write_all(b"\n}\n");
    }
    output.write_all(b"  \"inputs\": [")?;
    for (index, (path, answer)) in paths.iter().zip(answers).enumerate() {
        let separator = if index == 0 { "" } else { "," };
        write!(
            output,
            "{separator}\n  {{ \"path\": {}, \"answer\": {{\n",
            json!(path.display().to_string())
        )?;
        body(output, answer, lists)?;
        output.write_all(b"\n  } }")?;
    }
    output.write_all(b"\n  ]\n}\n")
}

fn body(output: &mut impl Write, answer: &mut Answer, lists: bool) -> io::Result<()> {
    let mut spool = answer.spool.take().unwrap_or_default();
    let mut head = Map::new();
    if !lists {
        let unread = answer.tally.unread.iter().map(|one| format!("{}: {}", one.path, one.reason));
        let mut reasons: Vec<String> = unread.take(REASONS).collect();
        let found = spool.findings.elements;
        reasons.append(&mut spool.reasons);
        if found > REASONS {
            reasons.push(format!("and {} more: `findings` has all of them", found - REASONS));
        }
        if reasons.is_empty() {
            reasons.push(table::nothing_in(&answer.tally));
        }
        head.insert("verdict".to_owned(), json!(answer.verdict));
        head.insert("policy".to_owned(), json!(answer.policy));
        head.insert("reasons".to_owned(), json!(reasons));
    }
    let labels = if answer.runtime_jit.is_empty() { Vec::new() } else { vec!["runtime-jit"] };
    head.insert("labels".to_owned(), json!(labels));
    let claims = answer.claims();
    // One claim speaks for the whole; several only for their own files.
    let requested = if let [claim] = &claims[..] { json!(claim) } else { Value::Null };
    head.insert("requested".to_owned(), requested);
    let targets: Vec<TargetClaim> =
        answer.requests.iter().flat_map(|requests| requests.targets().take(TARGETS)).collect();
    head.insert("targets".to_owned(), json!(targets));
    let notes = answer.requests.as_ref().map_or(&[][..], |requests| &requests.notes[..]);
    head.insert("build_file_notes".to_owned(), json!(notes));
    head.insert("passed_over".to_owned(), json!(answer.passed_over));
    head.insert("unread".to_owned(), json!(answer.tally.unread));
    for (name, value) in head {
        writeln!(output, "  {}: {value},", json!(name))?;
    }
    if !lists {
        output.write_all(b"  \"findings\": ")?;
        spool.findings.write_to(output)?;
        output.write_all(b",\n")?;
    }
    output.write_all(b"  \"entries\": ")?;
    spool.entries.write_to(output)?;
    output.write_all(b",\n  \"files\": ")?;
    spool.files.write_to(output)
}
