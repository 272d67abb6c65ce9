//! Reads `.nv.info`: registers and stack of each kernel, and the CUDA version it was compiled for.
//!
//! A record is `{u8 format, u8 attribute, u16 value}`; format 4 counts the bytes that follow.
//! Attribute numbers as cuobjdump 13.5 prints them, values seen with ptxas 12.8-13.5:
//!
//! | attribute | content |
//! |---|---|
//! | 0x2F `EIATTR_REGCOUNT` | u32 symbol, u32 registers |
//! | 0x11 `EIATTR_FRAME_SIZE` | u32 symbol, u32 bytes of stack |
//! | 0x37 `EIATTR_CUDA_API_VERSION` | u32, ten times the toolkit version: 130 |

use super::bytes::{slice, u8_at, u16_at, u32_at};

/// A number that belongs to the function behind a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// Registers a thread.
    Registers {
        /// Index in the symbol table.
        symbol: u32,
        /// How many.
        count: u32,
    },
    /// Stack a thread, in bytes: local arrays and spilled registers.
    Stack {
        /// Index in the symbol table.
        symbol: u32,
        /// How many bytes.
        bytes: u32,
    },
    /// Ten times the CUDA version.
    ApiVersion(u32),
}

/// The facts in one section; a malformed rest is left out, because nothing is proven by it.
pub(super) fn read(section: &[u8]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut at = 0;
    while let (Some(format), Some(attribute), Some(value)) =
        (u8_at(section, at), u8_at(section, at + 1), u16_at(section, at + 2))
    {
        at += 4;
        if format == 4 {
            let Some(body) = slice(section, at as u64, u64::from(value)) else { break };
            facts.extend(fact(attribute, body));
            at += body.len();
        }
    }
    facts
}

fn fact(attribute: u8, body: &[u8]) -> Option<Fact> {
    let first = u32_at(body, 0)?;
    match attribute {
        0x2F => Some(Fact::Registers { symbol: first, count: u32_at(body, 4)? }),
        0x11 => Some(Fact::Stack { symbol: first, bytes: u32_at(body, 4)? }),
        0x37 => Some(Fact::ApiVersion(first)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_registers_stack_and_version() {
        let section = [
            4, 0x2F, 8, 0, 8, 0, 0, 0, 10, 0, 0, 0, 3, 0x50, 0, 0, 4, 0x11, 8, 0, 8, 0, 0, 0, 16, 0, 0, 0, 4,
            0x37, 4, 0, 130, 0, 0, 0,
        ];
        assert_eq!(
            read(&section),
            [
                Fact::Registers { symbol: 8, count: 10 },
                Fact::Stack { symbol: 8, bytes: 16 },
                Fact::ApiVersion(130)
            ]
        );
        assert_eq!(read(&section[..30]).len(), 2);
    }
}
