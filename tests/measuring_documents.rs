//! The documents of jobs and of measuring, held to their schemas without a GPU: jobs as verbs print them,
//! results from records that a GPU left, decisions about a synthetic one.

use std::fs;

use proofmark::evidence::SpeedComparison;
use proofmark::job::input::Library;
use proofmark::job::{BuiltSubject, Measured, Outcome, ReplayedSpeed};
use proofmark::measure::decision::simulation::{self, World};
use proofmark::measure::decision::{Arm, Protocol};
use proofmark::measure::environment::RunFacts;
use proofmark::measure::verdict::Verdict;
use proofmark::measure::{Compared, Recordings, Settled};
use proofmark::record::{ComparisonRecord, Record, RunId, WorkloadRecord};
use proofmark::recording::Trust;
use proofmark::report;
use proofmark_packager::Arch;
use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use proofmark_packager::interop::flashinfer::Definition;
use serde_json::{Value, json};

use crate::support::schema::{all, check, faults};
use crate::support::{Sandbox, repository};

/// A library that is proven as it is.
fn subject() -> Box<BuiltSubject> {
    let path = repository().join("tests/fixtures/proof/exact_13.0.so");
    let library = Library::new(&path, "run", fs::read(&path).unwrap());
    Box::new(BuiltSubject::of_library(&library, Arch::SM_100A).expect("it is proven"))
}

/// What a verb prints of an outcome.
fn printed(schema: &str, outcome: &Outcome) -> Value {
    let mut document = json!({ "schema": schema, "schema_version": 1 });
    document.as_object_mut().unwrap().extend(report::outcome::body(outcome).as_object().unwrap().clone());
    document
}

/// What `job run` prints of it.
fn printed_by_a_job(outcome: &Outcome) -> Value {
    let mut document = printed("proofmark.outcome", outcome);
    document["job"] = json!(proofmark_packager::Digest::of_bytes(b"job"));
    document["run_id"] = json!(RunId::fresh());
    document["exit_code"] = json!(0);
    document["records"] = json!(outcome.records());
    document
}

/// Every run that a GPU left in the repository: in sealed artifacts, and of version 1.
fn recorded_runs() -> Vec<Vec<WorkloadRecord>> {
    let mut texts = vec![fs::read_to_string(repository().join("tests/golden/record_v1.jsonl")).unwrap()];
    for entry in fs::read_dir(repository().join("solutions")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zip") {
            let bundle = proofmark_packager::open::open(&path).unwrap().bundle;
            let measurements = bundle.evidence.get(MEASUREMENTS_EVIDENCE);
            texts.extend(measurements.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
        }
    }
    assert!(texts.len() > 1, "no sealed artifact was measured");
    let workload = |line: &str| match Record::from_line(line).unwrap() {
        Record::Workload(record) => *record,
        Record::Comparison(_) => panic!("a seal holds workloads"),
    };
    texts.iter().map(|text| text.lines().map(workload).collect()).collect()
}

fn measured(records: Vec<WorkloadRecord>) -> Outcome {
    let context = records[0].context.clone();
    let facts = json!({
        "environment": context.environment, "copy_bandwidth": 4.2e12, "cupti_problem": null,
        "confinement_problem": null, "copies": false,
    });
    let facts: RunFacts = serde_json::from_value(facts).expect("what every run knows");
    let definition = repository().join("kernels/rmsnorm_h4096/definition.json");
    let definition = Definition::from_json(&fs::read_to_string(definition).unwrap()).unwrap();
    let (expected, seed) = (records.len(), records[0].seed);
    let measured = Box::new(Measured {
        context,
        facts,
        recordings: Recordings::default(),
        records,
        expected,
        seed,
        definition,
    });
    Outcome::Measured { subject: subject(), measured }
}

#[test]
fn what_a_gpu_left_makes_documents_of_bench_and_of_a_job() {
    for mut records in recorded_runs() {
        let outcome = measured(records.clone());
        let document = printed("proofmark.bench", &outcome);
        assert!(document["overall"]["count"].as_u64().unwrap() > 0, "{document:#}");
        check(&document);
        check(&printed_by_a_job(&outcome));
        records[0].finding.verdict = Some(Verdict::Timeout { reason: "no answer".to_owned() });
        let document = printed("proofmark.bench", &measured(records));
        assert_eq!(document["overall"], Value::Null);
        check(&document);
    }
}

#[test]
fn a_sealed_speed_held_against_itself_is_what_the_schema_of_replay_allows() {
    let schema = json!({ "$defs": all()["proofmark.replay"]["$defs"], "$ref": "#/$defs/speed" });
    for records in recorded_runs() {
        let compared = SpeedComparison::of(&records, &records).expect("it passed");
        assert!(compared.holds);
        let speed = json!(ReplayedSpeed::Compared(compared));
        assert_eq!(faults(&schema, &speed), Vec::<String>::new(), "{speed:#}");
    }
    let skipped = json!(ReplayedSpeed::Skipped { skipped: "no GPU".to_owned() });
    assert_eq!(faults(&schema, &skipped), Vec::<String>::new());
}

#[test]
fn decisions_of_every_kind_make_documents_of_compare_and_of_a_job() {
    let protocol = Protocol { samples_per_cell: 3, blocks_per_process: 4, ..Protocol::default() };
    let worlds = [
        ("worse", World { truth: 0.05, ..World::default() }),
        ("better", World { truth: -0.05, ..World::default() }),
        ("equal", World { process_deviation: 0.001, ..World::default() }),
        ("undecided", World { process_deviation: 0.2, clock_is_visible: false, ..World::default() }),
    ];
    for (decision, world) in worlds {
        let trust = if decision == "equal" { Trust::before_recordings() } else { Trust::Hermetic };
        let comparison = simulation::run(&protocol, &world, 2, 1);
        let report = comparison.report().expect("it has ended");
        let context = recorded_runs()[0][0].context.clone();
        let record = ComparisonRecord {
            timestamp: recorded_runs()[0][0].timestamp.clone(),
            a: context.clone(),
            b: context,
            trust: trust.clone(),
            report: report.clone(),
            events: comparison.events().to_vec(),
            readings: Vec::new(),
        };
        let events = comparison.events().to_vec();
        let settled = Settled { report, trust, events, readings: Vec::new() };
        let outcome = Outcome::Compared {
            incumbent: subject(),
            candidate: subject(),
            compared: Compared::Decided(Box::new(settled)),
            record: Some(Box::new(Record::Comparison(Box::new(record)))),
        };
        let document = printed("proofmark.compare", &outcome);
        assert_eq!(document["report"]["decision"], decision, "{document:#}");
        check(&document);
        check(&printed_by_a_job(&outcome));
    }
    let verdict = Verdict::IncorrectNumerical { reason: "output `y`".to_owned() };
    let compared = Compared::Disqualified { arm: Arm::B, workload: "u".to_owned(), verdict };
    let outcome = Outcome::Compared { incumbent: subject(), candidate: subject(), compared, record: None };
    check(&printed("proofmark.compare", &outcome));
    check(&printed_by_a_job(&outcome));
}

#[test]
fn a_job_of_every_verb_is_what_its_schema_allows_and_a_field_too_many_is_not() {
    let sandbox = Sandbox::new();
    let path = |name: &str| repository().join(name).display().to_string();
    let kernel = path("kernels/rmsnorm_h4096/block_per_row");
    let library = path("tests/fixtures/proof/exact_13.0.so");
    let sealed = path("solutions/gdn_decode_straightforward-264a77956baf-sm_90a-h200.zip");
    let definition = path("kernels/rmsnorm_h4096/definition.json");
    let bare = ["--definition", &definition, "--reference", &library, "--seed", "7"];
    for (verb, arguments) in [
        ("build", vec![&*kernel]),
        ("seal", vec![&*kernel]),
        ("seal", vec![&*kernel, "--no-measure", "--fresh"]),
        ("replay", vec![&*sealed]),
        ("bench", vec![&*kernel]),
        ("bench", [&[&*library][..], &bare].concat()),
        ("compare", vec![&*kernel, &*kernel, "--within", "60"]),
        ("compare", [&[&*library, &*library][..], &bare].concat()),
    ] {
        let arguments = [&[verb, "--as-job"][..], &arguments].concat();
        let job = sandbox.run(&arguments).expect(0).json();
        assert_eq!((&job["schema"], &job["action"]["verb"]), (&"proofmark.job".into(), &verb.into()));
        let mut more = job.clone();
        more["action"]["more"] = json!(1);
        assert!(!faults(&all()["proofmark.job"], &more).is_empty(), "{arguments:?}");
    }
}
