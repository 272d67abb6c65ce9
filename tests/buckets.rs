//! A shared cache in a bucket, against a server that speaks S3: moto, from `PyPI`, on the loopback.
//!
//! `scripts/buckets.sh` builds with the feature, fetches the server and runs these.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shared_cache::Share;
use crate::support::{Outcome, run};

/// Shown by nothing that this program says.
const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

/// What moto asks for before it gives an object out; it checks no more of it.
const AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// An S3 server with one bucket; ended when it is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = std::env::var_os("MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.expect("moto_server starts: scripts/buckets.sh fetches it");
        let server = Self { process, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "moto_server does not listen");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(server.ask("PUT", "/builds", b"").0, 200);
        server
    }

    /// One request, as a stranger with a key to the bucket makes it: status and body.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\nConnection: close\r\n{AUTHORIZATION}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end..].to_vec())
    }

    /// The paths of all objects that end so.
    fn objects(&self, ending: &str) -> Vec<String> {
        let (status, body) = self.ask("GET", "/builds?list-type=2", b"");
        assert_eq!(status, 200);
        let text = String::from_utf8(body).unwrap();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.filter(|key| key.ends_with(ending)).map(|key| format!("/builds/{key}")).collect()
    }

    fn only(&self, ending: &str) -> String {
        let found = self.objects(ending);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let (status, body) = self.ask("GET", path, b"");
        assert_eq!(status, 200);
        body
    }

    fn put(&self, path: &str, body: &[u8]) {
        assert_eq!(self.ask("PUT", path, body).0, 200);
    }
}

/// Builds `name` against a server at a port.
fn build(share: &Share, port: u16, name: &str, cache: &str, more: &[&str]) -> Outcome {
    let mut command = share.sandbox.builder();
    command.args(["build", name, "--json", "--cache-dir", cache, "--remote-cache", "s3://builds/team/x"]);
    command.env("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("AWS_REGION", "us-east-1");
    let outcome = run(command.args(more));
    let words = outcome.stdout.clone() + &outcome.stderr;
    assert!(!words.contains(SECRET) && !words.contains("AKIAIOSFODNN7EXAMPLE"), "{words}");
    assert!(!words.contains('\u{1b}'), "{words:?}");
    outcome
}

/// A server that holds `one`, shared by `me`, and whoever has not built it.
fn shared() -> (Share, Server) {
    let (share, server) = (Share::new(), Server::start());
    share.built_here("mine");
    let outcome = build(&share, server.port, "one", "mine", &["--cache-key", "me"]).expect(0);
    assert!(outcome.stderr.contains("put into the shared cache s3://builds/team/x"), "{}", outcome.stderr);
    (share, server)
}

#[track_caller]
fn refused(share: &Share, server: &Server, reason: &str) {
    let outcome = build(share, server.port, "one", "yours", &["--cache-signers", "me.allowed"]).expect(0);
    let said: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("shared cache")).collect();
    assert!(said.len() == 1 && said[0].contains(reason), "{reason}: {}", outcome.stderr);
    assert_eq!(outcome.json()["cache"], "miss");
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn a_build_is_shared_in_a_bucket_once_and_taken_from_there() {
    let (share, server) = shared();
    let before = server.objects("");
    let again = build(&share, server.port, "one", "mine", &["--cache-key", "me"]).expect(0);
    assert!(!again.stderr.contains("shared cache"), "{}", again.stderr);
    let taken = build(&share, server.port, "one", "yours", &["--cache-signers", "me.allowed"]).expect(0);
    let document = taken.json();
    assert_eq!((&document["cache"], before.len()), (&serde_json::json!("fetched"), 2));
    assert_eq!(document["fetched_from"]["place"], "s3://builds/team/x");
    assert_eq!(server.objects(""), before);
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn refuses_a_poisoned_archive_in_a_bucket() {
    let (share, server) = shared();
    let path = server.only(".zip");
    let mut bytes = server.get(&path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    server.put(&path, &bytes);
    refused(&share, &server, "has the digest");
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn refuses_a_truncated_archive_and_a_truncated_statement_in_a_bucket() {
    let (share, server) = shared();
    let (archive, statement) = (server.only(".zip"), server.only(".json"));
    let bytes = server.get(&archive);
    server.put(&archive, &bytes[..bytes.len() - 1]);
    refused(&share, &server, "has the digest");
    fs::remove_dir_all(share.sandbox.path("yours/v2/entries")).unwrap();
    let bytes = server.get(&statement);
    server.put(&statement, &bytes[..bytes.len() - 30]);
    refused(&share, &server, "no envelope");
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn refuses_swapped_and_replayed_statements_in_a_bucket() {
    let (share, server) = shared();
    let (first, archive) = (server.only(".json"), server.only(".zip"));
    build(&share, server.port, "two", "mine", &["--cache-key", "me"]).expect(0);
    let second = server.objects(".json").into_iter().find(|path| *path != first).unwrap();
    let other = server.objects(".zip").into_iter().find(|path| *path != archive).unwrap();
    let own = server.get(&first);
    server.put(&first, &server.get(&second));
    refused(&share, &server, "it is about another build: its plan is");
    fs::remove_dir_all(share.sandbox.path("yours/v2/entries")).unwrap();
    server.put(&first, &own);
    server.put(&archive, &server.get(&other));
    refused(&share, &server, "has the digest");
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn refuses_an_archive_that_grew_in_a_bucket() {
    let (share, server) = shared();
    let path = server.only(".zip");
    let mut bytes = server.get(&path);
    bytes.extend(std::iter::repeat_n(0, 8 << 20));
    server.put(&path, &bytes);
    refused(&share, &server, "is larger than");
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn overwrites_nothing_in_a_bucket() {
    let (share, server) = shared();
    let (archive, statement) = (server.only(".zip"), server.only(".json"));
    server.put(&archive, b"planted");
    assert_eq!(server.ask("DELETE", &statement, b"").0, 204);
    let outcome = build(&share, server.port, "one", "mine", &["--cache-key", "me"]).expect(0);
    assert!(outcome.stderr.contains("nothing is overwritten"), "{}", outcome.stderr);
    assert_eq!(server.get(&archive), b"planted");
    assert!(server.objects(".json").is_empty());
}

#[test]
#[ignore = "needs the feature `buckets` and moto: scripts/buckets.sh"]
fn a_bucket_that_is_gone_costs_a_word_and_no_build() {
    let (share, mut server) = shared();
    server.process.kill().unwrap();
    refused(&share, &server, "is not used");
    // Nobody made this one.
    let (share, server) = (Share::new(), Server::start());
    assert_eq!(server.ask("DELETE", "/builds", b"").0, 204);
    let both = ["--cache-signers", "me.allowed", "--cache-key", "me"];
    let outcome = build(&share, server.port, "one", "yours", &both).expect(0);
    let said = outcome.stderr.lines().filter(|line| line.contains("shared cache")).count();
    assert_eq!(said, 1, "{}", outcome.stderr);
}

#[test]
#[ignore = "needs the feature `buckets`: scripts/buckets.sh"]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_was_asked() {
    let share = Share::new();
    share.built_here("yours");
    fs::remove_dir_all(share.sandbox.path("yours/v2/entries")).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let more = ["--cache-signers", "me.allowed", "--cache-patience", "2"];
    let outcome = build(&share, port, "one", "yours", &more).expect(0);
    assert!(outcome.stderr.contains("no answer within 2 s"), "{}", outcome.stderr);
}

#[test]
#[ignore = "needs the feature `buckets`: scripts/buckets.sh"]
fn what_a_hostile_server_says_reaches_no_terminal_raw_and_repeats_no_secret() {
    let share = Share::new();
    let hostile = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hostile.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in hostile.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 8192];
            let _ = stream.read(&mut request);
            let body = format!("\u{1b}[2J\u{1b}[Hproven {SECRET}\nAKIAIOSFODNN7EXAMPLE");
            let head = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let outcome = build(&share, port, "one", "yours", &["--cache-signers", "me.allowed"]).expect(0);
    assert!(outcome.stderr.contains("is not used"), "{}", outcome.stderr);
    assert_eq!(outcome.json()["cache"], "miss");
}
