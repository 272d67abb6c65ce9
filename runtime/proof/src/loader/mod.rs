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
//! | `leftover` | what a tool leaves where it moved tables elsewhere |
//! | `debug` | sections for debuggers that are stored compressed |
//! | `dynamic` | the dynamic table |
//! | `relocation` | what the loader or the linker writes |
//! | `image` | the bytes after that writing, and what was not there before it |
//! | `wrapper` | what is registered, and where it points |
//! | `registration` | who registers device code, and which address it hands over |
//! | `needs` | libraries without which it does not load |

mod debug;
mod dynamic;
mod elf;
mod image;
mod leftover;
mod needs;
mod parts;
mod registration;
mod relocation;
mod wrapper;

pub(super) use elf::{Elf, Section};
pub use needs::MissingLibrary;
pub(super) use parts::{is_plain_data, unexplained};
pub(super) use registration::Registration;
pub(super) use wrapper::Wrapper;

use super::depth::Depth;
use super::problem::Problem;
use dynamic::Dynamic;

/// What the loader makes of a file, beside its sections. Offsets count from the start of the ELF.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The wrappers in `.nvFatBinSegment`.
    pub(super) wrappers: Vec<Wrapper>,
    /// Where relocations write: offset and width in bytes, in order of offset.
    pub(super) writes: Vec<(u64, u64)>,
    /// Libraries of CUDA that it calls without naming them.
    pub(super) missing_libraries: Vec<MissingLibrary>,
    /// Calls that may register something else than a wrapper, where the function itself is only guessed.
    pub(super) doubts: Vec<Problem>,
    /// Where registrations are still to be searched for.
    pub(super) registration: Option<Registration>,
    /// Where the loader's view is another than the file's.
    pub(super) problems: Vec<Problem>,
}

/// Reads the loader's view; host code only where a judgement is to rest on it.
pub(super) fn view(elf: &Elf<'_>, depth: Depth) -> View {
    let mut problems = parts::misplaced(elf);
    problems.extend(parts::rearranged(elf));
    let dynamic = Dynamic::read(elf, &mut problems);
    let missing_libraries = needs::missing(elf, dynamic.as_ref());
    let relocations = relocation::read(elf, dynamic.as_ref(), &mut problems);
    let image = image::apply(elf, &relocations, &mut problems);
    let wrappers = wrapper::read(elf, &image, &mut problems);
    let mut doubts = Vec::new();
    let registration = if depth.is_whole() {
        registration::check(elf, dynamic.as_ref(), &relocations, &mut problems, &mut doubts)
    } else {
        None
    };
    let writes = relocations.iter().map(|write| (write.offset, write.width)).collect();
    View { wrappers, writes, missing_libraries, doubts, registration, problems }
}
