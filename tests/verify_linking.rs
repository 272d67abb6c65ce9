//! Device code whose bytes or place a linker or another file decides, and what honest linkers leave beside it.

use std::fs;
use std::process::Command;

use proofmark::proof::{ProofVerdict, examine};

use crate::support::Sandbox;
use crate::support::forge::{
    Forgeries, content, fixture, index, name_of, number, put, section, section_header, verdict,
};

/// Offset of the entry of `.rela.dyn` whose target is the wrapper's pointer.
fn wrapper_relocation(bytes: &[u8]) -> usize {
    content(bytes, ".rela.dyn").0 + 24
}

/// Offset of a symbol's entry that stands for a section of an object.
fn section_symbol(bytes: &[u8], section_name: &str) -> usize {
    let (table, size) = content(bytes, ".symtab");
    let wanted = section(bytes, section_name) as u64;
    let found = (table..table + size)
        .step_by(24)
        .find(|&symbol| number(bytes, symbol + 4, 1) == 3 && number(bytes, symbol + 6, 2) == wanted);
    found.expect("a symbol for the section")
}

#[test]
fn a_wrapper_whose_target_another_file_decides_is_found() {
    let honest = fixture("exact_13.0.so");
    let fatbin = content(&honest, ".nv_fatbin").0 as u64;
    let mut forgeries = Forgeries::default();
    // A symbol of the library comes to stand for the container, by each binding, type and visibility.
    let defined = content(&honest, ".dynsym").0 + 24;
    let bound = |info: u64, other: u64| {
        let mut forged = honest.clone();
        let at = wrapper_relocation(&forged);
        put(&mut forged, at + 8, 4, 1);
        put(&mut forged, at + 12, 4, 1);
        put(&mut forged, at + 16, 8, 0);
        put(&mut forged, defined + 4, 1, info);
        put(&mut forged, defined + 5, 1, other);
        put(&mut forged, defined + 6, 2, section(&honest, ".nv_fatbin") as u64);
        put(&mut forged, defined + 8, 8, fatbin);
        forged
    };
    for (name, info) in [("global", 0x11), ("weak", 0x21), ("unique", 0xA1)] {
        forgeries.refuse_because(name, &bound(info, 0), "another library may define");
    }
    forgeries.refuse_because("computed when it is loaded", &bound(0x1A, 3), "not in this file");
    for visibility in [2, 3] {
        let (found, why) = verdict(&bound(0x11, visibility));
        assert_eq!(found, ProofVerdict::Exact, "visibility {visibility}: {why}");
    }
    let object = fixture("exact_13.0.o");
    let symbol = section_symbol(&object, ".nv_fatbin");
    for (name, info) in [("weak in an object", 0x21), ("computed in an object", 0x1A)] {
        let mut forged = object.clone();
        put(&mut forged, symbol + 4, 1, info);
        forgeries.refuse_because(name, &forged, "not in this file");
    }
    forgeries.finish(6);
}

#[test]
fn a_container_elsewhere_does_not_hide_the_one_that_a_wrapper_names() {
    // As in cuSPARSE, whose constants hold containers before the section for them.
    let mut library = fixture("exact_13.0.so");
    let at = content(&library, "__nv_module_id").0;
    assert_eq!(at + 16, content(&library, ".nv_fatbin").0);
    library[at..at + 16].fill(0);
    for (place, width, value) in [(0, 4, 0xBA55_ED50), (4, 2, 1), (6, 2, 16)] {
        put(&mut library, at + place, width, value);
    }
    assert_eq!(examine(&library).containers.len(), 2);
    let (found, why) = verdict(&library);
    assert_eq!(found, ProofVerdict::Exact, "{why}");
}

#[test]
fn device_code_that_a_linker_rearranges_is_found() {
    let honest = fixture("exact_13.0.o");
    let mut forgeries = Forgeries::default();
    for name in [".nv_fatbin", ".nvFatBinSegment"] {
        let at = section_header(&honest, name) + 8;
        for (what, flag) in [
            ("folded", 0x10),
            ("texts", 0x30),
            ("ordered", 0x80),
            ("one of several", 0x200),
            ("of each thread", 0x400),
            ("left out", 0x8000_0000),
        ] {
            let mut forged = honest.clone();
            let flags = number(&forged, at, 8) | flag;
            put(&mut forged, at, 8, flags);
            forgeries.refuse_because(format!("{name} {what}"), &forged, "by which a linker changes");
        }
    }
    // A group lists sections by number, whatever their flags say.
    let mut grouped = honest.clone();
    let group = content(&honest, ".group").0;
    put(&mut grouped, group + 4, 4, section(&honest, ".nv_fatbin") as u64);
    forgeries.refuse_because("in a group", &grouped, "in a group");
    forgeries.finish(13);
}

/// The library with the debug symbols of a stripped one as a last section, called so and stored so.
fn with_debug_section(name: &str, flags: u64, stored: &[u8]) -> Vec<u8> {
    let mut bytes = fixture("exact_13.0.so");
    let header = section_header(&bytes, ".comment");
    let old_name = name_of(&bytes, ".comment");
    assert!(name.len() <= ".comment".len());
    bytes[old_name..old_name + name.len()].copy_from_slice(name.as_bytes());
    bytes[old_name + name.len()] = 0;
    // The old content becomes padding; the new one and a copy of the table of sections follow at the end.
    let (old, size) = (index(&bytes, header + 24, 8), index(&bytes, header + 32, 8));
    bytes[old..old + size].fill(0);
    let (table, count) = (index(&bytes, 40, 8), index(&bytes, 60, 2));
    let rest = bytes.split_off(table);
    assert_eq!(rest.len(), count * 64);
    put(&mut bytes, 40, 8, (table + stored.len().next_multiple_of(8)) as u64);
    let at = header - table;
    bytes.extend_from_slice(stored);
    bytes.resize((table + stored.len()).next_multiple_of(8), 0);
    let moved = bytes.len();
    put(&mut bytes, 40, 8, moved as u64);
    bytes.extend_from_slice(&rest);
    let header = moved + at;
    put(&mut bytes, header + 8, 8, flags);
    put(&mut bytes, header + 24, 8, table as u64);
    put(&mut bytes, header + 32, 8, stored.len() as u64);
    bytes
}

/// A section's content with the header of `SHF_COMPRESSED`.
fn compressed(scheme: u64, plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    put(&mut bytes, 0, 4, scheme);
    put(&mut bytes, 8, 8, plain.len() as u64);
    put(&mut bytes, 16, 8, 1);
    if scheme == 2 {
        bytes.extend(zstd::encode_all(plain, 3).unwrap());
    } else {
        let mut encoder = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        bytes = encoder.finish().unwrap();
    }
    bytes
}

#[test]
fn compressed_debug_sections_are_unpacked_and_looked_through() {
    let plain = b"what a debugger reads, again and again and again".repeat(40);
    let foreign = [&plain[..], &fixture("plain_13.0.cubin")].concat();
    let mut forgeries = Forgeries::default();
    for scheme in [1, 2] {
        let (found, why) = verdict(&with_debug_section(".debug_", 0x800, &compressed(scheme, &plain)));
        assert_eq!(found, ProofVerdict::Exact, "scheme {scheme}: {why}");
        let hidden = with_debug_section(".debug_", 0x800, &compressed(scheme, &foreign));
        forgeries.refuse_because(format!("a cubin by scheme {scheme}"), &hidden, "a cubin");
        let longer = [&compressed(scheme, &plain)[..], b"behind"].concat();
        forgeries
            .refuse(format!("bytes behind scheme {scheme}"), &with_debug_section(".debug_", 0x800, &longer));
    }
    // The older form, marked by its name, is a shorter header before the same stream.
    let older = |plain: &[u8]| {
        let size = (plain.len() as u64).to_be_bytes();
        with_debug_section(".zdebug_", 0x30, &[b"ZLIB", &size[..], &compressed(1, plain)[24..]].concat())
    };
    let (found, why) = verdict(&older(&plain));
    assert_eq!(found, ProofVerdict::Exact, "{why}");
    forgeries.refuse_because("a cubin in the older form", &older(&foreign), "a cubin");
    let mut other_size = compressed(1, &plain);
    put(&mut other_size, 8, 8, plain.len() as u64 + 1);
    forgeries.refuse_because(
        "another size",
        &with_debug_section(".debug_", 0x800, &other_size),
        "another size",
    );
    let mapped = with_debug_section(".debug_", 0x802, &compressed(1, &plain));
    forgeries.refuse("a mapped one", &mapped);
    let unknown = with_debug_section(".debug_", 0x800, &compressed(9, &plain));
    forgeries.refuse_because("an unknown scheme", &unknown, "no toolchain writes");
    forgeries.finish(8);
}

#[test]
fn debugging_information_that_was_split_off_holds_no_device_code() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("exact.o"), fixture("exact_13.0.o")).unwrap();
    sandbox.write("k.cpp", "int f() { return 1; }");
    for (program, arguments) in [
        ("g++", &["-g", "-shared", "-fPIC", "k.cpp", "exact.o", "-o", "k.so"][..]),
        ("objcopy", &["--only-keep-debug", "k.so", "k.debug"]),
    ] {
        let status = Command::new(program).args(arguments).current_dir(sandbox.path("")).status();
        assert!(status.expect("a host compiler").success(), "{arguments:?}");
    }
    let (found, why) = verdict(&fs::read(sandbox.path("k.debug")).unwrap());
    assert_eq!(found, ProofVerdict::Absent, "{why}");
    let (found, why) = verdict(&fs::read(sandbox.path("k.so")).unwrap());
    assert_eq!(found, ProofVerdict::Exact, "{why}");
}

#[test]
fn traps_behind_code_are_padding() {
    let honest = fixture("exact_13.0.so");
    let (start, size) = content(&honest, ".text");
    let end = (start + size).next_multiple_of(0x1000);
    assert!(honest[start + size..end].iter().all(|&byte| byte == 0));
    let mut filled = honest.clone();
    filled[start + size..end].fill(0xCC);
    let (found, why) = verdict(&filled);
    assert_eq!(found, ProofVerdict::Exact, "{why}");
    filled[end - 1] = 1;
    assert_ne!(verdict(&filled).0, ProofVerdict::Exact);
}
