//! Decides the `a` of a cubin: where each toolkit keeps it, and every disagreement between those places.

use crate::compat::{ACCELERATOR_TARGET, CompatRecord};
use crate::cubin::{Cubin, CubinLayout, E_FLAGS_OFFSET};
use crate::marker::{Marker, MarkerSource};
use crate::note::{ArchNoteKind, ToolNote};

/// The first number for which 12.8 wrote the new layout.
const FIRST_OF_NEW_LAYOUT: u32 = 100;
/// The first number for which an `a` exists.
const FIRST_WITH_LETTER: u32 = 90;

/// Decides the `a`, and records every disagreement between the places that could hold it.
pub(super) fn marker(cubin: &mut Cubin) -> Option<Marker> {
    check_layout_age(cubin);
    match cubin.layout {
        CubinLayout::Abi7 if cubin.number < FIRST_WITH_LETTER => Some(no_letter()),
        CubinLayout::Abi7 => Some(flag_marker(cubin, 0x800, MarkerSource::EFlags800)),
        CubinLayout::Abi8 => abi8_marker(cubin),
    }
}

fn no_letter() -> Marker {
    Marker { specific: false, source: MarkerSource::TooOld, offset: E_FLAGS_OFFSET }
}

/// Each layout belongs to the architectures for which toolkits wrote it: the old one ends with 90, and
/// the new one starts with 100 in 12.8 and takes over all of them in 13.0.
fn check_layout_age(cubin: &mut Cubin) {
    match cubin.layout {
        CubinLayout::Abi7 if cubin.number >= FIRST_OF_NEW_LAYOUT => {
            let reason = format!("no toolkit wrote this layout for sm_{}: it ends with sm_90", cubin.number);
            cubin.problem(E_FLAGS_OFFSET, reason);
        }
        CubinLayout::Abi8 if cubin.number < FIRST_OF_NEW_LAYOUT && !cubin.tools.is_empty() => {
            let before_13 = |tool: &ToolNote| tool.toolkit().is_some_and(|(major, _)| major < 13);
            if cubin.tools.iter().all(before_13) {
                let reason = format!("no toolkit before 13.0 wrote this layout for sm_{}", cubin.number);
                cubin.problem(E_FLAGS_OFFSET, reason);
            }
        }
        CubinLayout::Abi7 | CubinLayout::Abi8 => {}
    }
}

fn flag_marker(cubin: &Cubin, bit: u32, source: MarkerSource) -> Marker {
    Marker { specific: cubin.e_flags & bit != 0, source, offset: E_FLAGS_OFFSET }
}

fn abi8_marker(cubin: &mut Cubin) -> Option<Marker> {
    let records: Vec<CompatRecord> =
        cubin.compat.iter().filter(|record| record.attribute == ACCELERATOR_TARGET).cloned().collect();
    let flag = cubin.e_flags & 0x8 != 0;
    let base = cubin.compat_offset.unwrap_or_default();
    match records.as_slice() {
        [] => marker_without_attribute(cubin),
        [record] if record.format == 2 && record.value <= 1 && !flag => Some(Marker {
            specific: record.value == 1,
            source: MarkerSource::Compat9,
            offset: base + record.offset + 2,
        }),
        [_] if flag => {
            cubin.problem(E_FLAGS_OFFSET, "e_flags carries the marker of 12.x beside the attribute of 13.x");
            None
        }
        [record] => {
            let reason = format!(
                ".nv.compat attribute 9 has format {} and value {}, expected format 2 and value 0 or 1",
                record.format, record.value
            );
            cubin.problem(base + record.offset, reason);
            None
        }
        [first, ..] => {
            cubin.problem(base + first.offset, "several .nv.compat records with attribute 9");
            None
        }
    }
}

fn marker_without_attribute(cubin: &mut Cubin) -> Option<Marker> {
    if is_from_13(cubin) {
        if cubin.e_flags & 0x8 != 0 || cubin.number >= FIRST_WITH_LETTER {
            let at = cubin.compat_offset.unwrap_or(E_FLAGS_OFFSET);
            cubin.problem(at, "made by toolkit 13 or later, but .nv.compat attribute 9 is missing");
            return None;
        }
        return Some(no_letter());
    }
    Some(flag_marker(cubin, 0x8, MarkerSource::EFlags8))
}

/// Whether any note says toolkit 13 or later, which always write attribute 9 from `sm_90` on. The
/// finalizer of 13.4 keeps what an older ptxas wrote (seen in cuBLAS), and before its release 13.0
/// called itself so while it wrote all else as 12.9 does (V13.0.0, seen in nvperf).
fn is_from_13(cubin: &Cubin) -> bool {
    cubin.arch_notes.iter().any(|note| note.kind == ArchNoteKind::Cuinfo)
        || cubin
            .tools
            .iter()
            .filter(|tool| tool.tool != "finalizer" && !tool.release.ends_with(" V13.0.0"))
            .any(|tool| tool.toolkit().is_none_or(|(major, _)| major >= 13))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cubin_reader::read;

    /// A cubin of 12.9 whose assembler claims another release.
    fn claiming(version: &str) -> Cubin {
        let mut bytes = include_bytes!("../../../../tests/fixtures/proof/exact_12.9.cubin").to_vec();
        let old = b"release 12.9, V12.9.86";
        let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
        let new = format!("release 13.0, {version}\0");
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        read(&bytes).unwrap()
    }

    #[test]
    fn what_called_itself_13_before_its_release_is_read_like_12() {
        let cubin = claiming("V13.0.0");
        assert!(cubin.problems.is_empty(), "{:?}", cubin.problems);
        assert_eq!(
            cubin.marker.map(|marker| (marker.specific, marker.source)),
            Some((true, MarkerSource::EFlags8))
        );
        for released in ["V13.0.1", "V13.0.88"] {
            let cubin = claiming(released);
            assert!(cubin.marker.is_none() && !cubin.problems.is_empty(), "{released}");
        }
    }
}
