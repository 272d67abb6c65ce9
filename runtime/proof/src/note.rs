//! The notes that the toolkit leaves in a cubin: who built it, when, and for what.
//!
//! Every note has the name `NVIDIA Corp` and lives in a section of its own.
//!
//! | section | type | content | source |
//! |---|---|---|---|
//! | `.note.nv.tkinfo` | 2000 | u32 version, 0, then four offsets into the strings that follow at +24: tool, release, build, options | seen: 12.8 and 12.9 on `sm_100`, 13.0-13.5 on all; absent on 12.x `sm_90` |
//! | `.note.nv.cuver` | 1000 | u16 1, u16 virtual arch number, u32, u32 | seen: 12.8, 12.9 on `sm_100` |
//! | `.note.nv.cuinfo` | 1000 | u16 2, u16 virtual arch number, u16 ten times the toolkit version, u16 0 | seen: 13.0-13.5 |
//!
//! The number in the second and third is that of the *virtual* architecture: 90 for
//! `arch=compute_90,code=sm_100a` (seen, 13.0 and 13.5; cuFFT ships `sm_120` code from `compute_75`).
//! It has no letter, so `compute_100` and `compute_100a` look alike.
//!
//! All of it is text or numbers that an editor can change, so a note alone proves nothing; it is
//! worth its agreement with the other witnesses.

use proofmark_packager::Arch;
use serde::Serialize;

use super::bytes::{slice, text_at, u16_at, u32_at};

/// The owner name of every CUDA note.
const OWNER: &[u8] = b"NVIDIA Corp\0";
/// Note type of the tool record.
const TOOL_TYPE: u32 = 2000;
/// Note type of the architecture record.
const ARCH_TYPE: u32 = 1000;
/// Where the strings of a tool record start, from the start of its description.
const TOOL_STRINGS: usize = 24;

/// What a tool said about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolNote {
    /// Where the note's options text lies, from the start of the cubin.
    pub options_offset: u64,
    /// `ptxas`, `nvlink`.
    pub tool: String,
    /// For example `Cuda compilation tools, release 13.0, V13.0.88`.
    pub release: String,
    /// The compiler's build name.
    pub build: String,
    /// The options as that tool got them, architecture included.
    pub options: String,
    /// The architecture that the options name; `None` where they name none or spell it in a way
    /// that the tools never do.
    pub arch: Option<Arch>,
}

impl ToolNote {
    /// Whether its options name an architecture at all, however spelled.
    pub fn names_arch(&self) -> bool {
        self.options.contains("arch")
    }

    /// Whether it is the assembler that need not be told an architecture, and was not: 648 of the
    /// cubins that `FlashInfer` ships (12.9.90) carry no more than that.
    pub fn is_assembler_without_arch(&self) -> bool {
        self.tool == "nvasm_internal" && !self.names_arch()
    }

    /// Whether it generates machine code for an architecture of its choice. The finalizer and the
    /// assembler need not be told one.
    pub fn chooses_arch(&self) -> bool {
        matches!(self.tool.as_str(), "ptxas" | "nvlink")
    }

    /// Whether it makes one image out of several objects: the device linker, or the same as a library,
    /// which writes no options of its own (seen in `nvJitLink` 12.8 and 12.9).
    pub fn links_objects(&self) -> bool {
        matches!(self.tool.as_str(), "nvlink" | "nvJIT API")
    }

    /// The toolkit release as `(13, 0)`.
    pub fn toolkit(&self) -> Option<(u32, u32)> {
        let rest = self.release.split("release ").nth(1)?;
        let (major, rest) = rest.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
}

/// Which of the two architecture notes a cubin carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchNoteKind {
    /// `.note.nv.cuver`, toolkits 12.8 and 12.9.
    Cuver,
    /// `.note.nv.cuinfo`, toolkits from 13.0.
    Cuinfo,
}

/// What the front end compiled for, as a note has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ArchNote {
    /// Which note.
    pub kind: ArchNoteKind,
    /// Where the number lies, from the start of the cubin.
    pub offset: u64,
    /// The virtual architecture's number, without a letter.
    pub number: u32,
    /// Ten times the toolkit version, where the note has it: 130 for 13.0.
    pub toolkit: Option<u32>,
}

/// One raw note: its type, its description, and where the description starts in the section.
struct RawNote<'a> {
    kind: u32,
    at: usize,
    body: &'a [u8],
}

/// Splits a note section; `None` when it is not a whole number of well-formed notes.
fn split(section: &[u8]) -> Option<Vec<RawNote<'_>>> {
    let mut notes = Vec::new();
    let mut at = 0;
    while at < section.len() {
        let name_size = u32_at(section, at)?;
        let body_size = u32_at(section, at + 4)?;
        let kind = u32_at(section, at + 8)?;
        if slice(section, at as u64 + 12, u64::from(name_size))? != OWNER {
            return None;
        }
        let body_at = at + 12 + OWNER.len();
        let body = slice(section, body_at as u64, u64::from(body_size))?;
        notes.push(RawNote { kind, at: body_at, body });
        at = body_at.checked_add(body.len())?.checked_next_multiple_of(4)?;
    }
    Some(notes)
}

/// Reads `.note.nv.tkinfo`, which starts at `base` in the cubin; `None` when malformed.
pub(super) fn tools(section: &[u8], base: u64) -> Option<Vec<ToolNote>> {
    split(section)?.iter().map(|note| tool(note, base)).collect()
}

fn tool(note: &RawNote<'_>, base: u64) -> Option<ToolNote> {
    if note.kind != TOOL_TYPE {
        return None;
    }
    let strings = note.body.get(TOOL_STRINGS..)?;
    let offset = |slot: usize| u32_at(note.body, slot).and_then(|offset| usize::try_from(offset).ok());
    let text = |slot: usize| text_at(strings, offset(slot)?);
    let options = text(20)?;
    Some(ToolNote {
        options_offset: base + (note.at + TOOL_STRINGS + offset(20)?) as u64,
        tool: text(8)?,
        release: text(12)?,
        build: text(16)?,
        arch: arch_of(&options),
        options,
    })
}

/// Reads the architecture from a tool's options. The tools print every option followed by a
/// space, so a name that runs into the next option or into the end was edited.
fn arch_of(options: &str) -> Option<Arch> {
    let mut names =
        options.match_indices("-arch ").filter(|&(at, _)| at == 0 || options[..at].ends_with(' '));
    let (at, marker) = names.next()?;
    if names.next().is_some() {
        return None;
    }
    let (name, _) = options[at + marker.len()..].split_once(' ')?;
    // The assembler behind cuBLAS and cuDNN writes `SM75`.
    let name = name.strip_prefix("SM").map_or(name.to_owned(), |number| format!("sm_{number}"));
    name.parse().ok()
}

/// Reads `.note.nv.cuver` or `.note.nv.cuinfo`, which starts at `base`; `None` when malformed.
///
/// Early builds mix the two: 12.7 wrote a `cuver` in the form of `cuinfo`, and the assembler behind
/// cuBLAS a `cuinfo` of 6 bytes (both seen in released libraries), so the version decides.
pub(super) fn archs(section: &[u8], base: u64, kind: ArchNoteKind) -> Option<Vec<ArchNote>> {
    split(section)?
        .iter()
        .map(|note| {
            let version = u16_at(note.body, 0)?;
            let number = u32::from(u16_at(note.body, 2)?);
            let offset = base + note.at as u64 + 2;
            let toolkit = match (note.kind, version, note.body.len()) {
                (ARCH_TYPE, 0 | 1, 12) => None,
                (ARCH_TYPE, 2, 6 | 8) => Some(u32::from(u16_at(note.body, 4)?)),
                _ => return None,
            };
            Some(ArchNote { kind, offset, number, toolkit })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_architecture_only_as_the_tools_print_it() {
        let arch = |options: &str| arch_of(options).map(|arch| arch.to_string());
        assert_eq!(arch("-arch sm_100a -m 64 ").as_deref(), Some("sm_100a"));
        assert_eq!(arch("-g  -arch sm_90 ").as_deref(), Some("sm_90"));
        for edited in
            ["-arch sm_100a-m 64 ", "-arch sm_100f", "-m 64 ", "-arch sm_90 -arch sm_100a ", "x-arch sm_90 "]
        {
            assert_eq!(arch(edited), None, "{edited}");
        }
    }

    #[test]
    fn a_note_of_another_owner_or_a_cut_one_is_malformed() {
        let mut section = vec![12, 0, 0, 0, 8, 0, 0, 0, 0xE8, 3, 0, 0];
        section.extend_from_slice(OWNER);
        section.extend_from_slice(&[2, 0, 100, 0, 130, 0, 0, 0]);
        let notes = archs(&section, 0x40, ArchNoteKind::Cuinfo).unwrap();
        assert_eq!((notes[0].number, notes[0].toolkit, notes[0].offset), (100, Some(130), 0x40 + 26));
        assert!(archs(&section[..section.len() - 1], 0, ArchNoteKind::Cuinfo).is_none());
        section[12] = b'X';
        assert!(archs(&section, 0, ArchNoteKind::Cuinfo).is_none());
    }
}
