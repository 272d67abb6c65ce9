//! Remembers which ranges of a file are accounted for, and as what.

use std::collections::BTreeMap;

/// What a range of the file is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// The header of a container or an entry, or something that was reported as broken.
    Header,
    /// A payload whose stored bytes mean nothing before decompression.
    Opaque,
    /// Machine code that starts here.
    Cubin,
    /// PTX text.
    Ptx,
    /// `.nvFatBinSegment`.
    Wrappers,
}

/// Ranges by their start. A later range that starts inside an earlier one cuts it short: what is
/// behind then counts as unaccounted, which errs on the safe side.
#[derive(Debug, Default)]
pub(super) struct GroundMap {
    ranges: BTreeMap<u64, (u64, Ground)>,
    debug_texts: BTreeMap<u64, u64>,
}

impl GroundMap {
    /// Marks `[start, end)`; the first mark of a start stays.
    pub(super) fn mark(&mut self, start: u64, end: u64, ground: Ground) {
        if start < end {
            self.ranges.entry(start).or_insert((end, ground));
        }
    }

    /// Marks a section of a cubin that repeats its PTX for debuggers.
    pub(super) fn mark_debug_text(&mut self, start: u64, end: u64) {
        self.debug_texts.insert(start, end);
    }

    /// The range around an offset: its start and what it is.
    pub(super) fn at(&self, offset: u64) -> Option<(u64, Ground)> {
        let (&start, &(end, ground)) = self.ranges.range(..=offset).next_back()?;
        (offset < end).then_some((start, ground))
    }

    /// Whether an offset lies in a debug text.
    pub(super) fn is_debug_text(&self, offset: u64) -> bool {
        self.debug_texts.range(..=offset).next_back().is_some_and(|(_, &end)| offset < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_known_only_inside_a_range() {
        let mut map = GroundMap::default();
        map.mark(10, 20, Ground::Cubin);
        map.mark(20, 20, Ground::Ptx);
        map.mark(10, 99, Ground::Opaque);
        assert_eq!(map.at(9), None);
        assert_eq!(map.at(19), Some((10, Ground::Cubin)));
        assert_eq!(map.at(20), None);
    }

    #[test]
    fn an_overlap_leaves_the_rest_unaccounted() {
        let mut map = GroundMap::default();
        map.mark(0, 100, Ground::Opaque);
        map.mark(50, 60, Ground::Header);
        assert_eq!(map.at(70), None);
    }
}
