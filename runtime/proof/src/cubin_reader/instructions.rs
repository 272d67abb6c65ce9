//! Whether the bytes of `.text` can be instructions at all.
//!
//! From `sm_70` on an instruction has 128 bits: its opcode in the lowest 12, nothing in the two highest.
//! The opcodes are those that occur in 990 million instructions of 24 wheels, `sm_70` to `sm_121`: 445
//! of 4,096, and never zero. That tells code from zeros, texts and random bytes; it does not tell one
//! program from another.

use object::elf;
use object::read::elf::SectionHeader as _;

use super::elf::{ENDIAN, Sections, is_code};
use crate::bytes::text_of;
use crate::cubin::Cubin;

/// The first number with instructions of this size.
const FIRST_NUMBER: u32 = 70;
/// Size of an instruction, in bytes.
const INSTRUCTION_BYTES: usize = 16;
/// One word in so many may be none that we know: three of sixteen are not in kernels of CUPTI, which are
/// patched before they run.
const UNKNOWN_SHARE: usize = 4;
/// Bits that no instruction sets, in its last byte.
const NEVER_SET: u8 = 0xC0;
/// Bits of an instruction's first two bytes that are its opcode.
const OPCODE: u16 = 0xFFF;

/// Opcodes that occur, a bit each.
const OPCODES: [u64; 64] = [
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0xD7FF_0FFB_0EEF_9F84,
    0x1440_0000_7C7A_0FE9,
    0xE400_0070_0AC7_10A0,
    0x0000_0000_0000_1400,
    0x0000_0000_300F_03F7,
    0x0000_0000_206C_4108,
    0x0C70_070A_0000_3FE2,
    0x0000_0200_0000_0454,
    0x003B_0E1A_0240_0084,
    0x8400_0000_0030_0A40,
    0x0000_0010_0200_0084,
    0x0000_0000_0000_0000,
    0x0000_0000_2000_0000,
    0x0000_0000_0000_0081,
    0x0114_0880_0000_2200,
    0x0000_4408_0000_0000,
    0x401B_0EBA_0200_0080,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_1000_0000_0000,
    0x0000_0000_0000_0000,
    0x4866_E9B9_1EC7_9FFC,
    0x0040_0000_046A_1751,
    0x0000_0070_1EC7_10EC,
    0x0000_0000_0000_0800,
    0x0000_0000_2F04_0144,
    0xC000_0000_3141_63FE,
    0x0283_8DFC_0004_D7FB,
    0x000B_6488_0000_03A8,
    0x4006_09F9_0A8F_1F84,
    0x0000_0000_0000_0021,
    0x0A00_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_200F_03F5,
    0x0000_0040_0000_0000,
    0x0000_0000_0000_0004,
    0x0000_0000_0000_0000,
    0x4066_09F9_0E8F_9F84,
    0x0000_0000_0000_0761,
    0x0000_0000_0000_0084,
    0x0000_0000_0000_0000,
    0x0000_0000_000F_03F5,
    0x0000_0000_0000_0000,
    0x2000_4000_0000_0000,
    0x0009_0400_0000_0080,
    0x0019_0EBA_0240_0080,
    0x0000_0000_0000_0A40,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x0000_0040_0020_0000,
    0x0000_4000_0000_1200,
    0x0000_0000_0000_0000,
];

/// Instructions that one generation alone has: what they do, its first and last number, their opcodes. Read off the
/// listings of nvdisasm 13.5, and held against 120 million instructions of other numbers.
struct OfOneGeneration {
    name: &'static str,
    numbers: [u32; 2],
    opcodes: &'static [u16],
}

const OF_ONE_GENERATION: [OfOneGeneration; 2] = [
    // WARPGROUP; HGMMA, IGMMA, BGMMA, QGMMA.
    OfOneGeneration {
        name: "matrix products of warp groups (wgmma)",
        numbers: [90, 90],
        opcodes: &[0x9C5, 0x9F0, 0x9F1, 0x9F2, 0x9F3],
    },
    // UTCBAR, UTCCP, STTM, LDTM, UTCQMMA.
    OfOneGeneration {
        name: "tensor memory (tcgen05)",
        numbers: [100, 119],
        opcodes: &[0x3E9, 0x9E7, 0x9ED, 0x9EE, 0xDEA],
    },
];

/// Bit of an opcode that occurs.
const OCCURS: u8 = 1;
/// What is known of each opcode: whether it occurs, and from the second bit on of which generation it is alone. All code
/// of a library that is stored as it is passes through here.
static CLASSES: [u8; OPCODE as usize + 1] = {
    let mut table = [0; OPCODE as usize + 1];
    let mut opcode = 0;
    while opcode < table.len() {
        table[opcode] = (OPCODES[opcode >> 6] >> (opcode & 63) & 1) as u8;
        opcode += 1;
    }
    let mut generation = 0;
    while generation < OF_ONE_GENERATION.len() {
        let opcodes = OF_ONE_GENERATION[generation].opcodes;
        let mut index = 0;
        while index < opcodes.len() {
            table[opcodes[index] as usize] |= OCCURS << (generation + 1);
            index += 1;
        }
        generation += 1;
    }
    table
};

/// Notes code sections that hold no instructions.
pub(super) fn check(cubin: &mut Cubin, sections: &Sections<'_>, bytes: &[u8]) {
    if cubin.number < FIRST_NUMBER {
        return;
    }
    for section in sections.iter() {
        // Most sections are of other types, and need not be asked for their names.
        if section.sh_type.get(ENDIAN) != elf::SHT_PROGBITS {
            continue;
        }
        let Ok(name) = sections.section_name(ENDIAN, section) else { continue };
        if !is_code(name, section) {
            continue;
        }
        let Ok(code) = section.data(ENDIAN, bytes) else { continue };
        if let Some(reason) = doubt(code, cubin.number) {
            let reason = format!("section {} {reason}", text_of(name));
            cubin.problem(section.sh_offset.get(ENDIAN), reason);
        }
    }
}

/// Why some bytes are no code of an architecture of some number.
fn doubt(code: &[u8], number: u32) -> Option<String> {
    let (words, rest) = code.as_chunks::<INSTRUCTION_BYTES>();
    if !rest.is_empty() {
        return Some("holds no whole number of instructions".to_owned());
    }
    let (mut known, mut seen) = (0, 0);
    for word in words {
        let class = class(word);
        known += usize::from(class & OCCURS);
        seen |= class;
    }
    let (unknown, count) = (words.len() - known, words.len());
    if unknown * UNKNOWN_SHARE > count {
        return Some(format!("holds {unknown} words of {count} that are no instructions"));
    }
    let foreign = OF_ONE_GENERATION.iter().enumerate().find(|(index, one)| {
        let [first, last] = one.numbers;
        seen >> (index + 1) & 1 != 0 && !(first..=last).contains(&number)
    });
    foreign.map(|(_, one)| format!("holds instructions for {}, which sm_{number} does not have", one.name))
}

/// What is known of an instruction's opcode; nothing where it sets bits that none sets.
#[inline]
fn class(word: &[u8; INSTRUCTION_BYTES]) -> u8 {
    let opcode = u16::from_le_bytes([word[0], word[1]]) & OPCODE;
    CLASSES[usize::from(opcode)] & u8::from(word[INSTRUCTION_BYTES - 1] & NEVER_SET == 0).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_texts_and_random_bytes_are_no_code() {
        assert!(doubt(&[0; 256], 100).is_some());
        assert!(doubt(&b".version 9.0\n.target sm_100a\n".repeat(16), 100).is_some());
        let mut state = 1_u64;
        let random: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        assert!(doubt(&random, 100).is_some());
        assert!(doubt(&[0; 15], 100).is_some());
    }

    #[test]
    fn exit_and_nop_are_instructions() {
        let exit = [0x4D, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 3, 0, 0xEA, 0x0F, 0];
        let nop = [0x18, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0x0F, 0];
        assert!(doubt(&[exit, nop].concat(), 100).is_none());
    }

    #[test]
    fn instructions_of_one_generation_are_no_other_s() {
        let word = |opcode: u16| {
            [(opcode & 0xFF) as u8, (opcode >> 8) as u8 | 0x70, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        };
        let code = |opcode| [[word(0x918); 7].concat(), word(opcode).to_vec()].concat();
        for (opcode, numbers, others) in [
            (0x9F0, &[90][..], &[89, 100, 103, 110, 120, 121][..]),
            (0x9EE, &[100, 103, 110], &[90, 120, 121]),
        ] {
            for &number in numbers {
                assert_eq!(doubt(&code(opcode), number), None, "{opcode:#x} on sm_{number}");
            }
            for &number in others {
                let found = doubt(&code(opcode), number).unwrap_or_default();
                assert!(found.contains(&format!("which sm_{number} does not have")), "{opcode:#x}: {found}");
            }
        }
    }
}
