//! Where output goes: data on stdout, talk on stderr, one document with `--json`.

use std::io::{self, IsTerminal, Write};

use proofmark_packager::escape;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::exit_code::ExitCode;
use super::failure::Failure;

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFormat {
    /// Text and tables.
    Human,
    /// One JSON document.
    Json,
}

/// The two streams and how to write to them.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    format: AnswerFormat,
}

impl Console {
    /// A console that answers in one format.
    pub fn new(format: AnswerFormat) -> Self {
        Self { format }
    }

    /// The format of the answer.
    pub fn format(&self) -> AnswerFormat {
        self.format
    }

    /// Whether stderr is a terminal where colour and progress are welcome.
    pub fn is_lively(&self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Refuses `--json` where standard output belongs to something that is no document.
    pub fn require_text(&self, what: &str) -> Result<(), Failure> {
        match self.format {
            AnswerFormat::Human => Ok(()),
            AnswerFormat::Json => Err(Failure::request(format!("--json: {what} is no JSON document"))
                .hint("leave --json out: standard output belongs to it")),
        }
    }

    /// Says something to the person at the terminal, on stderr.
    pub fn say(&self, text: impl AsRef<str>) {
        // A closed stderr must not stop the work.
        let _ = writeln!(io::stderr(), "{}", escape::block(text.as_ref()));
    }

    /// Prints human text on stdout, with what strangers named escaped; nothing in JSON mode.
    pub fn print(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        match self.format {
            AnswerFormat::Human => write_out((escape::block(text.as_ref()) + "\n").as_bytes()),
            AnswerFormat::Json => Ok(()),
        }
    }

    /// Prints the one JSON document of this call, with its schema's name and version in front;
    /// nothing in human mode.
    pub fn document(&self, schema: &str, version: u32, body: &impl Serialize) -> Result<(), Failure> {
        match self.format {
            AnswerFormat::Human => Ok(()),
            AnswerFormat::Json => write_out(render(schema, version, body)?.as_bytes()),
        }
    }

    /// Reports a failure: words and hints on stderr, and in JSON mode a document on stdout.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        self.say(format!("error: {failure}"));
        for way_out in failure.hints() {
            self.say(format!("hint: {way_out}"));
        }
        self.document_failure(failure);
        failure.code()
    }

    /// Prints a failure's document in JSON mode, without words on stderr.
    pub fn document_failure(&self, failure: &Failure) {
        let body = json!({
            "error": failure.to_string(), "hints": failure.hints(), "exit_code": failure.code() as u8,
        });
        let _ = self.document("proofmark.error", 1, &body);
    }
}

/// A document's text, as it is printed.
pub(super) fn render(schema: &str, version: u32, body: &impl Serialize) -> Result<String, Failure> {
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!(schema));
    document.insert("schema_version".to_owned(), json!(version));
    match serde_json::to_value(body).map_err(Failure::could_not_judge)? {
        Value::Object(fields) => document.extend(fields),
        other => {
            document.insert("value".to_owned(), other);
        }
    }
    let text = serde_json::to_string_pretty(&Value::Object(document)).map_err(Failure::could_not_judge)?;
    Ok(escape::json(&text) + "\n")
}

/// Writes a large document to stdout as it is made.
pub(super) fn write_document(document: &impl Serialize) -> Result<(), Failure> {
    let mut writer = io::BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut writer, document).map_err(io::Error::from);
    match written.and_then(|()| writer.write_all(b"\n")).and_then(|()| writer.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::could_not_judge(error)),
        _ => Ok(()),
    }
}

/// Writes to stdout. A reader that went away (`| head`) is no failure of ours.
pub(super) fn write_out(content: &[u8]) -> Result<(), Failure> {
    written_out(io::stdout().write_all(content))
}

/// What became of something written to stdout: whoever reads no more has read enough.
pub(super) fn written_out(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::could_not_judge(error)),
        _ => Ok(()),
    }
}
