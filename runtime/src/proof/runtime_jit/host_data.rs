//! Constants and variables of a host ELF, and the texts in them.

use memchr::memmem;
use rayon::prelude::*;

use crate::proof::task::chunks;

/// Bytes around a program's name by which it is known.
const AROUND_BYTES: usize = 2;

/// Data of a host ELF, device code left out.
pub(in crate::proof) struct HostData<'a> {
    /// The file.
    pub(in crate::proof) bytes: &'a [u8],
    /// The parts of it that are such data.
    pub(in crate::proof) parts: &'a [(u64, u64)],
}

impl HostData<'_> {
    /// Whether a text stands in it.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.any(text, |_| true)
    }

    /// Whether a program is named as it is to be started: behind a folder, alone, or before its options.
    pub(super) fn names_program(&self, name: &str) -> bool {
        self.any(name, |at| {
            let before = at.checked_sub(1).and_then(|before| self.bytes.get(before));
            let behind = self.bytes.get(at + name.len()..).unwrap_or_default();
            let behind = &behind[..behind.len().min(AROUND_BYTES)];
            matches!((before, behind), (Some(b'/' | 0), [0, ..]) | (_, b" -"))
        })
    }

    /// Whether a text stands in it at a place that fits.
    fn any(&self, text: &str, fits: impl Fn(usize) -> bool + Sync) -> bool {
        let finder = memmem::Finder::new(text);
        chunks(self.bytes, self.parts).into_par_iter().any(|range| {
            let reach = self.bytes.len().min(range.end + text.len() - 1);
            finder.find_iter(&self.bytes[range.start..reach]).any(|at| fits(range.start + at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_where_it_would_be_started() {
        for (text, is_named) in [
            ("/usr/bin/ptxas\0", true),
            ("\0ptxas\0", true),
            ("run ptxas -v", true),
            ("the ptxas of the toolkit\0", false),
            ("xptxas\0", false),
            ("ptxas", false),
        ] {
            let data = HostData { bytes: text.as_bytes(), parts: &[(0, text.len() as u64)] };
            assert_eq!(data.names_program("ptxas"), is_named, "{text}");
        }
    }

    #[test]
    fn a_text_across_two_pieces_is_held_and_one_beside_the_data_is_not() {
        let mut bytes = vec![b' '; 3 << 20];
        bytes[(1 << 20) - 3..(1 << 20) + 3].copy_from_slice(b"marker");
        let holds = |parts: &[(u64, u64)]| HostData { bytes: &bytes, parts }.holds("marker");
        assert!(holds(&[(0, 3 << 20)]));
        assert!(!holds(&[(0, 100), (2 << 20, 3 << 20)]));
    }
}
