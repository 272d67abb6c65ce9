//! Bytes that stand in wider words, each alone in one, or turned round within words: as a program holds them that
//! keeps device code in an array of numbers of 16, 32 or 64 bits or PTX in wide characters, or reads it in the other
//! order of bytes.

use std::ops::Range;

use crate::prefilter::{Pair, prefilter};
use crate::ptx;

/// Sizes of words, in bytes.
const WIDTHS: [usize; 3] = [2, 4, 8];
/// What is looked at of a finding, in bytes: the headers of a cubin or container, or the head of a text.
const REACH: usize = 4 << 10;
/// How cubins begin, but for the number of their system.
const CUBIN: &[u8] = &[0x7F, b'E', b'L', b'F', 2, 1, 1];
/// How containers begin: magic, version and size of the header; their own size follows.
const CONTAINER: &[u8] = &[0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0];
const SIZE_AT: usize = 8;
const CONTAINER_HEADER: usize = 16;
/// Neighbours of which each form holds one, wherever its words begin.
const PAIRS: [Pair; 9] = [
    (0x7F, 0),
    (0xED, 0),
    (b'g', 0),
    (b'E', 0x7F),
    (2, b'F'),
    (0xED, 0x50),
    (0x55, 0xED),
    (b'g', b'r'),
    (b'e', b'g'),
];

/// What begins in `range` of some data in one of these forms: offset, form, bytes.
pub(super) fn rearranged(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let part = data.get(range.start..data.len().min(range.end.saturating_add(1))).unwrap_or_default();
    let mut found: Vec<(usize, &'static str, Vec<u8>)> = Vec::new();
    let mut next = range.start;
    prefilter(part, PAIRS, |start, end| {
        for at in (range.start + start..range.start + end).filter(|at| range.contains(at)) {
            let Some(&pair) = data.get(at..).and_then(<[u8]>::first_chunk) else { continue };
            if at < next {
                continue;
            }
            if let Some((form, bytes)) = begins(data, at, pair) {
                next = at + bytes.len();
                found.push((at, form, bytes));
            }
        }
    });
    found
}

/// What begins where two neighbours stand.
fn begins(data: &[u8], at: usize, pair: [u8; 2]) -> Option<(&'static str, Vec<u8>)> {
    match pair {
        [0x7F, 0] => spread(data, at, 0, CUBIN),
        [0xED, 0] => spread(data, at, 1, CONTAINER),
        [b'g', 0] => spread(data, at, 4, ptx::TARGET),
        [b'E', 0x7F] => turned(data, at + 1, 0, CUBIN),
        [2, b'F'] => turned(data, at + 1, 3, CUBIN),
        [0xED, 0x50] => turned(data, at + 1, 0, CONTAINER),
        [0x55, 0xED] => turned(data, at + 1, 1, CONTAINER),
        [b'g', b'r'] => turned(data, at + 1, 3, ptx::TARGET),
        [b'e', b'g'] => turned(data, at + 1, 4, ptx::TARGET),
        _ => None,
    }
}

/// Bytes of which each is alone in a word, with zeros between, where the byte at `at` is the one of that index in
/// the mark.
fn spread(data: &[u8], at: usize, index: usize, mark: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    WIDTHS.into_iter().find_map(|width| {
        let stored = data.get(at.checked_sub(index * width)?..)?;
        let alone = |word: &&[u8]| word[1..].iter().all(|&byte| byte == 0);
        let words = |count| stored.chunks(width).take(count).take_while(alone).map(|word| word[0]);
        words(mark.len()).eq(mark.iter().copied()).then(|| ("wider words", cut(words(REACH).collect())))
    })
}

/// Bytes that are turned round within words, where the byte at `at` is the one of that index in the mark. Words may
/// begin anywhere.
fn turned(data: &[u8], at: usize, index: usize, mark: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    WIDTHS.into_iter().find_map(|width| {
        (0..width).find_map(|phase| {
            // Of a place in the data, and of one in the bytes that it stands for: each is the other's.
            let place = |at: usize| {
                let within = (at + width - phase) % width;
                (at + width - 1).checked_sub(2 * within)
            };
            let start = place(at)?.checked_sub(index)?;
            let bytes = |count: usize| {
                (start..start + count).map_while(|at| place(at).and_then(|at| data.get(at).copied()))
            };
            bytes(mark.len())
                .eq(mark.iter().copied())
                .then(|| ("words turned round", cut(bytes(REACH).collect())))
        })
    })
}

/// A container that is longer than what is looked at, as one that ends there.
fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    let rest = bytes.len().saturating_sub(CONTAINER_HEADER) as u64;
    if bytes.starts_with(CONTAINER)
        && let Some(size) = bytes.get_mut(SIZE_AT..CONTAINER_HEADER)
    {
        size.copy_from_slice(&rest.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes alone in words, at the low or the high end.
    fn wide(content: &[u8], width: usize, place: usize) -> Vec<u8> {
        let word = move |&byte: &u8| (0..width).map(move |at| if at == place { byte } else { 0 });
        content.iter().flat_map(word).collect()
    }

    fn reversed(content: &[u8], width: usize) -> Vec<u8> {
        content.chunks(width).flat_map(|word| word.iter().rev().copied()).collect()
    }

    #[test]
    fn marks_are_found_in_words_of_every_width_and_at_every_place() {
        let cubin = [CUBIN, &[0x41], &[7; 40]].concat();
        let container = [CONTAINER, &9000_u64.to_le_bytes(), &[7; 40]].concat();
        let text = b".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry kernel()\n".to_vec();
        for width in WIDTHS {
            for before in 0..70 {
                let lead = vec![0xAA; before];
                for (content, mark) in [(&cubin, CUBIN), (&container, CONTAINER), (&text, ptx::TARGET)] {
                    // Turned, with words that begin at each place of the content.
                    let content = [&lead[..before % width], content, &[0xAA; 16]].concat();
                    let content = &content[..content.len() / width * width];
                    let data = [&lead, &reversed(content, width)[..], &lead].concat();
                    let found = rearranged(&data, 0..data.len());
                    assert!(
                        found.iter().any(|(.., bytes)| bytes.starts_with(mark)),
                        "turned {width} {before}"
                    );
                }
                for (content, mark) in [(&cubin, CUBIN), (&container, CONTAINER), (&text, ptx::TARGET)] {
                    for place in [0, width - 1] {
                        let data = [&lead, &wide(content, width, place)[..], &lead].concat();
                        let found = rearranged(&data, 0..data.len());
                        assert!(
                            found.iter().any(|(.., bytes)| bytes.starts_with(mark)),
                            "{width} {place} {before}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_container_of_any_length_counts_as_far_as_it_is_looked_at() {
        let container = [CONTAINER, &u64::MAX.to_le_bytes(), &[0; 9000]].concat();
        let data = wide(&container, 4, 0);
        let [(4, "wider words", bytes)] = &rearranged(&data, 0..data.len())[..] else { panic!() };
        assert_eq!(bytes.len(), REACH);
        assert!(crate::fatbin::read(bytes, 0).is_ok());
    }

    #[test]
    fn what_is_no_mark_is_passed_over_and_every_range_finds_its_own() {
        let text =
            b"the program's great targets: degrees, regrets, .target of no long\0word\x7F\0\xED\0E\x7F\xED\x50"
                .repeat(50);
        assert!(rearranged(&text, 0..text.len()).is_empty());
        let cubin = [CUBIN, &[0x33], &[7; 40]].concat();
        let data = [vec![1; 100], reversed(&cubin, 4), vec![1; 100]].concat();
        let at: Vec<usize> = rearranged(&data, 0..data.len()).iter().map(|(at, ..)| *at).collect();
        assert_eq!(at, [102]);
        assert!(rearranged(&data, 0..102).is_empty() && rearranged(&data, 103..data.len()).is_empty());
        assert_eq!(rearranged(&data, 102..103).len(), 1);
    }
}
