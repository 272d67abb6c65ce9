//! Reports: one file, nothing from the network, small and fast enough for a whole contest, and alive in a
//! browser.

use std::fs;
use std::process::Command;
use std::time::Instant;

use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use serde_json::Value;

use crate::support::{Sandbox, repository, skipped};

const MEASURED: &str = "gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip";

fn solution(name: &str) -> String {
    repository().join("solutions").join(name).display().to_string()
}

#[test]
fn a_sealed_artifact_becomes_one_page_with_its_verdict_and_trust_on_top() {
    let sandbox = Sandbox::new();
    let answer = sandbox.run(["report", &solution(MEASURED), "-o", "one.html", "--json"]).expect(0).json();
    let page = fs::read_to_string(sandbox.path("one.html")).unwrap();
    assert_eq!(answer["size_bytes"], page.len());
    let top = page.split("<main").next().unwrap();
    assert!(top.contains("54 of 54 workloads passed") && top.contains(">live</span>"), "{top}");
    for shown in [
        "Roofline",
        "Proof and provenance",
        "NVIDIA H200",
        "580.159.04",
        "264a77956baf",
        "sm_90a and nothing else",
        "Outputs could be off by 0.01 absolute, 0.01 relative, for a share of 1 of the elements.",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    let inspected = sandbox.run(["inspect", &solution(MEASURED)]).expect(0).stdout;
    assert!(
        inspected.contains("  tolerance  0.01 absolute, 0.01 relative, for a share of 1 of the elements"),
        "{inspected}"
    );
    let inspected = sandbox.run(["inspect", &solution(MEASURED), "--json"]).expect(0).json();
    let allowed = &inspected["evidence"]["sealed"]["tolerances"][0];
    assert_eq!((&allowed["atol"], &allowed["workloads"]), (&0.01.into(), &54.into()));
    // Every raw sample is there.
    let json = page.split("id=\"samples\">").nth(1).unwrap().split("</script>").next().unwrap();
    let samples: Value = serde_json::from_str(json).unwrap();
    let bundle = proofmark_packager::open::open(solution(MEASURED).as_ref()).unwrap().bundle;
    let text = String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    for (index, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        for (clock, measured) in record["finding"]["measurements"].as_array().unwrap().iter().enumerate() {
            let shown = samples[0][index][clock].as_array().unwrap();
            assert_eq!(shown.len() - 1, measured["samples_ns"].as_array().unwrap().len());
        }
    }
}

#[test]
fn what_was_not_measured_is_passed_over_on_a_shelf_and_shown_where_it_is_named() {
    let sandbox = Sandbox::new();
    let shelf = repository().join("solutions").display().to_string();
    let answer = sandbox.run(["report", &shelf, "--json"]).expect(0);
    assert_eq!(answer.json()["runs"], 3);
    assert!(answer.stderr.contains("it was not measured"));
    let page = fs::read_to_string(sandbox.path("report.html")).unwrap();
    assert!(page.contains("Leaderboard") && page.contains("only a comparison says"));
    sandbox.run(["report", &solution("rmsnorm-e3bbbc890b80.zip"), "-o", "sealed.html"]).expect(0);
    assert!(fs::read_to_string(sandbox.path("sealed.html")).unwrap().contains("Sealed, not measured"));
    sandbox.run(["report", "missing.zip"]).expect(2);
    sandbox.run(["report", "missing.jsonl"]).expect(2);
    let empty = sandbox.write("empty.jsonl", "");
    sandbox.run(["report".as_ref(), empty.as_os_str()]).expect(2);
}

/// Twenty artifacts, 54 workloads, 200 samples of the scored clock.
fn contest(sandbox: &Sandbox) -> String {
    let bundle = proofmark_packager::open::open(solution(MEASURED).as_ref()).unwrap().bundle;
    let text = String::from_utf8(bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap().to_vec()).unwrap();
    let mut lines = String::new();
    for artifact in 0..20_u32 {
        for line in text.lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let first = record["finding"]["measurements"][0]["samples_ns"][0].as_f64().unwrap();
            let sample = |index: u32| first + f64::from((index * 7919 + artifact * 31) % 97) * 32.0 / 7.0;
            record["finding"]["measurements"][0]["samples_ns"] = (0..200).map(sample).collect();
            record["context"]["solution"] = format!("entry {artifact}").into();
            record["context"]["library"] = format!("{artifact:064x}").into();
            lines += &(record.to_string() + "\n");
        }
    }
    sandbox.write("contest.jsonl", lines).display().to_string()
}

#[test]
fn twenty_artifacts_fit_into_five_megabytes() {
    let sandbox = Sandbox::new();
    let records = contest(&sandbox);
    let begun = Instant::now();
    let answer = sandbox.run(["report", &records, "-o", "contest.html", "--json"]).expect(0);
    eprintln!("made in {:.2} s", begun.elapsed().as_secs_f64());
    let document = answer.json();
    assert_eq!(document["runs"], 20);
    assert!(document["size_bytes"].as_u64().unwrap() < 5_000_000, "{document}");
    browse(&sandbox, "contest.html", 20 * 54);
}

/// Opens a page where Chromium is installed: its script must run under its own policy and nothing may fail.
fn browse(sandbox: &Sandbox, page: &str, buttons: usize) {
    let profile = sandbox.path("profile");
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--v=0",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("file://{}", sandbox.path(page).display()));
    let Ok(output) = command.output() else {
        skipped("chromium is not here, so no browser opened the page");
        return;
    };
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!log.contains("CONSOLE"), "{log}");
    let shown = dom.matches("aria-expanded=\"false\"").count();
    assert_eq!(shown, buttons);
    assert!(!dom.contains("<button type=\"button\" hidden"), "the script did not run");
}
