//! A shared cache: what others built is taken when it is signed, whole and proven, and never otherwise.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proofmark::signing::{Envelope, SigningKey};
use proofmark_packager::{Digest, bundle};
use serde_json::{Value, json};

use crate::attestation::key;
use crate::support::{Outcome, Sandbox, run};

/// It exports through the C header, which compiles in a quarter of the time of the C++ one.
const KERNEL: &str = "#include <tvm/ffi/c_api.h>\n__global__ void shared(float* x) { *x = FACTOR; }\nextern \"C\" TVM_FFI_DLL_EXPORT int __tvm_ffi_run(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) { shared<<<1, 1>>>(nullptr); return 0; }\n";

/// Two submissions, and a shared cache that holds the first one's build, signed by `me`.
pub struct Share {
    pub sandbox: Sandbox,
}

/// The folder that every test begins with: what was shared, and the cache of whoever shared it.
fn begun() -> &'static Path {
    static BEGUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = BEGUN.get_or_init(|| {
        let share = Share { sandbox: prepared() };
        let outcome = share.build("mine", &["--cache-key", "me"]).expect(0);
        assert!(outcome.stderr.contains("put into the shared cache file:///"), "{}", outcome.stderr);
        let folder = tempfile::tempdir().unwrap();
        copy(&share.sandbox.path("share"), &folder.path().join("share"));
        copy(&share.sandbox.path("mine"), &folder.path().join("mine"));
        folder
    });
    folder.path()
}

fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, factor) in [("one", "1.0f"), ("two", "2.0f")] {
        sandbox.submission(name, &[("kernel.cu", &KERNEL.replace("FACTOR", factor))]);
    }
    for (index, name) in (1..).zip(["me", "you", "mallory"]) {
        let (_, public) = key(&sandbox, name, index);
        sandbox.write(format!("{name}.allowed"), format!("{name}@example.org {public}\n"));
    }
    let both = ["me.allowed", "you.allowed"].map(|name| fs::read_to_string(sandbox.path(name)).unwrap());
    sandbox.write("both.allowed", both.concat());
    fs::create_dir(sandbox.path("share")).unwrap();
    sandbox
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

impl Share {
    pub fn new() -> Self {
        let sandbox = prepared();
        copy(&begun().join("share"), &sandbox.path("share"));
        // Another machine that has the objects already: what is not taken is linked, not compiled.
        copy(&begun().join("mine/v2/units"), &sandbox.path("yours/v2/units"));
        fs::copy(begun().join("mine/v2/file-digests"), sandbox.path("yours/v2/file-digests")).unwrap();
        Self { sandbox }
    }

    /// Lets a cache of this name have the build that was shared, as if it had been made there.
    pub fn built_here(&self, cache: &str) {
        copy(&begun().join("mine"), &self.sandbox.path(cache));
    }

    fn place(&self) -> String {
        format!("file://{}", self.sandbox.path("share").display())
    }

    /// Builds `one` with a cache of this name.
    fn build(&self, cache: &str, more: &[&str]) -> Outcome {
        let mut command = self.sandbox.builder();
        command.args(["build", "one", "--json", "--cache-dir", cache, "--remote-cache", &self.place()]);
        run(command.args(more))
    }

    /// The one file below the share that ends so.
    fn only(&self, ending: &str) -> PathBuf {
        let files = walkdir::WalkDir::new(self.sandbox.path("share")).into_iter().flatten();
        let mut files = files.filter(|entry| entry.path().to_string_lossy().ends_with(ending));
        let found = files.next().expect("a file").into_path();
        assert!(files.next().is_none(), "one file {ending}");
        found
    }

    /// Signs a changed statement in the place of the one that is there, as the holder of `signer`.
    fn restate(&self, signer: &str, change: impl FnOnce(&mut Value)) {
        let path = self.only(".json");
        let envelope: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let body = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let mut statement: Value = serde_json::from_slice(&body).unwrap();
        change(&mut statement);
        self.state(signer, &statement, &path);
    }

    fn state(&self, signer: &str, statement: &Value, path: &Path) {
        let mut envelope = Envelope::around(statement);
        envelope.sign(&SigningKey::open(&self.sandbox.path(signer), None).unwrap()).unwrap();
        fs::write(path, envelope.to_line()).unwrap();
    }

    /// Exchanges the archive for another one, which the holder of `signer` states.
    fn rearchive(&self, signer: &str, change: impl FnOnce(&mut Vec<u8>)) {
        self.repack(signer, |entries| {
            let mut library = entries.remove("library.so").unwrap();
            change(&mut library);
            entries.insert("library.so".to_owned(), library);
        });
    }

    /// The same of any of its parts.
    fn repack(&self, signer: &str, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
        let path = self.only(".zip");
        let bytes = fs::read(&path).unwrap();
        let entries = bundle::unzip(&bytes).unwrap();
        let mut entries: BTreeMap<String, Vec<u8>> =
            entries.into_iter().map(|(name, content)| (name, content.into_owned())).collect();
        change(&mut entries);
        let digest = Digest::of_bytes(&entries["library.so"]);
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|(name, content)| (name, Cow::Owned(content))).collect();
        let archive = bundle::zip_of(&entries);
        let name = Digest::of_bytes(&archive).to_string();
        let to = self.sandbox.path(format!("share/v1/archives/{}/{name}.zip", &name[..2]));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &archive).unwrap();
        self.restate(signer, |statement| {
            statement["subject"][0]["digest"]["sha256"] = json!(name);
            statement["subject"][1]["digest"]["sha256"] = json!(digest);
            statement["predicate"]["archive_bytes"] = json!(archive.len());
        });
    }

    /// Whoever allows `me` does not take what is there, says why, and builds.
    #[track_caller]
    fn refused(&self, reason: &str) {
        self.refused_by("me.allowed", reason);
    }

    #[track_caller]
    fn refused_by(&self, allowed: &str, reason: &str) {
        let outcome = self.build("yours", &["--cache-signers", allowed]).expect(0);
        let said: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("shared cache")).collect();
        assert_eq!(said.len(), 1, "said once: {}", outcome.stderr);
        assert!(said[0].contains(reason), "{} does not say {reason}", said[0]);
        let document = outcome.json();
        assert_eq!((&document["cache"], &document["fetched_from"]), (&json!("miss"), &Value::Null));
    }
}

#[test]
fn a_build_is_taken_from_the_share_and_says_for_ever_whose_it_is() {
    let share = Share::new();
    let before = share.sandbox.files();
    let taken = share.build("yours", &["--cache-signers", "me.allowed"]).expect(0);
    assert!(!taken.stderr.contains("building"), "{}", taken.stderr);
    let document = taken.json();
    assert_eq!(document["cache"], "fetched");
    assert_eq!(document["fetched_from"]["place"], share.place());
    let signer = document["fetched_from"]["signed_by"][0].as_str().unwrap();
    assert!(signer.starts_with("me@example.org (SHA256:"), "{signer}");
    assert_eq!((&document["rebuilt"], &document["units"]), (&json!(false), &Value::Null));
    let mine = share.sandbox.build(["build", "one", "--fresh", "--json"]).expect(0).json();
    for field in ["library_sha256", "resources", "kernels", "proof", "log"] {
        assert_eq!(document[field], mine[field], "{field}");
    }
    // Nothing is written into the share by whoever only reads.
    let in_share = |files: Vec<String>| -> Vec<_> {
        files.into_iter().filter(|file| file.starts_with("share")).collect()
    };
    assert_eq!(in_share(before), in_share(share.sandbox.files()));
    let again = share.sandbox.build(["build", "one", "--cache-dir", "yours", "--json"]).expect(0).json();
    assert_eq!((&again["cache"], &again["fetched_from"]), (&json!("hit"), &document["fetched_from"]));
    let words = share.sandbox.build(["build", "one", "--cache-dir", "yours"]).expect(0);
    assert!(words.stdout.contains("signed by me@example.org (SHA256:"), "{}", words.stdout);
    // Whoever builds it again has made it here.
    share.sandbox.build(["build", "one", "--cache-dir", "yours", "--fresh"]).expect(0);
    let own = share.sandbox.build(["build", "one", "--cache-dir", "yours", "--json"]).expect(0).json();
    assert_eq!((&own["cache"], &own["fetched_from"]), (&json!("hit"), &Value::Null));
}

#[test]
fn what_was_fetched_is_not_signed_by_whoever_fetched_it() {
    let share = Share::new();
    let with_key = ["--cache-signers", "me.allowed", "--cache-key", "you"];
    let document = share.build("yours", &with_key).expect(0).json();
    assert_eq!(document["cache"], "fetched");
    share.build("yours", &with_key).expect(0);
    share.only(".json");
}

#[test]
fn a_build_that_is_here_already_is_shared_when_that_is_asked_for() {
    let share = Share::new();
    fs::remove_dir_all(share.sandbox.path("share/v1")).unwrap();
    share.built_here("mine");
    let hit = share.build("mine", &["--cache-key", "me"]).expect(0);
    assert!(hit.stderr.contains("put into the shared cache"), "{}", hit.stderr);
    assert_eq!(hit.json()["cache"], "hit");
    let again = share.build("mine", &["--cache-key", "me"]).expect(0);
    assert!(!again.stderr.contains("shared cache"), "{}", again.stderr);
    assert_eq!(share.build("yours", &["--cache-signers", "me.allowed"]).expect(0).json()["cache"], "fetched");
}

#[test]
fn refuses_an_archive_with_a_flipped_bit() {
    let share = Share::new();
    let mut bytes = fs::read(share.only(".zip")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(share.only(".zip"), bytes).unwrap();
    share.refused("has the digest");
}

#[test]
fn refuses_an_archive_that_was_cut_off() {
    let share = Share::new();
    let bytes = fs::read(share.only(".zip")).unwrap();
    fs::write(share.only(".zip"), &bytes[..bytes.len() - 1]).unwrap();
    share.refused("has the digest");
}

#[test]
fn refuses_a_statement_that_was_cut_off() {
    let share = Share::new();
    let bytes = fs::read(share.only(".json")).unwrap();
    fs::write(share.only(".json"), &bytes[..bytes.len() - 40]).unwrap();
    share.refused("no envelope");
}

#[test]
fn refuses_a_statement_without_its_archive() {
    let share = Share::new();
    fs::remove_file(share.only(".zip")).unwrap();
    share.refused("not there");
}

#[test]
fn refuses_an_archive_that_grew() {
    let share = Share::new();
    let mut bytes = fs::read(share.only(".zip")).unwrap();
    bytes.extend(std::iter::repeat_n(0, 1 << 20));
    fs::write(share.only(".zip"), bytes).unwrap();
    share.refused("is larger than");
}

#[test]
fn refuses_a_statement_that_announces_more_than_is_read() {
    let share = Share::new();
    share.restate("me", |statement| statement["predicate"]["archive_bytes"] = json!(1_u64 << 40));
    share.refused("at most");
}

#[test]
fn refuses_a_statement_as_large_as_a_disk() {
    let share = Share::new();
    let file = fs::File::options().write(true).open(share.only(".json")).unwrap();
    file.set_len(1 << 40).unwrap();
    share.refused("is larger than");
}

/// `two`'s build, shared by `me` too; the path of its statement.
fn with_another_entry(share: &Share) -> PathBuf {
    let (first, _) = (share.only(".json"), share.only(".zip"));
    let mut command = share.sandbox.builder();
    command.args(["build", "two", "--cache-dir", "mine", "--remote-cache", &share.place()]);
    run(command.args(["--cache-key", "me"])).expect(0);
    let files = walkdir::WalkDir::new(share.sandbox.path("share/v1/statements")).into_iter().flatten();
    let mut statements = files.map(walkdir::DirEntry::into_path).filter(|path| path.is_file());
    statements.find(|path| *path != first).expect("a second statement")
}

#[test]
fn refuses_the_statement_of_another_build_in_its_place() {
    let share = Share::new();
    let place = share.only(".json");
    fs::copy(with_another_entry(&share), place).unwrap();
    share.refused("it is about another build: its plan is");
}

#[test]
fn refuses_another_build_s_archive_under_its_name() {
    let share = Share::new();
    let archive = share.only(".zip");
    with_another_entry(&share);
    let files = walkdir::WalkDir::new(share.sandbox.path("share/v1/archives")).into_iter().flatten();
    let other = files.map(walkdir::DirEntry::into_path).find(|path| path.is_file() && *path != archive);
    fs::copy(other.unwrap(), archive).unwrap();
    share.refused("has the digest");
}

#[test]
fn refuses_a_statement_whose_headers_are_another_build_s() {
    let share = Share::new();
    share.restate("me", |statement| {
        statement["predicate"]["dependencies"] = json!({});
    });
    share.refused("its key is");
}

/// States other headers of the first build, under the key that they give.
fn with_headers(share: &Share, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    share.restate("me", |statement| {
        let predicate = &mut statement["predicate"];
        change(predicate["dependencies"].as_object_mut().unwrap());
        let plan: proofmark::cache::PlanKey = serde_json::from_value(predicate["plan"].clone()).unwrap();
        let dependencies = serde_json::from_value(predicate["dependencies"].clone()).unwrap();
        predicate["key"] = json!(plan.with(&dependencies));
    });
    let old = share.only(".json");
    let envelope: Value = serde_json::from_slice(&fs::read(&old).unwrap()).unwrap();
    let body: Value =
        serde_json::from_slice(&STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap();
    let name = old.file_name().unwrap().to_str().unwrap();
    let renamed = format!("{}{}", body["predicate"]["key"].as_str().unwrap(), &name[64..]);
    fs::rename(&old, old.with_file_name(renamed)).unwrap();
}

#[test]
fn refuses_a_statement_that_names_no_header_or_one_that_leads_elsewhere() {
    let share = Share::new();
    with_headers(&share, serde_json::Map::clear);
    share.refused("it names no header");
    for label in
        ["<cuda>/../../etc/passwd", "<system>/etc/../etc/passwd", "/etc/passwd", "<source>/kernel.cu"]
    {
        let share = Share::new();
        let digest = Digest::of_bytes(&fs::read("/etc/passwd").unwrap());
        with_headers(&share, |headers| drop(headers.insert(label.to_owned(), json!(digest))));
        share.refused("it names the header");
    }
}

#[test]
fn takes_no_build_with_headers_of_another_day_and_calls_nobody_a_forger() {
    let share = Share::new();
    with_headers(&share, |headers| {
        *headers.values_mut().next().unwrap() = json!(Digest::of_bytes(b"an older header"));
    });
    let outcome = share.build("yours", &["--cache-signers", "me.allowed"]).expect(0);
    assert!(!outcome.stderr.contains("shared cache"), "{}", outcome.stderr);
    assert_eq!(outcome.json()["cache"], "miss");
}

#[test]
fn refuses_a_stranger_s_word() {
    let share = Share::new();
    share.restate("mallory", |_| {});
    share.refused("by nobody who is allowed");
}

#[test]
fn refuses_a_signer_who_is_not_allowed_any_more() {
    let share = Share::new();
    let line = fs::read_to_string(share.sandbox.path("me.allowed")).unwrap();
    let line = line.replace("me@example.org ", "me@example.org valid-before=\"20200101Z\" ");
    share.sandbox.write("past.allowed", line);
    share.refused_by("past.allowed", "by nobody who is allowed");
}

#[test]
fn refuses_a_stranger_s_word_in_a_signer_s_name() {
    let share = Share::new();
    let known: Value = serde_json::from_slice(&fs::read(share.only(".json")).unwrap()).unwrap();
    share.restate("mallory", |_| {});
    let mut forged: Value = serde_json::from_slice(&fs::read(share.only(".json")).unwrap()).unwrap();
    forged["signatures"][0]["keyid"] = known["signatures"][0]["keyid"].clone();
    fs::write(share.only(".json"), forged.to_string()).unwrap();
    share.refused("does not hold");
}

#[test]
fn refuses_a_statement_of_another_kind_that_a_signer_signed() {
    let share = Share::new();
    share.restate("me", |statement| statement["predicateType"] = json!("https://slsa.dev/provenance/v1"));
    share.refused("no statement about an entry");
}

#[test]
fn refuses_a_signer_s_library_that_holds_another_architecture() {
    let share = Share::new();
    let mut command = share.sandbox.builder();
    command.args(["build", "one", "--arch", "sm_90a", "--cache-dir", "mine", "-o", "other.so"]);
    run(&mut command).expect(0);
    let other = fs::read(share.sandbox.path("other.so")).unwrap();
    share.rearchive("me", |library| *library = other);
    share.refused("it is not proven");
}

#[test]
fn refuses_an_archive_whose_sources_are_others_than_those_that_are_built() {
    let share = Share::new();
    share.repack("me", |entries| {
        let source = entries.iter_mut().find(|(name, _)| name.starts_with("sources/"));
        source.expect("every file that went in").1.extend(b"// another day\n");
    });
    share.refused("the sources and flags in it are not those of this build");
}

#[test]
fn refuses_a_signer_s_library_that_is_none() {
    let share = Share::new();
    share.rearchive("me", |library| library.truncate(100));
    share.refused("it is not proven");
}

#[test]
fn believes_nobody_where_signers_disagree() {
    let share = Share::new();
    let path = share.only(".json");
    let first = fs::read(&path).unwrap();
    share.restate("you", |statement| {
        statement["subject"][1]["digest"]["sha256"] = json!(Digest::of_bytes(b"another library"));
    });
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::rename(&path, path.with_file_name(format!("{}-{}.json", &name[..64], "0".repeat(16)))).unwrap();
    fs::write(&path, first).unwrap();
    share.refused_by("both.allowed", "its signers disagree");
}

#[test]
fn words_of_strangers_reach_no_terminal_raw() {
    let share = Share::new();
    share.restate("me", |statement| statement["predicateType"] = json!("\u{1b}[2J\nproven: everything"));
    let outcome = share.build("yours", &["--cache-signers", "me.allowed"]).expect(0);
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    assert!(!outcome.stderr.lines().any(|line| line.starts_with("proven")), "{}", outcome.stderr);
}

#[test]
fn overwrites_nothing_and_says_that_what_is_there_is_no_archive() {
    let share = Share::new();
    fs::remove_file(share.only(".json")).unwrap();
    fs::write(share.only(".zip"), "planted").unwrap();
    share.built_here("mine");
    let outcome = share.build("mine", &["--cache-key", "me"]).expect(0);
    assert!(outcome.stderr.contains("nothing is overwritten"), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(share.only(".zip")).unwrap(), "planted");
    let files = walkdir::WalkDir::new(share.sandbox.path("share")).into_iter().flatten();
    assert!(!files.into_iter().any(|entry| entry.path().to_string_lossy().ends_with(".json")));
}

#[test]
fn what_stands_in_the_place_of_one_s_own_statement_and_is_none_is_said() {
    let share = Share::new();
    let statement = share.only(".json");
    let honest = fs::read(&statement).unwrap();
    share.built_here("mine");
    let says = |said: &str| {
        let outcome = share.build("mine", &["--cache-key", "me"]).expect(0);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    };
    fs::write(&statement, "garbage").unwrap();
    says("nothing is overwritten");
    assert_eq!(fs::read_to_string(&statement).unwrap(), "garbage");
    fs::write(&statement, &honest).unwrap();
    share.restate("mallory", |_| {});
    says("nothing is overwritten");
    share.restate("me", |statement| {
        statement["subject"][1]["digest"]["sha256"] = json!(Digest::of_bytes(b"another library"));
    });
    says("nothing is overwritten");
    fs::remove_file(&statement).unwrap();
    fs::create_dir(&statement).unwrap();
    says("nothing is overwritten");
    fs::remove_dir(&statement).unwrap();
    fs::write(&statement, honest).unwrap();
    let silent = share.build("mine", &["--cache-key", "me"]).expect(0);
    assert!(!silent.stderr.contains("shared cache"), "{}", silent.stderr);
}

#[test]
fn a_part_of_the_share_that_is_a_link_is_said_and_nothing_is_written_where_it_leads() {
    for part in ["v1", "v1/archives", "v1/statements"] {
        let share = Share::new();
        share.built_here("mine");
        let (place, elsewhere) = (share.sandbox.path("share").join(part), share.sandbox.path("elsewhere"));
        fs::remove_dir_all(&place).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
        if part == "v1/archives" {
            fs::remove_dir_all(share.sandbox.path("share/v1/statements")).unwrap();
        }
        let outcome = share.build("mine", &["--cache-key", "me"]).expect(0);
        assert!(outcome.stderr.contains("it is a link: expected a folder"), "{part}: {}", outcome.stderr);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{part}");
    }
}

#[test]
fn a_signature_that_stands_there_twice_names_its_signer_once() {
    let share = Share::new();
    let statement = share.only(".json");
    let mut envelope: Value = serde_json::from_slice(&fs::read(&statement).unwrap()).unwrap();
    let twice = envelope["signatures"][0].clone();
    envelope["signatures"].as_array_mut().unwrap().push(twice);
    fs::write(&statement, envelope.to_string()).unwrap();
    let document = share.build("yours", &["--cache-signers", "me.allowed"]).expect(0).json();
    assert_eq!(document["fetched_from"]["signed_by"].as_array().unwrap().len(), 1);
}

#[test]
fn a_share_that_is_not_there_is_said_once_and_nothing_fails() {
    let share = Share::new();
    fs::remove_dir_all(share.sandbox.path("share")).unwrap();
    let both = ["--cache-signers", "me.allowed", "--cache-key", "you"];
    let outcome = share.build("yours", &both).expect(0);
    let said = outcome.stderr.lines().filter(|line| line.contains("shared cache")).count();
    assert_eq!(said, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("is not used"), "{}", outcome.stderr);
    assert_eq!(outcome.json()["cache"], "miss");
    assert!(!share.sandbox.path("share").exists());
}

#[test]
fn pipes_and_links_in_the_share_hold_nobody_up() {
    let share = Share::new();
    let statement = share.only(".json");
    fs::remove_file(&statement).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&statement).status().unwrap().success());
    let outcome = share.build("yours", &["--cache-signers", "me.allowed"]).expect(0);
    assert!(outcome.stderr.contains("cannot be read: it is a pipe: expected a file"), "{}", outcome.stderr);
    fs::remove_file(&statement).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &statement).unwrap();
    share.build("yours", &["--cache-signers", "me.allowed", "--fresh"]).expect(0);
    fs::remove_dir_all(share.sandbox.path("yours/v2/entries")).unwrap();
    share.build("yours", &["--cache-signers", "me.allowed"]).expect(0);
}

#[test]
fn a_fresh_build_asks_no_share() {
    let share = Share::new();
    let outcome = share.build("yours", &["--cache-signers", "me.allowed", "--fresh"]).expect(0);
    assert_eq!(outcome.json()["rebuilt"], true);
}

impl Share {
    fn challenge(&self, more: &[&str]) -> Outcome {
        let mut command = self.sandbox.builder();
        command.args(["cache", "challenge", "5", "--json", "--cache-dir", "yours"]);
        command.args(["--remote-cache", &self.place(), "--cache-signers", "me.allowed"]);
        run(command.args(more))
    }
}

#[test]
fn a_challenge_builds_what_is_shared_again_and_finds_the_same_bytes() {
    let share = Share::new();
    let document = share.challenge(&[]).expect(0).json();
    let counts = ["entries", "identical", "against", "other_inputs"].map(|name| &document[name]);
    assert_eq!(counts, [&json!(1), &json!(1), &json!(0), &json!(0)]);
    assert_eq!(document["challenged"][0]["stated"]["first_built_as"]["solution"], "sample");
    // What is not built as it was there says nothing against it, and nothing for it.
    let other = share.challenge(&["--link-as", "bench-0.1.2"]).expect(3).json();
    assert_eq!(other["other_inputs"], 1);
}

#[test]
fn a_challenge_finds_a_signer_who_lies_and_an_entry_that_is_not_whole() {
    let share = Share::new();
    share.rearchive("me", |library| library.push(0));
    let lie = share.challenge(&[]).expect(1).json();
    assert_eq!(lie["challenged"][0]["answer"]["answer"], "differs");
    let bytes = fs::read(share.only(".json")).unwrap();
    fs::write(share.only(".json"), &bytes[..100]).unwrap();
    let cut = share.challenge(&[]).expect(1).json();
    assert_eq!(cut["challenged"][0]["answer"]["answer"], "refused");
    assert_eq!(cut["challenged"][0]["stated"], Value::Null);
}

/// What a challenge says of an entry whose archive was changed, beside the honest one.
fn challenged_beside(code: i32, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Vec<Value> {
    let share = Share::new();
    let first = share.only(".json");
    let honest = fs::read(&first).unwrap();
    share.repack("me", change);
    let key = first.file_name().unwrap().to_str().unwrap()[..64].to_owned();
    fs::rename(&first, first.with_file_name(format!("{key}-{}.json", "0".repeat(16)))).unwrap();
    fs::write(&first, honest).unwrap();
    let document = share.challenge(&[]).expect(code).json();
    document["challenged"].as_array().unwrap().iter().map(|one| one["answer"].clone()).collect()
}

#[test]
fn a_challenge_names_an_entry_that_asks_for_what_is_not_built_and_goes_on() {
    let answers = challenged_beside(1, |entries| {
        let request = entries.get_mut("request.json").expect("what was asked for");
        let mut asked: Value = serde_json::from_slice(request).unwrap();
        asked["nvcc_flags"] = json!(["-ccbin", "/tmp/evil"]);
        *request = serde_json::to_vec(&asked).unwrap();
    });
    assert_eq!((&answers[0]["answer"], &answers[1]["answer"]), (&json!("refused"), &json!("identical")));
    assert!(answers[0]["reason"].as_str().unwrap().contains("-ccbin"), "{answers:#?}");
}

#[test]
fn a_challenge_says_no_yes_where_the_sources_beside_an_honest_entry_give_another_plan() {
    let answers = challenged_beside(3, |entries| {
        let source = entries.iter_mut().find(|(name, _)| name.starts_with("sources/"));
        source.expect("every file that went in").1.extend(b"// another day\n");
    });
    assert_eq!((&answers[0]["answer"], &answers[1]["answer"]), (&json!("other_inputs"), &json!("identical")));
}

#[test]
fn a_challenge_names_what_is_no_file_and_goes_on() {
    let share = Share::new();
    let first = share.only(".json");
    let key = first.file_name().unwrap().to_str().unwrap()[..64].to_owned();
    let pipe = first.with_file_name(format!("{key}-{}.json", "0".repeat(16)));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let document = share.challenge(&[]).expect(1).json();
    assert_eq!((&document["identical"], &document["against"]), (&json!(1), &json!(1)));
}

#[test]
fn a_challenge_of_nothing_judges_nothing() {
    let share = Share::new();
    fs::remove_dir_all(share.sandbox.path("share/v1")).unwrap();
    assert_eq!(share.challenge(&[]).expect(3).json()["entries"], 0);
    fs::remove_dir(share.sandbox.path("share")).unwrap();
    share.challenge(&[]).expect(3);
    let mut command = share.sandbox.builder();
    let nowhere = run(command.args(["cache", "challenge", "1"])).expect(2);
    assert!(nowhere.stderr.contains("--remote-cache"), "{}", nowhere.stderr);
}

#[test]
fn a_place_is_asked_for_with_signers_or_a_key_and_never_with_a_secret() {
    let share = Share::new();
    let nobody = share.build("yours", &[]).expect(2);
    assert!(nobody.stderr.contains("--cache-signers"), "{}", nobody.stderr);
    share.build("yours", &["--cache-signers", "nowhere"]).expect(2);
    let public = share.build("yours", &["--cache-key", "me.pub"]).expect(2);
    assert!(
        public.stderr.contains("`me.pub` is a public key, and no agent holds its private half"),
        "{public:?}"
    );
    for (place, reason) in [
        ("s3://id:SECRET@bucket/x", "credentials belong into the environment"),
        ("az://c/x?sig=SECRET", "credentials belong into the environment"),
        ("http://SECRET", "expected file:///FOLDER"),
        ("file://SECRET", "expected an absolute path"),
    ] {
        let mut command = share.sandbox.builder();
        command.args(["build", "one", "--json", "--cache-signers", "me.allowed", "--remote-cache", place]);
        let outcome = run(&mut command).expect(2);
        let words = outcome.stdout + &outcome.stderr;
        assert!(!words.contains("SECRET") && words.contains(reason), "{place}: {words}");
        let mut command = share.sandbox.builder();
        command.env("PROOFMARK_REMOTE_CACHE", place).args(["build", "--help"]);
        assert!(!run(&mut command).expect(0).stdout.contains("SECRET"));
    }
}
