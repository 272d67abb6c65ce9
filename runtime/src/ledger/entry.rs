//! One line of a ledger: a record as it was measured, or one of the ledger's own kinds.

use proofmark_packager::interop::flashinfer::Timestamp;
use proofmark_packager::json::{self, Budget};
use proofmark_packager::{Arch, Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::slot::Slot;
use super::trace::TraceLine;
use crate::measure::statistics::Interval;
use crate::record::Record;
use crate::record::line::{Head, LineError};
use crate::recording::Trust;

/// Name of the ledger's own lines.
pub const SCHEMA: &str = "proofmark.ledger";
/// Their version. Changes whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerEntry {
    /// What was measured.
    Record(Box<Record>),
    /// One of the ledger's own.
    Own(Box<LedgerLine>),
}

/// What a line of the ledger's own holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum LedgerLine {
    /// Where the following lines came from.
    Batch(BatchLine),
    /// An artifact that names its records.
    Seal(SealLine),
    /// A figure of another harness.
    Trace(TraceLine),
    /// A candidate, and what became of it.
    Challenge(ChallengeLine),
    /// A new champion, and why.
    Promotion(PromotionLine),
}

/// Where lines came from: only what was measured here was measured by this program on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// By this program, here.
    Measured,
    /// Somebody brought it.
    Imported {
        /// The file's name.
        from: String,
    },
}

impl Origin {
    /// The word in a table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Imported { .. } => "imported",
        }
    }
}

/// The first line of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchLine {
    /// When it was written.
    pub timestamp: Timestamp,
    /// Where it came from.
    pub origin: Origin,
}

/// A sealed artifact: the records that it names are never dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealLine {
    /// When the last of its records was measured; absent where nothing was.
    pub timestamp: Option<Timestamp>,
    /// The artifact.
    pub artifact: Digest,
    /// Its evidence.
    pub evidence: Digest,
    /// The sealed library.
    pub library: Digest,
    /// The solution's name.
    pub solution: String,
    /// Who wrote it.
    pub author: String,
    /// What it implements.
    pub definition: String,
    /// What it was built for.
    pub arch: Arch,
    /// What it was measured on, where it was.
    pub device: Option<String>,
    /// Its records, by the SHA-256 of their lines.
    pub records: Vec<Digest>,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Faster than the champion, with the known error rate.
    Keep,
    /// Not faster, or not right.
    Reject,
    /// Nobody can tell.
    Undecided,
}

impl Answer {
    /// The word in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Reject => "reject",
            Self::Undecided => "undecided",
        }
    }
}

/// A candidate that was held against a champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeLine {
    /// When it was answered.
    pub timestamp: Timestamp,
    /// For what.
    pub slot: Slot,
    /// The champion's artifact; absent where there was none.
    pub champion: Option<Digest>,
    /// The candidate's artifact.
    pub candidate: Digest,
    /// The candidate's name.
    pub solution: String,
    /// Who wrote it.
    pub author: String,
    /// What became of it.
    pub answer: Answer,
    /// Why, in words.
    pub reason: String,
    /// The comparison that says so, by the SHA-256 of its line.
    pub comparison: Option<Digest>,
    /// The candidate's time over the champion's.
    pub ratio: Option<Interval>,
    /// Whether the numbers rest on recordings; absent without numbers.
    pub trust: Option<Trust>,
}

/// A new champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionLine {
    /// When.
    pub timestamp: Timestamp,
    /// Of what.
    pub slot: Slot,
    /// The artifact.
    pub artifact: Digest,
    /// Its evidence, which keeps it apart from other seals of the same artifact.
    pub evidence: Digest,
    /// The solution's name.
    pub solution: String,
    /// Who wrote it.
    pub author: String,
    /// The file's name on its shelf.
    pub file: String,
    /// The promotion before it in the same slot, by the SHA-256 of its line.
    pub previous: Option<Digest>,
    /// Why, in words.
    pub reason: String,
    /// The comparison that says so, by the SHA-256 of its line.
    pub comparison: Option<Digest>,
    /// The time over that of the champion before.
    pub ratio: Option<Interval>,
    /// Whether the numbers rest on recordings.
    pub trust: Option<Trust>,
}

impl LedgerEntry {
    /// Reads one line, within a budget.
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        json::check(line.as_bytes(), Budget::SAMPLES).map_err(LineError::TooMuch)?;
        let Head { schema, version } = serde_json::from_str(line)?;
        if schema != SCHEMA {
            return Ok(Self::Record(Box::new(Record::from_line(line)?)));
        }
        if version.as_u64() != Some(u64::from(VERSION)) {
            return Err(LineError::LedgerVersion { found: version });
        }
        // The tag is beside two fields that no kind has, so it is taken apart first.
        let mut fields: Value = serde_json::from_str(line)?;
        if let Value::Object(fields) = &mut fields {
            fields.shift_remove("schema");
            fields.shift_remove("version");
        }
        Ok(Self::Own(Box::new(serde_json::from_value(fields)?)))
    }
}

impl LedgerLine {
    /// Writes one line, without the line feed, and makes sure that it reads back.
    pub fn to_line(&self) -> Result<String, LineError> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            version: u32,
            #[serde(flatten)]
            own: &'a LedgerLine,
        }
        let line = serde_json::to_string(&Line { schema: SCHEMA, version: VERSION, own: self })?;
        LedgerEntry::from_line(&line)?;
        Ok(line)
    }
}

/// The name of an entry: the SHA-256 of its line.
pub fn id_of(line: &str) -> Digest {
    Digest::of_bytes(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledgers_own_lines_read_back_and_say_their_version() {
        let origin = Origin::Imported { from: "a\u{1b}[31m.zip".to_owned() };
        let line = LedgerLine::Batch(BatchLine { timestamp: Timestamp::now(), origin });
        let text = line.to_line().unwrap();
        assert!(text.starts_with(r#"{"schema":"proofmark.ledger","version":1,"entry":"batch","#), "{text}");
        assert_eq!(LedgerEntry::from_line(&text).unwrap(), LedgerEntry::Own(Box::new(line)));
        let newer = text.replace(r#""version":1"#, r#""version":2"#);
        assert_eq!(
            LedgerEntry::from_line(&newer).unwrap_err().to_string(),
            "version of the ledger's line is 2: this program reads version 1"
        );
        let more = text.replace(r#""origin""#, r#""more":1,"origin""#);
        for wrong in [more.as_str(), "", "[]", "{}", r#"{"schema":"proofmark.ledger","version":1}"#] {
            assert!(LedgerEntry::from_line(wrong).is_err(), "{wrong}");
        }
        assert!(LedgerEntry::from_line(&format!("[{}", "[".repeat(1_000_000))).is_err());
    }
}
