//! Numbers with the same words between them each time: `(char)127, (char)69`, `<int>127</int><int>69</int>`,
//! `push(127); push(69);`.

use std::ops::Range;

use super::literal::{List, number};

/// Numbers below which they are no list.
const LEAST_NUMBERS: usize = 12;
/// How far behind its range a list is followed, in bytes.
const REACH_BYTES: usize = 1 << 20;
/// Every so many bytes one is looked for; three numbers of it stand within a few times that.
const STEP: usize = 64;
/// Longest number, and most characters between two.
const NUMBER_LIMIT: usize = 24;
const BETWEEN_LIMIT: usize = 64;

/// What such lists that start in `range` stand for: offset, form, bytes.
pub(super) fn repeated(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let data = &data[..data.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let list = next_number(data, at, STEP).and_then(|first| read(data, first));
        match list {
            Some((start, list, end)) => {
                found.extend(list.meanings().into_iter().map(|bytes| (start, "numbers in words", bytes)));
                at = end.max(at + STEP);
            }
            None => at += STEP,
        }
    }
    found
}

fn is_word(byte: u8) -> bool {
    const WORD: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte: u8 = 0;
        while byte < 0x80 {
            table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
            byte += 1;
        }
        table
    };
    WORD[usize::from(byte)]
}

/// The next number that begins within some bytes: a digit that continues no word.
fn next_number(data: &[u8], at: usize, within: usize) -> Option<Range<usize>> {
    let near = data.get(at..data.len().min(at.saturating_add(within)))?;
    let mut is_within_word = data[..at].last().is_some_and(|&before| is_word(before));
    let start = near.iter().position(|&byte| {
        let begins = byte.is_ascii_digit() && !is_within_word;
        is_within_word = is_word(byte);
        begins
    })?;
    let size = data[at + start..].iter().take(NUMBER_LIMIT).take_while(|&&byte| is_word(byte)).count();
    Some(at + start..at + start + size)
}

/// The list around a number, or from the one behind it on: where it begins, and the offset behind it.
fn read(data: &[u8], first: Range<usize>) -> Option<(usize, List, usize)> {
    let second = next_number(data, first.end, BETWEEN_LIMIT)?;
    let third = next_number(data, second.end, BETWEEN_LIMIT)?;
    let filling = &data[second.end..third.start];
    // What only separates is read elsewhere.
    if !is_alike(&data[first.end..second.start], filling) || !filling.iter().any(|&byte| is_word(byte)) {
        return None;
    }
    let start = first.start;
    let mut list = List::default();
    let (mut next, mut end) = (Some(first), start);
    while let Some(found) = next {
        list.push(number(&data[found.clone()], found.start > 0 && data[found.start - 1] == b'-'));
        end = found.end;
        next = next_number(data, end, BETWEEN_LIMIT).filter(|next| is_alike(&data[end..next.start], filling));
    }
    (list.len() >= LEAST_NUMBERS).then_some((start, list, end))
}

/// Whether the same stands between two numbers as between two others, but for blanks and signs.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != b'-';
    one.iter().filter(plain).eq(other.iter().filter(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_between_words_that_repeat() {
        let content: Vec<u8> =
            (0..400_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let forms: [fn(&u8) -> String; 6] = [
            |byte| format!("(unsigned char){byte}, "),
            |byte| format!("static_cast<char>(0x{byte:02x}),\n    "),
            |byte| format!("uint8_t({}), ", byte.cast_signed()),
            |byte| format!("<int>{byte}</int>"),
            |byte| format!("push_back({byte});"),
            |byte| format!("std::byte{{0x{byte:X}}}, "),
        ];
        for form in forms {
            let list: String = content.iter().map(form).collect();
            for before in [0, 1, 63, 64, 200] {
                let data = ["#".repeat(before), list.clone()].concat();
                let found = repeated(data.as_bytes(), 0..data.len());
                let is_it = |bytes: &[u8]| bytes.windows(300).any(|window| *window == content[50..350]);
                assert!(found.iter().any(|(_, _, bytes)| is_it(bytes)), "{data:.80}");
            }
        }
    }

    #[test]
    fn numbers_in_prose_and_in_sources_are_none() {
        let source = include_str!("literal.rs");
        assert!(repeated(source.as_bytes(), 0..source.len()).is_empty());
        let prose = "of 12 files 13 are new, and 14 were there in 2025; ".repeat(100);
        assert!(repeated(prose.as_bytes(), 0..prose.len()).is_empty());
    }
}
