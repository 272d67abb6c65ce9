//! Remembers which ranges of a file are accounted for, and as what.

use std::collections::BTreeMap;
use std::iter;

/// What a range of the file is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// The header of a container or an entry, or something that was reported as broken.
    Header,
    /// A payload whose stored bytes mean nothing before decompression.
    Opaque,
    /// Machine code that starts here.
    Cubin,
    /// PTX text.
    Ptx,
    /// PTX text in the middle of other text: where it ends no rule says, so what follows is looked at all the same.
    LoosePtx,
    /// `.nvFatBinSegment`.
    Wrappers,
}

/// Ranges by their start. A later range that starts inside an earlier one cuts it short: what is
/// behind then counts as unaccounted, which errs on the safe side.
#[derive(Debug, Default)]
pub(super) struct CoverageMap {
    ranges: BTreeMap<u64, (u64, Coverage)>,
}

impl CoverageMap {
    /// Marks `[start, end)`; the first mark of a start stays.
    pub(super) fn mark(&mut self, start: u64, end: u64, coverage: Coverage) {
        if start < end {
            self.ranges.entry(start).or_insert((end, coverage));
        }
    }

    /// The range around an offset: its start and what it is.
    pub(super) fn at(&self, offset: u64) -> Option<(u64, Coverage)> {
        let (&start, &(end, coverage)) = self.ranges.range(..=offset).next_back()?;
        (offset < end).then_some((start, coverage))
    }

    /// Every range in order, up to where a later one cuts it short.
    fn cut(&self) -> impl Iterator<Item = (u64, u64, Coverage)> {
        let mut ranges = self.ranges.iter().peekable();
        iter::from_fn(move || {
            let (&start, &(end, coverage)) = ranges.next()?;
            let next = ranges.peek().map_or(end, |&(&next, _)| next);
            Some((start, end.min(next), coverage))
        })
    }

    /// The parts of `[0, end)` that are not known to be anything, or nothing else.
    pub(super) fn unknown(&self, end: u64) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        let mut at = 0;
        for (start, known_end, coverage) in self.cut() {
            if coverage != Coverage::LoosePtx {
                parts.push((at, start));
                at = known_end.max(at);
            }
        }
        parts.push((at, end));
        parts.retain(|(start, end)| start < end);
        parts
    }

    /// The parts of `[0, end)` in which a sighting would mean something: all but payloads that are
    /// compressed or scrambled.
    pub(super) fn legible(&self, end: u64) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        let mut at = 0;
        for (start, opaque_end, coverage) in self.cut() {
            if coverage == Coverage::Opaque && start >= at {
                parts.push((at, start));
                at = opaque_end;
            }
        }
        parts.push((at, end));
        parts.retain(|&(start, end)| start < end);
        parts
    }
}

/// The parts of some ranges in others; both lists in order of their starts, the first without overlaps.
pub(super) fn overlaps(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for &(start, end) in others {
        let from = ranges.partition_point(|&(_, range_end)| range_end <= start);
        let near = ranges[from..].iter().take_while(|&&(range_start, _)| range_start < end);
        found.extend(near.map(|&(range_start, range_end)| (range_start.max(start), range_end.min(end))));
    }
    found
}

/// Ranges in order of their starts without overlaps: all that lies in one of some.
pub(super) fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut().filter(|(_, last)| start <= *last) {
            Some((_, last)) => *last = end.max(*last),
            None => joined.push((start, end)),
        }
    }
    joined
}

/// The parts of some ranges that lie in none of others; both lists in order of their starts and without overlaps.
pub(super) fn without(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut at = 0;
    for &(start, end) in others {
        gaps.push((at, start));
        at = end;
    }
    gaps.push((at, u64::MAX));
    gaps.retain(|(start, end)| start < end);
    overlaps(ranges, &gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_known_only_inside_a_range() {
        let mut map = CoverageMap::default();
        map.mark(10, 20, Coverage::Cubin);
        map.mark(20, 20, Coverage::Ptx);
        map.mark(10, 99, Coverage::Opaque);
        assert_eq!(map.at(9), None);
        assert_eq!(map.at(19), Some((10, Coverage::Cubin)));
        assert_eq!(map.at(20), None);
    }

    #[test]
    fn only_opaque_ranges_are_illegible() {
        let mut map = CoverageMap::default();
        map.mark(10, 20, Coverage::Opaque);
        map.mark(20, 30, Coverage::Cubin);
        map.mark(40, 60, Coverage::Opaque);
        map.mark(50, 52, Coverage::Header);
        assert_eq!(map.legible(100), [(0, 10), (20, 40), (50, 100)]);
    }

    #[test]
    fn what_is_unknown_lies_between_all_ranges() {
        let mut map = CoverageMap::default();
        map.mark(10, 20, Coverage::Opaque);
        map.mark(20, 30, Coverage::Cubin);
        map.mark(40, 60, Coverage::Opaque);
        map.mark(50, 52, Coverage::Header);
        assert_eq!(map.unknown(100), [(0, 10), (30, 40), (52, 100)]);
    }

    #[test]
    fn ptx_in_other_text_hides_nothing_of_it() {
        let mut map = CoverageMap::default();
        map.mark(10, 40, Coverage::LoosePtx);
        map.mark(20, 30, Coverage::Cubin);
        assert_eq!(map.unknown(100), [(0, 20), (30, 100)]);
        assert_eq!(map.legible(100), [(0, 100)]);
    }

    #[test]
    fn what_lies_in_others_and_what_does_not_is_all() {
        let others = joined(vec![(50, 60), (5, 15), (10, 20), (20, 22)]);
        assert_eq!(others, [(5, 22), (50, 60)]);
        let ranges = [(0, 8), (15, 55), (58, 59), (70, 80)];
        assert_eq!(overlaps(&ranges, &others), [(5, 8), (15, 22), (50, 55), (58, 59)]);
        assert_eq!(without(&ranges, &others), [(0, 5), (22, 50), (70, 80)]);
        assert_eq!(without(&ranges, &[]), ranges);
    }

    #[test]
    fn an_overlap_leaves_the_rest_unaccounted() {
        let mut map = CoverageMap::default();
        map.mark(0, 100, Coverage::Opaque);
        map.mark(50, 60, Coverage::Header);
        assert_eq!(map.at(70), None);
    }
}
