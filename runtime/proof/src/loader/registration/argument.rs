//! What a call hands over: whether the code before it loads the address of a wrapper.
//!
//! Honest calls in 60 libraries of 15 wheels (GCC, clang; with and without optimisation) load the address right
//! before, with at most `movq $0, …` or `sub $…, %rsp` between, and what guards the stack or counts runs where that is
//! asked for.

use super::instruction::begins_at;

/// Bytes before a call within which its argument is loaded.
const REACH: usize = 64;
/// Bytes before the load within which a short jump over it is looked for: it decides between two arguments.
const JUMP_REACH: usize = 32;

/// Where the operand that ends an instruction leads, in whatever terms the file has.
pub(super) trait Operands {
    /// Whether the operand at an offset of a section's code is the address of a wrapper.
    fn is_wrapper(&self, at: usize) -> bool;
}

/// Where the code before a call begins to load a wrapper's address as its argument, with nothing between that could
/// change it, and no jump over the load.
pub(super) fn wrapper_load(code: &[u8], call: usize, operands: &impl Operands) -> Option<usize> {
    load(code, call, operands).filter(|&load| !is_jumped_over(code, load, call))
}

/// Where the load of a wrapper's address begins.
fn load(code: &[u8], call: usize, operands: &impl Operands) -> Option<usize> {
    let mut end = call;
    while call - end <= REACH {
        let before = &code[..end];
        end -= match before {
            // `lea …(%rip), %rdi` and `mov $…, %rdi`.
            [.., 0x48, 0x8D, 0x3D, _, _, _, _] | [.., 0x48, 0xC7, 0xC7, _, _, _, _] => {
                return operands.is_wrapper(end - 4).then_some(end - 7);
            }
            // `lea …(%rip), %rax` before `mov %rax, %rdi`.
            [.., 0x48, 0x8D, 0x05, _, _, _, _, 0x48, 0x89, 0xC7] => {
                return operands.is_wrapper(end - 7).then_some(end - 10);
            }
            // `mov $…, %eax` before the same.
            [.., 0xB8, _, _, _, _, 0x48, 0x89, 0xC7] if operands.is_wrapper(end - 7) => return Some(end - 8),
            // `movq $…, …(%rip)`.
            [.., 0x48, 0xC7, 0x05, _, _, _, _, _, _, _, _] => 11,
            // `movabs $…, %rdi`, or by way of `%rax`.
            [.., 0x48, 0xBF, _, _, _, _, _, _, _, _] if operands.is_wrapper(end - 8) => {
                return Some(end - 10);
            }
            [.., 0x48, 0xB8, _, _, _, _, _, _, _, _, 0x48, 0x89, 0xC7] if operands.is_wrapper(end - 11) => {
                return Some(end - 13);
            }
            // `mov $…, %edi`, where addresses have 32 bits.
            [.., 0xBF, _, _, _, _] if operands.is_wrapper(end - 4) => return Some(end - 5),
            // `sub $…, %rsp`.
            [.., 0x48, 0x83, 0xEC, _] => 4,
            // The guard of the stack: `mov %fs:40, %rax`, `mov %rax, …(%rsp)`, `xor %eax, %eax`.
            [.., 0x64, 0x48, 0x8B, 0x04, 0x25, 0x28, 0, 0, 0] => 9,
            [.., 0x48, 0x89, 0x44, 0x24, _] => 5,
            [.., 0x31, 0xC0] => 2,
            // `addq $1, …(%rip)`, which counts how often this is run.
            [.., 0x48, 0x83, 0x05, _, _, _, _, 1] => 8,
            // `push %rax` and `nop`, to align the stack and the call.
            [.., 0x50 | 0x90] => 1,
            // What a linker puts before a call that was one through a pointer (`-fno-plt`), to keep its length.
            [.., 0x67] if end == call => 1,
            _ => return None,
        };
    }
    None
}

/// The same of a call of what separate compilation registers with others, whose second argument is the wrapper.
pub(super) fn linked_wrapper_load(code: &[u8], call: usize, operands: &impl Operands) -> Option<usize> {
    let is_load = |at: usize| {
        let (operand, size) = match code[at..call] {
            // `lea …(%rip), %rsi`, or from a table of addresses, also by way of `%rax`.
            [0x48, 0x8D | 0x8B, 0x05, _, _, _, _, 0x48, 0x89, 0xC6, ..] => (3, 10),
            [0x48, 0x8D | 0x8B, 0x35, _, _, _, _, ..] | [0x48, 0xC7, 0xC6, _, _, _, _, ..] => (3, 7),
            // `mov $…, %esi`, where addresses have 32 bits.
            [0xBE, _, _, _, _, ..] => (1, 5),
            _ => return false,
        };
        operands.is_wrapper(at + operand) && keeps_second(&code[at + size..call])
    };
    (call.saturating_sub(REACH)..call).rev().find(|&at| is_load(at) && !is_jumped_over(code, at, call))
}

/// Whether code up to a call does nothing but load its other arguments, and what else compilers put there.
fn keeps_second(mut code: &[u8]) -> bool {
    while !code.is_empty() {
        let size = match *code {
            // What a linker puts before a call that was one through a pointer.
            [0x67] | [0x50 | 0x90, ..] => 1,
            [0x31, 0xC0 | 0xC9 | 0xD2 | 0xFF, ..] => 2,
            [0x48, 0x89, 0xC1 | 0xC2 | 0xC7, ..] => 3,
            [0x48, 0x83, 0xEC, ..] => 4,
            [0xB8 | 0xB9 | 0xBA | 0xBF, ..] | [0x48, 0x89, 0x44, 0x24, ..] => 5,
            [0x48, 0x8D | 0x8B, 0x05 | 0x0D | 0x15 | 0x3D, ..] | [0x48, 0xC7, 0xC0..=0xC2 | 0xC7, ..] => 7,
            [0x48, 0x83, 0x05, _, _, _, _, 1, ..] => 8,
            [0x64, 0x48, 0x8B, 0x04, 0x25, 0x28, 0, 0, 0, ..] => 9,
            [0x48, 0xC7, 0x05, ..] => 11,
            _ => return false,
        };
        let Some(rest) = code.get(size..) else { return false };
        code = rest;
    }
    true
}

/// Where the operand of a load begins, counted from the load.
pub(super) fn operand(load: &[u8]) -> usize {
    match load {
        [0x48, 0xB8 | 0xBF, ..] => 2,
        [0x48, ..] => 3,
        _ => 1,
    }
}

/// Whether the address is added up from numbers before a call, as code of the larger models does: `movabs $…, %…`.
pub(super) fn is_added_up(code: &[u8], call: usize) -> bool {
    let before = &code[call.saturating_sub(REACH)..call];
    before.windows(2).any(|pair| matches!(pair, [0x48 | 0x49, 0xB8..=0xBF]))
}

/// Whether a short jump before the load leads behind its beginning, up to the call: then what is handed over is
/// what stood there before.
fn is_jumped_over(code: &[u8], load: usize, call: usize) -> bool {
    let start = load.saturating_sub(JUMP_REACH);
    (start..load.saturating_sub(1)).any(|at| {
        let target = at + 2 + usize::from(code[at + 1]);
        let jumps = matches!(code[at], 0xEB | 0x70..=0x7F) && code[at + 1] < 0x80;
        jumps && (load + 1..=call).contains(&target) && begins_at(code, at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct All;

    impl Operands for All {
        fn is_wrapper(&self, _: usize) -> bool {
            true
        }
    }

    fn is_loaded(code: &[u8], call: usize) -> bool {
        wrapper_load(code, call, &All).is_some()
    }

    #[test]
    fn a_call_that_a_linker_made_direct_has_a_byte_before_it() {
        let load = [0x48, 0x8D, 0x3D, 1, 2, 3, 4];
        assert!(is_loaded(&[&load[..], &[0x67, 0xE8]].concat(), 8));
        assert!(!is_loaded(&[&load[..], &[0x67, 0x90, 0xE8]].concat(), 9));
    }

    #[test]
    fn the_second_argument_is_loaded_whatever_the_others_are() {
        let (near, table) = ([0x48, 0x8D, 0x35, 1, 2, 3, 4], [0x48, 0x8B, 0x35, 1, 2, 3, 4]);
        let by_way = [0x48, 0x8D, 0x05, 1, 2, 3, 4, 0x48, 0x89, 0xC6];
        let first = [0x48, 0x8D, 0x05, 5, 6, 7, 8, 0x48, 0x89, 0xC7];
        for load in [&near[..], &table, &by_way, &[0xBE, 1, 2, 3, 4]] {
            let code = [load, &first, &[0xE8]].concat();
            assert_eq!(linked_wrapper_load(&code, code.len() - 1, &All), Some(0), "{load:02x?}");
            // `mov %rdi, %rsi`, `pop %rsi`, and a load of less.
            for change in [&[0x48, 0x89, 0xFE][..], &[0x5E], &[0x40, 0xB6, 1]] {
                let code = [load, &first, change, &[0xE8]].concat();
                assert_eq!(linked_wrapper_load(&code, code.len() - 1, &All), None, "{change:02x?}");
            }
        }
        assert_eq!(linked_wrapper_load(&[&first[..], &[0xE8]].concat(), first.len(), &All), None);
    }

    #[test]
    fn a_load_that_a_jump_passes_over_is_none() {
        let load = [0x48, 0x8D, 0x3D, 1, 2, 3, 4, 0xE8];
        assert!(is_loaded(&load, 7));
        // `je` over the load, behind it, and not as far.
        for (distance, is_load) in [(7, false), (3, false), (8, true), (0, true)] {
            let code = [&[0x74, distance][..], &load].concat();
            assert_eq!(is_loaded(&code, 9), is_load, "{distance}");
        }
    }

    #[test]
    fn what_looks_like_a_jump_in_the_middle_of_an_instruction_is_none() {
        let load = [0x48, 0x8D, 0x3D, 1, 2, 3, 4, 0xE8];
        let function = |before: &[u8]| [&[0x90; 64][..], before, &load].concat();
        // `push 0x20(%rsp)`, and what lies between a function's end and the next.
        let push = [&[0xFF, 0x74, 0x24, 0x20][..], &[0x90; 28]].concat();
        // `mov %eax, …(%rip)`.
        let store = [&[0x89, 0x05, 0x7B, 0x12, 0x4D, 0x01][..], &[0x90; 12]].concat();
        for before in [&push[..], &store] {
            let code = function(before);
            assert!(is_loaded(&code, code.len() - 1), "{before:02x?}");
            // The same bytes where they are instructions: without the first of the one around them.
            let opcode = before.iter().position(|&byte| matches!(byte, 0x74 | 0x7B)).unwrap();
            let code = function(&before[opcode..]);
            assert!(!is_loaded(&code, code.len() - 1), "{before:02x?}");
        }
    }
}
