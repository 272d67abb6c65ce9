//! Collects the files of one submission folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Map;
use walkdir::WalkDir;

use super::config::{self, CONFIG_NAME};
use super::includes::{IncludeKind, includes_of};
use super::part::{io_error, read_config, read_definition, read_text, read_workloads};
use super::search_path::{self, SearchPath, is_toolchain_header};
use super::task_folder::{TaskFolder, leave_out_the_reference, note_of_reference};
use super::violation::{forget_consequences, too_many, violations_among};
use super::{
    BuildSpec, DEFINITION_NAME, FolderContents, Language, Note, SolutionMeta, Submission, SubmissionError,
    Violation, Violations, WORKLOADS_NAME,
};
use crate::entry_point::EntryPoint;
use crate::escape;
use crate::sources::{LARGEST_SOURCE_BYTES, LARGEST_SUBMISSION_BYTES, MOST_SOURCES, SourceFile, SourcePath};

/// What the contest's packer takes at the top level, in any case
/// (flashinfer-bench, `agents/solution_handler.py`).
const CONTEST_EXTENSIONS: [&str; 9] = ["py", "cu", "cuh", "cpp", "c", "h", "hpp", "cc", "cxx"];

/// What looks like a source in the list of left-out files.
const OTHER_EXTENSIONS: [&str; 5] = ["inl", "hxx", "ipp", "tpp", "ptx"];

/// Most folder entries that are looked at for the list of left-out files.
const MOST_WALKED: usize = 10_000;

const LEFT_OUT: &str = "left out: no packed file includes it";

const LEFT_OUT_IN_ANGLES: &str = "left out: it is included in angle brackets, which search the top folder and \
    those of `-I` flags alone; use quotes";

/// Most notes that say the same of different files; more become one that counts them.
const MOST_ALIKE: usize = 3;

/// Finds the submissions that a folder holds: itself, or its sub-folders with a `config.toml`.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>, SubmissionError> {
    let unreadable = |source| SubmissionError::Io { path: folder.to_owned(), source };
    // Whatever has the name: a pipe or a dangling link is then reported, not overlooked.
    let has_config = |folder: &Path| folder.join(CONFIG_NAME).symlink_metadata().is_ok();
    if has_config(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if has_config(&path) {
            found.push(path);
        }
    }
    found.sort();
    leave_out_the_reference(folder, &mut found);
    if found.is_empty() {
        return Err(SubmissionError::NoConfig { folder: folder.to_owned() });
    }
    Ok(found)
}

/// Where the sources of a submission stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourcesPlace {
    /// In `solution/<language>/`, as the contest's kit has it.
    Kit,
    /// Beside `config.toml`.
    Beside,
}

/// Reads a submission, and what its task folder gives it.
pub(super) fn read(folder: &Path) -> Result<FolderContents, SubmissionError> {
    let (mut contents, task) = read_alone(folder)?;
    let Some(task) = task else {
        return Ok(contents);
    };
    if let Some(place) = task.reference(&mut contents.notes)? {
        let (reference, _) = read_alone(&place)?;
        contents.submission.reference = Some(Box::new(reference.submission));
        contents.notes.extend(reference.notes.into_iter().map(note_of_reference));
    }
    Ok(contents)
}

/// Reads everything but the reference.
fn read_alone(folder: &Path) -> Result<(FolderContents, Option<TaskFolder>), SubmissionError> {
    let mut violations = Vec::new();
    let invalid = |violations| {
        Err(SubmissionError::Invalid { folder: folder.to_owned(), violations: Violations(violations) })
    };
    let text = read_config(folder, &mut violations)?;
    let Some(text) = text else {
        return invalid(violations);
    };
    let mut config = config::parse(&text, &mut violations);
    let Some(language) = config.language else {
        return invalid(violations);
    };
    let kit = folder.join("solution").join(language.as_str());
    let (place, root) =
        if kit.is_dir() { (SourcesPlace::Kit, kit) } else { (SourcesPlace::Beside, folder.to_owned()) };
    if place == SourcesPlace::Kit {
        drop_what_the_kit_ignores(config.solution.as_mut(), config.build.as_mut(), &mut config.notes);
    }
    let entry = config.build.as_ref().map(|build| &build.entry_point);
    let flags = config.target.as_ref().map_or(&[][..], |target| &target.nvcc_flags);
    let search = SearchPath::of(flags);
    let mut collector = Collector::new(folder, &root, search, violations, config.notes)?;
    collector.collect(language, entry)?;
    let Collector { sources, mut violations, notes, .. } = collector;
    let mut notes = summarised(notes);
    let sources: Vec<_> = sources.into_values().collect();
    if let Some(entry) = entry {
        violations.extend(violations_among(&sources, entry));
    }
    forget_consequences(&mut violations);
    let name = config.solution.as_ref().map(|solution| solution.definition.as_str());
    let mut definition = read_definition(folder, DEFINITION_NAME, name, &mut violations)?;
    let mut workloads = read_workloads(folder, WORKLOADS_NAME, name, &mut violations)?;
    let task = name.and_then(|name| Some((name, TaskFolder::above(folder, name, &mut notes)?)));
    if let Some((name, task)) = &task {
        definition.get_or_insert_with(|| task.definition().to_owned());
        if workloads.is_none() {
            workloads = task.workloads(name, &mut violations)?;
        }
    }
    let task = task.map(|(_, task)| task);
    match (config.solution, config.build, config.target, violations.is_empty()) {
        (Some(solution), Some(build), Some(target), true) => {
            let (reference, unknown) = (None, Map::new());
            let submission =
                Submission { solution, build, target, sources, definition, workloads, reference, unknown };
            Ok((FolderContents { submission, notes }, task))
        }
        _ => invalid(violations),
    }
}

/// The kit's script passes none of these on, so the contest never sees them. Without its binding a
/// submission would mean another one, which does not build; that one is kept.
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
        if !std::mem::take(&mut build.dependencies).is_empty() {
            ignored("build.dependencies");
        }
        if build.target_hardware != ["cuda"] {
            build.target_hardware = vec!["cuda".to_owned()];
            ignored("build.target_hardware");
        }
        if let Some(binding) = build.binding {
            let what = format!(
                "`build.binding` is kept as `{}`: the contest's packer drops it and writes null, which means \
                 `tvm-ffi`",
                binding.as_str()
            );
            notes.push(Note { path: CONFIG_NAME.to_owned(), what });
        }
    }
}

struct Collector<'a> {
    root: &'a Path,
    /// The real place of the submission folder: links must end below it.
    real_folder: PathBuf,
    /// Where includes are looked for.
    search: SearchPath,
    sources: BTreeMap<SourcePath, SourceFile>,
    total_bytes: u64,
    violations: Vec<Violation>,
    notes: Vec<Note>,
}

impl<'a> Collector<'a> {
    fn new(
        folder: &Path,
        root: &'a Path,
        search: SearchPath,
        violations: Vec<Violation>,
        notes: Vec<Note>,
    ) -> Result<Self, SubmissionError> {
        let real_folder = folder.canonicalize().map_err(io_error(folder))?;
        Ok(Self { root, real_folder, search, sources: BTreeMap::new(), total_bytes: 0, violations, notes })
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

/// Makes one note of many that say the same: the first place, and how many more there are.
fn summarised(notes: Vec<Note>) -> Vec<Note> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Note { path, what } in &notes {
        places.entry(what.clone()).or_default().push(path.clone());
    }
    let mut summary = Vec::new();
    for note in notes {
        let paths = places.get(&note.what).map_or(&[][..], Vec::as_slice);
        if paths.len() <= MOST_ALIKE {
            summary.push(note);
        } else if paths[0] == note.path {
            let what = format!("{}; so are {} more, such as {}", note.what, paths.len() - 1, paths[1]);
            summary.push(Note { what, ..note });
        }
    }
    summary
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::super::Binding;
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

    fn paths(contents: &FolderContents) -> Vec<&str> {
        contents.submission.sources.iter().map(|source| source.path.as_str()).collect()
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
        let contents = read(folder.path()).unwrap();
        assert_eq!(paths(&contents), ["Z.CPP", "kernel.cu", "tiles/deep/y.h", "tiles/mma.inl", "x.cuh"]);
        assert_eq!(contents.notes.len(), 1);
        assert_eq!(contents.notes[0].path, "tiles/unused.cu");
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
        let contents = read(folder.path()).unwrap();
        assert_eq!(paths(&contents), ["kernel.cu"]);
        assert_eq!(
            (contents.submission.build.binding, contents.submission.build.dependencies.len()),
            (Some(Binding::TvmFfi), 0)
        );
        assert_eq!(contents.notes.len(), 2, "{:?}", contents.notes);
    }

    #[test]
    fn normalises_line_ends_and_empty_files_and_says_so() {
        let folder = folder_of(&[("kernel.cu", "a\r\nb\rc\n"), ("empty.h", ""), (".hidden.cuh", "h")]);
        let contents = read(folder.path()).unwrap();
        let content = |path: &str| {
            &contents.submission.sources.iter().find(|source| source.path.as_str() == path).unwrap().content
        };
        assert_eq!((content("kernel.cu").as_str(), content("empty.h").as_str()), ("a\nb\nc\n", "\n"));
        assert_eq!(contents.notes.len(), 3, "{:?}", contents.notes);
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
        // What was found and refused is not missing as well.
        let folder = folder_of(&[]);
        fs::write(folder.path().join("kernel.cu"), b"\xff").unwrap();
        assert_eq!(violations(&folder), "kernel.cu: byte 0 is not UTF-8: expected UTF-8 text");
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
        let contents = read(folder.path()).unwrap();
        assert_eq!(paths(&contents), ["kernel.cu"]);
        assert_eq!(contents.notes.len(), 1);
    }

    #[test]
    fn packs_what_include_folders_reach_and_explains_what_they_do_not() {
        let folder = folder_of(&[
            ("kernel.cu", "#include \"mma.inl\"\n#include <tile.inl>\n#include <lost/x.inl>\n"),
            ("include/mma.inl", "#include \"helper.inl\"\n#include \"missing.h\"\n#include <cuda.h>\n"),
            ("include/deep/helper.inl", "#include \"missing.h\"\n#include \"cuda_runtime.h\"\n"),
            ("include/tile.inl", "#include \"tvm/ffi/any.h\"\n"),
            ("lost/x.inl", "#include <y.inl>\n"),
            ("lost/y.inl", "\n"),
            ("unused.inl", "\n"),
        ]);
        let config = format!("{CONFIG}[target]\nnvcc_flags = [\"-Iinclude\", \"-I\", \"./include/deep/\"]\n");
        fs::write(folder.path().join(CONFIG_NAME), config).unwrap();
        let contents = read(folder.path()).unwrap();
        assert_eq!(
            paths(&contents),
            ["include/deep/helper.inl", "include/mma.inl", "include/tile.inl", "kernel.cu", "lost/x.inl"]
        );
        let notes: Vec<_> =
            contents.notes.iter().map(|note| (note.path.as_str(), note.what.as_str())).collect();
        assert_eq!(notes.len(), 3, "{notes:#?}");
        assert!(notes[0].1.contains("\"missing.h\" is not in the submission"), "{notes:#?}");
        assert!(notes[1].0 == "lost/y.inl" && notes[1].1.contains("angle brackets"), "{notes:#?}");
        assert_eq!(notes[2], ("unused.inl", "left out: no packed file includes it"));
    }

    #[test]
    fn one_note_speaks_for_many_files() {
        let mut files = vec![("kernel.cu".to_owned(), String::new())];
        for index in 0..9 {
            files[0].1 += &format!("#include \"missing{index}.h\"\n");
            files.push((format!("vendored/{index}.h"), "x".to_owned()));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let notes = read(folder_of(&files).path()).unwrap().notes;
        let notes: Vec<_> = notes.iter().map(|note| (note.path.as_str(), note.what.as_str())).collect();
        let missing = "\"missing0.h\", \"missing1.h\", \"missing2.h\" and 6 more headers are not in the submission: \
            they must come from the toolchain";
        let left_out = "left out: no packed file includes it; so are 8 more, such as vendored/1.h";
        assert_eq!(notes, [("kernel.cu:1", missing), ("vendored/0.h", left_out)]);
    }

    #[test]
    fn refuses_parts_that_are_links_out_or_no_files() {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("secret"), "{}").unwrap();
        let folder = folder_of(&[("kernel.cu", "x"), ("kept/definition.json", "{\"name\": \"d\"}")]);
        let place = folder.path().join(DEFINITION_NAME);
        symlink("kept/definition.json", &place).unwrap();
        assert!(read(folder.path()).unwrap().submission.definition.is_some());
        fs::remove_file(&place).unwrap();
        symlink(elsewhere.path().join("secret"), &place).unwrap();
        fs::create_dir(folder.path().join(WORKLOADS_NAME)).unwrap();
        let found = violations(&folder);
        assert!(
            found.contains("definition.json links to ") && found.contains("outside the submission"),
            "{found}"
        );
        assert!(found.contains("workloads.jsonl is a folder: expected a file"), "{found}");
        fs::remove_file(&place).unwrap();
        symlink("nowhere", &place).unwrap();
        assert!(
            violations(&folder).contains("definition.json is a link that leads nowhere: expected a file")
        );
        let config = folder.path().join(CONFIG_NAME);
        fs::rename(&config, elsewhere.path().join("config")).unwrap();
        symlink(elsewhere.path().join("config"), &config).unwrap();
        assert!(violations(&folder).starts_with("config.toml links to "));
        fs::remove_file(&config).unwrap();
        fs::create_dir(&config).unwrap();
        assert_eq!(find(folder.path()).unwrap(), [folder.path()]);
        assert_eq!(violations(&folder), "config.toml is a folder: expected a file");
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
