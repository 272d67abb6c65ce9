//! A host ELF: the sections that toolkits fill, what the loader makes of it, and what it can load by itself.

use rayon::prelude::*;

use super::containers::Padding;
use super::{Examiner, Registered};
use crate::bytes::slice;
use crate::coverage::Coverage;
use crate::examination::EntryPlace;
use crate::host::{self, Role};
use crate::loader::{self, Elf, Registration, Section};
use crate::problem::Problem;
use crate::runtime_jit::{self, ElfSigns, RuntimeJit, SignsWanted, Word};
use crate::signature;

/// A host ELF of which more is asked once the rest of the file is known.
pub(super) struct HostFile {
    start: u64,
    end: u64,
    /// Whether a table says what its bytes are for.
    has_sections: bool,
    registration: Option<Registration>,
}

impl Examiner<'_> {
    /// Reads the sections of a host ELF that the toolkit fills.
    pub(super) fn host_elf(&mut self, start: u64, bytes: &[u8], place: &EntryPlace) {
        let sections = match host::sections(bytes) {
            Ok(sections) => sections,
            Err(reason) => return self.unaccounted(start, format!("host ELF is broken: {reason}")),
        };
        let registration = match Elf::read(bytes) {
            Ok(elf) => self.loader_view(start, &elf),
            Err(reason) => {
                self.found.unexplained.push(Problem::over(start, bytes.len() as u64, reason));
                None
            }
        };
        let has_sections = !sections.is_empty();
        self.host_files.push(HostFile { start, end: start + bytes.len() as u64, has_sections, registration });
        let texts = sections.iter().filter(|section| section.holds_text());
        self.host_texts.extend(texts.map(|text| (start + text.offset, start + text.end())));
        let code = sections.iter().filter(|section| section.executable);
        self.host_code.extend(code.map(|code| (start + code.offset, start + code.end())));
        let mut sections: Vec<_> = sections.into_iter().filter(|section| section.role().is_some()).collect();
        sections.sort_by_key(|section| section.offset);
        let mut read_up_to = 0;
        for section in sections {
            if slice(bytes, section.offset, section.size).is_none() || section.offset < read_up_to {
                self.unaccounted(start, format!("section {} is cut off or overlaps another", section.name));
                continue;
            }
            read_up_to = section.end();
            let (from, to) = (start + section.offset, start + section.end());
            if section.role() == Some(Role::Wrappers) {
                self.coverage.mark(from, to, Coverage::Wrappers);
            } else {
                let padding = Padding::UpTo(section.align);
                let place = EntryPlace { section: Some(section.name), ..place.clone() };
                self.containers(from, to, &place, padding);
            }
        }
    }

    /// Holds the sections against what the loader makes of them.
    fn loader_view(&mut self, start: u64, elf: &Elf<'_>) -> Option<Registration> {
        self.found.unexplained.extend(loader::unexplained(elf).into_iter().map(|one| one.moved(start)));
        for section in elf.sections.iter().filter(|section| section.has_bytes()) {
            if loader::is_plain_data(section) {
                self.host_data.push((start + section.offset, start + section.end()));
            }
            if is_link_time_code(section, elf.content(section)) {
                let reason = format!(
                    "section {} holds code for link-time optimisation: what it will hold is decided when it is linked",
                    section.name
                );
                self.refuse(Problem::over(start + section.offset, section.size, reason));
            }
        }
        let view = loader::view(elf, self.depth);
        self.found.missing_libraries.extend(view.missing_libraries);
        let writes = view.writes.iter().map(|&(offset, width)| (start + offset, width));
        self.written.extend(writes);
        self.found.unexplained.extend(view.doubts.into_iter().map(|one| one.moved(start)));
        for problem in view.problems {
            self.refuse(problem.moved(start));
        }
        let registered = view
            .wrappers
            .iter()
            .map(|wrapper| Registered { wrapper: start + wrapper.offset, container: start + wrapper.target });
        self.registered.extend(registered);
        view.registration
    }

    /// Whether an offset lies in a host ELF without a table of sections.
    pub(super) fn is_without_sections(&self, at: u64) -> bool {
        self.host_files.iter().any(|file| !file.has_sections && (file.start..file.end).contains(&at))
    }

    /// Asks host ELFs what they can load by themselves, by the words in their data among others, and whom they call to
    /// register what: in `unknown`, which holds none of the containers.
    pub(super) fn ask_host_files(&mut self, unknown: &[(u64, u64)], words: &[Word]) {
        let (bytes, depth) = (self.bytes, self.depth);
        let wanted = if depth.is_whole() {
            SignsWanted::All
        } else if self.found.runtime_jit.is_empty() {
            SignsWanted::Any
        } else {
            SignsWanted::NoMore
        };
        let answers: Vec<(ElfSigns, Vec<Problem>, Vec<Problem>)> = std::mem::take(&mut self.host_files)
            .into_par_iter()
            .map(|HostFile { start, end, registration, .. }| {
                let Some(file) = slice(bytes, start, end - start) else { return Default::default() };
                let signs =
                    runtime_jit::elf_signs(file, start, runtime_jit::between(words, start, end), wanted);
                let registration = registration.filter(|_| depth.is_whole());
                let (problems, doubts) = registration
                    .zip(Elf::read(file).ok())
                    .map(|(registration, elf)| registration.search(&elf, start, unknown))
                    .unwrap_or_default();
                let moved = |found: Vec<Problem>| found.into_iter().map(|one| one.moved(start)).collect();
                (signs, moved(problems), moved(doubts))
            })
            .collect();
        // The objects of an archive are linked together: what one imports, another may have a use for.
        let finds_device_code = answers.iter().any(|(signs, ..)| signs.is_about_cuda)
            && !answers.iter().any(|(signs, ..)| signs.has_static_runtime);
        for (ElfSigns { mut signs, finders, hides_calls, .. }, problems, doubts) in answers {
            signs.extend(finders.into_iter().filter(|_| finds_device_code));
            if self.loads.is_none() {
                let hidden = hides_calls
                    .then_some("its CUDA runtime's functions that load it, which it does not tell who calls");
                self.loads = signs.first().map(RuntimeJit::words).or_else(|| hidden.map(str::to_owned));
            }
            self.found.runtime_jit.extend(signs);
            self.found.unexplained.extend(doubts);
            for problem in problems {
                self.refuse(problem);
            }
        }
    }
}

/// Whether a compiler left its own intermediate code in a section: GCC, clang, or NVVM.
fn is_link_time_code(section: &Section, content: &[u8]) -> bool {
    const LLVM_LTO: u32 = 0x6FFF_4C0C;
    const NAMES: [&str; 5] = [".gnu.lto_", ".gnu.debuglto_", ".llvm.lto", ".llvmbc", ".llvm.offloading"];
    section.kind == LLVM_LTO
        || NAMES.iter().any(|name| section.name.starts_with(name))
        || signature::intermediate(content).is_some()
}
