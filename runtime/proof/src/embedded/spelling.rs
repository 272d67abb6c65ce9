//! Bytes written out as text: base64 with either alphabet, base32, and hexadecimal; in one piece, in lines, or with
//! separators between letters.

use std::ops::Range;

/// Letters of a word below which it is not decoded: a quarter of the smallest cubin in base64.
const LEAST_LETTERS: usize = 192;
/// Between two pieces of one word stand at most so many other characters: line ends, quotes, commas.
const MOST_BETWEEN: usize = 16;
/// And the next piece has at least so many letters.
const NEXT_PIECE: usize = 4;
/// How far behind its range a word is followed, in bytes.
const REACH_BYTES: usize = 1 << 20;
/// Pieces shorter than this, in letters, start no word: words of prose.
const FIRST_PIECE: usize = 40;

/// A digit of neither alphabet.
const NO_DIGIT: u8 = 0xFF;

/// Six bits a letter, of both alphabets.
const BASE64: [u8; 256] = {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NO_DIGIT; 256];
    let mut index = 0;
    while index < 64 {
        #[allow(clippy::cast_possible_truncation, reason = "below 64")]
        let digit = index as u8;
        table[letters[index] as usize] = digit;
        index += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

/// What words that start in `range` spell: offset, spelling, bytes.
pub(super) fn written_out(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let mut found = Vec::new();
    let data = &data[..data.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut at = range.start;
    while at < range.end {
        // A piece that is long enough holds a letter at every step.
        let step = at + FIRST_PIECE - 1;
        if !data.get(step).is_some_and(|&byte| is_letter(byte)) {
            at += FIRST_PIECE;
            continue;
        }
        let back = data[range.start..step].iter().rev().take_while(|&&byte| is_letter(byte)).count();
        let start = step - back;
        let (letters, end) = word(data, start);
        if letters.len() >= LEAST_LETTERS {
            found.extend(decoded(&letters).into_iter().map(|(spelling, bytes)| (start, spelling, bytes)));
        }
        at = end.max(step + 1);
    }
    found
}

/// Every so many bytes separators are looked for, among so many bytes; of which so many are letters, and so many
/// separators differ.
const PROBE: usize = 64;
const PROBE_LETTERS: usize = 16;
const PROBE_SEPARATORS: usize = 3;

/// What words that start in `range` spell whose letters are separated otherwise than lines are: by zeros, blanks, signs,
/// or the second byte of wide characters.
pub(super) fn separated(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let mut found = Vec::new();
    let data = &data[..data.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut at = range.start;
    while at < range.end {
        let Some(separators) = data.get(at..at + PROBE).and_then(separators) else {
            at += PROBE;
            continue;
        };
        let belongs = |byte: &&u8| is_letter(**byte) || separators.contains(**byte);
        let back = data[range.start..at].iter().rev().take(PROBE).take_while(belongs).count();
        let size = data[at..].iter().take_while(belongs).count();
        let (start, end) = (at - back, at + size);
        let letters: Vec<u8> = data[start..end].iter().copied().filter(|&byte| is_letter(byte)).collect();
        if letters.len() >= LEAST_LETTERS {
            found.extend(decoded(&letters).into_iter().map(|(spelling, bytes)| (start, spelling, bytes)));
        }
        at = end.max(at + PROBE);
    }
    found
}

/// What separates the letters among some bytes, if they look like a word whose letters are separated: prose has more
/// separators, or hardly a digit or large letter.
fn separators(probe: &[u8]) -> Option<Separators> {
    let mut separators = Separators::default();
    for &byte in probe.iter().filter(|&&byte| !is_letter(byte)) {
        separators.add(byte)?;
    }
    let (mut letters, mut large, mut digits, mut lines) = (0, 0, 0, 0);
    for &byte in probe.iter().filter(|&&byte| is_letter(byte)) {
        letters += 1;
        large += usize::from(byte.is_ascii_uppercase());
        digits += usize::from(byte.is_ascii_digit());
        lines += usize::from(byte == b'_');
    }
    let is_mixed = large * 8 >= letters || digits * 4 >= letters;
    // Names of functions, one behind the other, have more lines below.
    let is_named = lines * 16 > letters;
    (separators.count > 0 && letters >= PROBE_LETTERS && is_mixed && !is_named).then_some(separators)
}

/// A few different bytes.
#[derive(Default)]
struct Separators {
    bytes: [u8; PROBE_SEPARATORS],
    count: usize,
}

impl Separators {
    fn contains(&self, byte: u8) -> bool {
        self.bytes[..self.count].contains(&byte)
    }

    /// One more, if it is none yet and there is room.
    fn add(&mut self, byte: u8) -> Option<()> {
        if !self.contains(byte) {
            *self.bytes.get_mut(self.count)? = byte;
            self.count += 1;
        }
        Some(())
    }
}

/// The letters of the word that starts here, its pieces joined, and the offset behind it; none where its first
/// piece is short.
fn word(data: &[u8], start: usize) -> (Vec<u8>, usize) {
    let piece_at = |at: usize| data[at..].iter().take_while(|&&byte| is_letter(byte)).count();
    let mut end = start + piece_at(start);
    if end - start < FIRST_PIECE {
        return (Vec::new(), end);
    }
    let mut letters = data[start..end].to_vec();
    loop {
        let next = end + between(&data[end..data.len().min(end + MOST_BETWEEN)]);
        let piece = piece_at(next);
        if next == end || piece < NEXT_PIECE {
            return (letters, end);
        }
        end = next + piece;
        letters.extend_from_slice(&data[next..end]);
    }
}

/// How many characters stand between two pieces: line ends, real or written as `\n`, quotes, blanks, `+`.
fn between(rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match rest[at..] {
            [b'\\', b'n' | b'r', ..] | [b'b', b'"' | b'\'', ..] => 2,
            [b'\n' | b'\r' | b' ' | b'\t' | b'"' | b'\'' | b',' | b'\\', ..] | [b'+', b' ' | b'\n', ..] => 1,
            _ => return at,
        };
    }
}

fn is_letter(byte: u8) -> bool {
    BASE64[usize::from(byte)] != NO_DIGIT
}

/// What letters spell, wherever in them it begins.
fn decoded(letters: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut found: Vec<(&str, Vec<u8>)> =
        (0..4).map(|skipped| ("base64", base64(&letters[skipped..]))).collect();
    if letters.iter().all(|letter| matches!(letter, b'A'..=b'Z' | b'2'..=b'7')) {
        found.extend((0..8).map(|skipped| ("base32", base32(&letters[skipped..]))));
    }
    let runs = letters.split(|letter| !letter.is_ascii_hexdigit());
    for digits in runs.filter(|digits| digits.len() >= LEAST_LETTERS) {
        found.extend((0..2).map(|skipped| ("hexadecimal", hexadecimal(&digits[skipped..]))));
    }
    found
}

fn base64(letters: &[u8]) -> Vec<u8> {
    let (groups, _) = letters.as_chunks::<4>();
    let group = |group: &[u8; 4]| {
        let bits =
            group.iter().fold(0_u32, |bits, &letter| bits << 6 | u32::from(BASE64[usize::from(letter)]));
        let [_, bytes @ ..] = bits.to_be_bytes();
        bytes
    };
    groups.iter().map(group).collect::<Vec<_>>().into_flattened()
}

/// Five bits a letter, of large ones and the digits from two to seven.
fn base32(letters: &[u8]) -> Vec<u8> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        _ => letter.wrapping_sub(b'2').wrapping_add(26) & 31,
    };
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u64, |bits, &letter| bits << 5 | u64::from(digit(letter)));
        let [_, _, _, bytes @ ..] = bits.to_be_bytes();
        bytes
    };
    letters.chunks_exact(8).flat_map(group).collect()
}

fn hexadecimal(digits: &[u8]) -> Vec<u8> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn content() -> Vec<u8> {
        (0..3000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    fn finds(text: &[u8], spelling: &str) -> bool {
        let content = content();
        let is_it = |bytes: &[u8]| bytes.windows(1000).any(|window| *window == content[3..1003]);
        written_out(text, 0..text.len()).iter().any(|(_, name, bytes)| *name == spelling && is_it(bytes))
    }

    #[test]
    fn base64_is_decoded_in_one_piece_and_in_lines_wherever_it_begins() {
        for text in [STANDARD.encode(content()), URL_SAFE_NO_PAD.encode(content())] {
            for before in ["", "x", "xy", "xyz", "key = \"", "data:;base64,"] {
                assert!(finds(format!("{before}{text}").as_bytes(), "base64"), "{before}");
            }
            let lines: Vec<&str> =
                text.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
            for between in ["\n", "\r\n", "\\n", "\"\n    \"", "' \\\n b'", "\" + \""] {
                assert!(finds(lines.join(between).as_bytes(), "base64"), "{between:?}");
            }
        }
    }

    #[test]
    fn hexadecimal_is_decoded_in_either_case_wherever_it_begins() {
        let lower: String = content().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        for text in [lower.clone(), lower.to_uppercase(), format!("0x{lower}"), format!("a{lower}")] {
            assert!(finds(text.as_bytes(), "hexadecimal"));
        }
    }

    #[test]
    fn letters_are_found_whatever_separates_them() {
        let content = content();
        let base64 = STANDARD.encode(&content);
        let hexadecimal = content.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        for text in [base64, hexadecimal] {
            for (every, between) in [
                (1, "\0"),
                (1, "\0\0\0"),
                (1, " "),
                (4, ","),
                (2, "|"),
                (8, "\0"),
                (4, " ; "),
                (30, "\u{1}"),
                (4, "\n"),
            ] {
                let pieces: Vec<&str> =
                    text.as_bytes().chunks(every).map(|piece| str::from_utf8(piece).unwrap()).collect();
                let text = [&b"\x80\x81"[..], pieces.join(between).as_bytes()].concat();
                let found = separated(&text, 0..text.len());
                let is_it = |bytes: &[u8]| bytes.windows(1000).any(|window| *window == content[3..1003]);
                assert!(found.iter().any(|(_, _, bytes)| is_it(bytes)), "{every} {between:?}");
            }
        }
        let prose = "The quick brown fox, jumps over a lazy dog. ".repeat(100);
        assert!(separated(prose.as_bytes(), 0..prose.len()).is_empty());
    }

    #[test]
    fn base32_is_decoded_wherever_it_begins() {
        let content = content();
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let group = |group: &[u8]| -> String {
            let bits = group.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
            (0..8)
                .rev()
                .map(|place| char::from(letters[usize::try_from(bits >> (5 * place) & 31).unwrap()]))
                .collect()
        };
        let text: String = content.chunks_exact(5).map(group).collect();
        for before in ["", "X", "XY"] {
            assert!(finds(format!("{before}{text}").as_bytes(), "base32"), "{before}");
        }
    }

    #[test]
    fn a_word_across_the_end_of_its_range_is_followed_and_prose_is_none() {
        let text = [vec![b' '; 900], STANDARD.encode(content()).into_bytes()].concat();
        assert_eq!(written_out(&text, 0..1000)[0].2.len(), 12_000);
        let prose = "the quick brown fox jumps over a lazy dog ".repeat(100);
        assert!(written_out(prose.as_bytes(), 0..prose.len()).is_empty());
    }
}
