//! Tables of check sums: what looks random, and follows from a few of its words.
//!
//! Entry `i` of a table for CRCs is the exclusive or of the entries of `i`'s bits, so eight of its 256 words say all of
//! it. Torch's headers bring one of 2,048 bytes into every module that is built with them. So few words hold no device
//! code.

/// Entries of a table: one for each byte.
const ENTRIES: usize = 256;
/// Bytes of its words.
const WORDS: [usize; 2] = [8, 4];

/// The data with zeros in place of tables of check sums; `None` where there is none.
pub(super) fn without_tables(data: &[u8]) -> Option<Vec<u8>> {
    let mut masked: Option<Vec<u8>> = None;
    for word in WORDS {
        let mut at = 0;
        while let Some(table) = data.get(at..at + ENTRIES * word) {
            if is_linear(table, word) {
                masked.get_or_insert_with(|| data.to_vec())[at..at + table.len()].fill(0);
                at += table.len();
            } else {
                at += 4;
            }
        }
    }
    masked
}

/// Whether entry `i` is the exclusive or of the entries of its bits, and no two of these are alike.
fn is_linear(table: &[u8], word: usize) -> bool {
    let entry = |index: usize| &table[index * word..(index + 1) * word];
    // Nearly all data ends here.
    if entry(0).iter().any(|byte| *byte != 0) || entry(1) == entry(2) {
        return false;
    }
    (3..ENTRIES).filter(|index| !index.is_power_of_two()).all(|index| {
        let low = index & index.wrapping_neg();
        let (rest, bit) = (entry(index ^ low), entry(low));
        entry(index).iter().zip(rest.iter().zip(bit)).all(|(found, (one, other))| *found == one ^ other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of a reflected CRC by its polynomial, as words of 64 or 32 bits.
    fn table(polynomial: u64, word: usize) -> Vec<u8> {
        let entry = |index: u64| {
            (0..8).fold(index, |crc, _| if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 })
        };
        (0..256).flat_map(|index| entry(index).to_le_bytes()[..word].to_vec()).collect()
    }

    #[test]
    fn tables_of_check_sums_are_taken_out_wherever_they_lie_and_nothing_else_is() {
        for (polynomial, word) in [(0x09AC_9329_AC4B_C9B5, 8), (0xEDB8_8320, 4)] {
            let table = table(polynomial, word);
            for before in [0, 4, 64] {
                let data = [vec![b'x'; before], table.clone(), b"behind".to_vec()].concat();
                let masked = without_tables(&data).unwrap();
                assert_eq!(masked[..before], data[..before]);
                assert_eq!(masked[before..before + table.len()], vec![0; table.len()]);
                assert!(masked.ends_with(b"behind"));
                let mut spoiled = data;
                spoiled[before + table.len() - 1] ^= 1;
                assert_eq!(without_tables(&spoiled), None, "one byte is another");
            }
        }
        assert_eq!(without_tables(&[0; 8192]), None, "zeros look like nothing");
        assert_eq!(without_tables(include_bytes!("../../../../tests/fixtures/proof/exact_13.0.cubin")), None);
    }
}
