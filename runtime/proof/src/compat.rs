//! The `.nv.compat` records of a cubin; attribute 9 carries the `a` from toolkit 13.0 on.
//!
//! A record is `{u8 format, u8 attribute, u16 value}` (seen, 12.8-13.5), where format 2 keeps its
//! number in the low byte, format 3 in both, and format 4 counts the bytes that follow.
//!
//! | attribute | cuobjdump 13.5 calls it |
//! |---|---|
//! | 2 | `ISA_CLASS` |
//! | 3 | `INST_TENSORMAP_V1` |
//! | 5 | `INST_TCGEN05_MMA` |
//! | 6 | `ENABLE_OPPORTUNISTIC_FINALIZATION` |
//! | 9 | `CUDA_ACCELERATOR_TARGET` |
//! | 11 | `CAN_FASTPATH_FINALIZE` |
//! | 12 | `CUDA_INTERNAL_TARGET`, from 13.5 |
//! `ISA_CLASS` is 2 in an image with tcgen05 instructions, and also in one with none (seen, 13.0,
//! sm_100a: 32-byte loads and paired multiply-adds), so it is no sign of an `a`. `INST_TCGEN05_MMA` is 5
//! in every image seen, whether or not it has such an instruction. cuobjdump calls attribute 9 `EICOMPAT_ATTR_CUDA_ACCELERATOR_TARGET`. A Blackwell
//! entry header repeats the whole section, which gives a second place to compare.

use serde::Serialize;

use super::bytes::{slice, u8_at, u16_at};

/// The attribute that tells `sm_100a` (1) from `sm_100` and `sm_100f` (0) since 13.0.
pub(super) const ACCELERATOR_TARGET: u8 = 9;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompatRecord {
    /// Where the record starts, from the start of the section.
    pub offset: u64,
    /// Its format: 2 or 3 for a number, 4 for bytes.
    pub format: u8,
    /// Its attribute.
    pub attribute: u8,
    /// Its number; for bytes, their count.
    pub value: u16,
}

/// Splits the section; `None` when it is not a whole number of known records.
pub(super) fn read(section: &[u8]) -> Option<Vec<CompatRecord>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < section.len() {
        let record = CompatRecord {
            offset: at as u64,
            format: u8_at(section, at)?,
            attribute: u8_at(section, at + 1)?,
            value: u16_at(section, at + 2)?,
        };
        at += match record.format {
            2 | 3 => 4,
            4 => 4 + slice(section, at as u64 + 4, u64::from(record.value))?.len(),
            _ => return None,
        };
        records.push(record);
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_the_section_of_an_sm_100a_cubin() {
        let section = [2, 9, 1, 0, 2, 2, 1, 0, 3, 7, 1, 1, 4, 11, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        let records = read(&section).unwrap();
        assert_eq!(records.len(), 4);
        assert_eq!((records[0].attribute, records[0].value), (ACCELERATOR_TARGET, 1));
        assert_eq!((records[3].attribute, records[3].value, records[3].offset), (11, 8, 12));
    }

    #[test]
    fn refuses_unknown_formats_and_cut_records() {
        assert!(read(&[7, 9, 1, 0]).is_none());
        assert!(read(&[2, 9, 1]).is_none());
        assert!(read(&[4, 11, 9, 0, 1]).is_none());
    }
}
