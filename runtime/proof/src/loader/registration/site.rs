//! Where device code is registered: the load of a wrapper's address and the call behind it, which belong together.
//!
//! Whoever enters between the two hands over another address. So nothing may lead there, and nothing may take the
//! address of what nvcc calls when a file is loaded but the table of such functions.

use std::collections::HashSet;
use std::ops::Range;

use memchr::memchr3_iter;

use super::distance::target;
use super::instruction::{begins_at, has_opcode_at};
use super::{ENTERED, HIDDEN};

/// A load and its call, in one section of code; addresses in a linked file, offsets in an object's section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site {
    /// Where the load begins.
    pub(super) load: u64,
    /// Behind the call.
    pub(super) end: u64,
    /// Where the function begins that is called when the file is loaded, or the load where none is known.
    pub(super) start: u64,
}

/// How far before a load the function may begin, in bytes.
const START_REACH: u64 = 512;
/// How far a short jump leads, in bytes.
const NEAR: u64 = 130;

impl Site {
    /// Of a call, with the functions that are called when the file is loaded. `ends_before` tells of such a function and
    /// the load whether the function has ended there.
    pub(super) fn new(
        load: u64,
        call: u64,
        call_bytes: u64,
        constructors: &[u64],
        ends_before: impl Fn(u64, u64) -> bool,
    ) -> Self {
        let before = constructors.partition_point(|&start| start <= load);
        let start = constructors[..before].last();
        let start = start.filter(|&&start| load - start <= START_REACH && !ends_before(start, load));
        Self { load, end: call.saturating_add(call_bytes), start: start.copied().unwrap_or(load) }
    }

    /// Whether an address lies behind the beginning of the load and before the end of the call.
    fn holds(&self, address: u64) -> bool {
        self.load < address && address < self.end
    }
}

/// All sites of a file or section.
#[derive(Debug, Default)]
pub(super) struct Sites {
    /// In order of their loads.
    ordered: Vec<Site>,
    longest: u64,
    registered: HashSet<u64>,
}

impl Sites {
    /// Of some sites, and the addresses of the wrappers that they register.
    pub(super) fn new(mut sites: Vec<Site>, registered: impl IntoIterator<Item = u64>) -> Self {
        sites.sort_unstable();
        sites.dedup_by_key(|site| (site.load, site.end));
        let longest = sites.iter().map(|site| site.end - site.start).max().unwrap_or_default();
        Self { ordered: sites, longest, registered: registered.into_iter().collect() }
    }

    /// Whether a site registers the wrapper at an address.
    pub(super) fn registers(&self, wrapper: u64) -> bool {
        self.registered.contains(&wrapper)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// The site at which an address lies: from the start of its function to the end of its call.
    fn around(&self, address: u64) -> impl Iterator<Item = &Site> {
        let from = self.ordered.partition_point(|site| site.load.saturating_add(self.longest) < address);
        self.ordered[from..]
            .iter()
            .take_while(move |site| site.load <= address.saturating_add(START_REACH))
            .filter(move |site| site.start <= address && address < site.end)
    }

    /// Whether an address lies between a load and its call.
    pub(super) fn is_inside(&self, address: u64) -> bool {
        self.around(address).any(|site| site.holds(address))
    }

    /// Whether an address lies in a function that registers, up to its call, seen from a place outside of it.
    pub(super) fn is_function(&self, address: u64, from: u64) -> bool {
        self.around(address).any(|site| !(site.start..site.end).contains(&from))
    }

    /// Whether a load begins at an address.
    pub(super) fn is_load(&self, address: u64) -> bool {
        self.ordered.binary_search_by_key(&address, |site| site.load).is_ok()
    }

    /// The addresses of each site.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ordered.iter().map(|site| site.start..site.end)
    }

    /// The addresses of all sites, from the first to the last.
    pub(super) fn span(&self) -> Range<u64> {
        let start = self.ordered.first().map(|site| site.start);
        start.unwrap_or_default()..self.ordered.iter().map(|site| site.end).max().unwrap_or_default()
    }

    /// Where in a part of some code calls and jumps enter between a load and its call, and why that matters. `is_plain`
    /// tells of an operand whether it stands in the file as it will be.
    pub(super) fn entered(
        &self,
        code: &[u8],
        address: u64,
        range: Range<usize>,
        is_plain: impl Fn(usize) -> bool,
    ) -> Vec<(usize, &'static str)> {
        let span = self.span();
        let enters = |target: u64| span.contains(&target) && self.is_inside(target);
        let mut found = Vec::new();
        for at in memchr3_iter(0xE8, 0xE9, 0x0F, &code[range.clone()]).map(|at| range.start + at) {
            let operand = match code[at] {
                0x0F if code.get(at + 1).is_some_and(|next| (0x80..=0x8F).contains(next)) => at + 2,
                0x0F => continue,
                _ => at + 1,
            };
            if target(code, address, operand).is_some_and(enters) && is_plain(operand) {
                found.push((at, if has_opcode_at(code, at) { ENTERED } else { HIDDEN }));
            }
        }
        let end = address.saturating_add(range.end as u64);
        let near = self.ordered.iter().filter(|site| {
            site.end.saturating_add(NEAR) > address + range.start as u64
                && site.load < end.saturating_add(NEAR)
        });
        for site in near {
            let offset = |place: u64| usize::try_from(place.saturating_sub(address)).unwrap_or(usize::MAX);
            let from = offset(site.load.saturating_sub(NEAR)).max(range.start);
            let to = offset(site.end.saturating_add(NEAR)).min(range.end).min(code.len().saturating_sub(1));
            let enters = |&at: &usize| {
                let target = address.wrapping_add(at as u64 + 2);
                let target = target.wrapping_add_signed(i64::from(code[at + 1].cast_signed()));
                matches!(code[at], 0x70..=0x7F | 0xE0..=0xE3 | 0xEB)
                    && site.holds(target)
                    && begins_at(code, at)
            };
            found.extend((from..to.max(from)).filter(enters).map(|at| (at, ENTERED)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A site at 200, in 512 bytes that do nothing.
    fn site() -> (Sites, Vec<u8>) {
        let mut code = vec![0x90; 512];
        code[200..212].copy_from_slice(&[0x48, 0x8D, 0x3D, 1, 2, 3, 4, 0xE8, 1, 2, 3, 4]);
        (Sites::new(vec![Site::new(0x1000 + 200, 0x1000 + 207, 5, &[0x1000 + 196], |_, _| false)], []), code)
    }

    #[test]
    fn a_jump_between_load_and_call_enters_and_one_to_the_load_does_not() {
        let (sites, clean) = site();
        let all = |code: &[u8]| sites.entered(code, 0x1000, 0..code.len(), |_| true);
        assert_eq!(all(&clean), Vec::new());
        for (at, to, enters) in [
            (150_i32, 207_i32, true),
            (150, 201, true),
            (150, 200, false),
            (150, 212, false),
            (300, 207, true),
            (20, 207, true),
        ] {
            let (mut far, place) = (clean.clone(), usize::try_from(at).unwrap());
            far[place] = 0xE9;
            far[place + 1..place + 5].copy_from_slice(&(to - (at + 5)).to_le_bytes());
            assert_eq!(!all(&far).is_empty(), enters, "{at} to {to}");
            if let Ok(distance) = i8::try_from(to - (at + 2)) {
                let mut near = clean.clone();
                near[place..place + 2].copy_from_slice(&[0x74, distance.cast_unsigned()]);
                assert_eq!(!all(&near).is_empty(), enters, "{at} to {to}");
            }
        }
    }

    #[test]
    fn an_operand_that_happens_to_look_like_a_short_jump_is_none() {
        let (sites, mut code) = site();
        // `mov 0x24(%rsp), %rdi` as two of its bytes would jump, were an instruction to begin there.
        let at = 207 - 0x26;
        code[at - 2..at + 2].copy_from_slice(&[0x48, 0x8B, 0x7C, 0x24]);
        code[at + 2] = 0x24;
        assert_eq!(sites.entered(&code, 0x1000, 0..512, |_| true), Vec::new());
    }

    #[test]
    fn a_number_that_looks_like_a_call_is_a_doubt_and_a_call_with_prefixes_is_one() {
        let (sites, clean) = site();
        let to = |behind: usize| (207 - i32::try_from(behind).unwrap()).to_le_bytes();
        // `movabs $…, %rax`, of whose number a call would begin with the second byte.
        let mut number = clean.clone();
        number[150..153].copy_from_slice(&[0x48, 0xB8, 0x11]);
        number[153] = 0xE8;
        number[154..158].copy_from_slice(&to(158));
        number[158..160].copy_from_slice(&[0, 0]);
        assert_eq!(sites.entered(&number, 0x1000, 0..512, |_| true), [(153, HIDDEN)]);
        for opcode in [&[0xF2, 0xE9][..], &[0x66, 0x48, 0xE8], &[0x2E, 0x0F, 0x84]] {
            let (mut code, operand) = (clean.clone(), 150 + opcode.len());
            code[150..operand].copy_from_slice(opcode);
            code[operand..operand + 4].copy_from_slice(&to(operand + 4));
            let found = sites.entered(&code, 0x1000, 0..512, |_| true);
            assert_eq!(found, [(operand - if opcode[1] == 0x0F { 2 } else { 1 }, ENTERED)], "{opcode:02X?}");
        }
    }

    #[test]
    fn what_belongs_to_a_site_is_told_from_what_stands_beside_it() {
        let (sites, _) = site();
        for (address, inside, function) in
            [(195, false, false), (196, false, true), (201, true, true), (212, false, false)]
        {
            assert_eq!(sites.is_inside(0x1000 + address), inside, "{address}");
            assert_eq!(sites.is_function(0x1000 + address, 0), function, "{address}");
        }
        assert!(sites.is_load(0x1000 + 200) && !sites.is_load(0x1000 + 201));
        assert!(!sites.is_function(0x1000 + 196, 0x1000 + 198), "from itself");
    }
}
