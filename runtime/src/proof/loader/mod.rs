//! A host ELF as the loader sees it: segments mapped, relocations applied, registered wrappers followed.
//!
//! Section headers are words that no loader reads: it maps segments, writes relocations into the copy,
//! and runs what then stands in memory. So a file is believed only where both views agree, and
//! whatever the loader would write into device code, or would write that looks like device code, is
//! named. What a constructor computes before it registers device code is in no file; addresses that
//! only such code could fill are named as well.
//!
//! | file | noun |
//! |---|---|
//! | `elf` | headers, sections, segments, symbols |
//! | `parts` | every byte of the file, held against a closed list of parts |
//! | `relocation` | what the loader or the linker writes |
//! | `image` | the bytes after that writing, and what was not there before it |
//! | `wrapper` | what is registered, and where it points |
//! | `needs` | libraries without which it does not load |

mod elf;
mod image;
mod needs;
mod parts;
mod relocation;
mod wrapper;

pub(super) use elf::{Elf, Section};
pub use needs::MissingLibrary;
pub(super) use needs::missing;
pub(super) use parts::unexplained;
pub(super) use wrapper::Wrapper;

use super::examination::Problem;

/// What the loader makes of a file, beside its sections. Offsets count from the start of the ELF.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The wrappers in `.nvFatBinSegment`.
    pub(super) wrappers: Vec<Wrapper>,
    /// Where the loader's view is another than the file's.
    pub(super) problems: Vec<Problem>,
}

/// Reads the loader's view; `device` names the ranges of the file that hold containers.
pub(super) fn view(elf: &Elf<'_>, device: &[(u64, u64)]) -> View {
    let mut problems = parts::misplaced(elf);
    let relocations = relocation::read(elf, &mut problems);
    let image = image::apply(elf, &relocations, device, &mut problems);
    let wrappers = wrapper::read(elf, &image, &mut problems);
    View { wrappers, problems }
}
