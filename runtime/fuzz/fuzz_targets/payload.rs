//! Compressed payloads: the first byte picks scheme and kind, the next four declare the size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proofmark_proof::examine;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[choice, a, b, c, d], stream)) = bytes.split_first_chunk() else { return };
    let scheme: u64 = if choice & 1 == 0 { 0x2000 } else { 0x8000 };
    let kind: u16 = [1, 2, 8, 0x100][usize::from(choice >> 1 & 3)];
    let mut header = vec![0; 64];
    header[..2].copy_from_slice(&kind.to_le_bytes());
    header[2..4].copy_from_slice(&[1, 1]);
    header[4..8].copy_from_slice(&64_u32.to_le_bytes());
    let padded = stream.len().next_multiple_of(8);
    header[8..16].copy_from_slice(&(padded as u64).to_le_bytes());
    header[16..20].copy_from_slice(&(stream.len() as u32).to_le_bytes());
    header[28..32].copy_from_slice(&100_u32.to_le_bytes());
    header[40..48].copy_from_slice(&(0x11 | scheme).to_le_bytes());
    header[56..60].copy_from_slice(&[a, b, c, d]);
    let mut file = vec![0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0];
    file.extend_from_slice(&((header.len() + padded) as u64).to_le_bytes());
    file.extend_from_slice(&header);
    file.extend_from_slice(stream);
    file.resize(16 + 64 + padded, 0);
    let examination = examine(&file);
    assert_eq!(examination.containers.len(), 1);
});
