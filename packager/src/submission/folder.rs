//! Reads one submission folder: its `config.toml`, its sources, and what its task folder gives it.

use std::fs;
use std::path::{Path, PathBuf};

use super::collector::Collector;
use super::config::{self, CONFIG_NAME};
use super::kit::{SourcesPlace, drop_what_the_kit_ignores};
use super::notes::summarised;
use super::part::{read_config, read_definition, read_workloads};
use super::search_path::SearchPath;
use super::task_folder::{TaskFolder, leave_out_the_reference, note_of_reference};
use super::violation::{forget_consequences, violations_among};
use super::{
    DEFINITION_NAME, FolderContents, Submission, SubmissionError, Violations, WORKLOADS_NAME, suggestion,
};

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
    let (place, root) = SourcesPlace::of(folder, language);
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
    notes.extend(suggestion::chosen_files(&config.files, &sources));
    let by_path = sources;
    let sources: Vec<_> = by_path.values().cloned().collect();
    if let Some(entry) = entry {
        violations.extend(violations_among(&sources, entry));
    }
    forget_consequences(&mut violations);
    suggestion::improve(folder, language, &by_path, &mut violations);
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
            let (reference, unknown) = (None, config.beside);
            let submission =
                Submission { solution, build, target, sources, definition, workloads, reference, unknown };
            Ok((FolderContents { submission, notes }, task))
        }
        _ => invalid(violations),
    }
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
    fn says_what_would_work_where_the_entry_or_the_files_are_elsewhere() {
        let folder = folder_of(&[("solution/triton/kernel.cu", "x\n"), ("stray.cu", "y\n")]);
        let found = violations(&folder);
        assert!(found.contains("`mv solution/triton solution/cuda`"), "{found}");
        let folder = folder_of(&[("kernel.cu", "x\n"), ("other.cu", "y\n"), ("tile.cuh", "z\n")]);
        fs::write(folder.path().join(CONFIG_NAME), format!("{CONFIG}files = [\"kernel.cu\"]\n")).unwrap();
        let notes = read(folder.path()).unwrap().notes;
        assert!(notes.iter().any(|note| note.what.contains("move other.cu into")), "{notes:?}");
        fs::write(folder.path().join(CONFIG_NAME), CONFIG.replace("kernel.cu::run", "kernel")).unwrap();
        fs::write(folder.path().join("kernel.cu"), "TVM_FFI_DLL_EXPORT_TYPED_FUNC(kernel, Run);\n").unwrap();
        assert!(violations(&folder).contains("`kernel.cu::kernel` is there"));
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
