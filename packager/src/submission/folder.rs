//! Collects the files of one submission folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use super::config::{self, CONFIG_NAME};
use super::includes::{IncludeKind, includes_of};
use super::{BuildSpec, Language, Note, SolutionMeta, Submission, SubmissionError, Violation, Violations};
use crate::entry_point::EntryPoint;
use crate::sources::{SourceFile, SourcePath};

/// The operator's definition, beside `config.toml`.
pub const DEFINITION_NAME: &str = "definition.json";

/// The operator's workloads, beside `config.toml`.
pub const WORKLOADS_NAME: &str = "workloads.jsonl";

/// What the contest's packer takes at the top level, in any case
/// (flashinfer-bench, `agents/solution_handler.py`).
const CONTEST_EXTENSIONS: [&str; 9] = ["py", "cu", "cuh", "cpp", "c", "h", "hpp", "cc", "cxx"];

/// What looks like a source in the list of left-out files.
const OTHER_EXTENSIONS: [&str; 5] = ["inl", "hxx", "ipp", "tpp", "ptx"];

/// Largest source, in bytes: a hundred times the largest kernel seen in the contest.
const LARGEST_SOURCE_BYTES: u64 = 8 << 20;

/// Largest sum of all sources, in bytes: what an organiser can still review and a diff can show.
const LARGEST_SUBMISSION_BYTES: u64 = 64 << 20;

/// Most sources in one submission.
const MOST_SOURCES: usize = 2048;

/// Largest `definition.json`, `workloads.jsonl` or `config.toml`, in bytes.
const LARGEST_ATTACHMENT_BYTES: u64 = 32 << 20;

/// Most folder entries that are looked at for the list of left-out files.
const MOST_WALKED: usize = 10_000;

/// Finds the submissions that a folder holds: itself, or its sub-folders with a `config.toml`.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>, SubmissionError> {
    let unreadable = |source| SubmissionError::Io { path: folder.to_owned(), source };
    if folder.join(CONFIG_NAME).is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join(CONFIG_NAME).is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(SubmissionError::NoConfig { folder: folder.to_owned() });
    }
    Ok(found)
}

/// Where the sources of a submission stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// In `solution/<language>/`, as the contest's kit has it.
    Kit,
    /// Beside `config.toml`.
    Beside,
}

pub(super) fn read(folder: &Path) -> Result<Submission, SubmissionError> {
    let config_path = folder.join(CONFIG_NAME);
    if !config_path.is_file() {
        return Err(SubmissionError::NoConfig { folder: folder.to_owned() });
    }
    let mut violations = Vec::new();
    let text = read_text(&config_path, CONFIG_NAME, LARGEST_ATTACHMENT_BYTES, &mut violations)?;
    let mut config = config::parse(text.as_deref().unwrap_or_default(), &mut violations);
    let invalid = |violations| {
        Err(SubmissionError::Invalid { folder: folder.to_owned(), violations: Violations(violations) })
    };
    let Some(language) = config.language else {
        return invalid(violations);
    };
    let kit = folder.join("solution").join(language.as_str());
    let (layout, root) = if kit.is_dir() { (Layout::Kit, kit) } else { (Layout::Beside, folder.to_owned()) };
    if layout == Layout::Kit {
        drop_what_the_kit_ignores(config.solution.as_mut(), config.build.as_mut(), &mut config.notes);
    }
    let entry = config.build.as_ref().map(|build| &build.entry_point);
    let mut collector = Collector::new(folder, &root, violations, config.notes)?;
    collector.collect(language, entry)?;
    let Collector { sources, mut violations, notes, .. } = collector;
    let sources: Vec<_> = sources.into_values().collect();
    if let Some(entry) = entry {
        violations.extend(violations_among(&sources, entry));
    }
    let definition_name = config.solution.as_ref().map(|solution| solution.definition.as_str());
    let definition = read_definition(folder, definition_name, &mut violations)?;
    let workloads = read_workloads(folder, definition_name, &mut violations)?;
    match (config.solution, config.build, config.target, violations.is_empty()) {
        (Some(solution), Some(build), Some(target), true) => {
            Ok(Submission { solution, build, target, sources, definition, workloads, notes })
        }
        _ => invalid(violations),
    }
}

/// The kit's script passes neither of these on, so the contest never sees them.
fn drop_what_the_kit_ignores(
    solution: Option<&mut SolutionMeta>,
    build: Option<&mut BuildSpec>,
    notes: &mut Vec<Note>,
) {
    let mut ignored = |key: &str| {
        notes.push(Note {
            path: CONFIG_NAME.to_owned(),
            what: format!("`{key}` is ignored in the kit layout, as the contest's packer does"),
        });
    };
    if let Some(solution) = solution {
        let description = solution.description.replace(String::new());
        if description.is_some_and(|text| !text.is_empty()) {
            ignored("solution.description");
        }
    }
    if let Some(build) = build {
        if build.binding.take().is_some() {
            ignored("build.binding");
        }
        if !std::mem::take(&mut build.dependencies).is_empty() {
            ignored("build.dependencies");
        }
        if build.target_hardware != ["cuda"] {
            build.target_hardware = vec!["cuda".to_owned()];
            ignored("build.target_hardware");
        }
    }
}

/// Checks what must hold between sources, wherever they came from.
pub(crate) fn violations_among(sources: &[SourceFile], entry: &EntryPoint) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut exact = BTreeSet::new();
    let mut folded: BTreeMap<String, &SourcePath> = BTreeMap::new();
    for SourceFile { path, .. } in sources {
        if !exact.insert(path.as_str()) {
            violations.push(Violation::DuplicatePath { path: path.to_string() });
        } else if let Some(first) = folded.insert(path.case_folded(), path) {
            let (first, second) = (first.to_string(), path.to_string());
            violations.push(Violation::CaseCollision { first, second });
        }
    }
    for inside in folded.values() {
        let spelling = inside.case_folded();
        let parents = spelling.match_indices('/').map(|(at, _)| &spelling[..at]);
        for file in parents.filter_map(|parent| folded.get(parent)) {
            let (file, inside) = (file.to_string(), inside.to_string());
            violations.push(Violation::FileIsFolder { file, inside });
        }
    }
    match sources.iter().find(|source| source.path == entry.file) {
        None => {
            let found: Vec<_> = sources.iter().take(10).map(|source| source.path.as_str()).collect();
            let found = if found.is_empty() { "no source".to_owned() } else { found.join(", ") };
            violations.push(Violation::EntryFileMissing { file: entry.file.to_string(), found });
        }
        Some(source) if source.content.trim().is_empty() => {
            violations.push(Violation::EntryFileEmpty { file: entry.file.to_string() });
        }
        Some(_) => {}
    }
    violations
}

struct Collector<'a> {
    root: &'a Path,
    /// The real place of the submission folder: links must end below it.
    real_folder: PathBuf,
    sources: BTreeMap<SourcePath, SourceFile>,
    total_bytes: u64,
    violations: Vec<Violation>,
    notes: Vec<Note>,
}

impl<'a> Collector<'a> {
    fn new(
        folder: &Path,
        root: &'a Path,
        violations: Vec<Violation>,
        notes: Vec<Note>,
    ) -> Result<Self, SubmissionError> {
        let real_folder = folder.canonicalize().map_err(io_error(folder))?;
        Ok(Self { root, real_folder, sources: BTreeMap::new(), total_bytes: 0, violations, notes })
    }

    fn collect(&mut self, language: Language, entry: Option<&EntryPoint>) -> Result<(), SubmissionError> {
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
            let most = format!("{MOST_SOURCES} files or {} MiB in all", LARGEST_SUBMISSION_BYTES >> 20);
            if !self.violations.iter().any(|found| matches!(found, Violation::TooMany { .. })) {
                self.violations.push(Violation::TooMany { most });
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

    /// Adds what quoted includes reach, until nothing new turns up.
    fn follow_includes(&mut self) -> Result<(), SubmissionError> {
        let mut followed = BTreeSet::new();
        loop {
            let next =
                self.sources.keys().find(|path| !followed.contains(*path) && !is_python(path)).cloned();
            let Some(path) = next else {
                return Ok(());
            };
            let includes = includes_of(&self.sources[&path].content);
            for include in includes.into_iter().filter(|include| include.kind == IncludeKind::Quoted) {
                match resolve(path.folder(), &include.name) {
                    Some(candidates) => {
                        let place = candidates.into_iter().find(|place| self.root.join(place).is_file());
                        if let Some(place) = place {
                            self.add_named(&place)?;
                        }
                    }
                    None => self.violations.push(Violation::IncludeLeavesFolder {
                        path: path.to_string(),
                        line: include.line,
                        include: include.name,
                    }),
                }
            }
            followed.insert(path);
        }
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
        for path in left_out {
            self.note(&path, "left out: no packed file includes it");
        }
    }

    fn note(&mut self, path: &str, what: &str) {
        self.notes.push(Note { path: path.to_owned(), what: what.to_owned() });
    }
}

/// Where an include may stand, as paths from the source root: beside the includer, then at the
/// root. `None` if it leads outside.
fn resolve(folder: &str, include: &str) -> Option<Vec<String>> {
    let beside = normalise(&Path::new(folder).join(include))?;
    let from_root = normalise(Path::new(include));
    Some(std::iter::once(beside).chain(from_root).collect())
}

/// Resolves `.` and `..` by text alone; `None` if the path leaves its root.
fn normalise(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
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

/// Reads one text, bounded; a violation and `None` if it is too large or not UTF-8.
fn read_text(
    place: &Path,
    path: &str,
    most_bytes: u64,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let file = File::open(place).map_err(io_error(place))?;
    let metadata = file.metadata().map_err(io_error(place))?;
    let mut bytes = Vec::new();
    let found_bytes = match metadata.len() {
        length if length > most_bytes => length,
        _ => file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(io_error(place))? as u64,
    };
    if found_bytes > most_bytes {
        violations.push(Violation::TooLarge { path: path.to_owned(), found_bytes, most_bytes });
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            violations.push(Violation::NotUtf8 { path: path.to_owned(), offset });
            Ok(None)
        }
    }
}

fn read_definition(
    folder: &Path,
    name: Option<&str>,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let text = read_attachment(folder, DEFINITION_NAME, violations)?;
    if let (Some(text), Some(name)) = (&text, name) {
        let fault = json_fault(text, "name", name);
        violations.extend(fault.map(|message| Violation::Attachment { path: DEFINITION_NAME, message }));
    }
    Ok(text)
}

fn read_workloads(
    folder: &Path,
    name: Option<&str>,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let text = read_attachment(folder, WORKLOADS_NAME, violations)?;
    if let (Some(text), Some(name)) = (&text, name) {
        // One bad line is enough: a wrong definition is wrong in every line.
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let fault =
            lines.into_iter().find_map(|(index, line)| Some((index, json_fault(line, "definition", name)?)));
        if let Some((index, fault)) = fault {
            let message = format!("line {}: {fault}", index + 1);
            violations.push(Violation::Attachment { path: WORKLOADS_NAME, message });
        }
    }
    Ok(text)
}

/// What keeps a JSON text from belonging to one definition.
fn json_fault(text: &str, key: &str, expected: &str) -> Option<String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Err(error) => Some(error.to_string()),
        Ok(value) => match value.get(key).and_then(serde_json::Value::as_str) {
            Some(found) if found == expected => None,
            Some(found) => Some(format!("`{key}` is `{found}`: expected `{expected}`, as in config.toml")),
            None => Some(format!("`{key}` is missing: expected `{expected}`, as in config.toml")),
        },
    }
}

fn read_attachment(
    folder: &Path,
    name: &'static str,
    violations: &mut Vec<Violation>,
) -> Result<Option<String>, SubmissionError> {
    let place = folder.join(name);
    if !place.is_file() {
        return Ok(None);
    }
    read_text(&place, name, LARGEST_ATTACHMENT_BYTES, violations)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SubmissionError {
    let path = path.to_owned();
    move |source| SubmissionError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    const CONFIG: &str = "[solution]\nname = \"n\"\ndefinition = \"d\"\nauthor = \"a\"\n[build]\nlanguage = \"cuda\"\nentry_point = \"kernel.cu::run\"\n";

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIG_NAME), CONFIG).unwrap();
        for (path, content) in files {
            let place = folder.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, content).unwrap();
        }
        folder
    }

    fn paths(submission: &Submission) -> Vec<&str> {
        submission.sources.iter().map(|source| source.path.as_str()).collect()
    }

    fn violations(folder: &tempfile::TempDir) -> String {
        match read(folder.path()) {
            Err(SubmissionError::Invalid { violations, .. }) => violations.to_string(),
            other => panic!("expected violations, found {other:?}"),
        }
    }

    #[test]
    fn takes_the_top_level_as_the_contest_does_and_follows_includes_below() {
        let folder = folder_of(&[
            ("kernel.cu", "#include \"tiles/mma.inl\"\n#include <cuda.h>\n"),
            ("tiles/mma.inl", "#include \"../x.cuh\"\n#include \"deep/y.h\"\n"),
            ("tiles/deep/y.h", "\n"),
            ("tiles/unused.cu", "\n"),
            ("x.cuh", "\n"),
            ("Z.CPP", "\n"),
            ("notes.md", "\n"),
        ]);
        let submission = read(folder.path()).unwrap();
        assert_eq!(paths(&submission), ["Z.CPP", "kernel.cu", "tiles/deep/y.h", "tiles/mma.inl", "x.cuh"]);
        assert_eq!(submission.notes.len(), 1);
        assert_eq!(submission.notes[0].path, "tiles/unused.cu");
    }

    #[test]
    fn refuses_an_include_outside_the_folder_with_file_and_line() {
        let folder = folder_of(&[("kernel.cu", "\n#include \"../secret.h\"\n#include \"/etc/passwd\"\n")]);
        let found = violations(&folder);
        assert!(found.contains("kernel.cu:2: `#include \"../secret.h\"` leads outside"), "{found}");
        assert!(found.contains("kernel.cu:3: `#include \"/etc/passwd\"` leads outside"), "{found}");
    }

    #[test]
    fn prefers_the_kits_folder_and_drops_what_the_kit_ignores() {
        let folder = folder_of(&[("solution/cuda/kernel.cu", "x\n"), ("stray.cu", "y\n")]);
        let config = format!("{CONFIG}binding = \"tvm-ffi\"\ndependencies = [\"cublas\"]\n");
        fs::write(folder.path().join(CONFIG_NAME), config).unwrap();
        let submission = read(folder.path()).unwrap();
        assert_eq!(paths(&submission), ["kernel.cu"]);
        assert_eq!((submission.build.binding, submission.build.dependencies.len()), (None, 0));
        assert_eq!(submission.notes.len(), 2, "{:?}", submission.notes);
    }

    #[test]
    fn normalises_line_ends_and_empty_files_and_says_so() {
        let folder = folder_of(&[("kernel.cu", "a\r\nb\rc\n"), ("empty.h", ""), (".hidden.cuh", "h")]);
        let submission = read(folder.path()).unwrap();
        let content = |path: &str| {
            &submission.sources.iter().find(|source| source.path.as_str() == path).unwrap().content
        };
        assert_eq!((content("kernel.cu").as_str(), content("empty.h").as_str()), ("a\nb\nc\n", "\n"));
        assert_eq!(submission.notes.len(), 3, "{:?}", submission.notes);
    }

    #[test]
    fn refuses_text_that_is_not_text() {
        let folder = folder_of(&[("kernel.cu", "x"), ("nul.h", "a\0b")]);
        fs::write(folder.path().join("bad.h"), b"ab\xff").unwrap();
        let found = violations(&folder);
        assert!(
            found.contains("bad.h: byte 2 is not UTF-8") && found.contains("nul.h: byte 1 is NUL"),
            "{found}"
        );
    }

    #[test]
    fn follows_links_inside_and_refuses_those_that_leave() {
        let folder = folder_of(&[("kernel.cu", "x"), ("real/a.h", "inside")]);
        symlink("real/a.h", folder.path().join("a.h")).unwrap();
        symlink("a.cu", folder.path().join("loop.cu")).unwrap();
        symlink("loop.cu", folder.path().join("a.cu")).unwrap();
        assert_eq!(paths(&read(folder.path()).unwrap()), ["a.h", "kernel.cu"]);
        symlink("/etc/hostname", folder.path().join("out.h")).unwrap();
        let found = violations(&folder);
        assert!(found.contains("out.h links to /etc/hostname"), "{found}");
    }

    #[test]
    fn refuses_collisions_and_missing_entries_together() {
        let folder = folder_of(&[("Kernel.h", "x"), ("kernel.h", "y"), ("main.cu", "z")]);
        let found = violations(&folder);
        assert!(found.contains("`Kernel.h` and `kernel.h` differ only in case"), "{found}");
        assert!(
            found.contains(
                "entry file `kernel.cu` is not among the sources: found Kernel.h, kernel.h, main.cu"
            )
        );
    }

    #[test]
    fn refuses_an_enormous_file_without_reading_it() {
        let folder = folder_of(&[("kernel.cu", "x")]);
        File::create(folder.path().join("huge.h")).unwrap().set_len(4 << 30).unwrap();
        let found = violations(&folder);
        assert!(found.contains("huge.h: 4294967296 bytes: expected at most 8388608"), "{found}");
    }

    #[test]
    fn leaves_out_names_that_are_not_text() {
        let folder = folder_of(&[("kernel.cu", "x")]);
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff.cu")), "y").unwrap();
        let submission = read(folder.path()).unwrap();
        assert_eq!(paths(&submission), ["kernel.cu"]);
        assert_eq!(submission.notes.len(), 1);
    }

    #[test]
    fn checks_that_attachments_belong_to_the_definition() {
        let folder = folder_of(&[
            ("kernel.cu", "x"),
            (DEFINITION_NAME, "{\"name\": \"other\"}"),
            (WORKLOADS_NAME, "{\"definition\": \"d\"}\n\nnot json\n"),
        ]);
        let found = violations(&folder);
        assert!(found.contains("definition.json: `name` is `other`: expected `d`"), "{found}");
        assert!(found.contains("workloads.jsonl: line 3: "), "{found}");
    }

    #[test]
    fn packs_python_packages_that_are_imported() {
        let config = CONFIG.replace("cuda", "python").replace("kernel.cu", "main.py");
        let folder = folder_of(&[
            ("main.py", "from .tiles.mma import run\nimport os, sys\n"),
            ("tiles/mma.py", "x = 1\n"),
            ("tiles/__init__.py", ""),
            ("unused/y.py", "\n"),
        ]);
        fs::write(folder.path().join(CONFIG_NAME), config).unwrap();
        assert_eq!(paths(&read(folder.path()).unwrap()), ["main.py", "tiles/__init__.py", "tiles/mma.py"]);
    }

    #[test]
    fn finds_one_submission_per_sub_folder() {
        let top = tempfile::tempdir().unwrap();
        for name in ["b", "a"] {
            fs::create_dir(top.path().join(name)).unwrap();
            fs::write(top.path().join(name).join(CONFIG_NAME), CONFIG).unwrap();
        }
        fs::create_dir(top.path().join("c")).unwrap();
        assert_eq!(find(top.path()).unwrap(), [top.path().join("a"), top.path().join("b")]);
        assert!(matches!(find(&top.path().join("c")), Err(SubmissionError::NoConfig { .. })));
    }
}
