//! Device code in other data of a library: never exact. What only looks alike stays exact.

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

fn joined(content: &[u8], form: impl Fn(u8) -> String) -> Vec<u8> {
    content.iter().flat_map(|&byte| form(byte).into_bytes()).collect()
}

/// As Python writes bytes.
fn escaped(content: &[u8]) -> Vec<u8> {
    joined(content, |byte| match byte {
        b'\\' | b'"' | b'\'' => format!("\\{}", char::from(byte)),
        0x20..0x7F => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    })
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
        ("escapes", escaped(content)),
        ("octal escapes", joined(content, |byte| format!("\\{byte:03o}"))),
        ("a list", joined(content, |byte| format!("{byte}, "))),
        ("a list of C", joined(content, |byte| format!("0x{byte:02x},"))),
        ("pairs", joined(content, |byte| format!("{byte:02X}-"))),
        ("percents", joined(content, |byte| format!("%{byte:02x}"))),
        ("a list of gzip", joined(&gzip(content), |byte| format!("{byte}, "))),
        ("escapes of zlib", escaped(&zlib(content))),
        ("gzip in base64", STANDARD.encode(gzip(content)).into_bytes()),
        ("base64 in gzip", gzip(STANDARD.encode(content).as_bytes())),
        ("zlib in Zstandard", zstd::encode_all(&zlib(content)[..], 3).unwrap()),
    ]
}

/// Bytes as a tool dumps them, sixteen a line.
fn dumped(content: &[u8], form: impl Fn(usize, &[u8]) -> String) -> Vec<u8> {
    content
        .chunks(16)
        .enumerate()
        .flat_map(|(line, bytes)| (form(line * 16, bytes) + "\n").into_bytes())
        .collect()
}

fn pairs(bytes: &[u8], size: usize) -> String {
    bytes.chunks(size).map(|group| String::from_utf8(hexadecimal(group)).unwrap() + " ").collect()
}

fn graphic(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' }).collect()
}

/// Text with something between so many characters each.
fn spaced(text: &str, every: usize, between: &str) -> Vec<u8> {
    let pieces: Vec<&str> =
        text.as_bytes().chunks(every).map(|piece| str::from_utf8(piece).unwrap()).collect();
    pieces.join(between).into_bytes()
}

/// In 85 letters, as git and Python write them.
fn base85(content: &[u8]) -> Vec<u8> {
    let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    let group = |group: &[u8]| {
        let number = group.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        [52_200_625, 614_125, 7225, 85, 1].map(|power| letters[(number / power % 85) as usize])
    };
    content.chunks_exact(4).flat_map(group).collect()
}

/// Other spellings of the same.
fn spellings(content: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let base64 = STANDARD.encode(content);
    let digits = String::from_utf8(hexadecimal(content)).unwrap();
    let members = content.chunks(3).flat_map(gzip).collect();
    vec![
        ("octal numbers", joined(content, |byte| format!("0{byte:o}, "))),
        ("octal digits", joined(content, |byte| format!("{byte:03o} "))),
        ("binary numbers", joined(content, |byte| format!("0b{byte:08b}, "))),
        ("binary digits", joined(content, |byte| format!("{byte:08b} "))),
        ("numbers of assemblers", joined(content, |byte| format!("0{byte:02X}h,"))),
        ("entities", joined(content, |byte| format!("&#x{byte:x};"))),
        ("casts", joined(content, |byte| format!("(unsigned char)0x{byte:02x}, "))),
        ("casts of C++", joined(content, |byte| format!("static_cast<char>({byte}),\n"))),
        ("elements", joined(content, |byte| format!("<b>{byte}</b>"))),
        ("calls", joined(content, |byte| format!("push({});", byte.cast_signed()))),
        ("single characters", joined(content, |byte| format!("'\\x{byte:02x}', "))),
        ("escapes in brackets", joined(content, |byte| format!("\\u{{{byte:x}}}"))),
        ("escapes of Perl", joined(content, |byte| format!("\\x{{{byte:02x}}}"))),
        ("long escapes", joined(content, |byte| format!("\\U{byte:08x}"))),
        (
            "quoted printable",
            spaced(str::from_utf8(&joined(content, |byte| format!("={byte:02X}"))).unwrap(), 75, "=\r\n"),
        ),
        ("base64 with zeros", spaced(&base64, 1, "\0")),
        ("base64 in wide characters", spaced(&base64, 1, "\0\0\0")),
        ("base64 with blanks", spaced(&base64, 1, " ")),
        ("base64 with commas", spaced(&base64, 4, ",")),
        ("base64 with bars", spaced(&base64, 8, "|")),
        ("base64 in short lines", spaced(&base64, 20, "\n")),
        ("hexadecimal with zeros", spaced(&digits, 2, "\0")),
        ("hexadecimal in wide characters", spaced(&digits, 1, "\0")),
        ("hexadecimal in words", spaced(&digits, 8, " ")),
        ("base85", base85(content)),
        ("base85 in lines", spaced(str::from_utf8(&base85(content)).unwrap(), 70, "\n")),
        ("hexdump", dumped(content, |at, line| format!("{at:08x}  {} |{}|", pairs(line, 1), graphic(line)))),
        ("xxd", dumped(content, |at, line| format!("{at:08x}: {} {}", pairs(line, 2), graphic(line)))),
        (
            "od",
            dumped(content, |at, line| {
                format!(
                    "{at:07o} {}",
                    line.iter().map(|byte| format!("{byte:03o} ")).collect::<Vec<_>>().concat()
                )
            }),
        ),
        (
            "Intel's records",
            dumped(content, |at, line| {
                format!(":{:02X}{:04X}00{}00", line.len(), at & 0xFFFF, pairs(line, 16).trim_end())
            }),
        ),
        (
            "Motorola's records",
            dumped(content, |at, line| {
                format!("S1{:02X}{:04X}{}00", line.len() + 3, at & 0xFFFF, pairs(line, 16).trim_end())
            }),
        ),
        ("gzip of single bytes", members),
        ("gzip in base64 with blanks", spaced(&STANDARD.encode(gzip(content)), 1, " ")),
        ("zlib in base85", base85(&zlib(content))),
        ("a dump of gzip", dumped(&gzip(content), |at, line| format!("{at:08x}: {}", pairs(line, 2)))),
        ("casts of zlib", joined(&zlib(content), |byte| format!("(char){byte}, "))),
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
    let ptx = b".version 9.0\n.target sm_90\n.visible .entry k() { ret; }\n";
    for width in [2, 4] {
        let wide: Vec<u8> =
            ptx.iter().flat_map(|&byte| [&[byte][..], &vec![0; width - 1]].concat()).collect();
        forgeries.refuse(format!("PTX in characters of {width} bytes"), &library(READS, &wide));
    }
    let (cubin, container) = (fixture("plain_13.0.cubin"), fixture("family_13.0.fatbin"));
    let turned = |content: &[u8], width: usize| -> Vec<u8> {
        content.chunks(width).flat_map(|word| word.iter().rev().copied()).collect()
    };
    let alone = |content: &[u8], width: usize| -> Vec<u8> {
        content.iter().flat_map(|&byte| [&vec![0; width - 1][..], &[byte]].concat()).collect()
    };
    for (form, data) in [
        ("a cubin in the other order of bytes", turned(&cubin, 4)),
        ("a fat binary in the other order of bytes", turned(&container, 8)),
        ("PTX in the other order of bytes", turned(ptx, 2)),
        ("a cubin in numbers of 16 bits", alone(&cubin, 2)),
        ("a fat binary in numbers of 64 bits", alone(&container, 8)),
        ("PTX in numbers of 64 bits", alone(ptx, 8)),
    ] {
        forgeries.refuse(form, &library(READS, &data));
    }
    forgeries.refuse(
        "PTX with an escape",
        &library(READS, b".version 9.0\\n.target\\x20sm_90\\n.visible .entry kernel(.param .u64 p) { ret; }"),
    );
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
    forgeries.finish(78);
}

#[test]
fn other_spellings_of_device_code_take_exact_away() {
    let mut forgeries = Forgeries::default();
    for (kind, content) in
        [("a cubin", fixture("plain_13.0.cubin")), ("a fat binary", fixture("family_13.0.fatbin"))]
    {
        for (form, data) in spellings(&content) {
            forgeries.refuse(format!("{kind}, {form}"), &library(READS, &data));
        }
    }
    for (kind, data) in [
        ("escaped line ends", &br#"{"k": ".version 8.0\n.target sm_90\n.address_size 64\n"}"#[..]),
        ("an escaped tab", &br".version 8.0\n.target\tsm_90\n.visible .entry k() { ret; }"[..]),
        ("43 characters with an escape", &br".version 8.0\x20.target\x20sm_90 .entry k(){}"[..]),
        ("JSON", &br".version 8.0\u000a.target\u0020sm_90\u000a.entry k(){}"[..]),
    ] {
        forgeries.refuse(format!("PTX, {kind}"), &library(READS, data));
    }
    let mut zstandard = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    zstandard.window_log(28).unwrap();
    zstandard.write_all(&fixture("plain_13.0.cubin")).unwrap();
    forgeries.refuse("Zstandard of a long window", &library(READS, &zstandard.finish().unwrap()));
    forgeries.finish(77);
}

#[test]
fn ordinary_data_stays_exact() {
    let text = include_bytes!("ledger.rs");
    for (form, data) in forms(text)
        .into_iter()
        .chain(spellings(&text[..4000]))
        .chain([("plain", text.to_vec()), ("random", random(4096))])
        .chain([
            (
                "in the other order of bytes",
                text[..4000].chunks(4).flat_map(|word| word.iter().rev().copied()).collect::<Vec<u8>>(),
            ),
            (
                "in numbers of 32 bits",
                text[..4000].iter().flat_map(|&byte| [byte, 0, 0, 0]).collect::<Vec<u8>>(),
            ),
        ])
    {
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
fn files_beside_a_library_are_looked_through_as_well() {
    let cubin = fixture("plain_13.0.cubin");
    for (name, content) in [
        ("k.bin", [b"\x07", &gzip(&cubin)[..]].concat()),
        ("k.py", format!("DATA = \"{}\"\n", STANDARD.encode(&cubin)).into_bytes()),
        ("k.txt", hexadecimal(&cubin)),
        ("escapes.py", [b"DATA = b'", &escaped(&cubin)[..], b"'\n"].concat()),
        (
            "numbers.py",
            [b"DATA = bytes([", &joined(&cubin, |byte| format!("{byte}, "))[..], b"])\n"].concat(),
        ),
        ("packed.py", [b"DATA = b'", &escaped(&gzip(&cubin))[..], b"'\n"].concat()),
        (
            "array.h",
            [b"const char k[] = {", &joined(&cubin, |byte| format!("0x{byte:02x}, "))[..], b"};\n"].concat(),
        ),
    ] {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("folder")).unwrap();
        fs::write(sandbox.path("folder/k.so"), fixture("exact_13.0.so")).unwrap();
        fs::write(sandbox.path("folder").join(name), content).unwrap();
        let document = sandbox.run(["verify", "folder", "--arch", "sm_100a", "--json"]).expect(1).json();
        assert_eq!(document["verdict"], "unreadable", "{name}");
    }
}
