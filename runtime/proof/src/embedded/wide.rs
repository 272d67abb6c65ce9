//! Text in wide characters: each with one zero byte behind it, or three, or seven.

use std::ops::Range;

use memchr::memmem;

/// The directive that PTX cannot do without.
const MARK: &[u8] = b".target";
/// Most characters of a text that are looked at, before the mark and from it on.
const REACH: usize = 4 << 10;

/// Texts whose mark starts in `range`, as single bytes: offset, form, bytes.
pub(super) fn wide_texts(data: &[u8], range: Range<usize>) -> Vec<(usize, &'static str, Vec<u8>)> {
    let mut found = Vec::new();
    for width in [2, 4, 8] {
        let mark: Vec<u8> =
            MARK.iter().flat_map(|&byte| [&[byte][..], &vec![0; width - 1]].concat()).collect();
        let reach = data.len().min(range.end.saturating_add(mark.len()));
        for at in memmem::find_iter(&data[range.start..reach], &mark).map(|at| range.start + at) {
            let characters = data[at..].chunks_exact(width).take(REACH);
            let narrow = characters.take_while(|one| one[0] != 0 && one[1..].iter().all(|&byte| byte == 0));
            found.push((at, "wide characters", narrow.map(|one| one[0]).collect()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_found_in_characters_of_every_width() {
        for width in [2_usize, 4, 8] {
            let text: Vec<u8> = b".version 8.0\n.target sm_90\n"
                .iter()
                .flat_map(|&byte| [&[byte][..], &vec![0; width - 1]].concat())
                .collect();
            for before in 0..9 {
                let data = [vec![1; before], text.clone(), vec![0; 9]].concat();
                let found = wide_texts(&data, 0..data.len());
                assert_eq!(found.len(), 1, "{width} {before}");
                assert_eq!(found[0].2, b".target sm_90\n");
            }
        }
    }
}
