//! Collects the source files of one submission folder: the top level as the contest takes it, and below it
//! what includes and imports reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::includes::{IncludeKind, includes_of};
use super::notes::MOST_ALIKE;
use super::part::{io_error, read_text};
use super::search_path::{self, SearchPath, is_toolchain_header};
use super::violation::too_many;
use super::{Language, Note, SubmissionError, Violation};
use crate::entry_point::EntryPoint;
use crate::escape;
use crate::sources::{LARGEST_SOURCE_BYTES, LARGEST_SUBMISSION_BYTES, MOST_SOURCES, SourceFile, SourcePath};

/// What the contest's packer takes at the top level, in any case
/// (flashinfer-bench, `agents/solution_handler.py`).
pub const CONTEST_EXTENSIONS: [&str; 9] = ["py", "cu", "cuh", "cpp", "c", "h", "hpp", "cc", "cxx"];

/// What looks like a source in the list of left-out files.
const OTHER_EXTENSIONS: [&str; 5] = ["inl", "hxx", "ipp", "tpp", "ptx"];

/// Most folder entries that are looked at for the list of left-out files.
const MOST_WALKED: usize = 10_000;

const LEFT_OUT: &str = "left out: no packed file includes it";

const LEFT_OUT_IN_ANGLES: &str = "left out: it is included in angle brackets, which search the top folder and \
    those of `-I` flags alone; use quotes";

/// The sources found so far, and what was amiss on the way.
pub(super) struct Collector<'a> {
    root: &'a Path,
    /// The real place of the submission folder: links must end below it.
    real_folder: PathBuf,
    /// Where includes are looked for.
    search: SearchPath,
    pub(super) sources: BTreeMap<SourcePath, SourceFile>,
    total_bytes: u64,
    pub(super) violations: Vec<Violation>,
    pub(super) notes: Vec<Note>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        folder: &Path,
        root: &'a Path,
        search: SearchPath,
        violations: Vec<Violation>,
        notes: Vec<Note>,
    ) -> Result<Self, SubmissionError> {
        let real_folder = folder.canonicalize().map_err(io_error(folder))?;
        Ok(Self { root, real_folder, search, sources: BTreeMap::new(), total_bytes: 0, violations, notes })
    }

    /// Finds every source of a language.
    pub(super) fn collect(
        &mut self,
        language: Language,
        entry: Option<&EntryPoint>,
    ) -> Result<(), SubmissionError> {
        self.add_folder("")?;
        let entry_folder = entry.map_or("", |entry| entry.file.folder());
        if !entry_folder.is_empty() && self.root.join(entry_folder).is_dir() {
            self.add_folder(entry_folder)?;
        }
        self.follow_includes()?;
        if !language.is_compiled() {
            self.add_python_packages()?;
        }
        if self.sources.is_empty() {
            self.violations.push(Violation::NoSources {
                folder: self.root.display().to_string(),
                expected: CONTEST_EXTENSIONS.map(|extension| format!(".{extension}")).join(" "),
            });
        }
        self.note_left_out();
        Ok(())
    }

    /// Adds the source files directly in one folder, as the contest's packer takes them.
    fn add_folder(&mut self, folder: &str) -> Result<(), SubmissionError> {
        let place = self.root.join(folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&place).map_err(io_error(&place))? {
            names.push(entry.map_err(io_error(&place))?.file_name());
        }
        names.sort();
        for name in names {
            // A dangling link, a pipe or a socket is no file; the contest's packer skips it too.
            let is_file = fs::metadata(place.join(&name)).is_ok_and(|metadata| metadata.is_file());
            let Some(name) = name.to_str() else {
                if is_file {
                    self.note(&name.to_string_lossy(), "left out: its name is not UTF-8");
                }
                continue;
            };
            if is_file && has_extension(name, &CONTEST_EXTENSIONS) {
                let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                if name.starts_with('.') {
                    self.note(&path, "hidden, and packed as the contest's packer does");
                }
                self.add_named(&path)?;
            }
        }
        Ok(())
    }

    fn add_named(&mut self, path: &str) -> Result<(), SubmissionError> {
        match path.parse() {
            Ok(path) => self.add(path),
            Err(error) => {
                self.violations.push(Violation::Path(error));
                Ok(())
            }
        }
    }

    fn add(&mut self, path: SourcePath) -> Result<(), SubmissionError> {
        if self.sources.contains_key(&path) {
            return Ok(());
        }
        let place = self.root.join(path.as_str());
        let real = place.canonicalize().map_err(io_error(&place))?;
        if !real.starts_with(&self.real_folder) {
            let target = real.display().to_string();
            self.violations.push(Violation::LinkLeavesFolder { path: path.to_string(), target });
            return Ok(());
        }
        let text = read_text(&place, path.as_str(), LARGEST_SOURCE_BYTES, &mut self.violations)?;
        let Some(text) = text else {
            return Ok(());
        };
        self.total_bytes += text.len() as u64;
        if self.sources.len() >= MOST_SOURCES || self.total_bytes > LARGEST_SUBMISSION_BYTES {
            if !self.violations.iter().any(|found| matches!(found, Violation::TooMany { .. })) {
                self.violations.push(too_many());
            }
            return Ok(());
        }
        let content = self.as_packed(&path, text);
        self.sources.insert(path.clone(), SourceFile { path, content });
        Ok(())
    }

    /// The text as `solution.json` carries it: LF line ends, never empty.
    fn as_packed(&mut self, path: &SourcePath, text: String) -> String {
        if let Some(offset) = text.find('\0') {
            self.violations.push(Violation::Nul { path: path.to_string(), offset });
        }
        if text.is_empty() {
            self.note(path.as_str(), "empty, packed as one newline: solution.json takes no empty file");
            return "\n".to_owned();
        }
        if text.contains('\r') {
            self.note(path.as_str(), "CR and CRLF line ends became LF, as the contest's packer does");
            return text.replace("\r\n", "\n").replace('\r', "\n");
        }
        text
    }

    /// Adds what includes reach, until nothing new turns up.
    fn follow_includes(&mut self) -> Result<(), SubmissionError> {
        let mut followed = BTreeSet::new();
        let mut not_here = BTreeMap::new();
        loop {
            let next =
                self.sources.keys().find(|path| !followed.contains(*path) && !is_python(path)).cloned();
            let Some(path) = next else {
                break;
            };
            for include in includes_of(&self.sources[&path].content) {
                let candidates = self.search.candidates(path.folder(), &include);
                let Some(candidates) = candidates else {
                    self.violations.push(Violation::IncludeLeavesFolder {
                        path: path.to_string(),
                        line: include.line,
                        include: escape::line(&include.name),
                    });
                    continue;
                };
                match candidates.into_iter().find(|place| self.root.join(place).is_file()) {
                    Some(place) => self.add_named(&place)?,
                    None if include.kind == IncludeKind::Quoted && !is_toolchain_header(&include.name) => {
                        let place = format!("{path}:{}", include.line);
                        not_here.entry(include.name).or_insert(place);
                    }
                    None => {}
                }
            }
            followed.insert(path);
        }
        let count = not_here.len();
        if let Some((_, place)) = not_here.first_key_value().filter(|_| count > MOST_ALIKE) {
            let named: Vec<_> = not_here.keys().take(MOST_ALIKE).map(|name| format!("\"{name}\"")).collect();
            let what = format!(
                "{} and {} more headers are not in the submission: they must come from the toolchain",
                named.join(", "),
                count - MOST_ALIKE
            );
            self.note(place, &what);
            return Ok(());
        }
        for (name, place) in &not_here {
            self.note(
                place,
                &format!("\"{name}\" is not in the submission: it must come from the toolchain"),
            );
        }
        Ok(())
    }

    /// Adds the `.py` files of sub-folders that a packed file imports by name.
    fn add_python_packages(&mut self) -> Result<(), SubmissionError> {
        let mut imported = BTreeSet::new();
        for source in self.sources.values() {
            imported.extend(source.content.lines().filter_map(imported_package));
        }
        for package in imported {
            if !self.root.join(&package).is_dir() {
                continue;
            }
            let walk = WalkDir::new(self.root.join(&package)).sort_by_file_name().follow_links(false);
            for entry in walk.into_iter().filter_map(Result::ok).take(MOST_WALKED) {
                let is_source = entry.file_type().is_file()
                    && has_extension(&entry.file_name().to_string_lossy(), &["py"]);
                if let Some(path) = relative(self.root, entry.path()).filter(|_| is_source) {
                    self.add_named(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Names the files that look like sources and were not taken.
    fn note_left_out(&mut self) {
        let hidden = |entry: &walkdir::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        let walk = WalkDir::new(self.root).min_depth(1).max_depth(6).sort_by_file_name().follow_links(false);
        let walk = walk.into_iter().filter_entry(|entry| !hidden(entry)).filter_map(Result::ok);
        let mut left_out = Vec::new();
        for entry in walk.take(MOST_WALKED).filter(|entry| entry.file_type().is_file()) {
            let name = entry.file_name().to_string_lossy();
            let looks = has_extension(&name, &CONTEST_EXTENSIONS) || has_extension(&name, &OTHER_EXTENSIONS);
            if let Some(path) = relative(self.root, entry.path()).filter(|_| looks) {
                let taken = path.parse().is_ok_and(|path: SourcePath| self.sources.contains_key(&path));
                let refused =
                    self.violations.iter().any(|violation| violation.to_string().starts_with(&path));
                if !taken && !refused {
                    left_out.push(path);
                }
            }
        }
        let in_angles = self.named_in_angles();
        for path in left_out {
            let what = if in_angles.contains(&path) { LEFT_OUT_IN_ANGLES } else { LEFT_OUT };
            self.note(&path, what);
        }
    }

    /// What packed files name in angle brackets, seen from their own folders and from the root.
    fn named_in_angles(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for source in self.sources.values().filter(|source| !is_python(&source.path)) {
            let includes = includes_of(&source.content);
            for include in includes.iter().filter(|include| include.kind == IncludeKind::Angle) {
                named.extend(search_path::beside_or_root(source.path.folder(), &include.name));
            }
        }
        named
    }

    fn note(&mut self, path: &str, what: &str) {
        self.notes.push(Note { path: escape::line(path), what: escape::line(what) });
    }
}

/// The first part of the module that a Python line imports: `from .tiles.mma import x` → `tiles`.
fn imported_package(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let module = match words.next()? {
        "from" | "import" => words.next()?,
        _ => return None,
    };
    let first = module.trim_start_matches('.').split(['.', ',']).next()?;
    let plain = !first.is_empty() && first.chars().all(|one| one.is_alphanumeric() || one == '_');
    plain.then(|| first.to_owned())
}

fn is_python(path: &SourcePath) -> bool {
    path.extension().eq_ignore_ascii_case("py")
}

/// Whether a name ends in one of the extensions, in any case; a name that only starts with a dot
/// has none, as in Python's `PurePath.suffix`.
fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let suffix = name.rfind('.').filter(|&at| at > 0).map(|at| &name[at + 1..]);
    suffix.is_some_and(|suffix| extensions.iter().any(|one| one.eq_ignore_ascii_case(suffix)))
}

fn relative(root: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}
