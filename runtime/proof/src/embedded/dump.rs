//! Bytes written out line by line, as tools dump them: `hexdump`, `xxd`, `od`, Intel's and Motorola's records, `uuencode`.
//!
//! A line begins with the offset of its first byte, so the next line's says how many bytes it shows; what else stands on
//! it, such as the same bytes as text, is left out.

use std::ops::Range;

use memchr::memchr;

/// How far behind its range a dump is followed, in bytes.
const REACH_BYTES: usize = 1 << 20;
/// Longest line of a dump, and most bytes on it.
const LINE_LIMIT: usize = 512;
const BYTES_LIMIT: u64 = 64;
/// Lines below which it is none.
const LEAST_LINES: usize = 3;

/// What dumps that start in `range` show: offset, form, bytes.
pub(super) fn dumps(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let data = &data[..data.len().min(range.end.saturating_add(REACH_BYTES))];
    let mut found = Vec::new();
    let mut at = range.start;
    if at > 0 && data[at - 1] != b'\n' {
        at = next_line(data, at);
    }
    while at < range.end {
        let dump = with_offsets(data, at).or_else(|| records(data, at));
        at = match dump {
            Some((meanings, end)) => {
                // Its first line may begin in the middle of one, as behind a quote.
                let first = starts_before(data, at).find_map(|start| {
                    let whole = with_offsets(data, start).or_else(|| records(data, start));
                    whole.filter(|(_, whole_end)| *whole_end == end).map(|(meanings, _)| (start, meanings))
                });
                let (start, meanings) = first.unwrap_or((at, meanings));
                found.extend(meanings.into_iter().map(|bytes| (start, "a dump", bytes)));
                end.max(at + 1)
            }
            None => next_line(data, at),
        };
    }
    found
}

fn next_line(data: &[u8], at: usize) -> usize {
    memchr(b'\n', &data[at..]).map_or(data.len(), |end| at + end + 1)
}

/// Places in the line before another at which its text may begin, from the first on.
fn starts_before(data: &[u8], at: usize) -> impl Iterator<Item = usize> {
    let end = at.saturating_sub(1);
    let before = data[..end].iter().rev().take(LINE_LIMIT);
    let size =
        before.take_while(|&&byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r')).count();
    end - size..end
}

/// The line at a place without its end, if it is no longer than lines of dumps.
fn line(data: &[u8], at: usize) -> Option<&[u8]> {
    let rest = data.get(at..)?;
    let end = memchr(b'\n', &rest[..rest.len().min(LINE_LIMIT)])
        .or((rest.len() < LINE_LIMIT).then_some(rest.len()))?;
    Some(&rest[..end])
}

/// The offset that a line begins with, in some base, and what stands behind it.
fn offset(line: &[u8], base: u32) -> Option<(u64, &[u8])> {
    let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    let digits = line[start..].strip_prefix(b"0x").unwrap_or(&line[start..]);
    let size = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if !(4..=16).contains(&size) {
        return None;
    }
    let value = u64::from_str_radix(str::from_utf8(&digits[..size]).ok()?, base).ok()?;
    Some((value, &digits[size..]))
}

/// Lines that begin with offsets, and the offset behind them: what they show, in either order of bytes.
fn with_offsets(data: &[u8], start: usize) -> Option<(Vec<Vec<u8>>, usize)> {
    // Hardly any line of a text is one, and most say so at once.
    data[start..]
        .iter()
        .find(|byte| !matches!(byte, b' ' | b'\t'))
        .filter(|byte| byte.is_ascii_hexdigit())?;
    [16, 10, 8].into_iter().find_map(|base| with_offsets_to(data, start, base))
}

fn with_offsets_to(data: &[u8], start: usize, base: u32) -> Option<(Vec<Vec<u8>>, usize)> {
    let first = line(data, start)?;
    let second = line(data, start + first.len() + 1)?;
    let mut expected = offset(first, base)?.0;
    let width =
        offset(second, base)?.0.checked_sub(expected).filter(|width| (4..=BYTES_LIMIT).contains(width))?;
    let width = usize::try_from(width).ok()?;
    let (mut bytes, mut turned, mut at, mut lines) = (Vec::new(), Vec::new(), start, 0);
    while let Some(line) = line(data, at) {
        let Some((_, shown)) = offset(line, base).filter(|(value, _)| *value == expected) else { break };
        let groups = groups(shown, width, base == 8);
        let size: usize = groups.iter().map(Vec::len).sum();
        turned.extend(groups.iter().flat_map(|group| group.iter().rev()));
        bytes.extend(groups.into_iter().flatten());
        at += line.len() + 1;
        lines += 1;
        expected = expected.saturating_add(width as u64);
        if size < width {
            break;
        }
    }
    (lines >= LEAST_LINES).then(|| (vec![bytes, turned], at.min(data.len())))
}

/// The groups of digits that a line shows, up to so many bytes: pairs of digits to the base of 16, or single bytes of
/// three digits to that of 8.
fn groups(shown: &[u8], width: usize, may_be_octal: bool) -> Vec<Vec<u8>> {
    let mut groups: Vec<Vec<u8>> = Vec::new();
    let mut left = width;
    for word in shown.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| !word.is_empty()) {
        let text = str::from_utf8(word).unwrap_or_default();
        let group: Vec<u8> = match word.len() {
            3 if may_be_octal => u8::from_str_radix(text, 8).into_iter().collect(),
            size if size.is_multiple_of(2) => {
                let pairs = (0..size / 2).map(|pair| u8::from_str_radix(&text[2 * pair..2 * pair + 2], 16));
                pairs.flatten().collect()
            }
            _ => break,
        };
        if group.is_empty() || group.len() > left {
            break;
        }
        left -= group.len();
        groups.push(group);
    }
    groups
}

/// Records of Intel and Motorola and lines of `uuencode`, and the offset behind them.
fn records(data: &[u8], start: usize) -> Option<(Vec<Vec<u8>>, usize)> {
    let read: fn(&[u8]) -> Option<Vec<u8>> = match data.get(start)? {
        b':' => intel,
        b'S' => motorola,
        b' '..=b'`' => encoded,
        _ => return None,
    };
    let (mut bytes, mut at, mut lines) = (Vec::new(), start, 0);
    while let Some(line) = line(data, at) {
        let line_end = at + line.len() + 1;
        let Some(more) = read(line.strip_suffix(b"\r").unwrap_or(line)) else { break };
        bytes.extend(more);
        lines += 1;
        at = line_end;
    }
    (lines >= LEAST_LINES).then(|| (vec![bytes], at.min(data.len())))
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let text =
        str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let pairs = (0..text.len() / 2).map(|pair| u8::from_str_radix(&text[2 * pair..2 * pair + 2], 16).ok());
    pairs.collect::<Option<Vec<u8>>>().filter(|_| text.len().is_multiple_of(2))
}

/// `:LLAAAATT…CC`, of which records without data give none.
fn intel(line: &[u8]) -> Option<Vec<u8>> {
    let record = hexadecimal(line.strip_prefix(b":")?)?;
    let size = usize::from(*record.first()?);
    let data = record.get(4..)?.split_last()?.1;
    (data.len() == size).then(|| if record[3] == 0 { data.to_vec() } else { Vec::new() })
}

/// `S1LLAAAA…CC`, with longer addresses in `S2` and `S3`.
fn motorola(line: &[u8]) -> Option<Vec<u8>> {
    let kind = *line.get(1)?;
    let address = match kind {
        b'0' | b'1' | b'5' | b'9' => 2,
        b'2' | b'8' => 3,
        b'3' | b'7' => 4,
        _ => return None,
    };
    let record = hexadecimal(line.get(2..)?)?;
    let data = record.get(1 + address..)?.split_last()?.1;
    (usize::from(record[0]) + 1 == record.len())
        .then(|| if (b'1'..=b'3').contains(&kind) { data.to_vec() } else { Vec::new() })
}

/// A line of `uuencode`: how many bytes, and four characters of six bits for each three.
fn encoded(line: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (b' '..=b'`').contains(&byte).then(|| byte.wrapping_sub(b' ') & 63);
    let size = usize::from(digit(*line.first()?)?);
    let letters = size.div_ceil(3) * 4;
    if !(1..=45).contains(&size) || !(letters..=letters + 1).contains(&(line.len() - 1)) {
        return None;
    }
    let digits = line[1..].iter().map(|&byte| digit(byte)).collect::<Option<Vec<u8>>>()?;
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u32, |bits, &digit| bits << 6 | u32::from(digit));
        let [_, bytes @ ..] = bits.to_be_bytes();
        bytes
    };
    let bytes: Vec<u8> = digits.chunks_exact(4).flat_map(group).collect();
    Some(bytes[..size.min(bytes.len())].to_vec())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn content() -> Vec<u8> {
        (0..700_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn finds(text: &str) -> bool {
        let content = content();
        ["", "first line\n", "a\nb\n\n", "\0", "\u{1}x = \"", "#\n \""].iter().all(|before| {
            let data = [before.as_bytes(), text.as_bytes(), b"\nend\n"].concat();
            dumps(&data, 0..data.len()).iter().any(|(_, _, bytes)| bytes.starts_with(&content[..600]))
        })
    }

    fn lines(form: impl Fn(&mut String, usize, &[u8])) -> String {
        let mut text = String::new();
        for (number, line) in content().chunks(16).enumerate() {
            form(&mut text, number * 16, line);
            text.push('\n');
        }
        text
    }

    fn pairs(line: &[u8], between: &str) -> String {
        line.iter().map(|byte| format!("{byte:02x}{between}")).collect::<Vec<_>>().concat()
    }

    fn shown(line: &[u8]) -> String {
        line.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' }).collect()
    }

    #[test]
    fn dumps_with_offsets_are_read_without_what_stands_beside_the_bytes() {
        let hexdump = lines(|text, at, line| {
            write!(
                text,
                "{at:08x}  {} {} |{}|",
                pairs(&line[..8.min(line.len())], " "),
                pairs(line.get(8..).unwrap_or_default(), " "),
                shown(line)
            )
            .unwrap();
        });
        let xxd = lines(|text, at, line| {
            let groups: Vec<String> = line.chunks(2).map(|group| pairs(group, "")).collect();
            write!(text, "{at:08x}: {}  {}", groups.join(" "), shown(line)).unwrap();
        });
        let octal = lines(|text, at, line| {
            let numbers = line.iter().map(|byte| format!(" {byte:03o}")).collect::<Vec<_>>().concat();
            write!(text, "{at:07o}{numbers}").unwrap();
        });
        let words = lines(|text, at, line| {
            let words: Vec<_> =
                line.chunks_exact(2).map(|word| format!(" {:02x}{:02x}", word[1], word[0])).collect();
            let words = words.concat();
            write!(text, "{at:07o}{words}").unwrap();
        });
        for text in [hexdump, xxd, octal, words] {
            assert!(finds(&text), "{}", &text[..200]);
        }
    }

    #[test]
    fn records_are_read_without_their_addresses_and_sums() {
        let intel = lines(|text, at, line| {
            write!(text, ":{:02X}{at:04X}00{}FF", line.len(), pairs(line, "").to_uppercase()).unwrap();
        });
        let motorola = lines(|text, at, line| {
            write!(text, "S1{:02X}{at:04X}{}FF", line.len() + 3, pairs(line, "")).unwrap();
        });
        let uuencoded = content().chunks(45).fold(String::new(), |text, line| {
            let digit = |bits: u32| char::from(b' ' + u8::try_from(bits & 63).unwrap());
            let groups = line.chunks(3).map(|group| {
                let bits =
                    (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
                [18, 12, 6, 0].map(|shift| digit(bits >> shift)).iter().collect::<String>()
            });
            let size = digit(u32::try_from(line.len()).unwrap());
            text + &format!("{size}{}\n", groups.collect::<String>())
        });
        for text in [intel, motorola, uuencoded] {
            assert!(finds(&text), "{}", &text[..200]);
        }
    }

    #[test]
    fn prose_and_sources_are_none() {
        let source = include_str!("dump.rs");
        assert!(dumps(source.as_bytes(), 0..source.len()).is_empty());
        for text in ["\n".repeat(5000), "0000 1111\n".repeat(500), "abcd ef\n".repeat(500), ":\n".repeat(500)]
        {
            assert!(dumps(text.as_bytes(), 0..text.len()).is_empty(), "{text:.20}");
        }
    }
}
