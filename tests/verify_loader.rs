//! Files in which the loader sees something else than the sections name: none of them is exact.

use proofmark::proof::{ProofVerdict, examine};

use crate::support::forge::{
    Forgeries, content, fixture, index, name_of, number, put, section, section_header, segment_header,
    verdict,
};

/// Offset of the entry of `.rela.dyn` whose target is the wrapper's pointer.
fn wrapper_relocation(bytes: &[u8]) -> usize {
    content(bytes, ".rela.dyn").0 + 24
}

/// Another entry of `.rela.dyn`, free to be pointed elsewhere: a 64-bit one against a symbol.
fn free_relocation(bytes: &[u8]) -> usize {
    content(bytes, ".rela.dyn").0 + 48
}

#[test]
fn honest_libraries_objects_and_fatbins_stay_exact() {
    for name in ["exact_13.0.so", "exact_13.0.o", "exact_unlinked_13.0.o", "exact_lineinfo_13.0.fatbin"] {
        let (found, why) = verdict(&fixture(name));
        assert_eq!(found, ProofVerdict::Exact, "{name}: {why}");
    }
}

#[test]
fn a_wrapper_that_leads_elsewhere_is_found() {
    let honest = fixture("exact_13.0.so");
    let fatbin = content(&honest, ".nv_fatbin").0 as u64;
    let mut forgeries = Forgeries::default();
    for (name, addend, words) in [
        ("into the ELF header", 0, "where no container starts"),
        ("into the dynamic table", 0x4ea8, "the program may write"),
        ("into data", 0x5068, "the program may write"),
        ("into the wrapper itself", 0x5070, "the program may write"),
        ("into .bss", 0x5090, "no file fills"),
        ("behind the container's header", fatbin + 16, "where no container starts"),
        ("into the entry", fatbin + 80, "where no container starts"),
        ("into code", 0x10e0, "where no container starts"),
        ("outside of the image", 0x99_0000, "outside of what is loaded"),
    ] {
        let mut forged = honest.clone();
        let at = wrapper_relocation(&forged);
        put(&mut forged, at + 16, 8, addend);
        forgeries.refuse_because(name, &forged, words);
    }
    let mut none = honest.clone();
    let at = wrapper_relocation(&none);
    put(&mut none, at + 8, 8, 0);
    put(&mut none, content(&honest, ".nvFatBinSegment").0 + 8, 8, 0);
    forgeries.refuse_because("nowhere", &none, "a registered wrapper points nowhere");
    put(&mut none, content(&honest, ".nvFatBinSegment").0 + 8, 8, fatbin);
    forgeries.refuse_because("an address that is never relocated", &none, "not in this file");
    for (name, offset, value) in [
        ("version 3", 4, 3),
        ("no magic", 0, 0),
        ("a list in the file", 16, 0x2018),
        ("version 2 with a list", 16, 0x5068),
    ] {
        let mut forged = honest.clone();
        let at = content(&forged, ".nvFatBinSegment").0;
        put(&mut forged, at + offset, if offset == 16 { 8 } else { 4 }, value);
        forgeries.refuse(name, &forged);
    }
    forgeries.finish(15);
}

#[test]
fn a_section_of_wrappers_larger_than_any_file_is_read_in_no_time() {
    let mut forged = fixture("exact_13.0.so");
    let header = section_header(&forged, ".nvFatBinSegment");
    put(&mut forged, header + 32, 8, u64::MAX / 2);
    let started = std::time::Instant::now();
    assert_ne!(verdict(&forged).0, ProofVerdict::Exact);
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn relocations_into_device_code_are_found() {
    let honest = fixture("exact_13.0.so");
    let fatbin = content(&honest, ".nv_fatbin").0 as u64;
    let wrapper = 0x5070;
    let mut forgeries = Forgeries::default();
    for (name, place) in [
        ("the container's magic", fatbin),
        ("the container's size", fatbin + 8),
        ("the entry's architecture", fatbin + 16 + 28),
        ("the entry's flags", fatbin + 16 + 40),
        ("the cubin's e_flags", fatbin + 16 + 112 + 48),
        ("the last byte", fatbin + 0x1660 - 4),
        ("the byte before", fatbin - 4),
        ("the wrapper's magic", wrapper),
        ("the wrapper's version", wrapper + 4),
        ("the wrapper's pointer once more", wrapper + 8),
        ("half of the wrapper's pointer", wrapper + 12),
    ] {
        // As a pointer, as a symbol of another library, as a symbol of this one.
        for (form, kind) in [("relative", 8_u64), ("symbol", 0x3_0000_0001), ("none there is", 0x3_0000_000A)]
        {
            let mut forged = honest.clone();
            let at = free_relocation(&forged);
            put(&mut forged, at, 8, place);
            put(&mut forged, at + 8, 8, kind);
            put(&mut forged, at + 16, 8, 0x2018);
            forgeries.refuse(format!("{name}, {form}"), &forged);
        }
    }
    let mut unfilled = honest.clone();
    let at = free_relocation(&unfilled);
    put(&mut unfilled, at, 8, 0x5090);
    forgeries.refuse_because("into .bss", &unfilled, "memory that no file fills");
    forgeries.finish(30);
}

/// The headers of all segments of a type.
fn segments_of(bytes: &[u8], kind: u64) -> Vec<usize> {
    let headers = (0..index(bytes, 56, 2)).map(|segment| segment_header(bytes, segment));
    headers.filter(|&header| number(bytes, header, 4) == kind).collect()
}

/// Where the dynamic table has an entry of this tag.
fn dynamic_entry(bytes: &[u8], tag: u64) -> usize {
    let (start, size) = content(bytes, ".dynamic");
    let found = (start..start + size).step_by(16).find(|&at| number(bytes, at, 8) == tag);
    found.unwrap_or_else(|| panic!("no entry {tag:#x}"))
}

#[test]
fn a_dynamic_table_that_the_loader_reads_otherwise_is_found() {
    let honest = fixture("exact_13.0.so");
    let table = segments_of(&honest, 2)[0];
    let note = segments_of(&honest, 4)[0];
    let mut forgeries = Forgeries::default();

    let mut two = honest.clone();
    two.copy_within(table..table + 56, note);
    forgeries.refuse_because("two of them", &two, "several segments name a dynamic table");
    // The loader takes the last, whichever is the honest one.
    put(&mut two, table + 16, 8, 0x2000);
    forgeries.refuse_because("two of them, one elsewhere", &two, "several segments name a dynamic table");

    let mut cut = honest.clone();
    put(&mut cut, table + 32, 8, 16);
    forgeries.refuse_because("without its end in the segment", &cut, "the loader reads on");
    let mut early = honest.clone();
    put(&mut early, dynamic_entry(&honest, 7), 8, 0);
    forgeries.refuse("that ends before its relocations", &early);

    for (name, tag, offset, value, words) in [
        ("a table of relocations with half of one", 8, 8, 0x99_u64, "ends inside of one"),
        ("relocations of another size", 9, 8, 16, "no 64-bit toolchain writes"),
        ("symbols of another size", 11, 8, 16, "no 64-bit toolchain writes"),
        ("a library that audits", 0x6FFF_FFF9, 0, 0x6FFF_FEFC, "linkers do not write"),
        ("a library that audits what it needs", 0x6FFF_FFF9, 0, 0x6FFF_FEFB, "linkers do not write"),
        ("a filter", 0x6FFF_FFF9, 0, 0x7FFF_FFFF, "linkers do not write"),
        ("an auxiliary filter", 0x6FFF_FFF9, 0, 0x7FFF_FFFD, "linkers do not write"),
        ("relocations without addend", 0x6FFF_FFF9, 0, 17, "linkers do not write"),
        ("Android's relocations", 0x6FFF_FFF9, 0, 0x6000_0011, "linkers do not write"),
    ] {
        let mut forged = honest.clone();
        put(&mut forged, dynamic_entry(&honest, tag) + offset, 8, value);
        forgeries.refuse_because(name, &forged, words);
    }
    // Names that the loader reads elsewhere than section headers have them.
    let (start, size) = content(&honest, ".dynamic");
    let spare = (start..start + size).step_by(16).find(|&at| number(&honest, at, 8) == 0).unwrap();
    let elsewhere = content(&honest, ".rodata").0 as u64;
    for tag in [5, 6] {
        let mut moved = honest.clone();
        put(&mut moved, dynamic_entry(&honest, tag) + 8, 8, elsewhere);
        forgeries.refuse_because(
            format!("table {tag} elsewhere"),
            &moved,
            "elsewhere than the section headers",
        );
        let mut twice = honest.clone();
        put(&mut twice, spare, 8, tag);
        put(&mut twice, spare + 8, 8, elsewhere);
        forgeries.refuse_because(format!("table {tag} twice"), &twice, "of which linkers write one");
    }
    forgeries.finish(17);
}

#[test]
fn segments_that_load_or_order_others_are_found() {
    let honest = fixture("exact_13.0.so");
    let mut forgeries = Forgeries::default();
    let loads = segments_of(&honest, 1);
    let mut turned = honest.clone();
    turned.copy_within(loads[1]..loads[1] + 56, loads[0]);
    turned[loads[1]..loads[1] + 56].copy_from_slice(&honest[loads[0]..loads[0] + 56]);
    forgeries.refuse_because("out of order", &turned, "segments out of their order");
    let note = segments_of(&honest, 4)[0];
    let mut interpreted = honest.clone();
    put(&mut interpreted, note, 4, 3);
    forgeries.refuse_because("a loader of its own", &interpreted, "a loader that is not the system's");
    forgeries.finish(2);
}

#[test]
fn what_a_copied_variable_overwrites_is_found() {
    let honest = fixture("exact_13.0.so");
    let fatbin = content(&honest, ".nv_fatbin").0 as u64;
    let mut forgeries = Forgeries::default();
    for (name, place, words) in [
        ("the container", fatbin, "changes device code"),
        ("its entry", fatbin + 16, "changes device code"),
        ("a wrapper", 0x5070, "changes a wrapper"),
        ("what stands before the container", fatbin - 0x100, "copied over the start of a segment"),
        ("what stands before it in its segment", fatbin - 0x10, "changes device code"),
    ] {
        let mut forged = honest.clone();
        let at = free_relocation(&forged);
        put(&mut forged, at, 8, place);
        put(&mut forged, at + 8, 8, 0x3_0000_0005);
        // As much as the variable is long.
        let symbol = content(&forged, ".dynsym").0 + 3 * 24;
        put(&mut forged, symbol + 16, 8, 0x108);
        forgeries.refuse_because(name, &forged, words);
    }
    let mut beside = honest.clone();
    let at = free_relocation(&beside);
    put(&mut beside, at, 8, 0x5090);
    put(&mut beside, at + 8, 8, 0x3_0000_0005);
    let (found, why) = verdict(&beside);
    assert_eq!(found, ProofVerdict::Exact, "a variable in memory that no file fills: {why}");
    forgeries.finish(5);
}

#[test]
fn relocations_into_device_code_outside_of_its_section_are_found() {
    let honest = fixture("exact_13.0.so");
    let fatbin = content(&honest, ".nv_fatbin").0 as u64;
    let mut forged = honest.clone();
    let name = name_of(&forged, ".nv_fatbin");
    forged[name + 1] = b'x';
    let at = free_relocation(&forged);
    put(&mut forged, at, 8, fatbin + 0x400);
    put(&mut forged, at + 8, 8, 8);
    let mut forgeries = Forgeries::default();
    forgeries.refuse_because("loose", &forged, "a relocation changes device code");
    forgeries.finish(1);
}

#[test]
fn a_container_that_a_relocation_writes_is_found() {
    let honest = fixture("exact_13.0.so");
    let mut forgeries = Forgeries::default();
    for (name, value) in [
        ("a container", 0x0010_0001_BA55_ED50_u64),
        ("a wrapper", 0x0000_0001_4662_43B1),
        ("a container, shifted", 0x0001_BA55_ED50_0000),
        ("an ancient container", 0x1EE5_5A01),
    ] {
        let mut forged = honest.clone();
        // The symbol of that relocation becomes a plain number.
        let symbol = content(&forged, ".dynsym").0 + 3 * 24;
        put(&mut forged, symbol + 6, 2, 0xFFF1);
        put(&mut forged, symbol + 8, 8, value);
        forgeries.refuse_because(name, &forged, "that a relocation writes");
    }
    forgeries.finish(4);
}

#[test]
fn segments_that_map_other_bytes_than_the_sections_name_are_found() {
    let honest = fixture("exact_13.0.so");
    let foreign = fixture("family_13.0.fatbin");
    let mut forgeries = Forgeries::default();
    // A page with foreign code, mapped where the sections say that honest code stands.
    let mut moved = honest.clone();
    moved.resize(moved.len().next_multiple_of(4096), 0);
    let page = moved.len() as u64;
    moved.extend_from_slice(&honest[0x2000..0x2018]);
    moved.extend_from_slice(&foreign);
    moved.resize(usize::try_from(page).unwrap() + 0x1894, 0);
    let at = segment_header(&moved, 2);
    put(&mut moved, at + 8, 8, page);
    forgeries.refuse_because("another page", &moved, "the loader maps other bytes");
    // The same over the first mapping: a note becomes a segment.
    let mut over = moved.clone();
    put(&mut over, at + 8, 8, 0x2000);
    let note = segment_header(&over, 5);
    for (offset, width, value) in
        [(0, 4, 1), (4, 4, 4), (8, 8, page), (16, 8, 0x2000), (32, 8, 0x1894), (40, 8, 0x1894)]
    {
        put(&mut over, note + offset, width, value);
    }
    forgeries.refuse_because("mapped over it", &over, "mapped over each other");
    for (name, segment, offset, value) in [
        ("shifted by a page", 2, 8, 0x1000),
        ("at an odd place", 2, 8, 0x2008),
        ("from behind the end", 2, 8, 0x20_0000),
        ("with less of it", 2, 32, 0x1000),
        ("at another address", 2, 16, 0x8000),
        ("never", 2, 0, 6),
        ("more of the file than of memory", 2, 40, 0x100),
        ("the data from elsewhere", 3, 8, 0x2ea0),
    ] {
        let mut forged = honest.clone();
        let at = segment_header(&forged, segment);
        put(&mut forged, at + offset, if offset == 0 { 4 } else { 8 }, value);
        forgeries.refuse(name, &forged);
    }
    let mut writable = honest.clone();
    let at = segment_header(&writable, 2);
    put(&mut writable, at + 4, 4, 6);
    forgeries.refuse_because("writable device code", &writable, "the program may write");
    forgeries.finish(11);
}

#[test]
fn section_headers_that_lie_are_found() {
    let honest = fixture("exact_13.0.so");
    let mut forgeries = Forgeries::default();
    // Foreign code where the loader reads it, the honest copy where the section header points.
    let (at, size) = content(&honest, ".nv_fatbin");
    let mut lie = honest.clone();
    let copy = lie.len();
    lie.extend_from_slice(&honest[at..at + size]);
    let foreign = fixture("family_13.0.fatbin");
    lie[at..at + foreign.len()].copy_from_slice(&foreign);
    let header = section_header(&lie, ".nv_fatbin");
    put(&mut lie, header + 24, 8, copy as u64);
    forgeries.refuse("an honest copy elsewhere", &lie);
    for name in [".nv_fatbin", ".nvFatBinSegment"] {
        let mut renamed = honest.clone();
        let at = name_of(&renamed, name);
        renamed[at + 1] = b'x';
        forgeries.refuse(format!("{name} under another name"), &renamed);
        for (what, offset, width, value) in [
            ("of no bytes", 4, 4, 8_u64),
            ("of a strange type", 4, 4, 0x6000_1234),
            ("with strange flags", 8, 8, 0x4000_0002),
            ("empty", 32, 8, 0),
            ("longer", 32, 8, 0x10_0000),
            ("at another address", 16, 8, 0x9000),
        ] {
            let mut forged = honest.clone();
            let header = section_header(&forged, name);
            put(&mut forged, header + offset, width, value);
            forgeries.refuse(format!("{name} {what}"), &forged);
        }
    }
    for (name, at, width, value) in
        [("no section table", 40, 8, 0), ("no sections", 60, 2, 0), ("fewer sections", 60, 2, 12)]
    {
        let mut forged = honest.clone();
        put(&mut forged, at, width, value);
        forgeries.refuse(name, &forged);
    }
    // As `llvm-objcopy --strip-sections` leaves it.
    let mut stripped = honest.clone();
    for (at, width) in [(40, 8), (60, 2), (62, 2)] {
        put(&mut stripped, at, width, 0);
    }
    forgeries.refuse_because("without sections", &stripped, "prove the library before they are taken out");
    forgeries.finish(18);
}

#[test]
fn whatever_stands_behind_or_between_the_parts_of_an_elf_is_found() {
    let honest = fixture("exact_13.0.so");
    let mut forgeries = Forgeries::default();
    for (name, tail) in [
        ("a letter", b"x".to_vec()),
        ("zeros", vec![0; 64]),
        ("a text", b"#!/bin/sh\n".to_vec()),
        ("a cubin", fixture("plain_13.0.cubin")),
        ("a fatbin", fixture("family_13.0.fatbin")),
        ("the same once more", honest.clone()),
    ] {
        forgeries.refuse(format!("{name} behind"), &[&honest[..], &tail].concat());
    }
    // Between the last byte of the text segment and the next page.
    let mut between = honest.clone();
    between[0x1f00..0x1f10].copy_from_slice(b"something hidden");
    forgeries.refuse_because("between the segments", &between, "between the parts of the ELF");
    // An unmapped section that no tool leaves.
    let mut hidden = honest.clone();
    let at = name_of(&hidden, ".comment");
    hidden[at..at + 8].copy_from_slice(b".payload");
    forgeries.refuse_because(
        "a section of its own",
        &hidden,
        "no known part; objcopy --remove-section takes it out",
    );
    forgeries.finish(8);
}

/// Made by patchelf of the library beside them: 0.17 with another path for libraries, 0.19 with another name and then
/// another path.
const PATCHED: [&str; 2] = ["patched_0.17.so", "patched_0.19.so"];

/// What stands in a file between its parts, each `(start, end)`.
fn gaps(bytes: &[u8]) -> Vec<(usize, usize)> {
    let tables = [(32, 56, 56), (40, 60, 64)]
        .map(|(at, count, size)| (index(bytes, at, 8), index(bytes, count, 2) * size));
    let headers = (0..index(bytes, 60, 2)).map(|section| index(bytes, 40, 8) + section * 64);
    let stored = headers.filter(|&header| ![0, 8].contains(&number(bytes, header + 4, 4)));
    let sections = stored.map(|header| (index(bytes, header + 24, 8), index(bytes, header + 32, 8)));
    let mut parts: Vec<_> = sections.chain(tables).chain([(0, 64), (bytes.len(), 0)]).collect();
    parts.sort_unstable();
    let between = parts.windows(2).map(|pair| (pair[0].0 + pair[0].1, pair[1].0));
    between.filter(|(start, end)| start < end).collect()
}

#[test]
fn libraries_whose_tables_patchelf_moved_are_exact() {
    for name in PATCHED {
        let bytes = fixture(name);
        assert!(gaps(&bytes).iter().any(|&(start, end)| end - start > 300 && bytes[start..end].contains(&0)));
        let (found, why) = verdict(&bytes);
        assert_eq!(found, ProofVerdict::Exact, "{name}: {why}");
    }
}

#[test]
fn nothing_hides_where_tables_stood() {
    let mut forgeries = Forgeries::default();
    for name in PATCHED {
        let honest = fixture(name);
        let gaps = gaps(&honest);
        for &(start, end) in &gaps {
            // Whatever it is: one byte, the start of a cubin, the start of a container, a text, a number.
            let pieces: [(&str, &[u8]); 5] = [
                ("a byte", b"Y"),
                ("a cubin", &fixture("hopper_12.9.cubin")[..64]),
                ("a container", &fixture("family_13.0.fatbin")[..80]),
                ("a text", b"ld.global.f32 %f1, [%rd1];"),
                ("many changes", &b"XZ".repeat(70)),
            ];
            for (what, piece) in pieces {
                for at in [start, start.midpoint(end), end.saturating_sub(piece.len()).max(start)] {
                    if end - at >= piece.len() {
                        let mut forged = honest.clone();
                        forged[at..at + piece.len()].copy_from_slice(piece);
                        forgeries.refuse(format!("{name}: {what} at {at:#x}"), &forged);
                    }
                }
            }
        }
        forgeries.refuse(format!("{name}: zeros behind"), &[&honest[..], &[0; 8]].concat());
        // In the first segment, which nothing may write.
        let &(start, _) = gaps.iter().find(|(start, end)| end - start > 300).expect("gaps");
        let mut led = honest.clone();
        let at = wrapper_relocation(&led);
        put(&mut led, at + 16, 8, start as u64);
        forgeries.refuse_because(
            format!("{name}: a wrapper that leads there"),
            &led,
            "where no container starts",
        );
    }
    forgeries.finish(90);
}

#[test]
fn a_former_table_of_sections_says_nothing_but_what_stood_where() {
    let honest = fixture("patched_0.19.so");
    // The entry of `.rela.dyn`, which was not moved, and that of `.dynsym`, which was.
    for name in [".rela.dyn", ".dynsym"] {
        let word = number(&honest, section_header(&honest, name), 4);
        let kind = number(&honest, section_header(&honest, name) + 4, 4);
        let former: Vec<usize> = gaps(&honest)
            .iter()
            .flat_map(|&(start, end)| (start.next_multiple_of(8)..end.saturating_sub(63)).step_by(8))
            .filter(|&at| number(&honest, at, 4) == word && number(&honest, at + 4, 4) == kind)
            .collect();
        assert!(!former.is_empty(), "no former entry of {name}");
        let mut forgeries = Forgeries::default();
        for at in former {
            for (what, offset, width, value) in [
                ("another name", 0, 4, word + 1),
                ("another type", 4, 4, 1),
                ("other flags", 8, 8, 6),
                ("at another address", 16, 8, 0x1_2345_6789),
                ("where the container is", 24, 8, content(&honest, ".nv_fatbin").0 as u64),
                ("longer than the file", 32, 8, 0x10_0000),
                ("linked with one there is none", 40, 4, 0x4000_0000),
                ("of another number", 44, 4, 0x4000_0000),
                ("aligned as nothing is", 48, 8, 0x4000_0000),
                ("of other entries", 56, 8, 0x4000_0000),
            ] {
                let mut forged = honest.clone();
                put(&mut forged, at + offset, width, value);
                forgeries.refuse_because(format!("{name} {what}"), &forged, "between the parts");
            }
        }
        forgeries.finish(10);
    }
}

#[test]
fn objects_whose_relocations_make_other_device_code_are_found() {
    let honest = fixture("exact_13.0.o");
    let (rela, _) = content(&honest, ".rela.nvFatBinSegment");
    let mut forgeries = Forgeries::default();
    for (name, offset, width, value) in [
        ("behind the start", 16, 8, 16_u64),
        ("beyond the section", 16, 8, 0x10_0000),
        ("to an undefined symbol", 12, 4, 0),
        ("in another form", 8, 4, 14),
        ("into the magic", 0, 8, 0),
        ("outside of its section", 0, 8, 0x100),
    ] {
        let mut forged = honest.clone();
        put(&mut forged, rela + offset, width, value);
        forgeries.refuse(name, &forged);
    }
    let mut into = honest.clone();
    let header = section_header(&into, ".rela.nvFatBinSegment");
    let device = section(&into, ".nv_fatbin") as u64;
    put(&mut into, header + 44, 4, device);
    forgeries.refuse_because("into the container", &into, "changes device code");
    let mut short = honest.clone();
    put(&mut short, header + 4, 4, 9);
    forgeries.refuse("without addends", &short);
    for name in [".nv_fatbin", ".nvFatBinSegment"] {
        let mut renamed = honest.clone();
        let at = name_of(&renamed, name);
        renamed[at + 1] = b'x';
        forgeries.refuse(format!("{name} under another name"), &renamed);
    }
    let mut writable = honest.clone();
    let header = section_header(&writable, ".nv_fatbin");
    put(&mut writable, header + 8, 8, 3);
    forgeries.refuse_because("writable", &writable, "the program may write");
    forgeries.finish(11);
}

#[test]
fn objects_that_wait_for_link_time_optimisation_are_never_called_empty() {
    let mut forgeries = Forgeries::default();
    let mut object = fixture("exact_13.0.o");
    let at = name_of(&object, ".nvFatBinSegment");
    object[at..at + 16].copy_from_slice(b".gnu.lto_main.1\0");
    forgeries.refuse_because("GCC", &object, "link-time optimisation");
    for (name, first) in [
        ("LLVM bitcode", &b"BC\xC0\xDE\x35\x14\0\0"[..]),
        ("wrapped LLVM bitcode", b"\xDE\xC0\x17\x0B\0\0\0\0"),
        ("NVVM", b"\xED\x43\x4E\x7F\x01\0\0\0"),
        ("Tile IR", b"\x7FTileIR\0\x0D\x01"),
    ] {
        let file = [first, &[7; 64]].concat();
        forgeries.refuse_because(name, &file, "is not read");
        let member = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "k.o/", 0, 0, 0, 644, file.len());
        let archive = [b"!<arch>\n", member.as_bytes(), &file].concat();
        forgeries.refuse_because(format!("{name} in an archive"), &archive, "is not read");
    }
    forgeries.finish(9);
}

#[test]
fn a_library_that_needs_cuda_without_naming_it_says_so() {
    // The fixture was linked against nothing.
    let found = examine(&fixture("exact_13.0.so"));
    let missing: Vec<String> = found.missing_libraries.iter().map(ToString::to_string).collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].contains("libcudart") && missing[0].contains("will not load without"), "{missing:?}");
    let mut weak = fixture("exact_13.0.so");
    let (symbols, size) = content(&weak, ".dynsym");
    for symbol in (symbols..symbols + size).step_by(24) {
        let kind = index(&weak, symbol + 4, 1) & 0xF;
        put(&mut weak, symbol + 4, 1, 0x20 | kind as u64);
    }
    assert!(examine(&weak).missing_libraries.is_empty());
}
