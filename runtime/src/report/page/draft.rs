//! A page while it is made: each run and comparison is drawn as it comes, and its samples are not kept.
//!
//! What is drawn waits in temporary files, so that a page of thousands of runs takes no more memory than one of ten.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use maud::{DOCTYPE, PreEscaped, html};
use tempfile::SpooledTempFile;

use super::exhibit::Exhibit;
use super::summary::{ComparisonSummary, ExhibitSummary};
use super::{SCRIPT, STYLE, comparison, head, history, leaderboard, policy, roofline, samples, workloads};
use crate::ledger::RunRow;
use crate::record::ComparisonRecord;

/// Up to so many bytes a part waits in memory: a page of one run needs no file.
const IN_MEMORY_BYTES: usize = 1 << 20;

/// A page to which runs and comparisons are added.
#[derive(Debug)]
pub struct PageDraft {
    exhibits: Vec<ExhibitSummary>,
    comparisons: Vec<ComparisonSummary>,
    runs: Part,
    pairs: Part,
    samples: Part,
}

impl Default for PageDraft {
    fn default() -> Self {
        Self {
            exhibits: Vec::new(),
            comparisons: Vec::new(),
            runs: Part::new(),
            pairs: Part::new(),
            samples: Part::new(),
        }
    }
}

/// A part of the page that waits for what comes before it.
#[derive(Debug)]
struct Part(SpooledTempFile);

impl Part {
    fn new() -> Self {
        Self(tempfile::spooled_tempfile(IN_MEMORY_BYTES))
    }

    fn push(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    fn copy_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        let mut block = vec![0; 1 << 16];
        loop {
            match self.0.read(&mut block)? {
                0 => return Ok(()),
                count => out.write_all(&block[..count])?,
            }
        }
    }
}

impl PageDraft {
    /// Draws a run.
    pub fn add_exhibit(&mut self, exhibit: &Exhibit) -> io::Result<()> {
        let index = self.exhibits.len();
        self.runs.push(&workloads::section(index, exhibit).into_string())?;
        self.samples.push(if index == 0 { "" } else { ",\n" })?;
        self.samples.push(&samples::of_run(exhibit))?;
        self.exhibits.push(ExhibitSummary::of(exhibit));
        Ok(())
    }

    /// Draws a comparison.
    pub fn add_comparison(&mut self, comparison: &ComparisonRecord) -> io::Result<()> {
        let index = self.comparisons.len();
        self.pairs.push(&comparison::section(index, comparison).into_string())?;
        self.comparisons.push(ComparisonSummary::of(comparison));
        Ok(())
    }

    /// How many runs it shows.
    pub fn runs(&self) -> usize {
        self.exhibits.len()
    }

    /// How many comparisons it shows.
    pub fn comparisons(&self) -> usize {
        self.comparisons.len()
    }

    /// Whether it shows nothing.
    pub fn is_empty(&self) -> bool {
        self.exhibits.is_empty() && self.comparisons.is_empty()
    }

    /// What its runs implement.
    pub fn definitions(&self) -> BTreeSet<&str> {
        self.exhibits.iter().map(|one| one.definition.as_str()).collect()
    }

    /// Writes the page, with runs that a ledger knows, the oldest first.
    pub fn write(mut self, history: &[RunRow], out: &mut dyn Write) -> io::Result<()> {
        let (exhibits, comparisons) = (&self.exhibits, &self.comparisons);
        let top = html! {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("proofmark ", env!("CARGO_PKG_VERSION")));
                title { (head::title(exhibits, comparisons)) }
                style { (PreEscaped(STYLE)) }
            }
        };
        let header = head::section(exhibits, comparisons);
        let board = leaderboard::section(exhibits);
        write!(
            out,
            "{}<html lang=\"en\">{}<body>{}<main>{}",
            html! { (DOCTYPE) }.into_string(),
            top.into_string(),
            header.into_string(),
            board.into_string()
        )?;
        self.pairs.copy_to(out)?;
        let (roofline, history) = (roofline::section(&self.exhibits), history::section(history));
        write!(out, "{}{}", roofline.into_string(), history.into_string())?;
        self.runs.copy_to(out)?;
        let footer = html! {
            footer {
                p {
                    "Made by proofmark " (env!("CARGO_PKG_VERSION")) " from records and sealed artifacts. "
                    "This page says what they say; " code { "proofmark replay" } " proves it again."
                }
            }
        };
        write!(out, "</main>{}<script type=\"application/json\" id=\"samples\">[", footer.into_string())?;
        self.samples.copy_to(out)?;
        let script = html! { script { (PreEscaped(SCRIPT)) } };
        write!(out, "]</script>{}</body></html>", script.into_string())
    }
}
