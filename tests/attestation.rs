//! Signatures: made and checked here, checked by the tools of others, and refused wherever anything was changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proofmark_packager::format::{ATTESTATION_EVIDENCE, MEASUREMENTS_EVIDENCE, PROOF_EVIDENCE};
use proofmark_packager::{Bundle, bundle, open};
use serde_json::{Value, json};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use crate::support::{Outcome, Sandbox, repository, run, skipped};

const MEASURED: &str = "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip";
const OTHER: &str = "gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip";

fn solution(name: &str) -> PathBuf {
    repository().join("solutions").join(name)
}

/// A key from a seed, in OpenSSH's files.
pub fn key(sandbox: &Sandbox, name: &str, seed: u8) -> (PathBuf, String) {
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32]));
    let private = PrivateKey::new(pair, format!("{name}@example.org")).unwrap();
    let path = sandbox.write(name, private.to_openssh(LineEnding::LF).unwrap().as_bytes());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).unwrap();
    let public = private.public_key().to_openssh().unwrap();
    sandbox.write(format!("{name}.pub"), format!("{public}\n"));
    (path, public)
}

/// A sandbox with a signed artifact, its signer, and a file that allows the signer.
fn signed() -> Sandbox {
    let sandbox = Sandbox::new();
    let (_, public) = key(&sandbox, "me", 1);
    sandbox.write("allowed", format!("me@example.org namespaces=\"proofmark\" {public}\n"));
    fs::copy(solution(MEASURED), sandbox.path("one.zip")).unwrap();
    sandbox.run(["sign", "one.zip", "--key", "me", "-o", "signed.zip"]).expect(0);
    sandbox
}

fn check(sandbox: &Sandbox, file: &str) -> Outcome {
    sandbox.run(["verify-signature", file, "--allowed-signers", "allowed", "--json"])
}

fn bundle_at(path: &Path) -> Bundle {
    open::open(path).unwrap().bundle
}

fn envelopes(bundle: &Bundle) -> Vec<Value> {
    let text = bundle.evidence.get(ATTESTATION_EVIDENCE).unwrap();
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(envelopes: &[Value]) -> String {
    envelopes.iter().map(|envelope| envelope.to_string() + "\n").collect()
}

/// Whoever changes an artifact seals it again: the zip as such always holds.
fn refused(sandbox: &Sandbox, name: &str, bundle: Bundle, attestation: &str, reason: &str) {
    let evidence = bundle.evidence.with(ATTESTATION_EVIDENCE, attestation.as_bytes().to_vec());
    sandbox.write("forged.zip", bundle::write(&Bundle { evidence, ..bundle }));
    let answer = check(sandbox, "forged.zip");
    assert_eq!(answer.code, 1, "{name}: {answer:#?}");
    let document = answer.json();
    let found = document["reason"].as_str().unwrap_or_default();
    assert!(document["signed"] == false && found.contains(reason), "{name}: {found}, not {reason}");
}

#[test]
fn a_signature_names_its_signer_and_keeps_the_identity() {
    let sandbox = signed();
    let answer = check(&sandbox, "signed.zip").expect(0).json();
    assert_eq!(answer["signers"][0]["principals"], json!(["me@example.org"]));
    assert_eq!(answer["digest"], bundle_at(&sandbox.path("one.zip")).artifact.digest().to_string());
    assert_eq!(envelopes(&bundle_at(&sandbox.path("signed.zip"))).len(), 3);
    let asked = |name: &str| {
        sandbox.run(["verify-signature", "signed.zip", "--allowed-signers", "allowed", "--signer", name]).code
    };
    assert_eq!((asked("me@example.org"), asked("you@example.org")), (0, 1));
    assert_eq!(check(&sandbox, "one.zip").expect(1).json()["reason"], "nobody signed it");
    let (_, other) = key(&sandbox, "other", 2);
    sandbox.write("strangers", format!("other@example.org {other}\n"));
    let stranger =
        sandbox.run(["verify-signature", "signed.zip", "--allowed-signers", "strangers"]).expect(1);
    assert!(stranger.stdout.contains("SHA256:") && stranger.stdout.contains("nobody who is allowed"));
    sandbox.run(["sign", "one.zip", "--key", "allowed"]).expect(2);
    sandbox.run(["verify-signature", "signed.zip", "--allowed-signers", "me"]).expect(2);
}

#[test]
fn a_private_key_that_others_can_read_or_change_signs_nothing_wherever_it_is_named() {
    let sandbox = Sandbox::new();
    let (path, public) = key(&sandbox, "me", 1);
    fs::copy(solution(MEASURED), sandbox.path("one.zip")).unwrap();
    sandbox.submission("entry", &[("kernel.cu", "int nothing;\n")]);
    sandbox.write("allowed", format!("me@example.org {public}\n"));
    fs::create_dir(sandbox.path("share")).unwrap();
    let share = format!("file://{}", sandbox.path("share").display());
    let home = sandbox.path("home/.ssh/id_ed25519");
    fs::create_dir_all(home.parent().unwrap()).unwrap();
    fs::copy(&path, &home).unwrap();
    let calls: [&[&str]; 3] = [
        &["sign", "one.zip", "--key", "me", "-o", "out.zip", "--json"],
        &["sign", "one.zip", "-o", "out.zip", "--json"],
        &["build", "entry", "--remote-cache", &share, "--cache-key", "me", "--json"],
    ];
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
        for file in [&path, &home] {
            fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        for call in calls {
            let mut command = sandbox.command();
            let answer = run(command.env("HOME", sandbox.path("home")).args(call)).expect(2).json();
            let error = answer["error"].as_str().unwrap();
            assert!(error.contains(&format!("its mode is {mode:04o}")), "{call:?}: {error}");
            assert!(answer["hints"].to_string().contains("chmod 600"), "{answer:#}");
            assert!(!sandbox.path("out.zip").exists());
        }
    }
    // A public key is for everybody: without an agent it is refused for what it is.
    let answer = sandbox.run(["sign", "one.zip", "--key", "me.pub", "--json"]).expect(2).json();
    assert!(answer["error"].as_str().unwrap().contains("is a public key"), "{answer:#}");
}

#[test]
fn two_people_sign_one_artifact_and_one_who_signs_again_stands_there_once() {
    let sandbox = signed();
    let (_, public) = key(&sandbox, "other", 2);
    sandbox.write(
        "both",
        fs::read_to_string(sandbox.path("allowed")).unwrap() + "other@example.org " + &public + "\n",
    );
    for key in ["other", "me"] {
        sandbox.run(["sign", "signed.zip", "--key", key]).expect(0);
    }
    let answer = sandbox
        .run(["verify-signature", "signed.zip", "--allowed-signers", "both", "--json"])
        .expect(0)
        .json();
    assert_eq!(answer["signers"].as_array().unwrap().len(), 2);
    for envelope in envelopes(&bundle_at(&sandbox.path("signed.zip"))) {
        assert_eq!(envelope["signatures"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn every_tampering_is_refused() {
    let sandbox = signed();
    let bundle = || bundle_at(&sandbox.path("signed.zip"));
    let all = envelopes(&bundle());
    let change = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut changed = all.clone();
        change(&mut changed);
        lines(&changed)
    };
    let decoded = |envelope: &Value| -> Value {
        serde_json::from_slice(&STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap()
    };
    let encoded = |statement: &Value| json!(STANDARD.encode(statement.to_string()));

    // The evidence was changed behind the signature.
    let text = String::from_utf8(bundle().evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    let faster = text.replacen("\"samples_ns\":[", "\"samples_ns\":[1000.0,", 1);
    let mut forged = bundle();
    forged.evidence = forged.evidence.with(MEASUREMENTS_EVIDENCE, faster.into_bytes());
    refused(&sandbox, "a faster sample", forged, &lines(&all), "subject differs");
    let mut forged = bundle();
    let proof = String::from_utf8(forged.evidence.get(PROOF_EVIDENCE).unwrap().to_vec()).unwrap() + "\n";
    forged.evidence = forged.evidence.with(PROOF_EVIDENCE, proof.into_bytes());
    refused(&sandbox, "a blank in the proof", forged, &lines(&all), "subject differs");
    // Another artifact's statements.
    refused(&sandbox, "another artifact", bundle_at(&solution(OTHER)), &lines(&all), "subject differs");

    for (name, reason, attestation) in [
        ("a missing statement", "2 statements are signed", change(&|all| drop(all.pop()))),
        ("no statement", "no envelope", String::new()),
        ("a statement twice", "4 statements are signed", change(&|all| all.push(all[0].clone()))),
        ("another order", "predicate", change(&|all| all.swap(0, 1))),
        ("a torn end", "torn", lines(&all).trim_end().to_owned()),
        ("half a line", "no envelope", lines(&all)[..900].to_owned() + "\n"),
        (
            "no signature",
            "nobody signed it",
            change(&|all| all.iter_mut().for_each(|one| one["signatures"] = json!([]))),
        ),
        ("one statement unsigned", "nobody who is allowed", change(&|all| all[1]["signatures"] = json!([]))),
        (
            "another payload type",
            "its payload is",
            change(&|all| all[0]["payloadType"] = json!("application/json")),
        ),
        ("a field more", "no envelope", change(&|all| all[0]["more"] = json!(1))),
        (
            "signatures swapped",
            "does not hold",
            change(&|all| {
                let first = all[0]["signatures"].clone();
                all[0]["signatures"] = all[1]["signatures"].clone();
                all[1]["signatures"] = first;
            }),
        ),
        (
            "another time",
            "does not hold",
            change(&|all| {
                let mut statement = decoded(&all[1]);
                statement["predicate"]["timeCreated"] = json!("2020-01-01T00:00:00.000000Z");
                all[1]["payload"] = encoded(&statement);
            }),
        ),
        (
            "another property",
            "predicate differs",
            change(&|all| {
                let mut statement = decoded(&all[1]);
                statement["predicate"]["properties"][0] = json!("PROOFMARK_BUILT_EXACT_SM_100A");
                all[1]["payload"] = encoded(&statement);
            }),
        ),
        (
            "a field more in a statement",
            "a field that no statement has",
            change(&|all| {
                let mut statement = decoded(&all[0]);
                statement["more"] = json!(1);
                all[0]["payload"] = encoded(&statement);
            }),
        ),
        ("an empty sig", "no Ed25519 signature", change(&|all| all[0]["signatures"][0]["sig"] = json!(""))),
        (
            "an empty sshsig",
            "no signature of OpenSSH",
            change(&|all| all[2]["signatures"][0]["sshsig"] = json!("")),
        ),
    ] {
        refused(&sandbox, name, bundle(), &attestation, reason);
    }

    // What nests too deeply is no artifact at all.
    let deep = bundle().evidence.with(ATTESTATION_EVIDENCE, ("[".repeat(100_000) + "\n").into_bytes());
    sandbox.write("deep.zip", bundle::write(&Bundle { evidence: deep, ..bundle() }));
    check(&sandbox, "deep.zip").expect(2);

    // Somebody else signs in the name of the allowed key.
    key(&sandbox, "mallory", 3);
    sandbox.run(["sign", "one.zip", "--key", "mallory", "-o", "theirs.zip"]).expect(0);
    let mut theirs = envelopes(&bundle_at(&sandbox.path("theirs.zip")));
    refused(&sandbox, "a stranger", bundle(), &lines(&theirs), "nobody who is allowed");
    for envelope in &mut theirs {
        envelope["signatures"][0]["keyid"] = all[0]["signatures"][0]["keyid"].clone();
    }
    refused(&sandbox, "a borrowed name", bundle(), &lines(&theirs), "does not hold");
    // Raw by the allowed key, OpenSSH's by another.
    let sshsig = theirs[0]["signatures"][0]["sshsig"].clone();
    let mixed = change(&|all| all[0]["signatures"][0]["sshsig"] = sshsig.clone());
    refused(&sandbox, "two keys in one signature", bundle(), &mixed, "does not hold");
}

#[test]
fn statements_that_do_not_hold_are_not_signed_again() {
    let sandbox = signed();
    let bundle = bundle_at(&sandbox.path("signed.zip"));
    let mut all = envelopes(&bundle);
    all.pop();
    let evidence = bundle.evidence.clone().with(ATTESTATION_EVIDENCE, lines(&all).into_bytes());
    sandbox.write("cut.zip", bundle::write(&Bundle { evidence, ..bundle }));
    let answer = sandbox.run(["sign", "cut.zip", "--key", "me"]).expect(2);
    assert!(answer.stderr.contains("2 statements are signed"), "{}", answer.stderr);
}

/// Says so where a tool of others is not here: what it would check is then not checked.
fn has(program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|out| !String::from_utf8_lossy(&out.stderr).contains("ModuleNotFoundError"));
    if !found {
        skipped(&format!("{program} {} is not here", arguments.join(" ")));
    }
    found
}

fn extracted() -> Sandbox {
    let sandbox = signed();
    sandbox
        .run(["verify-signature", "signed.zip", "--allowed-signers", "allowed", "--extract", "out"])
        .expect(0);
    sandbox
}

#[test]
fn ssh_keygen_believes_what_was_signed_and_nothing_else() {
    if !has("ssh-keygen", &["-?"]) {
        return;
    }
    let sandbox = extracted();
    let verify = |message: &str, signature: &str, namespace: &str| {
        let mut command = Command::new("ssh-keygen");
        command.args([
            "-Y",
            "verify",
            "-f",
            "allowed",
            "-I",
            "me@example.org",
            "-n",
            namespace,
            "-s",
            signature,
        ]);
        command.current_dir(sandbox.path("")).stdin(fs::File::open(sandbox.path(message)).unwrap());
        command.output().unwrap().status.success()
    };
    for name in ["provenance", "verdict", "test-result"] {
        assert!(verify(&format!("out/{name}.dsse"), &format!("out/{name}.0.sshsig"), "proofmark"), "{name}");
    }
    assert!(!verify("out/verdict.dsse", "out/provenance.0.sshsig", "proofmark"));
    assert!(!verify("out/verdict.json", "out/verdict.0.sshsig", "proofmark"));
    assert!(!verify("out/verdict.dsse", "out/verdict.0.sshsig", "git"));
}

#[test]
fn openssl_believes_the_raw_signature_and_nothing_else() {
    if !has("openssl", &["version"]) {
        return;
    }
    let sandbox = extracted();
    // An Ed25519 key as SubjectPublicKeyInfo (RFC 8410): a fixed head, then its 32 bytes.
    let pair = Ed25519Keypair::from_seed(&[1; 32]);
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    sandbox.write("public.der", [&head[..], &pair.public.0[..]].concat());
    let verify = |message: &str, signature: &str| {
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", "public.der"]);
        command.args(["-in", message, "-sigfile", signature]).current_dir(sandbox.path(""));
        command.output().unwrap().status.success()
    };
    for name in ["provenance", "verdict", "test-result"] {
        assert!(verify(&format!("out/{name}.dsse"), &format!("out/{name}.0.sig")), "{name}");
    }
    assert!(!verify("out/verdict.dsse", "out/provenance.0.sig"));
    assert!(!verify("out/verdict.json", "out/verdict.0.sig"));
}

/// The envelopes as others read them.
const OTHERS: &str = r#"
import json, sys
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
lines, public = sys.argv[1], sys.argv[2]
seen = 0
for line in open(lines):
    document = json.loads(line)
    envelope = Envelope.from_dict(json.loads(line))
    keyid = document["signatures"][0]["keyid"]
    key = SSlibKey(keyid, "ed25519", "ed25519", {"public": public})
    assert keyid in envelope.verify([key], 1)
    changed = dict(document, payloadType="application/json", signatures=json.loads(json.dumps(document["signatures"])))
    try:
        Envelope.from_dict(changed).verify([key], 1)
    except Exception:
        seen += 1
    else:
        raise SystemExit("a swapped payload type was believed")
    IN_TOTO
assert seen == 3, seen
"#;

const IN_TOTO: &str = r#"import in_toto.models.metadata as metadata
    theirs = metadata.Envelope.from_dict(json.loads(line))
    theirs.verify_signature({"keyid": keyid, "keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
    statement = json.loads(theirs.payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1" and statement["subject"]"#;

#[test]
fn securesystemslib_believes_the_envelopes_and_no_swapped_type() {
    python("securesystemslib", "pass");
}

#[test]
fn in_toto_reads_the_envelopes_and_their_statements() {
    python("in_toto", IN_TOTO);
}

fn python(module: &str, more: &str) {
    if !has("python3", &["-c", &format!("import {module}, securesystemslib, cryptography")]) {
        return;
    }
    let sandbox = signed();
    let bundle = bundle_at(&sandbox.path("signed.zip"));
    let lines = sandbox.write("lines.jsonl", bundle.evidence.get(ATTESTATION_EVIDENCE).unwrap());
    let bytes = Ed25519Keypair::from_seed(&[1; 32]).public.0;
    let public = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let program = OTHERS.replace("IN_TOTO", more);
    let out = Command::new("python3").args(["-c", &program]).arg(lines).arg(public).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn an_agent_signs_as_the_file_does() {
    if !has("ssh-agent", &["-?"]) || !has("ssh-add", &["-?"]) {
        return;
    }
    let sandbox = signed();
    let socket = sandbox.path("agent");
    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let begun = std::time::Instant::now();
    while !socket.exists() && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let with_agent =
        |arguments: &[&str]| run(sandbox.command().env("SSH_AUTH_SOCK", &socket).args(arguments));
    let none = with_agent(&["sign", "one.zip", "--key", "me.pub", "-o", "agent.zip"]);
    let added =
        Command::new("ssh-add").arg(sandbox.path("me")).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    let by_agent = with_agent(&["sign", "one.zip", "--key", "me.pub", "-o", "agent.zip"]);
    let first = with_agent(&["sign", "one.zip", "-o", "first.zip"]);
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(added.status.success());
    none.expect(2);
    by_agent.expect(0);
    first.expect(0);
    for file in ["agent.zip", "first.zip"] {
        check(&sandbox, file).expect(0);
    }
}
