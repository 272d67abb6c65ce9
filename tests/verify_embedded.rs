//! Device code in other data of a library, and registered at addresses that are no wrappers: never exact. What
//! only looks alike stays exact.

use std::fs;
use std::io::Write;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proofmark::proof::ProofVerdict;

use crate::support::Sandbox;
use crate::support::forge::{Forgeries, fixture, verdict};

/// Links an exact object with host code and with data in a section of its own.
fn library(host: &str, data: &[u8]) -> Vec<u8> {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("data.bin"), data).unwrap();
    fs::write(sandbox.path("exact.o"), fixture("exact_13.0.o")).unwrap();
    sandbox.write("k.cpp", host);
    sandbox.write(
        "data.s",
        ".section .rodata,\"a\",@progbits\n.globl blob\nblob:\n.incbin \"data.bin\"\n.section .note.GNU-stack,\"\",@progbits\n",
    );
    let arguments = ["-shared", "-O1", "-fPIC", "k.cpp", "data.s", "exact.o", "-o", "k.so"];
    let status = Command::new("g++").args(arguments).current_dir(sandbox.path("")).status();
    assert!(status.expect("a host compiler").success());
    fs::read(sandbox.path("k.so")).unwrap()
}

/// Host code that reads the data and loads nothing.
const READS: &str = "extern \"C\" const unsigned char blob[]; int f(int n) { return blob[n]; }";
/// Host code that can hand it to the driver.
const LOADS: &str = "extern \"C\" const unsigned char blob[]; extern \"C\" int cuModuleLoadData(void*, const void*);\n\
                     int f(void* m) { return cuModuleLoadData(m, blob); }";

fn written<W: Write>(mut writer: W, content: &[u8], finish: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
    writer.write_all(content).unwrap();
    finish(writer)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    written(GzEncoder::new(Vec::new(), Compression::best()), content, |it| it.finish().unwrap())
}

fn zlib(content: &[u8]) -> Vec<u8> {
    written(ZlibEncoder::new(Vec::new(), Compression::fast()), content, |it| it.finish().unwrap())
}

fn deflate(content: &[u8]) -> Vec<u8> {
    written(DeflateEncoder::new(Vec::new(), Compression::best()), content, |it| it.finish().unwrap())
}

fn hexadecimal(content: &[u8]) -> Vec<u8> {
    content.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// Each form in which bytes may lie in data.
fn forms(content: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("gzip", gzip(content)),
        ("gzip behind a byte", [b"\x07", &gzip(content)[..]].concat()),
        ("zlib", zlib(content)),
        ("deflate", deflate(content)),
        ("Zstandard", zstd::encode_all(content, 3).unwrap()),
        (
            "bzip2",
            written(bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best()), content, |it| {
                it.finish().unwrap()
            }),
        ),
        ("LZ4", lz4_flex::block::compress(content)),
        ("base64", STANDARD.encode(content).into_bytes()),
        ("base64url", URL_SAFE.encode(content).into_bytes()),
        ("hexadecimal", hexadecimal(content)),
        ("gzip in base64", STANDARD.encode(gzip(content)).into_bytes()),
        ("base64 in gzip", gzip(STANDARD.encode(content).as_bytes())),
        ("zlib in Zstandard", zstd::encode_all(&zlib(content)[..], 3).unwrap()),
    ]
}

/// Bytes without any order, the same each time.
fn random(size: usize) -> Vec<u8> {
    let mut state = 20_261_129_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..size).map(|_| next()).collect()
}

#[test]
fn device_code_in_other_data_takes_exact_away() {
    let mut forgeries = Forgeries::default();
    for (kind, content) in [
        ("a cubin", fixture("plain_13.0.cubin")),
        ("an old cubin", fixture("hopper_12.9.cubin")),
        ("a fat binary", fixture("family_13.0.fatbin")),
    ] {
        for (form, data) in forms(&content) {
            forgeries.refuse(format!("{kind}, {form}"), &library(READS, &data));
        }
    }
    let code = fixture("lto_13.0.o");
    for (kind, data) in [
        ("Tile IR", [b"\x7FTileIR\0\x0D\x01\0\0", &code[..200]].concat()),
        ("NVVM code", [b"\xED\x43\x4E\x7F\x01\x41\x02\x62\x03\x02\x14\0", &code[..200]].concat()),
        ("bitcode", [b"BC\xC0\xDE\x35\x14\0\0\x05\0\0\0", &code[..200]].concat()),
    ] {
        for lead in [&b""[..], b"a"] {
            forgeries.refuse(kind, &library(READS, &[lead, &data].concat()));
        }
    }
    forgeries.finish(45);
}

#[test]
fn ordinary_data_stays_exact() {
    let text = include_bytes!("verify_embedded.rs");
    for (form, data) in forms(text).into_iter().chain([("plain", text.to_vec()), ("random", random(4096))]) {
        let (found, why) = verdict(&library(READS, &data));
        assert_eq!(found, ProofVerdict::Exact, "{form}: {why}");
    }
    let (found, why) = verdict(&library(LOADS, text));
    assert_eq!(found, ProofVerdict::Exact, "{why}");
}

#[test]
fn random_data_beside_a_way_to_load_it_takes_exact_away() {
    let mut forgeries = Forgeries::default();
    forgeries.refuse_because("enciphered", &library(LOADS, &random(4096)), "look random");
    forgeries.finish(1);
}

#[test]
fn what_is_registered_at_another_address_than_a_wrapper_is_found() {
    const DECLARED: &str =
        "extern \"C\" void** __cudaRegisterFatBinary(void*); struct W { int m, v; const void *d, *f; };\n";
    let mut forgeries = Forgeries::default();
    for (name, code) in [
        ("an argument", "void f(void* p) { __cudaRegisterFatBinary(p); }"),
        ("a last call", "void** f(void* p) { return __cudaRegisterFatBinary((char*)p + 8); }"),
        ("the stack", "void f(const void* d) { W w = {0x466243B1, 1, d, 0}; __cudaRegisterFatBinary(&w); }"),
        ("a pointer in data", "void** (*g)(void*) = __cudaRegisterFatBinary;"),
        ("its address", "void* f() { return (void*)__cudaRegisterFatBinary; }"),
    ] {
        let host = format!("{DECLARED}{code}");
        forgeries.refuse(format!("{name}, linked"), &library(&host, b"data"));
        let sandbox = Sandbox::new();
        sandbox.write("k.cpp", &host);
        let arguments = ["-c", "-O1", "-fPIC", "k.cpp", "-o", "k.o"];
        let status = Command::new("g++").args(arguments).current_dir(sandbox.path("")).status();
        assert!(status.expect("a host compiler").success());
        fs::write(sandbox.path("exact.o"), fixture("exact_13.0.o")).unwrap();
        let status =
            Command::new("ar").args(["rc", "k.a", "k.o", "exact.o"]).current_dir(sandbox.path("")).status();
        assert!(status.expect("an archiver").success());
        forgeries.refuse(format!("{name}, archived"), &fs::read(sandbox.path("k.a")).unwrap());
    }
    forgeries.finish(10);
}

#[test]
fn files_beside_a_library_are_looked_through_as_well() {
    let cubin = fixture("plain_13.0.cubin");
    for (name, content) in [
        ("k.bin", [b"\x07", &gzip(&cubin)[..]].concat()),
        ("k.py", format!("DATA = \"{}\"\n", STANDARD.encode(&cubin)).into_bytes()),
        ("k.txt", hexadecimal(&cubin)),
    ] {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("folder")).unwrap();
        fs::write(sandbox.path("folder/k.so"), fixture("exact_13.0.so")).unwrap();
        fs::write(sandbox.path("folder").join(name), content).unwrap();
        let document = sandbox.run(["verify", "folder", "--arch", "sm_100a", "--json"]).expect(1).json();
        assert_eq!(document["verdict"], "unreadable", "{name}");
    }
}
