//! Zips, tars and streams: what they hold is read, and whatever an unpacker could see otherwise is named.

use std::io::{Cursor, Write};

use proofmark::proof::ProofVerdict;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::support::Sandbox;
use crate::support::forge::{Forgeries, find, fixture, inserted, number, put, verdict};

/// A zip of some members, stored as they are.
fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(*name, stored).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn deflated(name: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file(name, SimpleFileOptions::default()).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().into_inner()
}

/// Where the end of the directory stands in a zip without a comment.
fn end_of(zip: &[u8]) -> usize {
    zip.len() - 22
}

/// Puts bytes before the directory of a zip, and says so in its end.
fn before_directory(zip: &[u8], more: &[u8]) -> Vec<u8> {
    let end = end_of(zip);
    let directory = number(zip, end + 16, 4);
    let mut forged = inserted(zip, usize::try_from(directory).unwrap(), more);
    let end = end_of(&forged);
    put(&mut forged, end + 16, 4, directory + more.len() as u64);
    forged
}

#[test]
fn an_honest_wheel_of_exact_builds_is_exact() {
    let (so, fatbin) = (fixture("exact_13.0.so"), fixture("exact_13.5.fatbin"));
    let members: [(&str, &[u8]); 3] = [("p/k.so", &so), ("p/k.fatbin", &fatbin), ("p/README", b"text")];
    for wheel in [zip_of(&members), deflated("p/k.so", &so)] {
        let (found, why) = verdict(&wheel);
        assert_eq!(found, ProofVerdict::Exact, "{why}");
    }
}

#[test]
fn a_zip_that_unpackers_could_read_otherwise_is_found() {
    let (exact, foreign) = (fixture("exact_13.0.so"), fixture("family_13.0.fatbin"));
    let honest = zip_of(&[("k.so", &exact), ("README", b"text")]);
    let other = zip_of(&[("k.so", &foreign)]);
    let directory = usize::try_from(number(&honest, end_of(&honest) + 16, 4)).unwrap();
    let mut forgeries = Forgeries::default();
    forgeries.refuse_because("a prefix", &[b"#!/bin/sh\nexit\n", &honest[..]].concat(), "before the zip");
    forgeries.refuse("a suffix", &[&honest[..], b"behind"].concat());
    forgeries.refuse("two zips", &[&other[..], &honest].concat());
    forgeries.refuse("two zips, the other way round", &[&honest[..], &other].concat());
    forgeries.refuse("a zip behind a library", &[&exact[..], &honest].concat());
    forgeries.refuse("a zip behind a fatbin", &[&foreign[..], &honest].concat());
    // A member that the directory does not list.
    let local = &other[..usize::try_from(number(&other, end_of(&other) + 16, 4)).unwrap()];
    forgeries.refuse_because("an unlisted member", &before_directory(&honest, local), "between the members");
    forgeries.refuse_because(
        "bytes between members",
        &before_directory(&honest, b"gap"),
        "between the members",
    );
    forgeries.refuse_because(
        "zeros between members",
        &before_directory(&honest, &[0; 16]),
        "between the members",
    );
    // Two of one name: the second is renamed, in both of its headers.
    let mut twice = zip_of(&[("k.so", &exact), ("l.so", &foreign)]);
    while let Some(at) = twice.windows(4).position(|window| window == b"l.so") {
        twice[at] = b'k';
    }
    forgeries.refuse_because("two of one name", &twice, "two members are called k.so");
    for (name, at, width, value, words) in [
        ("an encrypted member", directory + 8, 2, 1, "encrypted"),
        ("bzip2 inside", directory + 10, 2, 12, "method 12"),
        ("another sum", directory + 16, 4, 7, "damaged"),
        ("another size", directory + 24, 4, 100, "another size"),
        ("a member outside of the file", directory + 42, 4, 0x70_0000, "broken"),
        ("the first member twice", directory + 46 + 4 + 42, 4, 0, "lie over each other"),
        ("a header that ends behind the directory", directory + 46 + 4 + 32, 2, 22, "directory is broken"),
        ("more members than there are", end_of(&honest) + 10, 2, 40, "without the end"),
        ("fewer members than there are", end_of(&honest) + 10, 2, 1, "list no member"),
        ("another name in the member's own header", 30, 1, u64::from(b'x'), "own header"),
        ("another method there", 8, 2, 8, "own header"),
        ("another size there", 22, 4, 5, "own header"),
    ] {
        let mut forged = honest.clone();
        put(&mut forged, at, width, value);
        forgeries.refuse_because(name, &forged, words);
    }
    for (name, comment) in [
        ("PTX as a comment", b".version 9.0 .target sm_90 .entry k{ret;}".to_vec()),
        ("a cubin as a comment", fixture("plain_13.0.cubin")),
    ] {
        let mut forged = [&honest[..], &comment].concat();
        put(&mut forged, honest.len() - 2, 2, comment.len() as u64);
        forgeries.refuse_because(name, &forged, "comment");
    }
    // An extra field in the directory, with something in it.
    for (name, kind) in [("an unknown extra field", 0xCAFE_u64), ("a long one of a known kind", 0x5455)] {
        let text = [b".version 9.0 .target sm_90".repeat(4), vec![0; 4]].concat();
        let mut field = vec![0; 4];
        put(&mut field, 0, 2, kind);
        put(&mut field, 2, 2, text.len() as u64);
        field.extend_from_slice(&text);
        let mut forged = inserted(&honest, directory + 46 + 4, &field);
        put(&mut forged, directory + 30, 2, field.len() as u64);
        let end = end_of(&forged);
        let size = number(&forged, end + 12, 4);
        put(&mut forged, end + 12, 4, size + field.len() as u64);
        forgeries.refuse_because(name, &forged, "extra fields");
    }
    forgeries.finish(26);
}

#[test]
fn bytes_behind_the_end_of_a_deflated_member_are_found() {
    let honest = deflated("k.so", &fixture("exact_13.0.so"));
    let end = end_of(&honest);
    let directory = usize::try_from(number(&honest, end + 16, 4)).unwrap();
    let stored = number(&honest, directory + 20, 4);
    let content = 30 + 4;
    let hidden = fixture("plain_13.0.cubin");
    let mut forged = inserted(&honest, content + usize::try_from(stored).unwrap(), &hidden);
    let moved = directory + hidden.len();
    for at in [18, moved + 20] {
        put(&mut forged, at, 4, stored + hidden.len() as u64);
    }
    let end = end_of(&forged);
    put(&mut forged, end + 16, 4, moved as u64);
    let mut forgeries = Forgeries::default();
    forgeries.refuse_because("hidden behind", &forged, "behind the end of its compressed stream");
    forgeries.finish(1);
}

#[test]
fn zips_whose_members_share_bytes_are_refused_before_they_are_unpacked() {
    // Hundreds of members, each of which unpacks the same bytes.
    let big = vec![0; 64 << 20];
    let one = deflated("bomb", &big);
    let (end, members) = (end_of(&one), 2000_u64);
    let directory = usize::try_from(number(&one, end + 16, 4)).unwrap();
    let header = &one[directory..end];
    let mut forged = one[..directory].to_vec();
    forged.extend((0..members).flat_map(|_| header.iter().copied()));
    forged.extend_from_slice(&one[end..]);
    let end = end_of(&forged);
    put(&mut forged, end + 8, 2, members);
    put(&mut forged, end + 10, 2, members);
    put(&mut forged, end + 12, 4, members * header.len() as u64);
    let start = std::time::Instant::now();
    let (found, why) = verdict(&forged);
    assert_eq!(found, ProofVerdict::Unreadable, "{why}");
    assert!(why.contains("lie over each other"), "{why}");
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_member_that_unpacks_to_far_more_than_its_zip_is_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("bomb", SimpleFileOptions::default().large_file(true)).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..400 {
        writer.write_all(&zeros).unwrap();
    }
    let (found, why) = verdict(&writer.finish().unwrap().into_inner());
    assert_eq!(found, ProofVerdict::Unreadable, "{why}");
    assert!(why.contains("beyond what any honest zip"), "{why}");
}

/// A tar of one file.
fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = [&header[..], content].concat();
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn bzip2_of(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).unwrap()
}

#[test]
fn streams_and_tars_are_judged_by_what_they_hold() {
    let mut forgeries = Forgeries::default();
    for (name, pack) in [
        ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
        ("bzip2", bzip2_of),
        ("zstd", zstd_of),
        ("tar", |bytes| tar_of("k.cubin", bytes)),
    ] {
        let (exact, plain) = (fixture("exact_13.0.cubin"), fixture("plain_13.0.cubin"));
        for form in ["alone", "in a tar", "twice"] {
            let packed = |content: &[u8]| match form {
                "alone" => pack(content),
                "in a tar" => pack(&tar_of("lib/k.cubin", content)),
                _ => pack(&pack(content)),
            };
            let (found, why) = verdict(&packed(&exact));
            assert_eq!(found, ProofVerdict::Exact, "{name} {form}: {why}");
            let (found, why) = verdict(&packed(&plain));
            assert_eq!(found, ProofVerdict::Weaker, "{name} {form}: {why}");
            forgeries.refuse(
                format!("{name} {form} with bytes behind"),
                &[packed(&exact), b"behind".to_vec()].concat(),
            );
        }
    }
    // As a member of a zip, and of an archive, where it is not read but named.
    forgeries.refuse("a gzip in a zip", &zip_of(&[("k.gz", &gzip(&fixture("plain_13.0.cubin")))]));
    let content = gzip(&fixture("plain_13.0.cubin"));
    let member = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "k.gz/", 0, 0, 0, 644, content.len());
    let archive = [b"!<arch>\n", member.as_bytes(), &content].concat();
    forgeries.refuse_because("a gzip in an archive", &archive, "not read");
    let skippable =
        [&[0x50, 0x2A, 0x4D, 0x18, 6, 0, 0, 0][..], b"hidden", &zstd_of(&fixture("exact_13.0.cubin"))]
            .concat();
    let after = [&zstd_of(&fixture("exact_13.0.cubin"))[..], &skippable[..14]].concat();
    forgeries.refuse_because("a frame that decoders skip", &after, "something else than frames");
    let mut padded = tar_of("k.cubin", &fixture("exact_13.0.cubin"));
    let end = padded.len() - 1024 - 1;
    padded[end] = b'x';
    forgeries.refuse_because("bytes in the padding of a tar", &padded, "padding of the tar");
    for (name, first) in [("7-Zip", &b"7z\xBC\xAF\x27\x1C\0\x04"[..]), ("LZ4", b"\x04\x22\x4D\x18\x64\x40")] {
        forgeries.refuse_because(name, &[first, &[1; 64]].concat(), "not read");
    }
    forgeries.finish(18);
}

/// A module of PTX for `sm_90`, packed by xz-utils 5.4.
#[rustfmt::skip]
const XZ: [u8; 100] = [
    0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00, 0x04, 0xE6, 0xD6, 0xB4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2F, 0xE5, 0xA3, 0x01, 0x00, 0x29, 0x2E, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6F, 0x6E, 0x20, 0x39, 0x2E, 0x30, 0x0A, 0x2E, 0x74, 0x61, 0x72, 0x67, 0x65, 0x74, 0x20, 0x73, 0x6D, 0x5F, 0x39, 0x30, 0x0A, 0x2E, 0x65, 0x6E, 0x74, 0x72, 0x79, 0x20, 0x6B, 0x7B, 0x72, 0x65, 0x74, 0x3B, 0x7D, 0x0A, 0x00, 0x00, 0x00, 0x05, 0xEF, 0xF1, 0xAC, 0x37, 0x37, 0x14, 0x12, 0x00, 0x01, 0x42, 0x2A, 0x7A, 0x51, 0x72, 0x39, 0x1F, 0xB6, 0xF3, 0x7D, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5A
];

#[test]
fn an_xz_is_read_as_well() {
    let (found, why) = verdict(&XZ);
    assert_eq!(found, ProofVerdict::Weaker, "{why}");
    assert!(why.contains("PTX for sm_90"), "{why}");
    assert_eq!(verdict(&[&XZ[..], b"behind"].concat()).0, ProofVerdict::Unreadable);
}

#[test]
fn names_of_members_reach_no_terminal_unescaped() {
    let sandbox = Sandbox::new();
    let name = "k\x1b[2K\rEXACT  all is well\u{202E}.cubin";
    sandbox.write(
        "p.whl",
        zip_of(&[(name, &fixture("plain_13.0.cubin")), ("l.so", b"\x7FELF\x02\x01\x01\0hidden")]),
    );
    for arguments in [&["verify", "p.whl"][..], &["verify", "p.whl", "--list"]] {
        let output = sandbox.run(arguments);
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains('\x1b') && !text.contains('\r') && !text.contains('\u{202E}'), "{text:?}");
        }
    }
    assert_eq!(find(&zip_of(&[(name, b"")]), name.as_bytes()), 30);
}

#[test]
fn packings_that_are_not_read_are_named() {
    let exact = fixture("exact_13.0.so");
    let mut forgeries = Forgeries::default();
    for (name, first) in [
        ("lzma", &b"\x5D\0\0\x80\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0"[..]),
        ("compress", b"\x1F\x9D\x90"),
        ("Zstandard behind a frame to be skipped", b"\x5A\x2A\x4D\x18\x04\0\0\0skip\x28\xB5\x2F\xFD"),
        ("LZ4 of old", b"\x02\x21\x4C\x18"),
        ("lzip", b"LZIP\x01\x0C"),
        ("lrzip", b"LRZI\0\x06"),
        ("lzop", b"\x89LZO\0\r\n\x1A\n"),
        ("Snappy", b"\xFF\x06\0\0sNaPpY"),
        ("RAR", b"Rar!\x1A\x07\x01\0"),
        ("cabinet", b"MSCF\0\0\0\0"),
        ("SquashFS", b"hsqs"),
        ("RPM", b"\xED\xAB\xEE\xDB\x03\0"),
        ("xar", b"xar!\0\x1C\0\x01"),
        ("cpio", &[&b"070701"[..], &[b'0'; 104]].concat()),
    ] {
        let file = [first, &[0x77; 512]].concat();
        forgeries.refuse_because(name, &zip_of(&[("k.so", &exact), ("k.bin", &file)]), "k.bin");
    }
    // A tar from before there was a magic is read like any other.
    let foreign = fixture("plain_13.0.cubin");
    let mut old = vec![0; 512];
    old[..1].copy_from_slice(b"k");
    old[124..136].copy_from_slice(format!("{:011o} ", foreign.len()).as_bytes());
    old[148..156].fill(b' ');
    let sum: u64 = old.iter().map(|&byte| u64::from(byte)).sum();
    old[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    old.extend_from_slice(&foreign);
    old.resize(old.len().next_multiple_of(512) + 1024, 0);
    forgeries.refuse_because("a tar of old", &zip_of(&[("k.so", &exact), ("old", &old)]), "sm_100");
    forgeries.finish(15);
}
