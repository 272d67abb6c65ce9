//! Bytes that look random: what is packed or enciphered does, and hardly anything else in a program.

use std::ops::Range;
use std::sync::LazyLock;

use super::linear;

/// Bytes that are judged together, and how far the next ones start behind.
const WINDOW: usize = 512;
const STEP: usize = 256;
/// Bits a byte of a window from which on it looks random. So few random bytes have 7.59 ± 0.02 (a window
/// can't show more than 9 bits a byte); text has 4 to 5.5, machine code 5.5 to 6.5, tables of numbers up to 7.2.
const RANDOM_BITS: f64 = 7.35;
/// The first bytes of a window, of which so many differ in random ones (57 ± 2.5) and fewer in nearly all else.
const PROBE: usize = 64;
const PROBE_DISTINCT: u32 = 44;

/// What each count of a byte in a window takes off its bits.
static WEIGHTS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    #[allow(clippy::cast_precision_loss, reason = "numbers up to 512")]
    let weight = |count: usize| if count == 0 { 0.0 } else { count as f64 * (count as f64).log2() };
    (0..=WINDOW).map(weight).collect()
});

/// Ranges that look random and start in `range`, one behind the other.
pub(super) fn windows(data: &[u8], range: Range<usize>) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let aligned = range.start.next_multiple_of(STEP);
    for start in (aligned..range.end).step_by(STEP) {
        let Some(window) = data.get(start..start + WINDOW) else { break };
        if !looks_random(window) {
            continue;
        }
        // What starts before its first whole window is among the bytes just before.
        let from = start.saturating_sub(STEP).max(range.start);
        let end = start + WINDOW;
        match found.last_mut().filter(|(_, last)| *last >= from) {
            Some((_, last)) => *last = end,
            None => found.push((from, end)),
        }
    }
    found
}

/// How far around a range that looks random a table is looked for, in bytes: the largest is half as long.
const AROUND: usize = 4096;

/// Ranges in `data` that look random, each with its length in bytes; a table of check sums is none.
pub(crate) fn opaque(data: &[u8], range: Range<usize>) -> Vec<(usize, usize)> {
    let without_tables = |(start, end): (usize, usize)| {
        let from = start.saturating_sub(AROUND) / STEP * STEP;
        let around = &data[from..data.len().min(end + AROUND)];
        match linear::without_tables(around) {
            None => vec![(start, end)],
            Some(masked) => windows(&masked, start - from..end - from)
                .into_iter()
                .map(|(start, end)| (start + from, end + from))
                .collect(),
        }
    };
    let found = windows(data, range).into_iter().flat_map(without_tables);
    found.map(|(start, end)| (start, end - start)).collect()
}

fn looks_random(window: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    for &byte in window.iter().take(PROBE) {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    if seen.iter().map(|bits| bits.count_ones()).sum::<u32>() < PROBE_DISTINCT {
        return false;
    }
    let mut counts = [0_usize; 256];
    for &byte in window {
        counts[usize::from(byte)] += 1;
    }
    let weights: &[f64] = &WEIGHTS;
    let taken: f64 = counts.iter().map(|&count| weights[count]).sum();
    #[allow(clippy::cast_precision_loss, reason = "512")]
    let size = WINDOW as f64;
    size.log2() - taken / size >= RANDOM_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(size: usize) -> Vec<u8> {
        let mut state = 20_261_129_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_le_bytes()[7]
        };
        (0..size).map(|_| next()).collect()
    }

    #[test]
    fn what_looks_random_is_found_wherever_it_lies() {
        for at in [0, 1, 100, 255, 4096, 5000] {
            let data = [vec![b' '; at], random(800), vec![0; 2000]].concat();
            let found = opaque(&data, 0..data.len());
            let [(start, size)] = found[..] else { panic!("{at}: {found:?}") };
            assert!(start <= at && start + size >= at + 500, "{at}: {found:?}");
        }
    }

    #[test]
    fn a_table_of_check_sums_hides_nothing_that_lies_beside_it() {
        let entry = |index: u32| {
            (0..8).fold(index, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
        };
        let table: Vec<u8> = (0..256).flat_map(|index| entry(index).to_le_bytes()).collect();
        let alone = [vec![b' '; 700], table.clone(), vec![b' '; 700]].concat();
        assert!(!windows(&alone, 0..alone.len()).is_empty(), "it looks random");
        assert_eq!(opaque(&alone, 0..alone.len()), []);
        let beside = [vec![b' '; 700], table, random(1500), vec![b' '; 700]].concat();
        let found = opaque(&beside, 0..beside.len());
        assert!(matches!(found[..], [(start, size)] if start < 2000 && start + size > 3000), "{found:?}");
    }

    #[test]
    fn ordinary_data_does_not_look_random() {
        let text = include_bytes!("mod.rs").repeat(2);
        let code = include_bytes!("../../../../tests/fixtures/proof/exact_13.0.cubin");
        let doubles: Vec<u8> =
            (1..2000_u32).flat_map(|number| f64::from(number).sqrt().to_le_bytes()).collect();
        let floats: Vec<u8> =
            (1..2000_i16).flat_map(|number| (f32::from(number) / 7.0).to_le_bytes()).collect();
        let pointers: Vec<u8> =
            (0..2000_u64).flat_map(|number| (0x7F00_1234_0000 + number * 24).to_le_bytes()).collect();
        for data in [&text[..], code, &doubles, &floats, &pointers] {
            assert_eq!(opaque(data, 0..data.len()), []);
        }
    }
}
