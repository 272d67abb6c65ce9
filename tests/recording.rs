//! Claimed recordings held against a proven library, without a GPU.

use std::collections::BTreeSet;

use std::rc::Rc;

use proofmark::evidence::{SealedRecordingError, SealedRecordings};
use proofmark::proof::{RequestedClaim, prove};
use proofmark::recording::{CheckedRecording, DeviceImages, check};
use proofmark_packager::format::RECORDINGS_EVIDENCE;
use proofmark_packager::{Arch, Digest, Evidence, Gencode};
use proofmark_player::recording::{
    Allocation, Call, Contents, Launch, Module, Node, RecordedKernel, Recording, VERSION, Variable, Work,
};

use crate::support::{Sandbox, repository};

const VARIABLES: [(&str, u64); 4] = [("counter", 4), ("factors", 8), ("scratch", 8), ("table", 4 * 4096)];

/// The library of `tests/fixtures/honest/<name>`, and the digests of its proven images.
fn library(name: &str) -> (Vec<u8>, Vec<Digest>) {
    let sandbox = Sandbox::sharing_builds();
    let fixtures = repository().join("tests/fixtures");
    for file in ["config.toml", "kernel.cu"] {
        let text = std::fs::read(fixtures.join("honest").join(name).join(file)).unwrap();
        sandbox.write(format!("{name}/{file}"), text);
    }
    sandbox.write(format!("{name}/rows.cuh"), std::fs::read(fixtures.join("rows.cuh")).unwrap());
    let built = sandbox.build(["build", name, "--arch", "sm_90a", "-o", "library.so", "--json"]).expect(0);
    assert_eq!(built.json()["verdict"], "proven");
    let library = std::fs::read(sandbox.path("library.so")).unwrap();
    let arch: Arch = "sm_90a".parse().unwrap();
    let claim = RequestedClaim::from_command([format!("-gencode={}", Gencode::exact(arch))]);
    let proof = prove(&claim, &library, arch).unwrap();
    let images = proof.device_images().iter().map(|image| image.digest).collect();
    (library, images)
}

fn kernel(name: &str) -> RecordedKernel {
    RecordedKernel {
        name: name.to_owned(),
        max_dynamic_shared_bytes: 0,
        shared_carveout: -1,
        non_portable_clusters: false,
        parameters: vec![(0, 8)],
    }
}

/// A recording of one launch of a kernel whose module has these variables.
fn claim(kernel_name: &str, variables: &[(&str, u64)]) -> Recording {
    let variable = |(name, size_bytes): &(&str, u64)| Variable {
        name: (*name).to_owned(),
        size_bytes: *size_bytes,
        contents: Contents::Zeros,
    };
    let launch = Launch {
        module: 0,
        kernel: 0,
        grid: [1, 1, 1],
        block: [32, 1, 1],
        shared_bytes: 0,
        cluster: None,
        cooperative: false,
        programmatic: false,
        parameters: vec![0; 8],
        relocations: Vec::new(),
    };
    Recording {
        version: VERSION,
        modules: vec![Module {
            image: None,
            kernels: vec![kernel(kernel_name)],
            variables: variables.iter().map(variable).collect(),
            unread: Vec::new(),
        }],
        memory: Vec::new(),
        calls: vec![Call {
            graph: false,
            nodes: vec![Node { after: Vec::new(), work: Work::Launch(launch) }],
        }],
    }
}

#[test]
fn a_recording_is_launched_only_where_every_module_is_a_proven_image() {
    let (library, proven) = library("variables");
    let images = DeviceImages::of(&library, &proven);
    let names: BTreeSet<String> = images.variables().into_iter().collect();
    let scratch_and_others: Vec<&String> = names.iter().collect();
    // Names of internal linkage carry the source's, so they are looked up by what they end in.
    let full_name = |short: &str| {
        let found = scratch_and_others.iter().find(|name| name.ends_with(short) || name.contains(short));
        found.unwrap_or_else(|| panic!("no variable {short} in {names:?}")).as_str()
    };
    let variables: Vec<(&str, u64)> = VARIABLES.map(|(short, size)| (full_name(short), size)).to_vec();
    assert_eq!(variables.len(), names.len(), "{names:?}");
    let make_table = kernel_named(&library, "make_table");

    let checked = check(claim(&make_table, &variables), &images, 1).unwrap();
    assert_eq!(checked.modules[0].image, Some(proven[0]));
    assert!(images.code(proven[0]).unwrap().starts_with(b"\x7fELF"));
    assert_eq!(Digest::of_bytes(images.code(proven[0]).unwrap()), proven[0]);

    let refused = |recording: Recording, words: &str| {
        let reason = check(recording, &images, 1).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    };
    refused(claim("\u{1b}[2Jmine", &variables), "kernel `\\u{1b}[2Jmine` comes from no image");
    // What was not recorded is named, so that the stage can refuse what a name finds.
    let partial = check(claim(&make_table, &variables[1..]), &images, 1).unwrap();
    assert_eq!(partial.modules[0].unread, [variables[0].0.to_owned()]);
    assert!(checked.modules[0].unread.is_empty());
    let mut larger = variables.clone();
    larger[0].1 += 4;
    refused(claim(&make_table, &larger), "variables that its image lacks");
    refused(Recording { calls: Vec::new(), ..claim(&make_table, &variables) }, "0 calls where 1 were due");
    refused(Recording { version: VERSION + 1, ..claim(&make_table, &variables) }, "has version 2");
    let block = Allocation { address: 1 << 45, size_bytes: u64::MAX, contents: Contents::Zeros };
    refused(Recording { memory: vec![block], ..claim(&make_table, &variables) }, "128 GiB are the limit");
    let mut long = claim(&make_table, &variables);
    long.calls[0].nodes = vec![long.calls[0].nodes[0].clone(); 901];
    refused(long, "a call of 901 launches");

    let unproven = DeviceImages::of(&library, &[]);
    assert!(unproven.is_empty());
    assert!(check(claim(&make_table, &variables), &unproven, 1).is_err());
}

#[test]
fn sealed_recordings_are_launched_again_only_where_their_machine_code_is_proven() {
    let (library, proven) = library("variables");
    let images = Rc::new(DeviceImages::of(&library, &proven));
    let recording = check(claim(&kernel_named(&library, "make_table"), &[]), &images, 1).unwrap();
    let contents = Rc::new(vec![vec![7; 4096]]);
    let one = CheckedRecording {
        recording,
        contents,
        images,
        launched: std::rc::Rc::default(),
        host_ns: Some(3e3),
    };
    let sealed = SealedRecordings::of([("a workload", &one)]).join(Evidence::default());
    let names: Vec<String> = sealed.files().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names.len(), 3, "{names:?}");

    let (exact, other): (Arch, Arch) = ("sm_90a".parse().unwrap(), "sm_100a".parse().unwrap());
    let read = SealedRecordings::read(&sealed).unwrap();
    let again = &read.prove(exact).unwrap()["a workload"];
    assert_eq!((&one.recording, &one.contents), (&again.recording, &again.contents));
    assert_eq!((again.host_ns, again.code().collect::<Vec<_>>()), (Some(3e3), one.code().collect()));
    assert!(matches!(read.prove(other), Err(SealedRecordingError::Unproven { .. })));
    assert!(matches!(SealedRecordings::read(&Evidence::default()), Err(SealedRecordingError::Missing)));

    let with = |name: &str, bytes: Vec<u8>| SealedRecordings::read(&sealed.clone().with(name, bytes));
    let bomb = zstd::bulk::compress(&vec![0; 300 << 20], 1).unwrap();
    for (name, bytes) in [
        (RECORDINGS_EVIDENCE, b"not compressed".to_vec()),
        (RECORDINGS_EVIDENCE, zstd::bulk::compress(b"{}", 1).unwrap()),
        (RECORDINGS_EVIDENCE, bomb.clone()),
        (names[0].as_str(), bomb),
        (names[0].as_str(), sealed.get(&names[1]).unwrap().to_vec()),
    ] {
        assert!(with(name, bytes).is_err(), "{name}");
    }
    // Another library's code under this recording.
    let text = zstd::decode_all(sealed.get(RECORDINGS_EVIDENCE).unwrap()).unwrap();
    let renamed = String::from_utf8(text).unwrap().replace("make_table", "make_cable");
    let renamed = with(RECORDINGS_EVIDENCE, zstd::bulk::compress(renamed.as_bytes(), 1).unwrap()).unwrap();
    assert!(matches!(renamed.prove(exact), Err(SealedRecordingError::Unfit { .. })));
}

/// The kernel whose linked name holds a word.
fn kernel_named(library: &[u8], word: &str) -> String {
    let examination = proofmark::proof::examine(library);
    let cubins = examination.entries.iter().filter_map(|entry| entry.cubin.as_ref());
    let mut names = cubins.flat_map(|cubin| &cubin.kernels).map(|kernel| kernel.name.clone());
    names.find(|name| name.contains(word)).unwrap_or_else(|| panic!("no kernel {word}"))
}
