//! Artifacts and folders made to break the tool: a clear error, nothing written outside.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::support::Sandbox;

/// Verbs that open an artifact.
const OPENERS: [&[&str]; 3] = [&["inspect"], &["unpack", "-o", "unpacked"], &["pack", "-o", "repacked.zip"]];

fn refuses_everywhere(sandbox: &Sandbox, path: &str, expected: &str) {
    let before = sandbox.files();
    for verb in OPENERS {
        let mut arguments = verb.to_vec();
        arguments.push(path);
        let outcome = sandbox.run(&arguments).expect(2);
        assert!(outcome.stderr.contains(expected), "{expected} not in {}", outcome.stderr);
    }
    assert_eq!(sandbox.files(), before, "something was written");
}

fn zip_with(sandbox: &Sandbox, name: &str, entries: &[(&str, &[u8])]) {
    let mut writer = ZipWriter::new(File::create(sandbox.path(name)).unwrap());
    for (entry, content) in entries {
        writer.start_file(*entry, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in ["../evil", "/etc/evil", "sources/../../../evil", "a\\..\\evil", "C:evil", "nul\0name"] {
        let sandbox = Sandbox::new();
        zip_with(&sandbox, "bad.zip", &[("proofmark.json", b"{}"), (name, b"x")]);
        refuses_everywhere(&sandbox, "bad.zip", "unexpected entry");
    }
}

#[test]
fn links_in_an_archive_are_refused() {
    let sandbox = Sandbox::new();
    let mut writer = ZipWriter::new(File::create(sandbox.path("bad.zip")).unwrap());
    writer.add_symlink("sources", "/tmp", SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap();
    refuses_everywhere(&sandbox, "bad.zip", "plain files only");
}

#[test]
fn a_bomb_is_bounded() {
    let sandbox = Sandbox::new();
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(File::create(sandbox.path("bomb.zip")).unwrap());
    writer.start_file("proofmark.json", options).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        writer.write_all(&zeros).unwrap();
    }
    writer.finish().unwrap();
    refuses_everywhere(&sandbox, "bomb.zip", "exceeds a limit");
}

#[test]
fn a_million_entries_are_refused_before_they_cost_memory() {
    let sandbox = Sandbox::new();
    // A central directory of a million entries is zip64, which no artifact is; 60,000 is not.
    let mut writer = ZipWriter::new(File::create(sandbox.path("many.zip")).unwrap());
    for index in 0..60_000 {
        writer.start_file(index.to_string(), SimpleFileOptions::default()).unwrap();
    }
    writer.finish().unwrap();
    refuses_everywhere(&sandbox, "many.zip", "exceeds a limit");
    let mut writer = ZipWriter::new(File::create(sandbox.path("more.zip")).unwrap());
    for index in 0..70_000 {
        writer.start_file(index.to_string(), SimpleFileOptions::default()).unwrap();
    }
    writer.finish().unwrap();
    refuses_everywhere(&sandbox, "more.zip", "zip64");
}

#[test]
fn truncated_and_foreign_files_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    sandbox.run(["pack", "folder", "-o", "good.zip"]).expect(0);
    let good = fs::read(sandbox.path("good.zip")).unwrap();
    sandbox.write("short.zip", &good[..good.len() / 2]);
    refuses_everywhere(&sandbox, "short.zip", "truncated");
    sandbox.write("empty.zip", "");
    refuses_everywhere(&sandbox, "empty.zip", "is none of");
    sandbox.write("foreign.tar", [0x7f_u8; 4096]);
    refuses_everywhere(&sandbox, "foreign.tar", "is none of");
    sandbox.write("other.json", "{\"name\": 5}");
    refuses_everywhere(&sandbox, "other.json", "not a solution.json");
}

#[test]
fn a_changed_source_or_a_newer_format_is_named() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    sandbox.run(["pack", "folder", "-o", "good.zip"]).expect(0);
    // Entries are stored, so their bytes can be found and changed; the zip's own checksum of the
    // entry then fails first.
    let mut bytes = fs::read(sandbox.path("good.zip")).unwrap();
    let at = bytes.windows(7).position(|window| window == b"// run\n").unwrap();
    bytes[at + 3] = b'R';
    sandbox.write("changed.zip", &bytes);
    refuses_everywhere(&sandbox, "changed.zip", "kernel.cu");
    zip_with(&sandbox, "newer.zip", &[("proofmark.json", br#"{"format":"proofmark.artifact","version":9}"#)]);
    refuses_everywhere(
        &sandbox,
        "newer.zip",
        "version 9: this proofmark reads `proofmark.artifact` version 1",
    );
}

#[test]
fn hostile_folders_end_in_a_clear_error_or_a_clean_pack() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    symlink(&folder, folder.join("loop")).unwrap();
    symlink("/", folder.join("root")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("pipe.cu")).status().unwrap().success());
    // Links to folders and a pipe are no sources: as with the contest's packer they do not count.
    let json = sandbox.run(["pack", "folder", "-o", "out.zip", "--json"]).expect(0).json();
    assert_eq!(json["sources"].as_array().unwrap().len(), 1);
    let huge = File::create(folder.join("huge.cu")).unwrap();
    huge.set_len(4 << 30).unwrap();
    let outcome = sandbox.run(["pack", "folder", "-o", "out.zip"]).expect(2);
    assert!(outcome.stderr.contains("huge.cu: 4294967296 bytes"), "{}", outcome.stderr);
    fs::remove_file(folder.join("huge.cu")).unwrap();
    symlink("/etc/hostname", folder.join("stolen.h")).unwrap();
    let outcome = sandbox.run(["pack", "folder", "-o", "out.zip"]).expect(2);
    assert!(outcome.stderr.contains("outside the submission"), "{}", outcome.stderr);
}

#[test]
fn parts_of_a_folder_that_are_pipes_or_lead_out_are_named() {
    let pipe =
        |path: std::path::PathBuf| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    for name in ["config.toml", "definition.json", "workloads.jsonl"] {
        let sandbox = Sandbox::new();
        let folder = sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
        let _ = fs::remove_file(folder.join(name));
        pipe(folder.join(name));
        refuses_everywhere(
            &sandbox,
            "folder",
            &format!("{name} is a pipe, socket or device: expected a file"),
        );
        fs::remove_file(folder.join(name)).unwrap();
        symlink("/etc/hostname", folder.join(name)).unwrap();
        refuses_everywhere(&sandbox, "folder", &format!("{name} links to /etc/hostname, outside"));
    }
}

#[test]
fn control_characters_in_metadata_never_reach_the_terminal() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    fs::write(folder.join("config.toml"), config.replace("\"team\"", r#""team\u001b[2J\nverdict PASSED""#))
        .unwrap();
    let outcome = sandbox.run(["inspect", "folder"]).expect(2);
    assert!(outcome.stderr.contains(r"team\u{1b}[2J\nverdict"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\u{1b}') && outcome.stdout.is_empty(), "{outcome:?}");
}

#[test]
fn json_that_would_take_the_machines_memory_is_refused_at_once() {
    let sandbox = Sandbox::new();
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(File::create(sandbox.path("nested.zip")).unwrap());
    writer.start_file("proofmark.json", options).unwrap();
    writer.write_all(b"{\"x\":[").unwrap();
    for _ in 0..20 {
        writer.write_all("{\"\":[1]},".repeat(100_000).as_bytes()).unwrap();
    }
    writer.write_all(b"0]}").unwrap();
    writer.finish().unwrap();
    refuses_everywhere(&sandbox, "nested.zip", "too many values");
    sandbox.write("deep.json", format!("{{\"name\": {}", "[".repeat(1 << 20)));
    refuses_everywhere(&sandbox, "deep.json", "nests too deeply");
    let folder = sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    fs::write(folder.join("definition.json"), "[".repeat(1 << 20)).unwrap();
    refuses_everywhere(&sandbox, "folder", "nests too deeply");
    fs::remove_file(folder.join("definition.json")).unwrap();
    fs::write(folder.join("config.toml"), "a=1\n".repeat(1 << 20)).unwrap();
    refuses_everywhere(&sandbox, "folder", "expected at most 262144");
}

#[test]
fn a_path_that_is_no_text_is_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    let path = |name: &[u8]| std::ffi::OsStr::from_bytes(name).to_owned();
    for (verb, input, output) in [
        ("pack", path(b"folder"), path(b"\xff.zip")),
        ("inspect", path(b"\xff.zip"), path(b"")),
        ("unpack", path(b"\xff.zip"), path(b"\xfe")),
        ("pack", path(b"\xfe"), path(b"again.zip")),
        ("diff", path(b"\xff.zip"), path(b"")),
        ("new", path(b"plain"), path(b"\xfd")),
    ] {
        let mut arguments = vec![path(verb.as_bytes()), path(b"--json"), input.clone()];
        match verb {
            "inspect" => {}
            "diff" => arguments.push(input),
            _ => arguments.extend([path(b"-o"), output]),
        }
        sandbox.run(&arguments).expect(0).json();
    }
}

#[test]
fn texts_that_turn_a_line_around_never_reach_the_terminal() {
    let sandbox = Sandbox::new();
    let folder = sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    fs::write(folder.join("config.toml"), config.replace("\"team\"", "\"team\u{202e}drow\"")).unwrap();
    fs::write(folder.join("k\u{202e}uc.h"), "x").unwrap();
    for arguments in [&["inspect", "folder"][..], &["pack", "folder", "-o", "out.zip"]] {
        let outcome = sandbox.run(arguments).expect(0);
        assert!(outcome.stdout.contains(r"\u{202e}"), "{}", outcome.stdout);
        assert!(!outcome.stdout.contains('\u{202e}') && !outcome.stderr.contains('\u{202e}'));
    }
}

#[test]
fn evidence_of_another_name_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.submission("folder", &[("kernel.cu", "// run\n")]);
    sandbox.run(["pack", "folder", "-o", "good.zip"]).expect(0);
    let mut packed = zip::ZipArchive::new(File::open(sandbox.path("good.zip")).unwrap()).unwrap();
    let mut writer = ZipWriter::new(File::create(sandbox.path("more.zip")).unwrap());
    for index in 0..packed.len() {
        writer.raw_copy_file(packed.by_index(index).unwrap()).unwrap();
    }
    writer.start_file("evidence/payload.bin", SimpleFileOptions::default()).unwrap();
    writer.write_all(b"x").unwrap();
    writer.finish().unwrap();
    refuses_everywhere(&sandbox, "more.zip", "unexpected entry `evidence/payload.bin`");
}

#[test]
fn an_input_that_is_a_pipe_or_device_is_refused_at_once() {
    let sandbox = Sandbox::new();
    assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
    for path in ["pipe", "/dev/zero"] {
        let outcome = sandbox.run(["inspect", path]).expect(2);
        assert!(outcome.stderr.contains("neither a file nor a folder"), "{}", outcome.stderr);
    }
}
