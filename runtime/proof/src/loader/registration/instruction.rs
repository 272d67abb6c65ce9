//! Where the instructions of x86-64 begin, and functions end: lengths alone, by prefixes, opcode and operands.

/// Longest instruction, in bytes.
const LONGEST: usize = 15;
/// How far back a walk begins: wherever it does, after that many bytes it has nearly always fallen in with the
/// instructions that are meant.
const RUN_UP: usize = 64;

/// Whether an instruction begins at an offset of some code, by most of the walks from shortly before it. Where none
/// tells, it does.
pub(super) fn begins_at(code: &[u8], at: usize) -> bool {
    let first = at.saturating_sub(RUN_UP);
    let walks = (first..at.min(first + LONGEST + 1)).filter_map(|start| {
        let mut here = start;
        while here < at {
            here += length(code.get(here..)?)?;
        }
        Some(here == at)
    });
    let (mut for_it, mut all) = (0, 0);
    for falls_in in walks {
        all += 1;
        for_it += usize::from(falls_in);
    }
    for_it * 2 >= all
}

/// Whether an instruction has its opcode at an offset of some code: it begins there, or with prefixes before it, the last
/// of them for long registers.
pub(super) fn has_opcode_at(code: &[u8], opcode: usize) -> bool {
    let is_prefix = |byte: &&u8| matches!(**byte, 0x26 | 0x2E | 0x36 | 0x3E | 0x40..=0x4F | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3);
    let prefixes = code[..opcode].iter().rev().take(PREFIX_LIMIT).take_while(is_prefix).count();
    (0..=prefixes).any(|count| begins_at(code, opcode - count))
}

/// Whether an instruction begins before a place that has its operand in memory there, behind the byte that says so.
pub(super) fn has_operand_at(code: &[u8], place: usize) -> bool {
    let before = &code[..place];
    let with_prefixes = |opcode: usize| has_opcode_at(code, opcode);
    let is_single = match *before {
        [.., opcode @ 0x00..=0x3F, _] => opcode & 7 < 4,
        [
            ..,
            0x63
            | 0x69
            | 0x6B
            | 0x80..=0x8F
            | 0xC0
            | 0xC1
            | 0xC6
            | 0xC7
            | 0xD0..=0xD3
            | 0xD8..=0xDF
            | 0xF6
            | 0xF7
            | 0xFE
            | 0xFF,
            _,
        ] => true,
        _ => false,
    };
    // Of two bytes, those of jumps among others have no operand in memory.
    let is_double =
        matches!(*before, [.., 0x0F, second, _] if two_bytes(second).is_some_and(|operands| operands.named));
    is_single && with_prefixes(place - 2)
        || is_double && with_prefixes(place - 3)
        || matches!(before, [.., 0x0F, 0x38 | 0x3A, _, _]) && with_prefixes(place - 4)
        || matches!(before, [.., 0xC5, _, _, _]) && begins_at(code, place - 4)
        || matches!(before, [.., 0xC4, _, _, _, _]) && begins_at(code, place - 5)
        || matches!(before, [.., 0x62, _, _, _, _, _]) && begins_at(code, place - 6)
}

/// Most prefixes of an instruction.
const PREFIX_LIMIT: usize = 4;

/// Longest function that is followed to its end, in bytes.
const FUNCTION_LIMIT: usize = 4096;

/// Where the function ends that the code begins with: behind a return or jump that no branch before it passes over, or
/// where it cannot be read on.
pub(super) fn function_end(code: &[u8]) -> usize {
    let (mut at, mut furthest) = (0, 0);
    while at < FUNCTION_LIMIT
        && let Some(size) = code.get(at..).and_then(length)
    {
        let instruction = &code[at..at + size];
        at += size;
        let distance = match *instruction {
            [0x70..=0x7F | 0xE0..=0xE3 | 0xEB, near] => isize::from(near.cast_signed()),
            [0x0F, 0x80..=0x8F, ref far @ ..] | [0xE9, ref far @ ..] => {
                let far = far.first_chunk().map_or(0, |far| i32::from_le_bytes(*far));
                isize::try_from(far).unwrap_or(0)
            }
            _ => 0,
        };
        if let Some(target) = at.checked_add_signed(distance).filter(|&target| target < FUNCTION_LIMIT) {
            furthest = furthest.max(if distance == 0 { 0 } else { target });
        }
        let ends = matches!(*instruction, [0xC3 | 0xCC | 0xE9 | 0xEB, ..] | [0xF3, 0xC3] | [0x0F, 0x0B])
            || matches!(*instruction, [0xFF, 0x20..=0x2F | 0xE0..=0xEF, ..]);
        if ends && furthest < at {
            break;
        }
    }
    at
}

/// How many bytes at the end of some code do nothing: those that assemblers put before a function.
pub(super) fn padding_before(code: &[u8]) -> usize {
    let nothing =
        |byte: &&u8| matches!(**byte, 0x90 | 0x66 | 0x2E | 0x0F | 0x1F | 0x00 | 0x40 | 0x44 | 0x80 | 0x84);
    code.iter().rev().take(PADDING_LIMIT).take_while(nothing).count()
}

/// Most bytes that assemblers put before a function.
const PADDING_LIMIT: usize = 15;

/// What stands behind an opcode.
#[derive(Clone, Copy)]
struct Operands {
    /// A byte that names registers or memory, and what follows from it.
    named: bool,
    /// Bytes of a constant.
    constant: usize,
}

const NONE: Operands = Operands { named: false, constant: 0 };
const NAMED: Operands = Operands { named: true, constant: 0 };
const NAMED_AND_BYTE: Operands = Operands { named: true, constant: 1 };

/// The length of the instruction that some bytes begin with, if they are one in 64-bit mode.
fn length(code: &[u8]) -> Option<usize> {
    let (mut at, mut is_short, mut is_narrow) = (0, false, false);
    while let 0x66 | 0x67 | 0xF0 | 0xF2 | 0xF3 | 0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 = *code.get(at)? {
        is_short |= code[at] == 0x66;
        is_narrow |= code[at] == 0x67;
        at += 1;
    }
    let is_wide = matches!(code.get(at)?, 0x48..=0x4F);
    at += usize::from(matches!(code.get(at)?, 0x40..=0x4F));
    let word = if is_short { 2 } else { 4 };
    let opcode = *code.get(at)?;
    let operands = match opcode {
        0x0F => {
            at += 1;
            match *code.get(at)? {
                0x38 => {
                    at += 1;
                    NAMED
                }
                0x3A => {
                    at += 1;
                    NAMED_AND_BYTE
                }
                second => two_bytes(second)?,
            }
        }
        // VEX and EVEX: a number of bytes, in the first of which a table of opcodes is named.
        0xC5 => {
            at += 2;
            vector(1, *code.get(at)?)
        }
        0xC4 => {
            at += 3;
            vector(*code.get(at - 2)? & 0x1F, *code.get(at)?)
        }
        0x62 => {
            at += 4;
            vector(*code.get(at - 3)? & 7, *code.get(at)?)
        }
        0xF6 | 0xF7 => {
            let is_test = *code.get(at + 1)? & 0x30 == 0;
            let constant = if opcode == 0xF6 { 1 } else { word };
            Operands { named: true, constant: if is_test { constant } else { 0 } }
        }
        0xA0..=0xA3 => Operands { named: false, constant: if is_narrow { 4 } else { 8 } },
        0xB8..=0xBF => Operands { named: false, constant: if is_wide { 8 } else { word } },
        _ => one_byte(opcode, word)?,
    };
    at += 1;
    if operands.named {
        at += memory(code.get(at..)?)?;
    }
    at += operands.constant;
    (at <= LONGEST && at <= code.len()).then_some(at)
}

fn one_byte(opcode: u8, word: usize) -> Option<Operands> {
    let constant = |constant| Operands { named: false, constant };
    Some(match opcode {
        0x00..=0x3F => match opcode & 7 {
            0..=3 => NAMED,
            4 => constant(1),
            5 => constant(word),
            _ => return None,
        },
        0x60..=0x62 | 0x82 | 0x9A | 0xCE | 0xD4..=0xD6 | 0xEA => return None,
        0x63 | 0x84..=0x8F | 0xD0..=0xD3 | 0xD8..=0xDF | 0xFE | 0xFF => NAMED,
        0x69 | 0x81 | 0xC7 => Operands { named: true, constant: word },
        0x6B | 0x80 | 0x83 | 0xC0 | 0xC1 | 0xC6 => NAMED_AND_BYTE,
        0x68 | 0xA9 => constant(word),
        0xE8 | 0xE9 => constant(4),
        0x6A | 0x70..=0x7F | 0xA8 | 0xB0..=0xB7 | 0xCD | 0xE0..=0xE7 | 0xEB => constant(1),
        0xC2 | 0xCA => constant(2),
        0xC8 => constant(3),
        _ => NONE,
    })
}

fn two_bytes(opcode: u8) -> Option<Operands> {
    Some(match opcode {
        0x04 | 0x0A | 0x0C | 0x24..=0x27 | 0x36 | 0x39 | 0x3B..=0x3F => return None,
        0x80..=0x8F => Operands { named: false, constant: 4 },
        0x05..=0x09 | 0x0B | 0x0E | 0x30..=0x37 | 0x77 | 0xA0..=0xA2 | 0xA8..=0xAA | 0xC8..=0xCF => NONE,
        0x70..=0x73 | 0xA4 | 0xAC | 0xBA | 0xC2 | 0xC4..=0xC6 => NAMED_AND_BYTE,
        _ => NAMED,
    })
}

/// The same of a table that VEX or EVEX names.
fn vector(table: u8, opcode: u8) -> Operands {
    match (table, opcode) {
        (1, 0x77) => NONE,
        (1, 0x70..=0x73 | 0xC2 | 0xC4..=0xC6) | (3, _) => NAMED_AND_BYTE,
        _ => NAMED,
    }
}

/// Bytes that name registers or memory: one, perhaps one more for an index, and a distance.
fn memory(code: &[u8]) -> Option<usize> {
    let named = *code.first()?;
    let (kind, base) = (named >> 6, named & 7);
    if kind == 3 {
        return Some(1);
    }
    let (bytes, base) = if base == 4 { (2, *code.get(1)? & 7) } else { (1, base) };
    Some(match (kind, base) {
        (1, _) => bytes + 1,
        (2, _) | (0, 5) => bytes + 4,
        _ => bytes,
    })
}

/// Whether the function that begins at an address has ended before another.
pub(super) fn ends_before(code: &[u8], address: u64, start: u64, place: u64) -> bool {
    let at = start.checked_sub(address).and_then(|at| usize::try_from(at).ok());
    let end = at.and_then(|at| code.get(at..)).map(|code| start.saturating_add(function_end(code) as u64));
    end.is_none_or(|end| end <= place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some instructions, one behind the other.
    const CODE: [&[u8]; 10] = [
        &[0x55],
        &[0x48, 0x89, 0xE5],
        &[0x48, 0x8D, 0x05, 0x97, 0x40, 0x0A, 0x00],
        &[0xE8, 0xCF, 0x38, 0x01, 0x00],
        &[0x48, 0x89, 0x7D, 0xF8],
        &[0x48, 0x8B, 0x74, 0x24, 0x18],
        &[0x48, 0xC7, 0x05, 0xFE, 0x48, 0x0A, 0x00, 0, 0, 0, 0],
        &[0xC5, 0xFC, 0x11, 0x44, 0x24, 0x40],
        &[0x0F, 0xB6, 0xC0],
        &[0x66, 0x2E, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
    ];

    #[test]
    fn a_function_ends_behind_what_no_branch_passes_over() {
        for (code, end) in [
            (&[0x55, 0xC3, 0x90, 0x90][..], 2),
            (&[0x74, 0x01, 0xC3, 0x55, 0xC3, 0x90], 5),
            (&[0x55, 0xE9, 1, 2, 3, 4, 0x90], 6),
            (&[0xFF, 0xE0, 0x90], 2),
            (&[0x55, 0x90], 2),
        ] {
            assert_eq!(function_end(code), end, "{code:02X?}");
        }
    }

    #[test]
    fn what_does_nothing_before_a_function_is_counted() {
        assert_eq!(padding_before(&[0xC3, 0x66, 0x2E, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0]), 10);
        assert_eq!(padding_before(&[0x90, 0xC3]), 0);
    }

    #[test]
    fn operands_in_memory_are_told_from_numbers() {
        let place = |code: &[u8]| [CODE.concat().as_slice(), code].concat();
        for (code, at, expected) in [
            (&[0x48, 0x8D, 0x05, 1, 2, 3, 4][..], 3, true),
            (&[0x8D, 0x05, 1, 2, 3, 4], 2, true),
            (&[0x0F, 0x11, 0x05, 1, 2, 3, 4], 3, true),
            (&[0xC5, 0xFC, 0x11, 0x05, 1, 2, 3, 4], 4, true),
            (&[0x66, 0x44, 0x0F, 0x6F, 0x05, 1, 2, 3, 4], 5, true),
            // `jg …; cmp $…, %eax`, and a number in a load.
            (&[0x7F, 0x4B, 0x3D, 1, 2, 3, 4], 3, false),
            (&[0x48, 0xB9, 0x8D, 0x05, 1, 2, 3, 4, 5, 6], 4, false),
            // `jge …`, which is no `lea` behind a byte of another instruction.
            (&[0x0F, 0x8D, 0x25, 2, 0, 0, 0x0F, 0xB6], 3, false),
        ] {
            let code = place(code);
            assert_eq!(has_operand_at(&code, CODE.concat().len() + at), expected, "{code:02X?}");
        }
    }

    #[test]
    fn instructions_have_the_lengths_that_assemblers_give_them() {
        let instructions: [&[u8]; 26] = [
            &[0x53],                                              // push %rbx
            &[0xFF, 0x74, 0x24, 0x20],                            // push 0x20(%rsp)
            &[0x48, 0x8D, 0x3D, 1, 2, 3, 4],                      // lea …(%rip), %rdi
            &[0x89, 0x05, 0x7B, 0x26, 0x4D, 0x01],                // mov %eax, …(%rip)
            &[0x48, 0xC7, 0x05, 1, 2, 3, 4, 0, 0, 0, 0],          // movq $0, …(%rip)
            &[0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8],                // movabs $…, %rax
            &[0x66, 0xB8, 1, 2],                                  // mov $…, %ax
            &[0x0F, 0x84, 6, 1, 0, 0],                            // je
            &[0x74, 0x0E],                                        // je, short
            &[0xE8, 0, 0, 0, 0],                                  // call
            &[0x66, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],             // nopw 0(%rax,%rax)
            &[0x66, 0x66, 0x2E, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0], // the same, longer
            &[0xF6, 0x05, 1, 2, 3, 4, 7],                         // testb $7, …(%rip)
            &[0xF7, 0xD8],                                        // neg %eax
            &[0x48, 0xF7, 0xC1, 1, 2, 3, 4],                      // test $…, %rcx
            &[0x41, 0x83, 0xFB, 5],                               // cmp $5, %r11d
            &[0x4F, 0x8D, 0x14, 0xC8],                            // lea (%r8,%r9,8), %r10
            &[0x8B, 0x04, 0x25, 1, 2, 3, 4],                      // mov …, %eax
            &[0xC5, 0xF8, 0x77],                                  // vzeroupper
            &[0xC5, 0xFA, 0x6F, 0x44, 0x24, 0x10],                // vmovdqu 16(%rsp), %xmm0
            &[0xC4, 0xE3, 0x7D, 0x39, 0xC1, 1],                   // vextracti128 $1, %ymm0, %xmm1
            &[0x62, 0xF1, 0xFE, 0x48, 0x6F, 0x44, 0x24, 1],       // vmovdqu64 64(%rsp), %zmm0
            &[0x66, 0x0F, 0x3A, 0x0F, 0xC1, 8],                   // palignr $8, %xmm1, %xmm0
            &[0xF3, 0x0F, 0x1E, 0xFA],                            // endbr64
            &[0xC8, 0, 0, 0],                                     // enter
            &[0xA1, 1, 2, 3, 4, 5, 6, 7, 8],                      // movabs …, %eax
        ];
        for instruction in instructions {
            let more = [instruction, &[0x90; 16]].concat();
            assert_eq!(length(&more), Some(instruction.len()), "{instruction:02x?}");
            assert_eq!(length(&instruction[..instruction.len() - 1]), None, "{instruction:02x?}");
        }
        assert_eq!(length(&[0x06, 0, 0]), None);
    }

    #[test]
    fn most_walks_fall_in_with_the_instructions() {
        // mov (%rdx), %rdx; lea …(%rip), %rcx; mov %rbx, 0(%rbp,%rdx,8); mov %eax, …(%rip); push 0x20(%rsp); cmp $6, %eax
        let instructions: [&[u8]; 6] = [
            &[0x48, 0x8B, 0x12],
            &[0x48, 0x8D, 0x0D, 0xED, 0x26, 0x4D, 0x01],
            &[0x48, 0x89, 0x5C, 0xD5, 0x00],
            &[0x89, 0x05, 0x7B, 0x26, 0x4D, 0x01],
            &[0xFF, 0x74, 0x24, 0x20],
            &[0x83, 0xF8, 0x06],
        ];
        let code = instructions.concat().repeat(4);
        let mut here = 3 * instructions.concat().len();
        for instruction in instructions {
            for at in here..here + instruction.len() {
                assert_eq!(begins_at(&code, at), at == here, "{at}");
            }
            here += instruction.len();
        }
        assert!(begins_at(&code, 0));
    }
}
