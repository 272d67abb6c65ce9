//! Words of 85 letters, of which five stand for four bytes: `Ascii85`, the alphabet of git and Python, and that of
//! `ZeroMQ`.

use std::ops::Range;

/// Letters of a word below which it is none: those of a text of PTX.
const LEAST_LETTERS: usize = 240;
/// How far behind its range a word is followed, in bytes.
const REACH_BYTES: usize = 1 << 20;
/// One letter in so many is neither letter nor digit, in a word of any content.
const SIGNS_ONE_IN: usize = 32;

/// Values of letters.
type Alphabet = [u8; 256];

const NO_DIGIT: u8 = 0xFF;

const fn alphabet(letters: &[u8; 85]) -> Alphabet {
    let mut table = [NO_DIGIT; 256];
    let mut index = 0;
    while index < 85 {
        #[allow(clippy::cast_possible_truncation, reason = "below 85")]
        let digit = index as u8;
        table[letters[index] as usize] = digit;
        index += 1;
    }
    table
}

const ASCII85: Alphabet = {
    let mut letters = [0; 85];
    let mut index = 0;
    while index < 85 {
        #[allow(clippy::cast_possible_truncation, reason = "below 85")]
        let letter = index as u8 + b'!';
        letters[index] = letter;
        index += 1;
    }
    alphabet(&letters)
};
const GIT: Alphabet =
    alphabet(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~");
const ZEROMQ: Alphabet =
    alphabet(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#");

/// What words that start in `range` stand for: offset, form, bytes.
pub(super) fn words(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let data = &data[..data.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        // A word that is long enough holds a letter at every step.
        let step = at + LEAST_LETTERS - 1;
        if !data.get(step).is_some_and(u8::is_ascii_graphic) {
            at += LEAST_LETTERS;
            continue;
        }
        let start = first_line(data, range.start, step);
        let (letters, end) = word(data, start);
        let signs = letters.iter().filter(|letter| is_sign(**letter)).count();
        if letters.len() >= LEAST_LETTERS && signs * SIGNS_ONE_IN >= letters.len() {
            found.extend(decoded(&letters).into_iter().map(|bytes| (start, "base85", bytes)));
        }
        at = end.max(step + 1);
    }
    found
}

/// Whether a letter is one that names and paths do not have.
fn is_sign(letter: u8) -> bool {
    !letter.is_ascii_alphanumeric() && !b"_./-".contains(&letter)
}

/// Where the word begins, of one line or several, that has a letter at a place.
fn first_line(data: &[u8], from: usize, place: usize) -> usize {
    let mut start = place;
    loop {
        start -= data[from..start].iter().rev().take_while(|byte| byte.is_ascii_graphic()).count();
        match data[from..start] {
            [.., before, b'\r', b'\n'] if before.is_ascii_graphic() => start -= 2,
            [.., before, b'\n'] if before.is_ascii_graphic() => start -= 1,
            _ => return start,
        }
    }
}

/// The letters of the word that starts here, of one line or several, and the offset behind it.
fn word(data: &[u8], start: usize) -> (Vec<u8>, usize) {
    let mut letters = Vec::new();
    let mut at = start;
    loop {
        let size = data[at..].iter().take_while(|byte| byte.is_ascii_graphic()).count();
        letters.extend_from_slice(&data[at..at + size]);
        at += size;
        match data[at..] {
            [b'\r', b'\n', next, ..] if next.is_ascii_graphic() && size > 0 => at += 2,
            [b'\n', next, ..] if next.is_ascii_graphic() && size > 0 => at += 1,
            _ => return (letters, at),
        }
    }
}

/// What letters stand for in each alphabet, wherever in them it begins.
fn decoded(letters: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for alphabet in [&ASCII85, &GIT, &ZEROMQ] {
        found.extend((0..5).map(|skipped| groups(&letters[skipped..], alphabet)));
    }
    found
}

/// The bytes of each group; what is none is left out. `z` alone stands for zeros in `Ascii85`.
fn groups(letters: &[u8], alphabet: &Alphabet) -> Vec<u8> {
    let has_zeros = alphabet[usize::from(b'z')] == NO_DIGIT;
    let mut bytes = Vec::with_capacity(letters.len() / 5 * 4);
    let mut rest = letters;
    while let [first, ..] = rest {
        if has_zeros && *first == b'z' {
            bytes.extend([0; 4]);
            rest = &rest[1..];
            continue;
        }
        let Some((group, behind)) = rest.split_first_chunk::<5>() else { break };
        let digits = group.map(|letter| alphabet[usize::from(letter)]);
        if !digits.contains(&NO_DIGIT) {
            let number = digits.iter().fold(0_u64, |number, &digit| number * 85 + u64::from(digit));
            bytes.extend(u32::try_from(number).unwrap_or_default().to_be_bytes());
        }
        rest = behind;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(content: &[u8], letters: &Alphabet) -> String {
        let letter = |digit: u32| {
            char::from((0..=u8::MAX).find(|&byte| u32::from(letters[usize::from(byte)]) == digit).unwrap())
        };
        let group = |group: &[u8]| {
            let number = u32::from_be_bytes(group.try_into().unwrap());
            if number == 0 && letters[usize::from(b'z')] == NO_DIGIT {
                return "z".to_owned();
            }
            [52_200_625, 614_125, 7225, 85, 1].map(|power| letter(number / power % 85)).iter().collect()
        };
        content.chunks_exact(4).map(group).collect()
    }

    #[test]
    fn words_are_read_in_each_alphabet_wherever_they_begin() {
        let mut content: Vec<u8> =
            (0..800_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        content[400..480].fill(0);
        for alphabet in [&ASCII85, &GIT, &ZEROMQ] {
            let text = encoded(&content, alphabet);
            let lines: Vec<&str> =
                text.as_bytes().chunks(75).map(|line| str::from_utf8(line).unwrap()).collect();
            for text in [text.clone(), lines.join("\n"), format!("<~{text}~>"), format!("b'{text}'")] {
                let found = words(text.as_bytes(), 0..text.len());
                let is_it = |bytes: &[u8]| bytes.windows(2000).any(|window| *window == content[100..2100]);
                assert!(found.iter().any(|(_, _, bytes)| is_it(bytes)), "{text:.80}");
            }
        }
    }

    #[test]
    fn prose_and_names_are_none() {
        let source = include_str!("base85.rs").repeat(4);
        assert!(words(source.as_bytes(), 0..source.len()).is_empty());
        let name = "_ZN5torch8autograd".repeat(100);
        assert!(words(name.as_bytes(), 0..name.len()).is_empty());
    }
}
