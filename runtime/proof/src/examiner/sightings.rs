//! What the scan came upon, held against what is known of the place.

use super::Examiner;
use crate::bytes::slice;
use crate::coverage::Coverage;
use crate::examination::EntryPlace;
use crate::fatbin;
use crate::image;
use crate::problem::Problem;
use crate::ptx;
use crate::scan::{self, Mark, Sighting};

/// Seen in Triton, cuDNN and cuSPARSELt, whose instructions compare with the magic and write it. Such a
/// program can load what no scan of its file can show, so it stays unread.
pub(super) const OPERAND: &str = "the magic of containers in an instruction: this program reads or makes containers itself, and what it loads is \
     in no file";

/// A library from which the table of sections was taken out: no loader needs it.
const NO_SECTIONS: &str = "a fatbin wrapper in an ELF without sections, by which what is registered is told from other \
     data: prove the library before they are taken out (llvm-objcopy --strip-sections), or keep them";

impl Examiner<'_> {
    /// Holds a sighting against what is known of its coverage.
    pub(super) fn account(&mut self, sighting: Sighting) {
        let Sighting { offset: at, mark } = sighting;
        let Some((start, coverage)) = self.coverage.at(at) else { return self.follow(sighting) };
        let expected = match coverage {
            Coverage::Header => mark == Mark::Container && at == start,
            Coverage::Opaque => true,
            Coverage::Cubin => match mark {
                Mark::CudaElf => at == start,
                Mark::PtxTarget => self.is_debug_text(start, at),
                _ => false,
            },
            Coverage::Ptx | Coverage::LoosePtx => mark == Mark::PtxTarget,
            Coverage::Wrappers => {
                self.found.wrappers += u64::from(mark == Mark::Wrapper);
                mark == Mark::Wrapper
            }
        };
        if !expected {
            self.unaccounted(at, format!("{} inside something else", mark.name()));
        }
    }

    /// Whether an offset lies in a section in which the cubin at `start` repeats its PTX for debuggers.
    fn is_debug_text(&mut self, start: u64, at: u64) -> bool {
        let image = usize::try_from(start).ok().and_then(|start| self.bytes.get(start..)).unwrap_or_default();
        let texts = self.debug_texts.entry(start).or_insert_with(|| image::debug_texts(image));
        texts.iter().any(|&(from, to)| (from..to).contains(&(at - start)))
    }

    fn follow(&mut self, sighting: Sighting) {
        let at = sighting.offset;
        let end = self.bytes.len() as u64;
        let place = EntryPlace { loose: true, ..EntryPlace::default() };
        let in_code = self.host_code.iter().any(|&(start, end)| (start..end).contains(&at));
        match sighting.mark {
            Mark::Wrapper | Mark::Ancient if in_code => self.unaccounted(at, OPERAND),
            Mark::Container if in_code && fatbin::read(self.bytes, at).is_err() => {
                self.unaccounted(at, OPERAND);
            }
            Mark::Container => drop(self.container(at, end, &place)),
            Mark::CudaElf if !scan::names_machine(self.bytes, at) => {
                let reason =
                    "the first bytes of a cubin, and not those further on: packed, or made by this program";
                self.found.unexplained.push(Problem::at(at, reason));
            }
            Mark::CudaElf => self.bare_cubin(at, end, &place),
            Mark::PtxTarget => self.loose_ptx(at, &place),
            Mark::Wrapper if self.is_without_sections(at) => self.unaccounted(at, NO_SECTIONS),
            Mark::Wrapper => self.unaccounted(at, "a fatbin wrapper outside .nvFatBinSegment"),
            Mark::Ancient => self.unaccounted(at, "the container magic of CUDA 2 and 3"),
        }
    }

    /// A PTX target in the middle of nowhere: takes the text around it up to the next zero, or to where the next
    /// text begins.
    fn loose_ptx(&mut self, at: u64, place: &EntryPlace) {
        const LOOK_BACK: u64 = 4096;
        let rest = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        if !ptx::names_target(rest, false) {
            return;
        }
        let from = at.saturating_sub(LOOK_BACK);
        let before = slice(self.bytes, from, at - from).unwrap_or_default();
        let text_start = before.iter().rposition(|&byte| byte == 0).map_or(0, |zero| zero + 1);
        let version = before[text_start..].windows(8).rposition(|window| window == b".version");
        let start = version.map_or(at, |found| from + (text_start + found) as u64);
        let length = memchr::memchr(0, rest).unwrap_or(rest.len());
        let next =
            memchr::memmem::find_iter(&rest[..length], b".version").find(|&next| ptx::is_ptx(&rest[next..]));
        let length = next.unwrap_or(length);
        self.bare_ptx(start, at + length as u64, place);
    }
}
