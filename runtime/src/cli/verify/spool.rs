//! The long lists of a document: written while the path is read, so that they take no memory.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use serde_json::{Value, json};
use tempfile::SpooledTempFile;

use super::examined::Examined;

/// What of a list stays in memory, in bytes.
const IN_MEMORY_BYTES: usize = 1 << 20;
/// Most reasons in the document's own list; `findings` has all.
pub(super) const REASONS: usize = 1000;

/// One long list, an element a line.
pub(super) struct List {
    file: BufWriter<SpooledTempFile>,
    pub(super) elements: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { file: BufWriter::new(SpooledTempFile::new(IN_MEMORY_BYTES)), elements: 0 }
    }
}

impl List {
    fn push(&mut self, value: &Value) -> io::Result<()> {
        self.file.write_all(if self.elements == 0 { b"\n    " } else { b",\n    " })?;
        serde_json::to_writer(&mut self.file, value)?;
        self.elements += 1;
        Ok(())
    }

    pub(super) fn write_to(&mut self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(b"[")?;
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))?;
        io::copy(file, output)?;
        output.write_all(if self.elements == 0 { b"]" } else { b"\n  ]" })
    }
}

/// The long lists of one answer.
#[derive(Default)]
pub(super) struct Spool {
    pub(super) entries: List,
    pub(super) files: List,
    pub(super) findings: List,
    pub(super) reasons: Vec<String>,
}

impl Spool {
    /// Takes in one file.
    pub(super) fn add(&mut self, one: &Examined<'_>) -> io::Result<()> {
        let first_entry = self.entries.elements;
        for entry in &one.examination.entries {
            let mut value = json!(entry);
            value["file"] = json!(one.name);
            value["stub"] = json!(entry.is_stub());
            self.entries.push(&value)?;
        }
        let mut file = json!({
            "path": one.name,
            "format": one.examination.format,
            "size_bytes": one.examination.size_bytes,
            "device_code_bytes": one.examination.entries.iter().map(|entry| entry.image_bytes).sum::<u64>(),
            "first_entry": first_entry,
            "entries": one.examination.entries.len(),
            "containers": one.examination.containers,
            "wrappers": one.examination.wrappers,
            "unaccounted": one.examination.unaccounted,
            "unexplained": one.examination.unexplained,
            "missing_libraries": one.examination.missing_libraries,
            "runtime_jit": one.examination.runtime_jit,
            "requested": one.claim,
        });
        if let Some(judgement) = one.judgement {
            let verdict = judgement.verdict();
            file["verdict"] = json!(verdict);
            file["reasons"] = json!(judgement.reasons());
            file["witnesses"] = json!(judgement.witnesses());
            for reason in judgement.reasons() {
                self.findings.push(&json!({ "file": one.name, "verdict": verdict, "reason": reason }))?;
                if self.reasons.len() < REASONS {
                    self.reasons.push(reason.clone());
                }
            }
        }
        self.files.push(&file)
    }
}
