//! Bytes written out as programs write them: strings with escapes, and lists of numbers.

use std::ops::Range;

use crate::ptx;

/// Bytes below which a string is not looked at: less than the shortest text of PTX. Shorter ones are what programs
/// compare with.
const LEAST_BYTES: usize = 24;
/// Numbers of a list below which it is none.
const LEAST_NUMBERS: usize = 12;
/// How far behind its range a literal is followed, in bytes.
const REACH_BYTES: usize = 1 << 20;
/// Plain characters before the first escape of a string that belong to it: more than a mark has.
const PLAIN_BEFORE: usize = 32;
/// Every so many bytes a list is looked for, and so many characters of it tell one; it begins no further back than
/// both.
const STEP: usize = 32;
const PROBE: usize = 16;
/// Characters of the longest number, and between two numbers.
const NUMBER_LIMIT: usize = 24;
const BETWEEN_LIMIT: usize = 128;

/// What literals that start in `range` stand for: offset, form, bytes.
pub(super) fn literals(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let data = &data[..data.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut found = escaped_strings(data, range.clone());
    found.extend(lists(data, range));
    found
}

fn escaped_strings(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = range.start;
    while let Some(next) =
        data.get(at..range.end.min(data.len())).and_then(|rest| memchr::memchr3(b'\\', b'%', b'=', rest))
    {
        let escape = at + next;
        at = escape + 1;
        if by_number(&data[escape..]).is_none() && !data[..escape].ends_with(ptx::TARGET) {
            continue;
        }
        let before = data[..escape].iter().rev().take(PLAIN_BEFORE);
        let plain =
            before.take_while(|&&byte| (byte == b' ' || byte.is_ascii_graphic()) && !is_quote(byte)).count();
        let (bytes, end) = string(data, escape - plain);
        if bytes.len() >= LEAST_BYTES {
            found.push((escape - plain, "a string with escapes", bytes));
            at = end;
        }
    }
    found
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// The byte that an escape gives by its number, and how many characters it takes.
fn by_number(text: &[u8]) -> Option<(u8, usize)> {
    let number = |digits: &[u8], radix| {
        let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        u8::from_str_radix(digits, radix).ok()
    };
    match text {
        // As in addresses of pages and in mails.
        [b'%' | b'=', digits @ ..] => Some((number(digits.get(..2)?, 16)?, 3)),
        // In brackets, with any number of zeros before.
        [b'\\', b'x' | b'u' | b'o', b'{', digits @ ..] => {
            let size = digits.iter().take(8).position(|&digit| digit == b'}')?;
            let radix = if text[1] == b'o' { 8 } else { 16 };
            Some((number(&digits[..size], radix)?, size + 4))
        }
        [b'\\', b'x', digits @ ..] => Some((number(digits.get(..2)?, 16)?, 4)),
        [b'\\', b'u', b'0', b'0', digits @ ..] => Some((number(digits.get(..2)?, 16)?, 6)),
        [b'\\', b'U', b'0', b'0', b'0', b'0', b'0', b'0', digits @ ..] => {
            Some((number(digits.get(..2)?, 16)?, 10))
        }
        [b'\\', digits @ ..] => {
            let count = digits.iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
            Some((number(&digits[..count], 8)?, 1 + count))
        }
        _ => None,
    }
}

/// The bytes of a string and those that are joined to it, and the offset behind it.
fn string(data: &[u8], start: usize) -> (Vec<u8>, usize) {
    let (mut bytes, mut at) = (Vec::new(), start);
    while let Some(&byte) = data.get(at) {
        if let Some((value, size)) = by_number(&data[at..]) {
            bytes.push(value);
            at += size;
            continue;
        }
        match (byte, data.get(at + 1)) {
            // The end of a line in a mail that is none of the text.
            (b'=', Some(b'\n')) => at += 2,
            (b'=', Some(b'\r')) if data.get(at + 2) == Some(&b'\n') => at += 3,
            (b'\\', Some(letter)) => {
                bytes.extend(match letter {
                    b'n' => Some(b'\n'),
                    b't' => Some(b'\t'),
                    b'r' => Some(b'\r'),
                    b'a' => Some(7),
                    b'b' => Some(8),
                    b'v' => Some(11),
                    b'f' => Some(12),
                    b'\n' => None,
                    &other => Some(other),
                });
                at += 2;
            }
            (b'"' | b'\'', _) => match joined(&data[at + 1..]) {
                Some(behind) => at += 1 + behind,
                None => break,
            },
            (b'\n' | b'\r' | 0, _) => break,
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    (bytes, at)
}

/// How far behind the end of a string the next one begins that is joined to it.
fn joined(rest: &[u8]) -> Option<usize> {
    let between = rest.iter().take(BETWEEN_LIMIT);
    let blanks = between.take_while(|byte| b" \t\r\n+\\(),br".contains(byte)).count();
    rest.get(blanks).is_some_and(|&byte| is_quote(byte)).then_some(blanks + 1)
}

fn lists(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = range.start;
    // No list begins before the end of the last one.
    let mut floor = 0;
    while at < range.end {
        let probe = data.get(at..at + PROBE).unwrap_or_default();
        let is_listed = probe.iter().all(|&byte| may_be_listed(byte)) && probe.iter().any(u8::is_ascii_digit);
        if !is_listed {
            at += STEP;
            continue;
        }
        let back = data[floor..at].iter().rev().take(STEP + NUMBER_LIMIT);
        let start = at - back.take_while(|&&byte| may_be_listed(byte)).count();
        let (list, end) = List::read(data, start);
        found.extend(list.meanings().into_iter().map(|bytes| (start, "a list of numbers", bytes)));
        // A list that ends before the probe lets the next one begin there.
        if end > floor {
            (at, floor) = (at.max(end), end);
        } else {
            at += STEP;
        }
    }
    found
}

const SEPARATORS: &[u8] = b" \t\r\n,;:|[](){}&#%$-\\";

fn is_separator(byte: u8) -> bool {
    SEPARATORS.contains(&byte)
}

fn may_be_listed(byte: u8) -> bool {
    const LISTED: [bool; 256] =
        marked(marked([false; 256], SEPARATORS), b"0123456789abcdefABCDEFxXuUlLi./*hHo");
    LISTED[usize::from(byte)]
}

const fn marked(mut table: [bool; 256], letters: &[u8]) -> [bool; 256] {
    let mut index = 0;
    while index < letters.len() {
        table[letters[index] as usize] = true;
        index += 1;
    }
    table
}

/// Numbers one behind the other.
#[derive(Default)]
pub(super) struct List {
    numbers: Vec<Number>,
}

/// A number, by what it may mean.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    /// Its value as programs write it.
    value: Option<i128>,
    /// What it is as two digits to the base of 16, without a sign for it.
    pair: Option<u8>,
    /// The same for up to four digits to the base of 8.
    octal: Option<u8>,
    /// The same for eight digits to the base of 2.
    bits: Option<u8>,
}

impl List {
    fn read(data: &[u8], start: usize) -> (Self, usize) {
        let mut list = Self::default();
        let mut at = start;
        loop {
            at += between(&data[at..]);
            let word = data[at..].iter().take(NUMBER_LIMIT);
            let size = word.take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'.').count();
            let is_negative =
                at > start && data[at - 1] == b'-' && (at < start + 2 || is_separator(data[at - 2]));
            let number = number(&data[at..at + size], is_negative);
            let is_number = number != Number::default();
            if is_number {
                list.numbers.push(number);
            }
            // What stands before the first number are words of the program.
            if size == 0 || !is_number && !list.numbers.is_empty() {
                return (list, at);
            }
            at += size;
        }
    }

    pub(super) fn push(&mut self, number: Number) {
        self.numbers.push(number);
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The bytes that it may stand for: its longest runs of numbers that fit into one byte, two, four or eight, in
    /// either order of bytes, and of digits to another base.
    pub(super) fn meanings(&self) -> Vec<Vec<u8>> {
        let mut meanings = Vec::new();
        if self.numbers.len() < LEAST_NUMBERS {
            return meanings;
        }
        let values: Vec<Option<i128>> = self.numbers.iter().map(|number| number.value).collect();
        let mut less = 0;
        for width in [1_usize, 2, 4, 8] {
            let limit = 1_u128 << (8 * width);
            let fits = |value: &Option<i128>| value.is_some_and(|value| value.unsigned_abs() < limit);
            let needs =
                |run: &&[Option<i128>]| run.iter().flatten().any(|value| value.unsigned_abs() >= less);
            let runs = values.split(|value| !fits(value)).filter(|run| run.len() >= LEAST_NUMBERS);
            for run in runs.filter(|run| width == 1 || needs(run)) {
                let words: Vec<[u8; 16]> = run.iter().flatten().map(|value| value.to_le_bytes()).collect();
                meanings.push(words.iter().flat_map(|word| word[..width].to_vec()).collect());
                if width > 1 {
                    meanings
                        .push(words.iter().flat_map(|word| word[..width].iter().rev().copied()).collect());
                }
            }
            less = limit;
        }
        let digits: [fn(&Number) -> Option<u8>; 3] =
            [|number| number.pair, |number| number.octal, |number| number.bits];
        for digits in digits {
            let bytes: Vec<Option<u8>> = self.numbers.iter().map(digits).collect();
            let runs = bytes.split(Option::is_none).filter(|run| run.len() >= LEAST_NUMBERS);
            meanings.extend(runs.map(|run| run.iter().flatten().copied().collect()));
        }
        meanings
    }
}

/// How far the next number is: separators and comments.
fn between(rest: &[u8]) -> usize {
    let mut at = 0;
    while at < BETWEEN_LIMIT {
        let comment = |open: &[u8], end: &[u8]| {
            let text = rest[at..].strip_prefix(open)?;
            let text = &text[..text.len().min(BETWEEN_LIMIT)];
            memchr::memmem::find(text, end).map(|found| open.len() + found + end.len())
        };
        at += match rest.get(at) {
            Some(&byte) if is_separator(byte) => 1,
            Some(b'/') => match comment(b"/*", b"*/").or_else(|| comment(b"//", b"\n")) {
                Some(size) => size,
                None => return at,
            },
            _ => return at,
        };
    }
    at
}

/// A number as programs write it, and as a dump does: digits without a sign for their base.
pub(super) fn number(word: &[u8], is_negative: bool) -> Number {
    const SUFFIXES: [&str; 4] = ["u8", "i8", "_u8", "_i8"];
    const BASES: [(&str, &str, u32); 3] = [("0x", "0X", 16), ("0b", "0B", 2), ("0o", "0O", 8)];
    let text = str::from_utf8(word).unwrap_or_default();
    let plain = |sizes: Range<usize>, radix| {
        sizes.contains(&text.len()).then(|| u8::from_str_radix(text, radix).ok()).flatten()
    };
    let digits = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix)).unwrap_or(text);
    let digits = digits.trim_end_matches(['u', 'U', 'l', 'L']);
    let digits = digits.split_once('.').map_or(digits, |(whole, _)| whole);
    // `7Fh`, which may begin like another base, and `x7F` behind a sign.
    let is_digit = |digits: &&str| digits.starts_with(|digit: char| digit.is_ascii_digit());
    let based = digits.strip_suffix(['h', 'H']).filter(is_digit).map(|digits| (digits, 16));
    let based = based.or_else(|| {
        BASES.iter().find_map(|&(lower, upper, radix)| {
            let digits = digits.strip_prefix(lower).or_else(|| digits.strip_prefix(upper));
            digits.map(|digits| (digits, radix))
        })
    });
    let based = based.or_else(|| digits.strip_prefix('x').map(|digits| (digits, 16)));
    let value = based.map_or_else(|| digits.parse(), |(digits, radix)| u64::from_str_radix(digits, radix));
    let sign = if is_negative { -1 } else { 1 };
    Number {
        value: value.ok().map(|value| sign * i128::from(value)),
        pair: plain(2..3, 16),
        octal: plain(1..5, 8),
        bits: plain(8..9, 2),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn content() -> Vec<u8> {
        let head = *b"\x7FELF\x02\x01\x01\x41'\"\\";
        head.into_iter()
            .chain((0..400_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8))
            .collect()
    }

    fn finds(text: &str) -> bool {
        let content = content();
        [0, 1, 31, 40].iter().all(|&before| {
            let data = [&vec![b'#'; before][..], b"= ", text.as_bytes(), b" end"].concat();
            literals(&data, 0..data.len())
                .iter()
                .any(|(_, _, bytes)| bytes.windows(200).any(|window| *window == content[..200]))
        })
    }

    fn written(form: impl Fn(&mut String, u8)) -> String {
        content().into_iter().fold(String::new(), |mut text, byte| {
            form(&mut text, byte);
            text
        })
    }

    #[test]
    fn a_string_with_escapes_is_decoded_as_each_language_writes_it() {
        let all = written(|text, byte| write!(text, "\\x{byte:02x}").unwrap());
        let octal = written(|text, byte| write!(text, "\\{byte:03o}").unwrap());
        let unicode = written(|text, byte| write!(text, "\\u{byte:04x}").unwrap());
        let some = written(|text, byte| match byte {
            b'\'' | b'"' | b'\\' => write!(text, "\\{}", char::from(byte)).unwrap(),
            b'\n' => text.push_str("\\n"),
            0x20..0x7F => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        });
        let percent = written(|text, byte| write!(text, "%{byte:02X}").unwrap());
        let mail = written(|text, byte| write!(text, "={byte:02X}").unwrap());
        let mail_lines = mail.as_bytes().chunks(75).map(|line| str::from_utf8(line).unwrap());
        let mail_lines = mail_lines.collect::<Vec<_>>().join("=\r\n");
        let brackets = written(|text, byte| write!(text, "\\u{{{byte:x}}}").unwrap());
        let long = written(|text, byte| write!(text, "\\U{byte:08x}").unwrap());
        let single = written(|text, byte| write!(text, "'\\x{byte:02x}', ").unwrap());
        for text in [&all, &octal, &unicode, &some, &percent, &mail, &mail_lines, &brackets, &long, &single] {
            assert!(finds(&format!("b'{text}'")), "{text}");
        }
        let (one, other) = all.split_at(400);
        for between in ["\" \"", "\"\n    \"", "' \\\n b'", "\" + \"", "\\\n"] {
            assert!(finds(&format!("\"{one}{between}{other}\"")), "{between:?}");
        }
    }

    #[test]
    fn a_list_of_numbers_is_decoded_as_each_language_writes_it() {
        let decimal = written(|text, byte| write!(text, "{byte}, ").unwrap());
        let hexadecimal = written(|text, byte| write!(text, "0x{byte:02x},").unwrap());
        let lines = written(|text, byte| write!(text, "0X{byte:02X}u,\n/* 0x00 */ ").unwrap());
        let signed = written(|text, byte| write!(text, "{},", byte.cast_signed()).unwrap());
        let dump = written(|text, byte| write!(text, "{byte:02x} ").unwrap());
        let colons = written(|text, byte| write!(text, "{byte:02x}:").unwrap());
        let dashes = written(|text, byte| write!(text, "{byte:02X}-").unwrap());
        let entities = written(|text, byte| write!(text, "&#{byte};").unwrap());
        let yaml = written(|text, byte| writeln!(text, "  - {byte}").unwrap());
        let rust = written(|text, byte| write!(text, "{byte}u8, ").unwrap());
        let floats = written(|text, byte| write!(text, "{byte}.0, ").unwrap());
        let bases = [
            written(|text, byte| write!(text, "0{byte:o}, ").unwrap()),
            written(|text, byte| write!(text, "0o{byte:o}, ").unwrap()),
            written(|text, byte| write!(text, "{byte:03o} ").unwrap()),
            written(|text, byte| write!(text, "0b{byte:08b}, ").unwrap()),
            written(|text, byte| write!(text, "{byte:08b} ").unwrap()),
            written(|text, byte| write!(text, "0{byte:02X}h, ").unwrap()),
            written(|text, byte| write!(text, "${byte:02X}, ").unwrap()),
            written(|text, byte| write!(text, "&#x{byte:02x};").unwrap()),
        ];
        for text in bases {
            assert!(finds(&format!("[{text}]")), "{text}");
        }
        let lists = [&decimal, &hexadecimal, &lines, &signed, &dump, &colons, &dashes, &entities, &yaml];
        for text in lists.into_iter().chain([&rust, &floats]) {
            assert!(finds(&format!("[{text}]")), "{text}");
        }
        for width in [2_usize, 4, 8] {
            for turned in [false, true] {
                let words = content().chunks_exact(width).fold(String::new(), |mut text, word| {
                    let digits = |text: &mut String, byte: &u8| write!(text, "{byte:02x}").unwrap();
                    text.push_str("0x");
                    if turned {
                        for byte in word {
                            digits(&mut text, byte);
                        }
                    } else {
                        for byte in word.iter().rev() {
                            digits(&mut text, byte);
                        }
                    }
                    text + "ULL, "
                });
                assert!(finds(&format!("{{{words}}}")), "{width} {turned}");
            }
        }
    }

    #[test]
    fn what_stands_before_a_list_or_in_it_hides_nothing() {
        let list = written(|text, byte| write!(text, "{byte}, ").unwrap());
        for before in ["99999, ", "1, 2, 3 deadbeef ", "cafe ", "7, 0x123456789, "] {
            for filling in [0, 7, 31, 32, 90] {
                let text = ["cafe ".repeat(filling), before.to_owned(), list.clone()].concat();
                assert!(finds(&text), "{before} {filling}");
            }
        }
        let pieces = content();
        for filling in 0..80 {
            let data = [vec![b'#'; 1000 + filling], list.clone().into_bytes()].concat();
            let found = [0..1024, 1024..data.len()].map(|range| literals(&data, range));
            assert!(
                found.iter().flatten().any(|(_, _, bytes)| bytes.starts_with(&pieces[..200])),
                "{filling}"
            );
        }
    }

    #[test]
    fn prose_and_blanks_are_neither() {
        let prose = "the quick brown fox, 12 of 13 \\n \\x41 ".repeat(200);
        for text in [prose, " ".repeat(1 << 20), "a, b, c, d, e, f, ".repeat(4000), "\\".repeat(9000)] {
            let found = literals(text.as_bytes(), 0..text.len());
            let together: usize = found.iter().map(|(_, _, bytes)| bytes.len()).sum();
            assert!(together <= text.len(), "{together} of {}", text.len());
        }
    }
}
