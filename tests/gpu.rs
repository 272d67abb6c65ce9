//! Everything that needs a GPU. `scripts/gpu.sh` runs these one after another and keeps what they
//! print; elsewhere they are ignored.

mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use proofmark::measure::judge::comparison::OutputComparison;
use proofmark::measure::judge::distribution::{Distribution, Profile};
use proofmark::measure::judge::element::decode;
use proofmark::measure::judge::generator::{Recipe, Stream as RandomStream, generate};
use proofmark::measure::judge::layout::number;
use proofmark::measure::judge::source::fill_recipe;
use proofmark::measure::judge::tolerance::Tolerance;
use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use proofmark_packager::interop::flashinfer::Dtype;
use proofmark_player::device::context::Gpu;
use proofmark_player::device::instruments::{Instruments, OutputPair};
use proofmark_player::device::memory::{DeviceBuffer, download, upload};
use proofmark_player::device::stream::Stream;
use serde_json::Value;

use crate::support::{Outcome, program, repository, run};
use fixtures::fixture;

/// The architecture of the GPU that is here: its own number, with everything it has.
fn arch() -> String {
    let gpu = Gpu::open().expect("a GPU");
    format!("sm_{}a", gpu.facts().number())
}

fn proofmark(arguments: &[&str]) -> Outcome {
    run(Command::new(program()).args(arguments).stdin(Stdio::null()))
}

fn kernel(name: &str) -> String {
    repository().join("kernels").join(name).display().to_string()
}

const GDN: &str = "gdn_decode_qk4_v8_d128_k_last/one_pass";
const GDN_TASK: &str = "gdn_decode_qk4_v8_d128_k_last";
const GDN_REFERENCE: &str = "gdn_decode_qk4_v8_d128_k_last/reference";
const RMSNORM: &str = "rmsnorm_h4096/block_per_row";
const RMSNORM_REFERENCE: &str = "rmsnorm_h4096/reference";

fn bench(subject: &str, more: &[&str]) -> Outcome {
    let arch = arch();
    let mut arguments = vec!["bench", subject, "--arch", &arch, "--offline", "--json"];
    arguments.extend(more);
    proofmark(&arguments)
}

fn mean_us(document: &Value) -> f64 {
    document["overall"]["arithmetic_mean_ns"].as_f64().expect("an overall mean") / 1e3
}

fn buffers(gpu: &std::rc::Rc<Gpu>, sizes: [u64; 2]) -> [DeviceBuffer; 2] {
    sizes.map(|size| DeviceBuffer::allocate(gpu, size).unwrap())
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_01_makes_the_same_inputs_as_the_cpu() {
    let gpu = Gpu::open().unwrap();
    let (stream, instruments) = (Stream::new(&gpu).unwrap(), Instruments::load(&gpu, "test").unwrap());
    let [block, _] = buffers(&gpu, [1 << 20, 1]);
    for dtype in Dtype::ALL {
        for profile in Profile::ALL {
            let distributions = [
                Distribution::of_dtype(dtype),
                Distribution::Flat { low: -6.5, high: 300.25 },
                Distribution::Bell {
                    mean: 0.1,
                    deviation: if profile == Profile::Wide { 1e4 } else { 3.0 },
                    limit: f32::INFINITY,
                },
            ];
            for distribution in distributions.into_iter().take(if dtype.is_float() { 3 } else { 1 }) {
                let (recipe, count) = (Recipe::from(distribution), 10_007_usize);
                let random = RandomStream::new(0xABCD, "uuid", dtype.name(), 7);
                let expected = generate(&recipe, &random, dtype, 0, count);
                let region = block.region(0, expected.len() as u64).unwrap();
                let fill = fill_recipe(&recipe, &random);
                instruments.make(region, number(dtype), &fill, count as u64, &stream).unwrap();
                let mut found = vec![0; expected.len()];
                download(region, &mut found, &stream).unwrap();
                assert_eq!(found, expected, "{dtype} {distribution:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_02_compares_as_the_cpu_does() {
    let gpu = Gpu::open().unwrap();
    let (stream, instruments) = (Stream::new(&gpu).unwrap(), Instruments::load(&gpu, "test").unwrap());
    let [a, b] = buffers(&gpu, [1 << 20, 1 << 20]);
    let tolerance = Tolerance { atol: 1e-2, rtol: 1e-2, required_matched_ratio: 1.0 };
    for dtype in Dtype::ALL {
        let count = 5001;
        let make = |name| {
            let recipe = Recipe::from(Distribution::of_dtype(dtype));
            generate(&recipe, &RandomStream::new(1, "u", name, 0), dtype, 0, count)
        };
        let expected = make("expected");
        // Half of the elements are right, the others of another draw.
        let mut found = make("found");
        let half = found.len() / 2;
        found[..half].copy_from_slice(&expected[..half]);
        if dtype == Dtype::Float32 {
            found[4 * 4000..4 * 4001].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        upload(&found, a.whole(), &stream).unwrap();
        upload(&expected, b.whole(), &stream).unwrap();
        let size = found.len() as u64;
        let (left, right) = (a.region(0, size).unwrap(), b.region(0, size).unwrap());
        let tolerances = (tolerance.atol, tolerance.rtol);
        let compared = OutputPair {
            found: left,
            found_dtype: number(dtype),
            expected: right,
            expected_dtype: number(dtype),
            count: count as u64,
        };
        let kept = [(left, left), (left, right)];
        let (comparisons, changed) = instruments.check(&[compared; 17], tolerances, &kept, &stream).unwrap();
        assert_eq!((comparisons.len(), comparisons[0].off), (17, comparisons[16].off), "{dtype}");
        assert!(changed > 0, "{dtype}");
        assert_eq!(instruments.check(&[], tolerances, &kept[..1], &stream).unwrap(), (vec![], 0), "{dtype}");
        let from_device = comparisons[0];
        let values: Vec<f64> = (0..count).map(|index| decode(dtype, &expected, index).unwrap()).collect();
        let from_host = OutputComparison::new(dtype, &found, &values, &tolerance).unwrap();
        assert_eq!(
            (from_device.off, from_device.non_finite),
            (from_host.off_count, from_host.non_finite_count),
            "{dtype}"
        );
        assert!((from_device.max_absolute - from_host.max_absolute_error).abs() < 1e-12, "{dtype}");
        assert!((from_device.norm_error() / from_host.norm_error - 1.0).abs() < 1e-9, "{dtype}");
    }
}

/// Measures all 54 workloads, builds included, and returns the mean.
fn all_54(name: &str, more: &[&str]) -> f64 {
    let ended = bench(&kernel(name), more);
    let document = ended.json();
    let verdicts = document["workloads"].as_array().unwrap();
    println!(
        "{name}: {} of {} passed, mean {:.3} µs, {:.1} s",
        document["passed"],
        verdicts.len(),
        mean_us(&document),
        ended.seconds
    );
    assert_eq!((verdicts.len(), ended.code), (54, 0), "{}", ended.stderr);
    assert!(ended.seconds < 120.0);
    if more.contains(&"--fresh") {
        print_by_batch(&document);
    }
    mean_us(&document)
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_03_all_54_workloads_get_a_verdict_and_five_fresh_runs_agree() {
    let first = all_54(GDN, &["--fresh"]);
    let means: Vec<f64> = std::iter::once(first).chain((0..4).map(|_| all_54(GDN, &[]))).collect();
    let (low, high) =
        means.iter().fold((f64::MAX, 0.0_f64), |(low, high), mean| (low.min(*mean), high.max(*mean)));
    println!("five runs: {means:.3?} µs, spread {:.2} %", 100.0 * (high / low - 1.0));
    assert!(high / low < 1.02, "{means:?}");
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_04_the_naive_reference_as_subject_gets_a_verdict_for_all_54_workloads() {
    all_54(GDN_REFERENCE, &["--fresh", "--reference", &kernel(GDN_REFERENCE)]);
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_05_a_slow_reference_makes_few_contents_and_batches_are_no_larger() {
    let slow = ["--reference", "definition", "--each", "1", "--batch", "8,64"];
    let ended = bench(&kernel(GDN), &slow);
    println!("{} of {}, {:.1} s", ended.json()["passed"], ended.json()["expected"], ended.seconds);
    assert_eq!((ended.code, &ended.json()["passed"]), (0, &2.into()), "{}", ended.stderr);
}

/// Medians of the three clocks, the judge's bound and the host's share, one line a batch size.
fn print_by_batch(document: &Value) {
    let mut seen = BTreeMap::new();
    for one in document["workloads"].as_array().unwrap() {
        let batch = one["workload"]["axes"]["batch_size"].as_u64().unwrap_or(0);
        seen.entry(batch).or_insert(one);
    }
    for (batch, one) in seen {
        let clocks: Vec<String> = one["measurements"]
            .as_array()
            .unwrap()
            .iter()
            .map(|clock| {
                let samples: Vec<f64> =
                    clock["samples_ns"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
                let median = proofmark::measure::statistics::median(&samples).unwrap_or(f64::NAN);
                format!("{} {} {:.2}", clock["method"], clock["l2_state"], median / 1e3)
            })
            .collect();
        println!(
            "  B={batch}: {}; bound {:.2}, dispatch {:.2} µs; {}",
            clocks.join(", "),
            one["wall_bound_ns"].as_f64().unwrap_or(f64::NAN) / 1e3,
            one["dispatch_ns"].as_f64().unwrap_or(f64::NAN) / 1e3,
            one["notes"]
        );
    }
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_06_a_wrong_architecture_is_one_sentence_and_exit_code_3() {
    let other = if arch() == "sm_100a" { "sm_90a" } else { "sm_100a" };
    let ended = proofmark(&["bench", &kernel(RMSNORM), "--arch", other, "--offline"]);
    println!("{}", ended.stderr.trim());
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains(other) && ended.stderr.contains("cannot run it"));
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_07_copies_and_a_missing_tracer_still_give_verdicts_and_say_so() {
    let copies = bench(&kernel(GDN), &["--each", "1", "--batch", "1,8", "--copies"]);
    assert_eq!((copies.code, &copies.json()["run"]["copies"]), (0, &Value::Bool(true)), "{}", copies.stderr);
    let blind = bench(&kernel(GDN), &["--each", "1", "--batch", "8", "--cupti", "/nowhere/libcupti.so"]);
    let document = blind.json();
    assert_eq!(blind.code, 0, "{}", blind.stderr);
    assert_eq!(document["workloads"][0]["measurements"][0]["method"], "event_pair");
    assert!(blind.stderr.contains("no CUPTI") && document["run"]["cupti_problem"].is_string());
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_08_an_interrupted_run_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record.jsonl").display().to_string();
    let first = bench(&kernel(GDN), &["--batch", "1,4", "--record", &record]);
    let lines = fs::read_to_string(&record).unwrap().lines().count();
    assert_eq!((first.code, lines), (0, first.json()["workloads"].as_array().unwrap().len()));
    let second = bench(&kernel(GDN), &["--batch", "1,4,64", "--record", &record]);
    let all = second.json()["workloads"].as_array().unwrap().len();
    println!("{lines} workloads kept, {all} in the end, {:.1} s then {:.1} s", first.seconds, second.seconds);
    assert_eq!(fs::read_to_string(&record).unwrap().lines().count(), all);
}

/// `tests/fixtures/honest/slow` with another number of repeats.
fn repeated(folder: &Path, repeats: u32) -> String {
    let name = format!("repeated_{repeats}");
    let made = fixture(folder, &repository().join("tests/fixtures/honest/slow"), &name);
    let source = fs::read_to_string(made.join("kernel.cu")).unwrap();
    fs::write(made.join("kernel.cu"), source.replace("40", &repeats.to_string())).unwrap();
    made.display().to_string()
}

fn decision(a: &str, b: &str) -> (String, Value, f64) {
    let (arch, reference) = (arch(), kernel(RMSNORM_REFERENCE));
    let quick = ["--looks", "6,10,16", "--blocks", "6", "--samples", "10", "--warmup", "100"];
    let mut arguments =
        vec!["compare", a, b, "--arch", &arch, "--reference", &reference, "--offline", "--json"];
    arguments.extend(quick);
    let ended = proofmark(&arguments);
    let document = ended.json();
    let found = document["report"]["decision"].as_str().or(document["decision"].as_str());
    (found.unwrap_or("none").to_owned(), document["report"]["ratio"].clone(), ended.seconds)
}

fn rounds(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_09_an_artifact_is_never_better_or_worse_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let one = repeated(folder.path(), 33);
    let count = rounds("PROOFMARK_EQUAL_ROUNDS", 3);
    let found: Vec<_> = (0..count).map(|_| decision(&one, &one)).collect();
    for (answer, ratio, seconds) in &found {
        println!("with itself: {answer} {ratio} {seconds:.1} s");
    }
    assert!(found.iter().all(|(answer, ..)| answer != "better" && answer != "worse"));
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_10_three_percent_slower_is_worse() {
    let folder = tempfile::tempdir().unwrap();
    let (one, slower) = (repeated(folder.path(), 33), repeated(folder.path(), 34));
    let count = rounds("PROOFMARK_WORSE_ROUNDS", 1);
    let found: Vec<_> = (0..count).map(|_| decision(&one, &slower)).collect();
    for (answer, ratio, seconds) in &found {
        println!("one repeat in 33 more: {answer} {ratio} {seconds:.1} s");
    }
    let worse = found.iter().filter(|(answer, ..)| answer == "worse").count();
    println!("{worse} of {count} worse");
    assert!(10 * worse >= 9 * count);
}

/// Seals the folder at `path` on the GPU that is here.
fn seal(path: &str, out: &Path) -> Value {
    let out = out.display().to_string();
    let ended = proofmark(&["seal", path, "-o", &out, "--arch", &arch(), "--offline", "--json"]);
    assert_eq!(ended.code, 0, "{} {}", ended.stdout, ended.stderr);
    ended.json()
}

fn replay(path: &Path) -> (i32, Value) {
    let (path, reference) = (path.display().to_string(), kernel(RMSNORM_REFERENCE));
    let ended = proofmark(&["replay", &path, "--reference", &reference, "--offline", "--fresh", "--json"]);
    (ended.code, ended.json())
}

/// The sealed artifact, its samples multiplied, sealed as consistently as before.
fn with_samples_times(factor: f64, sealed: &Path, out: &Path) {
    let mut bundle = proofmark_packager::open::open(sealed).unwrap().bundle;
    let text = bundle.evidence.get(MEASUREMENTS_EVIDENCE).expect("measurements").to_vec();
    let mut lines = Vec::new();
    for line in String::from_utf8(text).unwrap().lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        for clock in record["finding"]["measurements"].as_array_mut().unwrap() {
            for sample in clock["samples_ns"].as_array_mut().unwrap() {
                *sample = Value::from(sample.as_f64().unwrap() * factor);
            }
        }
        lines.extend(serde_json::to_vec(&record).unwrap());
        lines.push(b'\n');
    }
    bundle.evidence = bundle.evidence.with(MEASUREMENTS_EVIDENCE, lines);
    fs::write(out, proofmark_packager::bundle::write(&bundle)).unwrap();
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_11_sealing_measures_and_replaying_says_whether_the_speed_still_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, claimed) = (folder.path().join("sealed.zip"), folder.path().join("claimed.zip"));
    let measured = seal(&kernel(RMSNORM), &sealed)["measured"].clone();
    println!("sealed: {:.3} µs on {}", measured["mean_us"].as_f64().expect("a mean"), measured["device"]);
    let (code, replayed) = replay(&sealed);
    println!("replayed: identical {}, speed {}", replayed["identical"], replayed["speed"]);
    assert_eq!((code, &replayed["identical"]), (0, &Value::Bool(true)));
    assert_eq!((&replayed["speed"]["holds"], &replayed["speed"]["workloads"]), (&true.into(), &14.into()));
    println!("launches: {}", replayed["recordings"]);
    assert_eq!(replayed["recordings"]["same"], 14, "{}", replayed["recordings"]);

    // Without its sources, its compiler or a rebuild.
    let path = sealed.display().to_string();
    let launched = proofmark(&["replay", &path, "--recorded", "--offline", "--json"]);
    println!("launched as sealed: {} {}", launched.json()["speed"], launched.stderr.trim());
    assert_eq!((launched.code, &launched.json()["verdict"]), (0, &"launched_as_sealed".into()));
    assert_eq!(launched.json()["speed"]["trust"], "hermetic");

    with_samples_times(0.8, &sealed, &claimed);
    let (code, replayed) = replay(&claimed);
    println!("the same, 20 % faster on paper: {}", replayed["speed"]);
    assert_eq!((code, &replayed["identical"]), (1, &Value::Bool(true)));
    assert_eq!(replayed["speed"]["holds"], false);
}

/// A data set with one workload of `rmsnorm_h4096` whose rows were captured.
fn captured_dataset(root: &Path, values: &[u8], shape: [usize; 2]) {
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let definition = fs::read(kernel("rmsnorm_h4096") + "/definition.json").unwrap();
    write("definitions/rmsnorm/rmsnorm_h4096.json", &definition);
    let workload = r#"{"definition": "rmsnorm_h4096", "solution": null, "evaluation": null, "workload":
        {"uuid": "captured", "axes": {"batch_size": 32}, "inputs": {"weight": {"type": "random"}, "hidden_states":
        {"type": "safetensors", "path": "./blob/workloads/rows.safetensors", "tensor_key": "rows"}}}}"#;
    write("workloads/rmsnorm/rmsnorm_h4096.jsonl", workload.replace('\n', " ").as_bytes());
    let header =
        format!(r#"{{"rows":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[0,{}]}}}}"#, values.len());
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(values);
    write("blob/workloads/rows.safetensors", &file);
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_12_a_data_set_with_captured_tensors_is_measured_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let recipe = Recipe::from(Distribution::of_dtype(Dtype::Bfloat16));
    let values = generate(&recipe, &RandomStream::new(1, "u", "rows", 0), Dtype::Bfloat16, 0, 32 * 4096);
    captured_dataset(root.path(), &values, [32, 4096]);
    let dataset = root.path().display().to_string();
    let ended = bench(&kernel(RMSNORM), &["--dataset", &dataset, "--traces", &dataset]);
    let document = ended.json();
    println!("captured: {} of {}, {:.3} µs", document["passed"], document["expected"], mean_us(&document));
    assert_eq!((ended.code, &document["expected"]), (0, &1.into()), "{}", ended.stderr);
    let traces =
        proofmark_packager::interop::flashinfer::Dataset::open(root.path()).unwrap().traces("rmsnorm_h4096");
    assert_eq!(traces.unwrap().len(), 1);

    captured_dataset(root.path(), &values, [4096, 32]);
    let refused = bench(&kernel(RMSNORM), &["--dataset", &dataset]);
    println!("{}", refused.stderr.trim());
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("expected BF16 [32, 4096]") && refused.stderr.contains("rows"));
}

/// Mean over the first workload of batch 1 and of batch 4, in microseconds.
fn small_batches_us(subject: &str) -> f64 {
    let reference = kernel(GDN_REFERENCE);
    let ended = bench(subject, &["--reference", &reference, "--batch", "1,4", "--each", "1"]);
    assert_eq!(ended.code, 0, "{} {}", ended.stdout, ended.stderr);
    mean_us(&ended.json())
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_13_what_a_hint_pins_in_l2_is_gone_at_the_next_call() {
    let task = tempfile::tempdir().unwrap();
    for name in ["definition.json", "workloads.jsonl"] {
        fs::copy(format!("{}/{name}", kernel(GDN_TASK)), task.path().join(name)).unwrap();
    }
    let folder = task.path().join("pinned");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(kernel(GDN)).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
        let text = fs::read_to_string(entry.path()).unwrap();
        let pinned = text.replace("L2::evict_first.b64", "L2::evict_last.b64");
        assert_eq!(pinned != text, entry.file_name() == "memory.h");
        fs::write(folder.join(entry.file_name()), pinned).unwrap();
    }
    let honest = small_batches_us(&kernel(GDN));
    let pinned = small_batches_us(&folder.display().to_string());
    println!("state read with evict_first {honest:.3} µs, with evict_last {pinned:.3} µs");
    // A harness that only writes over L2 reads a sixth less.
    assert!((0.95..1.05).contains(&(pinned / honest)));
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_14_the_driver_needs_no_call_that_is_refused() {
    let ended = bench(&kernel(GDN), &["--each", "1", "--batch", "1", "--show-refused-calls"]);
    let refused: Vec<&str> =
        ended.stderr.lines().filter(|line| line.contains("player: refused system call")).collect();
    println!("{} refused calls: {refused:?}", refused.len());
    let document = ended.json();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(document["run"]["confinement_problem"], Value::Null, "{}", document["run"]);
    assert_eq!(document["run"]["copies"], Value::Bool(false), "device IPC works under the bound on files");
}

/// Median latency of each workload in microseconds, by batch size.
fn by_batch(more: &[&str]) -> BTreeMap<u64, f64> {
    let mut arguments = vec!["--each", "1"];
    arguments.extend(more);
    let ended = bench(&kernel(GDN), &arguments);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut medians = BTreeMap::new();
    for one in ended.json()["workloads"].as_array().unwrap() {
        let samples = one["measurements"][0]["samples_ns"].as_array().unwrap();
        let samples: Vec<f64> = samples.iter().filter_map(Value::as_f64).collect();
        let median = proofmark::measure::statistics::median(&samples).expect("samples");
        medians.insert(one["workload"]["axes"]["batch_size"].as_u64().unwrap(), median / 1e3);
    }
    medians
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_15_times_of_recordings_are_those_of_the_process_itself() {
    let rounds: Vec<_> = (0..3).map(|_| (by_batch(&[]), by_batch(&["--live", "always"]))).collect();
    for batch in rounds[0].0.keys() {
        let median = |times: Vec<f64>| proofmark::measure::statistics::median(&times).unwrap();
        let hermetic = median(rounds.iter().map(|(hermetic, _)| hermetic[batch]).collect());
        let live = median(rounds.iter().map(|(_, live)| live[batch]).collect());
        println!(
            "  B={batch}: hermetic {hermetic:.2} µs, live {live:.2} µs, {:+.1} %",
            100.0 * (hermetic / live - 1.0)
        );
        assert!((hermetic / live - 1.0).abs() < 0.05);
    }
}

/// Challenges whoever is champion, by the protocol as it is, on one workload of the largest batch.
fn challenge(folder: &Path, subject: &str) -> (i32, Value) {
    let (subject, arch) = (kernel(subject), arch());
    let [shelf, ledger] = ["shelf", "ledger"].map(|name| folder.join(name).display().to_string());
    let places = ["--promote", "--shelf", &shelf, "--ledger", &ledger];
    let what =
        ["challenge", &subject, "--arch", &arch, "--batch", "64", "--each", "1", "--offline", "--json"];
    let ended = proofmark(&[&what[..], &places].concat());
    let document = ended.json();
    println!(
        "{} in {:.0} s: {}, {}",
        document["answer"], ended.seconds, document["reason"], document["ratio"]
    );
    (ended.code, document)
}

#[test]
#[ignore = "needs a GPU: scripts/gpu.sh"]
fn gpu_16_a_faster_kernel_is_kept_and_a_slower_one_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let slow = "gdn_decode_qk4_v8_d128_k_last/warp_per_row";
    let (code, first) = challenge(folder.path(), slow);
    assert_eq!((code, &first["answer"], &first["champion"]), (0, &"keep".into(), &Value::Null));
    let (code, faster) = challenge(folder.path(), GDN);
    assert_eq!((code, &faster["answer"], &faster["champion"]), (0, &"keep".into(), &first["candidate"]));
    assert!(faster["ratio"]["high"].as_f64().is_some_and(|high| high < 1.0), "{faster}");
    let (code, slower) = challenge(folder.path(), slow);
    assert_eq!((code, &slower["answer"], &slower["promoted"]), (1, &"reject".into(), &Value::Null));
    assert_eq!(slower["champion"], faster["candidate"]);
    let ledger = folder.path().join("ledger").display().to_string();
    let lineages = proofmark(&["ledger", "lineage", "--ledger", &ledger, "--json"]).json();
    assert_eq!(lineages["lineages"][0]["path"].as_array().map(Vec::len), Some(2), "{lineages}");
}
