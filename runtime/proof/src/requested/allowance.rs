//! How much of the build files is read: they come from strangers, and may refer to themselves.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most that all build files of one folder may hold and expand to together, in bytes: several times
/// what the largest frameworks' builds need.
const TOTAL_BYTES: u64 = 512 << 20;
/// Largest single build file that is read, in bytes.
const FILE_BYTES: u64 = 64 << 20;
/// Largest file of options that is read, in bytes: a list of every object of a large library fits.
const OPTIONS_BYTES: u64 = 4 << 20;
/// Longest text that one variable or command may become, in bytes: longer than any shell takes.
pub(super) const TEXT_BYTES: usize = 4 << 20;

/// What may still be read.
#[derive(Debug)]
pub(super) struct Allowance {
    left_bytes: u64,
    /// What was left out, in words.
    pub(super) notes: Vec<String>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left_bytes: TOTAL_BYTES, notes: Vec::new() }
    }
}

impl Allowance {
    /// Takes from what is left; false when there is not as much, and from then on.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if let Some(left) = self.left_bytes.checked_sub(bytes as u64) {
            self.left_bytes = left;
            return true;
        }
        self.left_bytes = 0;
        self.note("the build files expand to more than any honest build does; the rest was not read");
        false
    }

    /// Whether nothing is left.
    pub(super) fn is_spent(&self) -> bool {
        self.left_bytes == 0
    }

    /// Notes what was left out, once.
    pub(super) fn note(&mut self, words: impl Into<String>) {
        const NOTES: usize = 100;
        let words = words.into();
        if self.notes.len() < NOTES && !self.notes.contains(&words) {
            self.notes.push(words);
        }
    }

    /// Reads a build file; `None`, with a note, when it is too large, no text or no file.
    pub(super) fn read(&mut self, path: &Path) -> Option<String> {
        match read_text(path, FILE_BYTES) {
            Ok(text) => self.take(text.len()).then_some(text),
            Err(reason) => {
                self.note(format!("{}: {reason}", path.display()));
                None
            }
        }
    }

    /// Reads a file of options, without a note: whoever names it says that it is missing.
    pub(super) fn read_options(&mut self, path: &Path) -> Option<String> {
        let text = read_text(path, OPTIONS_BYTES).ok()?;
        self.take(text.len()).then_some(text)
    }
}

/// The text of a plain file up to a size. Other things than files are not opened: a pipe would wait.
fn read_text(path: &Path, limit_bytes: u64) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("no plain file".to_owned());
    }
    let too_large = || format!("more than {limit_bytes} bytes, not read");
    if metadata.len() > limit_bytes {
        return Err(too_large());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit_bytes {
        return Err(too_large());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
