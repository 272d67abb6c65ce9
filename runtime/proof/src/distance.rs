//! Distances in code that lead to some places: what calls, jumps and loads of addresses hold.
//!
//! Four bytes at any offset may be one. Each that leads near a sought place is found by its upper half in straight-line
//! code, which compilers turn into vector instructions; what stands before it is looked at only there. A library may
//! hold a hundred megabytes of code, with a call in every thirty bytes.

use std::ops::Range;

use rayon::prelude::*;

/// Offsets that are tested at once.
const BLOCK: usize = 64;
/// Size of a distance, in bytes.
const DISTANCE_BYTES: usize = 4;
/// Places that lie closer than this are sought together, in bytes: of random distances, one in thousands leads to so
/// small a part of four gigabytes.
const JOINED_BYTES: u64 = 1 << 20;
/// Bytes of code that are looked at together.
const PIECE_BYTES: usize = 1 << 20;

/// Places to which distances may lead.
pub(super) struct Destinations {
    /// In order.
    places: Vec<u64>,
    /// From one of them to another: what is sought together.
    spans: Vec<Range<u64>>,
}

impl Destinations {
    /// Of some addresses.
    pub(super) fn of(places: impl IntoIterator<Item = u64>) -> Self {
        let mut places: Vec<u64> = places.into_iter().collect();
        places.sort_unstable();
        let mut spans: Vec<Range<u64>> = Vec::new();
        for &place in &places {
            match spans.last_mut().filter(|last| place.saturating_sub(last.end) < JOINED_BYTES) {
                Some(last) => last.end = place.saturating_add(1),
                None => spans.push(place..place.saturating_add(1)),
            }
        }
        Self { places, spans }
    }

    /// The offsets in some code, loaded at an address, of distances that lead to one of the places, in order.
    pub(super) fn leading_there(&self, code: &[u8], address: u64) -> Vec<usize> {
        self.leading_from(code, 0..code.len(), address)
    }

    /// The same of those that start in a part of the code.
    pub(super) fn leading_from(&self, code: &[u8], part: Range<usize>, address: u64) -> Vec<usize> {
        let pieces: Vec<usize> = part.clone().step_by(PIECE_BYTES).collect();
        let found = pieces.into_par_iter().flat_map_iter(|start| {
            let mut found = Vec::new();
            for span in &self.spans {
                let end = part.end.min(start + PIECE_BYTES);
                in_piece(code, address, start..end, span, &mut found);
            }
            // Between two places may lie some to which much code leads.
            found.retain(|&at| {
                target(code, address, at).is_some_and(|target| self.places.binary_search(&target).is_ok())
            });
            found.sort_unstable();
            found
        });
        found.collect()
    }
}

/// The address to which the distance at an offset leads, where code is loaded at an address: it counts from behind it.
pub(super) fn target(code: &[u8], address: u64, at: usize) -> Option<u64> {
    let word = code.get(at..at.checked_add(DISTANCE_BYTES)?)?.first_chunk()?;
    let behind = address.wrapping_add((at + DISTANCE_BYTES) as u64);
    Some(behind.wrapping_add_signed(i32::from_le_bytes(*word).into()))
}

/// Distances that start in a piece of some code and lead into a span.
fn in_piece(code: &[u8], address: u64, piece: Range<usize>, span: &Range<u64>, found: &mut Vec<usize>) {
    let leads_there = |at: usize| target(code, address, at).is_some_and(|target| span.contains(&target));
    let mut at = piece.start;
    while let Some(block) = code.get(at..).and_then(<[u8]>::first_chunk::<{ BLOCK + DISTANCE_BYTES }>)
        && at + BLOCK <= piece.end
    {
        let behind = address.wrapping_add((at + DISTANCE_BYTES) as u64);
        let (least, count) = upper_halves(span, behind);
        let may_lead_there = u16::try_from(count).map_or(true, |count| any_within(block, least, count));
        if may_lead_there && any_leads_there(block, span, behind) {
            found.extend((at..at + BLOCK).filter(|&at| leads_there(at)));
        }
        at += BLOCK;
    }
    found.extend((at..piece.end).filter(|&at| leads_there(at)));
}

/// The upper halves of distances that lead into a span from a block, behind whose first distance is a place: the least
/// one, and how many follow one another.
fn upper_halves(span: &Range<u64>, behind: u64) -> (u16, u64) {
    let half = |distance: u64| distance.cast_signed() >> 16;
    let least = half(span.start.wrapping_sub(behind.wrapping_add(BLOCK as u64)));
    let most = half(span.end.wrapping_sub(behind));
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lowest bits are what is meant"
    )]
    (least as u16, most.wrapping_sub(least).cast_unsigned().saturating_add(1))
}

/// Whether the upper half of any distance that starts in a block is one of so many from the least on.
#[inline]
fn any_within(block: &[u8; BLOCK + DISTANCE_BYTES], least: u16, count: u16) -> bool {
    let mut any = 0;
    for upper in [2, 3] {
        let (halves, _) = block[upper..upper + BLOCK].as_chunks::<2>();
        for half in halves {
            any |= u16::from(u16::from_le_bytes(*half).wrapping_sub(least) < count);
        }
    }
    any != 0
}

/// Whether any distance that starts in a block, behind whose first one is a place, leads into a span, by its lowest
/// bits. Halves alone are alike where the span is near.
#[inline]
fn any_leads_there(block: &[u8; BLOCK + DISTANCE_BYTES], span: &Range<u64>, behind: u64) -> bool {
    let width = u32::try_from(span.end - span.start).unwrap_or(u32::MAX);
    #[allow(clippy::cast_possible_truncation, reason = "the lowest bits are what is meant")]
    let first = behind.wrapping_sub(span.start) as u32;
    let mut any = 0;
    for lane in 0..DISTANCE_BYTES {
        let (words, _) = block[lane..lane + BLOCK].as_chunks::<DISTANCE_BYTES>();
        let mut behind = first.wrapping_add(u32::try_from(lane).unwrap_or(0));
        for word in words {
            any |= u32::from(u32::from_le_bytes(*word).wrapping_add(behind) < width);
            behind = behind.wrapping_add(4);
        }
    }
    any != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_found_wherever_it_stands_and_whatever_it_leads_over() {
        let address = 0x7FFF_FF00_u64;
        for (place, width) in [(0x20_0000_u64, 300), (0x7FFF_FF80, 1), (0xFFFF_F000, 5)] {
            for at in (0..200).chain(PIECE_BYTES - 70..PIECE_BYTES + 3) {
                let mut code = vec![0xCC; PIECE_BYTES + 7];
                let behind = address + at as u64 + 4;
                let target = place + at as u64 % width;
                let distance = i32::try_from(target.cast_signed() - behind.cast_signed()).unwrap();
                code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
                let found = Destinations::of(place..place + width).leading_there(&code, address);
                assert!(found.contains(&at), "{place:#x} {at}: {found:?}");
                assert!(found.len() < 8, "{found:?}");
            }
        }
    }

    #[test]
    fn places_far_from_each_other_are_sought_apart_and_nothing_in_nothing() {
        let destinations = Destinations::of([5 << 20, 0, 100, 5 << 20]);
        let (last, end) = (5 << 20, (5 << 20) + 1);
        assert_eq!(destinations.spans, [0..101, last..end]);
        assert!(Destinations::of([]).leading_there(&[0; 100], 0).is_empty());
        assert!(Destinations::of([4]).leading_there(&[], 0).is_empty());
        assert!(Destinations::of([4]).leading_there(&[0; 3], 0).is_empty());
    }
}
