//! Bytes of fatbins, cubins and PTX that no toolkit writes: none of them is exact.

use std::fs;

use proofmark::proof::{ProofVerdict, examine};

use crate::support::Sandbox;
use crate::support::forge::{
    Forgeries, content, find, fixture, index, inserted, number, put, section_header, verdict,
};

/// Fatbins that are honest and exact, each with another form of header.
const FATBINS: [&str; 4] =
    ["exact_13.0.fatbin", "exact_13.5.fatbin", "exact_compressed_13.0.fatbin", "exact_lineinfo_13.0.fatbin"];

/// Text of a small PTX module.
fn ptx(between: &str, target: &str) -> String {
    format!(
        ".version{between}9.0\n.target{between}{target}\n.address_size 64\n.visible .entry k()\n{{\n\tret;\n}}\n"
    )
}

/// A container whose one entry's header is larger by some bytes at its end.
fn enlarged(fatbin: &[u8], more: &[u8]) -> Vec<u8> {
    let header = index(fatbin, 16 + 4, 4);
    let mut forged = inserted(fatbin, 16 + header, more);
    put(&mut forged, 16 + 4, 4, (header + more.len()) as u64);
    let size = number(fatbin, 8, 8);
    put(&mut forged, 8, 8, size + more.len() as u64);
    forged
}

/// Bytes padded with zeros to a multiple of 8.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

#[test]
fn headers_that_are_larger_than_what_they_hold_are_found() {
    let mut forgeries = Forgeries::default();
    let foreign = fixture("family_13.0.fatbin");
    for name in FATBINS {
        let honest = fixture(name);
        assert_eq!(verdict(&honest).0, ProofVerdict::Exact, "{name}");
        for (what, more) in [
            ("zeros", vec![0; 8]),
            ("many zeros", vec![0; 4096]),
            ("a number", vec![1, 0, 0, 0, 0, 0, 0, 0]),
            ("a container", padded(&foreign)),
            ("a cubin", padded(&fixture("plain_13.0.cubin"))),
            ("an old cubin", padded(&fixture("hopper_12.9.cubin"))),
            ("PTX", padded(ptx(" ", "sm_90").as_bytes())),
            ("PTX with a tab", padded(ptx("\t", "sm_90").as_bytes())),
            ("a compressed fatbin", padded(&fixture("concatenated_13.5.fatbin"))),
        ] {
            forgeries.refuse(format!("{name} with {what}"), &enlarged(&honest, &more));
        }
        // The same excused as an object's name, or as options.
        let header = index(&honest, 16 + 4, 4);
        let text = padded(ptx(" ", "sm_90").as_bytes());
        for (what, slot) in [("a name", 32), ("an extension", 20)] {
            let mut forged = enlarged(&honest, &text);
            put(&mut forged, 16 + slot, 4, header as u64);
            if slot == 32 {
                put(&mut forged, 16 + 36, 4, text.len() as u64);
            }
            forgeries.refuse(format!("{name} with PTX as {what}"), &forged);
        }
        for (what, at, width, value) in [
            ("a name inside the fixed part", 16 + 32, 4, 8),
            ("a name of no bytes", 16 + 32, 4, 72),
            ("a scramble key", 16 + 48, 8, 7),
            ("a later entry version", 16 + 2, 2, 0x0102),
            ("another kind", 16, 2, 4),
            ("unknown flags", 16 + 44, 4, 1),
            ("the flags of Windows", 16 + 40, 1, 0x51),
            ("no flags", 16 + 40, 8, 0),
            ("a smaller header", 16 + 4, 4, 56),
            ("a later container", 4, 2, 2),
        ] {
            let mut forged = honest.clone();
            put(&mut forged, at, width, value);
            forgeries.refuse(format!("{name} with {what}"), &forged);
        }
    }
    forgeries.finish(80);
}

#[test]
fn ptx_is_read_however_it_is_spelled_and_wherever_it_lies() {
    let library = fixture("exact_13.0.so");
    let mut forgeries = Forgeries::default();
    for between in
        [" ", "\t", "  ", "\n", "\r\n", " /* sm_100a */ ", " // sm_100a\n", "\x0B", "\x0C", "\n\n\t "]
    {
        let text = ptx(between, "sm_90");
        let found = examine(text.as_bytes());
        assert_eq!(found.entries.len(), 1, "{between:?}");
        assert_eq!(
            found.entries[0].arch.map(|arch| arch.to_string()).as_deref(),
            Some("sm_90"),
            "{between:?}"
        );
        forgeries.refuse(
            format!("behind a library, {between:?}"),
            &[&library[..], b"\0", text.as_bytes()].concat(),
        );
        // In the constants of a library, where a fatbin's padding was.
        let member = |name: &str, content: &[u8]| {
            let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, content.len());
            let padding: &[u8] = if content.len() % 2 == 1 { b"\n" } else { b"" };
            [header.as_bytes(), content, padding].concat()
        };
        let archive = [
            b"!<arch>\n".to_vec(),
            member("k.o/", &fixture("exact_13.0.o")),
            member("k.in/", text.as_bytes()),
        ]
        .concat();
        forgeries.refuse(format!("in an archive, {between:?}"), &archive);
    }
    // A comment longer than any look ahead.
    let long = format!(" /*{}*/ ", "x".repeat(200_000));
    let found = examine(ptx(&long, "sm_90").as_bytes());
    assert_eq!(found.entries[0].arch.map(|arch| arch.to_string()).as_deref(), Some("sm_90"));
    let twice = ptx(" ", "sm_100a") + &ptx(" ", "sm_90");
    forgeries.refuse_because("two modules in one text", twice.as_bytes(), "sm_100a and sm_90");
    forgeries.finish(21);
}

#[test]
fn ptx_among_other_files_is_found_whatever_it_is_called() {
    let sandbox = Sandbox::new();
    sandbox.write("build/k.so", fixture("exact_13.0.so"));
    sandbox.write(
        "build/README.md",
        "Compiled for the .target that you name; see event.target and .target = 3.",
    );
    sandbox.run(["verify", "build"]).expect(0);
    for name in ["k.txt", "k.in", "k.s", "k", "k.py", "k.json"] {
        let text = match name {
            "k.py" => format!("SOURCE = '''{}'''\n", ptx("\t", "sm_90")),
            "k.json" => format!("{{\"source\": \"{}\"}}", ptx("  ", "sm_90").replace('\n', " ")),
            _ => ptx("\t", "sm_90"),
        };
        let path = sandbox.write(format!("build/{name}"), text);
        let document = sandbox.run(["verify", "build", "--json"]).expect(1).json();
        assert_eq!(document["verdict"], "mixed", "{name}: {document:#}");
        fs::remove_file(path).unwrap();
    }
    // A text for as long as anyone looks, then a cubin.
    let hidden = [&b"text ".repeat(4000)[..], &fixture("plain_13.0.cubin")].concat();
    sandbox.write("build/notes.txt", hidden);
    let document = sandbox.run(["verify", "build", "--json"]).expect(1).json();
    assert_ne!(document["verdict"], "exact", "{document:#}");
}

#[test]
fn a_layout_is_believed_only_of_the_architectures_that_it_existed_for() {
    let mut forgeries = Forgeries::default();
    let old = fixture("hopper_12.9.cubin");
    let flags = number(&old, 48, 4);
    for arch in [100_u64, 103, 110, 120] {
        for letter in [0, 0x800] {
            let mut forged = old.clone();
            put(&mut forged, 48, 4, flags & !0x8FF | arch | letter);
            let (found, why) = verdict(&forged);
            assert_ne!(found, ProofVerdict::Exact, "{why}");
            if arch == 100 {
                forgeries.refuse_because(format!("{arch}, {letter:#x}"), &forged, "ends with sm_90");
            }
        }
    }
    // The layout of Blackwell, by a toolkit that wrote the old one for Hopper.
    let mut early = fixture("exact_12.9.cubin");
    put(&mut early, 49, 1, 90);
    forgeries.refuse_because("12.9 on Hopper", &early, "no toolkit before 13.0");
    forgeries.finish(3);
}

#[test]
fn a_copy_of_ptx_for_debuggers_must_name_the_same_target() {
    let honest = fixture("exact_lineinfo_13.0.fatbin");
    let at = find(&honest, b".target sm_100a");
    let mut forgeries = Forgeries::default();
    for target in ["sm_100f", "sm_120a", "sm_103a", "sm_100 "] {
        let mut forged = honest.clone();
        forged[at + 8..at + 8 + target.len()].copy_from_slice(target.as_bytes());
        forgeries.refuse_because(target, &forged, "debuggers");
    }
    let mut elsewhere = honest.clone();
    let name = find(&elsewhere, b".nv_debug_ptx_txt\0");
    elsewhere[name..name + 17].copy_from_slice(b".nv_debug_rtx_txt");
    let merc = find(&elsewhere, b".nv_debug_ptx_txt\0");
    elsewhere[merc..merc + 17].copy_from_slice(b".nv_debug_rtx_txt");
    forgeries.refuse("in another section", &elsewhere);
    forgeries.finish(5);
}

#[test]
fn code_that_cannot_be_instructions_is_found() {
    let mut forgeries = Forgeries::default();
    for name in ["exact_12.9.cubin", "exact_13.0.cubin", "exact_13.5.cubin"] {
        let honest = fixture(name);
        let (at, size) = content(&honest, ".text.axpy");
        let random: Vec<u8> = (0..size)
            .scan(7_u64, |state, _| {
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                Some(state.to_be_bytes()[0])
            })
            .collect();
        for (what, code) in [
            ("zeros", vec![0; size]),
            ("ones", vec![0xFF; size]),
            ("a text", ptx(" ", "sm_100x").into_bytes().into_iter().cycle().take(size).collect()),
            ("random bytes", random),
            ("x86 code", fixture("exact_13.0.so")[0x10e0..0x10e0 + size].to_vec()),
        ] {
            let mut forged = honest.clone();
            forged[at..at + size].copy_from_slice(&code);
            forgeries.refuse_because(format!("{name}: {what}"), &forged, "no instructions");
        }
    }
    forgeries.finish(15);
}

#[test]
fn parts_of_a_cubin_that_no_toolkit_writes_are_found() {
    let mut forgeries = Forgeries::default();
    for name in ["exact_13.0.cubin", "exact_13.5.cubin"] {
        let honest = fixture(name);
        for (section, to) in [(".debug_frame", ".hidden_code"), (".nv.callgraph", ".other.things")] {
            let header = crate::support::forge::section_header(&honest, section);
            let mut forged = honest.clone();
            let at = crate::support::forge::name_of(&forged, section);
            forged[at..at + to.len()].copy_from_slice(to.as_bytes());
            if number(&honest, header + 4, 4) == 1 {
                forgeries.refuse_because(format!("{name}: {to}"), &forged, "no known part");
            }
            put(&mut forged, header + 4, 4, 0x7000_0055);
            forgeries.refuse_because(format!("{name}: type of {to}"), &forged, "no known part");
        }
        // Bytes that stood in a section stand in none.
        let mut forged = honest.clone();
        let header = section_header(&forged, ".debug_frame");
        put(&mut forged, header + 32, 8, 0);
        forgeries.refuse_because(format!("{name}: a gap"), &forged, "between the parts of the cubin");
        forgeries.refuse(format!("{name}: bytes behind"), &[&honest[..], b"behind"].concat());
    }
    forgeries.finish(10);
}

#[test]
fn headers_of_a_cubin_that_no_toolkit_writes_are_found() {
    let mut forgeries = Forgeries::default();
    for name in ["exact_13.0.cubin", "exact_13.5.cubin", "exact_12.9.cubin"] {
        let honest = fixture(name);
        let sections = index(&honest, 40, 8);
        let is_code = |&header: &usize| number(&honest, header + 8, 8) & 4 != 0;
        let code = (0..index(&honest, 60, 2)).map(|one| sections + 64 * one).find(is_code).expect("code");
        let mut refuse = |what: &str, at: usize, width: usize, value: u64, words: &str| {
            let mut forged = honest.clone();
            put(&mut forged, at, width, value);
            forgeries.refuse_because(format!("{name}: {what}"), &forged, words);
        };
        refuse("code with an address", code + 16, 8, 0x1000, "an address or flags");
        refuse("code that is not mapped", code + 8, 8, 4, "an address or flags");
        refuse("compressed code", code + 8, 8, 6 | 0x800, "an address or flags");
        let segment = index(&honest, 32, 8);
        for (what, at, width, value) in [
            ("a segment of another type", 0, 4, 2),
            ("a segment with an address", 16, 8, 0x1000),
            ("a segment with another address", 24, 8, 0x1000),
            ("a segment behind the file", 8, 8, honest.len() as u64 + 1),
        ] {
            refuse(what, segment + at, width, value, "a program header that no toolkit writes");
        }
        let (symbols, size) = content(&honest, ".symtab");
        let kernel =
            (symbols..symbols + size).step_by(24).find(|&at| honest[at + 5] & 0x10 != 0).expect("a kernel");
        refuse("a kernel that begins later", kernel + 8, 8, 0x100, "begins or ends elsewhere");
        refuse("a kernel that ends earlier", kernel + 16, 8, 0x10, "begins or ends elsewhere");
    }
    forgeries.finish(27);
}

/// A cubin with more bytes behind a section, and everything behind them moved.
fn widened(cubin: &[u8], section: &str, more: &[u8]) -> Vec<u8> {
    let (start, size) = content(cubin, section);
    let at = start + size;
    let mut wider = inserted(cubin, at, more);
    let moved = |offset: usize| if offset >= at { offset + more.len() } else { offset };
    for table in [32, 40] {
        put(&mut wider, table, 8, moved(index(cubin, table, 8)) as u64);
    }
    let (sections, segments) = (index(&wider, 40, 8), index(&wider, 32, 8));
    let fields = (0..index(cubin, 60, 2)).map(|number| sections + 64 * number + 24);
    let fields = fields.chain((0..index(cubin, 56, 2)).map(|number| segments + 56 * number + 8));
    for field in fields {
        let offset = moved(index(&wider, field, 8));
        put(&mut wider, field, 8, offset as u64);
    }
    wider
}

#[test]
fn the_room_of_dropped_names_is_explained_and_nothing_else_in_it() {
    let honest = fixture("exact_13.0.cubin");
    let (found, why) = verdict(&widened(&honest, ".shstrtab", &[0; 4864]));
    assert_eq!(found, ProofVerdict::Exact, "{why}");
    let mut forgeries = Forgeries::default();
    let mut hidden = vec![0; 4864];
    hidden[4000] = 1;
    let large = vec![0; 128 << 10];
    for (name, section, more) in [
        ("a byte in it", ".shstrtab", &hidden[..]),
        ("more than names take", ".shstrtab", &large[..]),
        ("as much elsewhere", ".note.nv.tkinfo", &[0; 4864]),
    ] {
        forgeries.refuse_because(name, &widened(&honest, section, more), "between the parts of the cubin");
    }
    forgeries.finish(3);
}
