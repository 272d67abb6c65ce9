//! `proofmark verify` over small honest builds and over what a forger would make of them.

use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, repository};

/// Where the fixtures lie; `scripts/proof-fixtures.sh` makes them anew.
fn fixture(name: &str) -> String {
    repository().join("tests/fixtures/proof").join(name).display().to_string()
}

fn verdict(sandbox: &Sandbox, path: &str, more: &[&str]) -> (Value, i32) {
    let arguments = ["--json", "verify", path].into_iter().chain(more.iter().copied());
    let outcome = sandbox.run(arguments);
    (outcome.json(), outcome.code)
}

#[test]
fn every_honest_exact_build_is_exact_and_exits_zero() {
    let sandbox = Sandbox::new();
    let mut seen = 0;
    for item in fs::read_dir(repository().join("tests/fixtures/proof")).unwrap() {
        let name = item.unwrap().file_name().into_string().unwrap();
        if name.starts_with("exact_") {
            let (document, code) = verdict(&sandbox, &fixture(&name), &[]);
            assert_eq!((document["verdict"].as_str(), code), (Some("exact"), 0), "{name}: {document:#}");
            assert_eq!(document["entries"][0]["arch"], "sm_100a", "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} honest builds among the fixtures");
}

#[test]
fn every_other_build_gets_its_own_verdict_and_exits_one() {
    let sandbox = Sandbox::new();
    for (name, expected) in [
        ("plain_13.0.cubin", "weaker"),
        ("family_13.0.fatbin", "weaker"),
        ("family_lineinfo_13.0.cubin", "weaker"),
        ("lto_13.0.o", "weaker"),
        ("weak_front_end_13.0.fatbin", "weaker"),
        ("hopper_12.9.cubin", "absent"),
        ("with_ptx_13.0.fatbin", "mixed"),
        ("concatenated_13.5.fatbin", "mixed"),
    ] {
        let (document, code) = verdict(&sandbox, &fixture(name), &[]);
        assert_eq!((document["verdict"].as_str(), code), (Some(expected), 1), "{name}: {document:#}");
    }
}

#[test]
fn a_bare_cubin_of_a_family_names_it_with_and_without_the_ptx_for_debuggers() {
    let sandbox = Sandbox::new();
    let bytes = fs::read(fixture("family_lineinfo_13.0.cubin")).unwrap();
    let found = |bytes: &[u8], arch: &str| {
        let path = sandbox.write("k.cubin", bytes);
        let (document, _) = verdict(&sandbox, path.to_str().unwrap(), &["--arch", arch]);
        (
            document["verdict"].as_str().unwrap().to_owned(),
            document["reasons"][0].as_str().unwrap().to_owned(),
        )
    };
    // It may not stand beside another where the plain architecture may.
    let beside = [&fs::read(fixture("exact_13.0.so")).unwrap()[..], &bytes].concat();
    let path = sandbox.write("k.so", beside);
    let document = verdict(&sandbox, path.to_str().unwrap(), &["--arch", "sm_100a", "--allow", "sm_100"]).0;
    let reasons = document["reasons"].as_array().unwrap();
    let is_named = |reason: &Value| reason.as_str().unwrap().ends_with("made for the family sm_100f");
    assert!(reasons.iter().any(is_named), "{reasons:?}");
    let (verdict, why) = found(&bytes, "sm_100a");
    assert!(verdict == "weaker" && why.contains("made for the family sm_100f"), "{verdict}: {why}");
    // For the plain architecture itself there is no proof: its tool was asked for the family.
    assert_eq!(found(&bytes, "sm_100").0, "contradicted");
    // PTX of the family in what its tool made for the plain architecture.
    let mut forged = bytes.clone();
    let options = b"sm_100f ";
    let mut at = 0;
    while let Some(next) = forged[at..].windows(options.len()).position(|window| window == options) {
        at += next;
        forged[at..at + options.len()].copy_from_slice(b"sm_100  ");
    }
    assert!(at > 0, "the tool's options name the family");
    let (verdict, why) = found(&forged, "sm_100a");
    assert!(verdict == "contradicted" && why.contains("debug PTX says sm_100f"), "{verdict}: {why}");
}

#[test]
fn the_policy_decides_what_may_stand_beside() {
    let sandbox = Sandbox::new();
    for (name, more) in [
        ("with_ptx_13.0.fatbin", &["--allow-ptx"][..]),
        ("concatenated_13.5.fatbin", &["--allow", "sm_103a,sm_90a"]),
        ("hopper_12.9.cubin", &["--arch", "sm_90a"]),
        ("family_13.0.fatbin", &["--arch", "sm_100f"]),
        ("plain_13.0.cubin", &["--arch", "sm_100"]),
    ] {
        let (document, code) = verdict(&sandbox, &fixture(name), more);
        assert_eq!((document["verdict"].as_str(), code), (Some("exact"), 0), "{name}: {document:#}");
    }
}

#[test]
fn a_cubin_hidden_at_an_odd_offset_is_found() {
    let sandbox = Sandbox::new();
    let mut library = fs::read(fixture("exact_13.0.so")).unwrap();
    let hidden = library.len() + 3;
    library.extend_from_slice(b"abc");
    library.extend_from_slice(&fs::read(fixture("plain_13.0.cubin")).unwrap());
    let path = sandbox.write("hidden.so", &library);
    let (document, code) = verdict(&sandbox, path.to_str().unwrap(), &[]);
    assert_eq!((document["verdict"].as_str(), code), (Some("mixed"), 1), "{document:#}");
    let entries = document["entries"].as_array().unwrap();
    let loose = entries.iter().find(|entry| entry["loose"] == true).expect("a loose entry");
    assert_eq!((loose["offset"].as_u64(), loose["arch"].as_str()), (Some(hidden as u64), Some("sm_100")));
}

#[test]
fn a_header_put_on_a_foreign_cubin_is_contradicted() {
    let sandbox = Sandbox::new();
    // What NVIDIA's fatbinary makes when told that an sm_100 cubin is sm_100a.
    let mut fatbin = fs::read(fixture("exact_13.0.fatbin")).unwrap();
    let plain = fs::read(fixture("plain_13.0.cubin")).unwrap();
    let body = fatbin.len() - plain.len();
    fatbin[body..].copy_from_slice(&plain);
    let path = sandbox.write("forged.fatbin", &fatbin);
    let (document, code) = verdict(&sandbox, path.to_str().unwrap(), &[]);
    assert_eq!((document["verdict"].as_str(), code), (Some("contradicted"), 1), "{document:#}");
}

#[test]
fn trailing_and_foreign_bytes_are_never_exact() {
    let sandbox = Sandbox::new();
    let honest = fs::read(fixture("exact_13.0.fatbin")).unwrap();
    let tails: [(&str, &[u8]); 4] = [
        ("zeros", &[0; 8]),
        ("ancient", &0x1EE5_5A01_u32.to_le_bytes()),
        ("container", &0xBA55_ED50_u32.to_le_bytes()),
        ("ptx", b"\0.version 9.0\n.target sm_90\n"),
    ];
    for (name, tail) in tails {
        let path = sandbox.write(name, [&honest[..], tail].concat());
        let (document, code) = verdict(&sandbox, path.to_str().unwrap(), &[]);
        assert_ne!(document["verdict"], "exact", "{name}");
        assert_eq!(code, 1, "{name}");
    }
}

#[test]
fn a_stale_library_in_a_build_folder_is_named() {
    let sandbox = Sandbox::new();
    let ninja = |arch: &str| {
        format!(
            "nvcc = nvcc\ncuda_cflags = -O2 -gencode=arch=compute_{arch},code=sm_{arch}\nrule cuda\n  \
             command = $nvcc $cuda_cflags -c $in -o $out\nbuild cuda_0.o: cuda k.cu\n"
        )
    };
    sandbox.write("build/k.so", fs::read(fixture("exact_13.0.so")).unwrap());
    sandbox.write("build/build.ninja", ninja("100a"));
    let (document, _) = verdict(&sandbox, "build", &[]);
    assert_eq!(document["verdict"], "exact", "{document:#}");
    sandbox.write("build/build.ninja", ninja("90a"));
    let (document, code) = verdict(&sandbox, "build", &[]);
    assert_eq!((document["verdict"].as_str(), code), (Some("contradicted"), 1), "{document:#}");
    let reasons = document["reasons"].to_string();
    assert!(reasons.contains("stale"), "{reasons}");
}

#[test]
fn a_wheel_is_read_member_by_member() {
    let sandbox = Sandbox::new();
    let mut wheel = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["exact_13.0.so", "with_ptx_13.0.fatbin"] {
        wheel.start_file(format!("pkg/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut wheel, &fs::read(fixture(name)).unwrap()).unwrap();
    }
    let path = sandbox.write("p.whl", wheel.finish().unwrap().into_inner());
    let (document, code) = verdict(&sandbox, path.to_str().unwrap(), &[]);
    assert_eq!((document["verdict"].as_str(), code), (Some("mixed"), 1), "{document:#}");
    assert_eq!(document["entries"].as_array().unwrap().len(), 4);
    assert!(document["files"][0]["path"].as_str().unwrap().ends_with("p.whl!pkg/exact_13.0.so"));
}

#[test]
fn a_list_names_architectures_and_kernels_without_judging() {
    let sandbox = Sandbox::new();
    let text = sandbox.run(["verify", &fixture("with_ptx_13.0.fatbin"), "--list"]).expect(0).stdout;
    for word in ["sm_100a", "machine code", "PTX", "axpy", "13.0"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}

#[test]
fn a_list_says_what_it_does_not_look_for_where_it_finds_nothing() {
    let sandbox = Sandbox::new();
    let cubin = fs::read(fixture("exact_13.0.cubin")).unwrap();
    let spelled: Vec<String> = cubin.iter().map(|byte| format!("{byte:02x}")).collect();
    sandbox.write("code.txt", spelled.concat());
    let listed = sandbox.run(["verify", "code.txt", "--list"]).expect(0).stdout;
    assert!(listed.contains("no device code found") && listed.contains("without --list"), "{listed}");
    let judged = sandbox.run(["verify", "code.txt"]).expect(1).stdout;
    assert!(judged.starts_with("UNREADABLE") && !judged.contains("--list"), "{judged}");
}

#[test]
fn an_explanation_teaches_why_e_flags_prove_no_letter() {
    let sandbox = Sandbox::new();
    let text = sandbox.run(["verify", &fixture("exact_13.0.cubin"), "--explain"]).expect(0).stdout;
    assert!(text.contains("e_flags") && text.contains(".nv.compat[9]"), "{text}");
}

#[test]
fn a_missing_file_is_a_wrong_request() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.run(["verify", "nowhere.so"]).expect(2);
    assert!(outcome.stderr.contains("nowhere.so") && outcome.stderr.contains("hint:"), "{outcome:?}");
}
