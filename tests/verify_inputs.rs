//! What `proofmark verify` takes in: links, pipes and things that hold nothing; and the words in
//! which it answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::support::{Sandbox, repository};

fn fixture(name: &str) -> String {
    repository().join("tests/fixtures/proof").join(name).display().to_string()
}

#[test]
fn a_folder_that_holds_only_a_link_is_judged_by_what_it_leads_to() {
    let sandbox = Sandbox::new();
    sandbox.write("libk.so.1", fs::read(fixture("exact_13.0.so")).unwrap());
    sandbox.write("build/notes.txt", "text");
    symlink("../libk.so.1", sandbox.path("build/libk.so")).unwrap();
    symlink("libk.so", sandbox.path("build/libk-again.so")).unwrap();
    let document = sandbox.run(["verify", "build", "--json"]).expect(0).json();
    assert_eq!(document["verdict"], "exact");
    assert_eq!(document["files"].as_array().unwrap().len(), 1, "{document:#}");
}

#[test]
fn what_a_folder_holds_beside_files_is_named_and_leaves_nothing_exact() {
    let sandbox = Sandbox::new();
    sandbox.write("build/k.so", fs::read(fixture("exact_13.0.so")).unwrap());
    let _listener = UnixListener::bind(sandbox.path("build/agent")).unwrap();
    let text = sandbox.run(["verify", "build"]).expect(1).stdout;
    assert!(text.starts_with("UNREADABLE") && text.contains("build/agent: a socket"), "{text}");
    fs::remove_file(sandbox.path("build/agent")).unwrap();
    sandbox.run(["verify", "build"]).expect(0);
    symlink("gone.so", sandbox.path("build/dangling.so")).unwrap();
    let document = sandbox.run(["verify", "build", "--json"]).expect(1).json();
    assert_eq!(
        (&document["verdict"], document["unread"].as_array().unwrap().len()),
        (&"unreadable".into(), 1)
    );
    assert_eq!(document["unread"][0]["path"], "build/dangling.so");
    let listed = sandbox.run(["verify", "build", "--list"]).expect(1).stdout;
    assert!(listed.contains("build/dangling.so"), "{listed}");
}

#[test]
fn a_pipe_is_read_to_its_end() {
    let sandbox = Sandbox::new();
    for (name, code) in [("exact_13.0.so", 0), ("plain_13.0.cubin", 1)] {
        let mut cat = std::process::Command::new("cat");
        let mut cat = cat.arg(fixture(name)).stdout(Stdio::piped()).spawn().unwrap();
        let mut verify = sandbox.command();
        verify.args(["verify", "/dev/stdin", "--json"]).stdin(cat.stdout.take().unwrap());
        let output = verify.output().unwrap();
        cat.wait().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {document:#}");
        assert_eq!(document["files"][0]["size_bytes"], fs::metadata(fixture(name)).unwrap().len());
    }
}

#[test]
fn a_socket_is_a_wrong_request_that_says_what_it_is() {
    let sandbox = Sandbox::new();
    let _listener = UnixListener::bind(sandbox.path("agent")).unwrap();
    let outcome = sandbox.run(["verify", "agent"]).expect(2);
    assert!(outcome.stderr.contains("cannot read agent: it is a socket"), "{outcome:?}");
}

#[test]
fn an_absence_says_where_it_looked() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.zip", "");
    sandbox.write("notes.txt", "text");
    for (path, reason) in [
        ("empty.zip", "no device code found in 1 file of 0 B"),
        ("notes.txt", "no device code found in 1 file of 4 B"),
        ("/dev/null", "no device code found in 1 file of 0 B"),
    ] {
        let text = sandbox.run(["verify", path]).expect(1).stdout;
        assert!(text.starts_with("ABSENT") && text.contains(reason), "{path}: {text}");
    }
    let document = sandbox.run(["verify", "notes.txt", "--json"]).expect(1).json();
    assert_eq!(document["reasons"][0], "no device code");
}

#[test]
fn the_headline_of_an_exact_answer_counts_what_was_allowed() {
    let sandbox = Sandbox::new();
    for (name, more, headline) in [
        ("exact_13.0.so", &[][..], "EXACT  machine code for sm_100a, and nothing else\n"),
        (
            "with_ptx_13.0.fatbin",
            &["--allow-ptx"],
            "EXACT  machine code for sm_100a, and nothing that was not allowed\n",
        ),
        (
            "concatenated_13.5.fatbin",
            &["--allow", "sm_103a,sm_90a"],
            "EXACT  machine code for sm_100a, and nothing that was not allowed\n",
        ),
    ] {
        let path = fixture(name);
        let arguments = ["verify", &path].into_iter().chain(more.iter().copied());
        let text = sandbox.run(arguments).expect(0).stdout;
        assert!(text.starts_with(headline), "{name}: {text}");
    }
}

#[test]
fn code_for_the_same_architecture_that_is_compiled_later_is_not_called_code_with_fewer_features() {
    let sandbox = Sandbox::new();
    let ptx = ".version 9.0\n.target sm_100a\n.address_size 64\n.visible .entry k()\n{\n\tret;\n}\n";
    sandbox.write("k.ptx", ptx);
    sandbox.write("older.ptx", ptx.replace("sm_100a", "sm_90"));
    let lto = fixture("lto_13.0.o");
    for (path, expected) in [
        ("k.ptx", "only PTX for it, which the driver compiles"),
        ("older.ptx", "only code with fewer features"),
        (&lto, "only LTO-IR for it, which is compiled when it is linked"),
        (".", "only PTX for it, which the driver compiles when it is loaded; the rest is for others"),
    ] {
        let text = sandbox.run(["verify", path]).expect(1).stdout;
        let headline = text.lines().next().unwrap();
        assert!(headline.starts_with("WEAKER") && headline.contains(expected), "{path}: {text}");
    }
}

#[test]
fn a_list_has_no_verdict_and_shows_what_was_requested() {
    let sandbox = Sandbox::new();
    let listed = sandbox.run(["verify", &fixture("plain_13.0.cubin"), "--list", "--json"]).expect(0);
    assert!(!listed.stdout.contains("verdict") && !listed.stdout.contains("witnesses"), "{listed:?}");
    assert_eq!(listed.json()["entries"][0]["arch"], "sm_100");
    sandbox.write("log.txt", "nvcc -gencode=arch=compute_90a,code=sm_90a -c k.cu -o k.o\n");
    let text = sandbox.run(["verify", "log.txt", "--list"]).expect(0).stdout;
    assert!(text.contains("no device code") && text.contains("code=sm_90a"), "{text}");
}

#[test]
fn several_paths_are_judged_one_by_one_and_the_worst_decides() {
    let sandbox = Sandbox::new();
    let (exact, plain) = (fixture("exact_13.0.so"), fixture("plain_13.0.cubin"));
    sandbox.run(["verify", &exact, &exact]).expect(0);
    sandbox.write("notes.txt", "text");
    sandbox.run(["verify", &exact, "notes.txt"]).expect(1);
    sandbox.run(["verify", &exact, "nowhere.so"]).expect(2);
    let text = sandbox.run(["verify", &exact, &plain]).expect(1).stdout;
    assert!(
        text.contains(&format!("{exact}:\nEXACT")) && text.contains(&format!("{plain}:\nWEAKER")),
        "{text}"
    );
    let document = sandbox.run(["verify", &exact, &plain, "--json"]).expect(1).json();
    assert_eq!(document["inputs"][0]["answer"]["verdict"], "exact", "{document:#}");
    assert_eq!(document["inputs"][1]["answer"]["verdict"], "weaker", "{document:#}");
    assert_eq!(document["inputs"][1]["path"], plain);
}

#[test]
fn sources_are_not_taken_among_several_paths() {
    let sandbox = Sandbox::new();
    sandbox.submission("sample", &[("kernel.cu", "")]);
    let outcome = sandbox.run(["verify", "sample", &fixture("exact_13.0.so"), "--build"]).expect(2);
    assert!(outcome.stderr.contains("rebuilt one at a time"), "{outcome:?}");
}

#[test]
fn several_ptx_texts_in_one_file_are_several() {
    let sandbox = Sandbox::new();
    let text = |arch: &str| format!("x = `.version 9.0\n.target {arch}\n.visible .entry k() {{ ret; }}\n`\n");
    sandbox.write("folder/k.py", text("sm_90") + &text("sm_100a"));
    let document = sandbox.run(["verify", "folder", "--arch", "sm_100a", "--json"]).expect(1).json();
    let entries = document["entries"].as_array().unwrap();
    let found: Vec<&str> = entries.iter().filter_map(|entry| entry["arch"].as_str()).collect();
    assert_eq!((found, &document["verdict"]), (vec!["sm_90", "sm_100a"], &"weaker".into()), "{document:#}");
}

#[test]
fn a_thin_archive_stands_for_objects_that_are_read_beside_it() {
    let sandbox = Sandbox::new();
    sandbox.write("build/k.p/exact.o", fs::read(fixture("exact_13.0.o")).unwrap());
    sandbox.write("other.o", fs::read(fixture("exact_13.0.o")).unwrap());
    let thin = |name: &str, member: &str| {
        let folder = sandbox.path("build");
        let made = std::process::Command::new("ar").args(["rcT", name, member]).current_dir(folder).status();
        assert!(made.expect("an archiver").success());
    };
    thin("libk.a", "k.p/exact.o");
    assert_eq!(sandbox.run(["verify", "build", "--json"]).expect(0).json()["verdict"], "exact");
    let text = sandbox.run(["verify", "build/libk.a"]).expect(1).stdout;
    assert!(text.contains("a thin archive, which names"), "{text}");
    // Bytes that no linker reads, and a member that is not in the folder.
    let honest = fs::read(sandbox.path("build/libk.a")).unwrap();
    sandbox.write("build/libk.a", [&honest[..], b"more"].concat());
    sandbox.run(["verify", "build"]).expect(1);
    sandbox.write("build/libk.a", honest);
    thin("libother.a", "../other.o");
    sandbox.run(["verify", "build"]).expect(1);
}
