//! Reads the kernels of a cubin from its symbols and `.nv.info`.

use std::collections::HashMap;

use object::elf;
use object::read::elf::{SectionHeader as _, Sym as _};

use super::elf::{CubinError, ENDIAN, Sections, broken, is_code};
use crate::bytes::text_of;
use crate::cubin::{Cubin, SpecialInstructions};
use crate::kernel::Kernel;
use crate::nvinfo::{self, Fact};

/// Bit of `st_other` that marks a kernel; seen on every `__global__` function, on no other.
const STO_CUDA_ENTRY: u8 = 0x10;

/// What the sections that belong to functions say, gathered before the symbols are walked.
#[derive(Default)]
struct Facts {
    registers: HashMap<u32, u32>,
    stacks: HashMap<u32, u32>,
    shared: HashMap<Vec<u8>, u64>,
}

fn read_facts(cubin: &mut Cubin, sections: &Sections<'_>, bytes: &[u8]) -> Result<Facts, CubinError> {
    let mut facts = Facts::default();
    // Each byte of `.nv.info` is read once, however many sections claim it.
    let mut budget = bytes.len();
    for section in sections.iter() {
        let name = sections.section_name(ENDIAN, section).map_err(|error| broken(&error))?;
        if let Some(kernel) = name.strip_prefix(b".nv.shared.") {
            facts.shared.insert(kernel.to_vec(), section.sh_size.get(ENDIAN));
        }
        if !name.starts_with(b".nv.info") {
            continue;
        }
        let body = section.data(ENDIAN, bytes).map_err(|error| broken(&error))?;
        let Some(rest) = budget.checked_sub(body.len()) else { break };
        budget = rest;
        for fact in nvinfo::read(body) {
            match fact {
                Fact::Registers { symbol, count } => drop(facts.registers.insert(symbol, count)),
                Fact::Stack { symbol, bytes } => drop(facts.stacks.insert(symbol, bytes)),
                Fact::ApiVersion(version) => cubin.api_version = Some(version),
            }
        }
    }
    Ok(facts)
}

/// Reads the kernels that have code.
pub(super) fn read_kernels(
    cubin: &mut Cubin,
    sections: &Sections<'_>,
    bytes: &[u8],
) -> Result<(), CubinError> {
    let facts = read_facts(cubin, sections, bytes)?;
    let symbols = sections.symbols(ENDIAN, bytes, elf::SHT_SYMTAB).map_err(|error| broken(&error))?;
    // Names may overlap in the string table; together they cannot honestly outgrow the file.
    let mut budget = bytes.len();
    let mut to_read = bytes.len().saturating_mul(16);
    for (index, symbol) in symbols.enumerate() {
        let name = symbols.symbol_name(ENDIAN, symbol).map_err(|error| broken(&error))?;
        let Some(rest) = to_read.checked_sub(name.len()) else {
            cubin.problem(0, "its symbols' names lie over each other");
            break;
        };
        to_read = rest;
        if cubin.special.is_empty() && name.starts_with(b"__nv_reservedSMEM_tcgen05") {
            let evidence = format!("symbol {}", text_of(name));
            cubin.special.push(SpecialInstructions { evidence, offset: 0 });
        }
        if symbol.st_type() != elf::STT_FUNC || symbol.st_other().0 & STO_CUDA_ENTRY == 0 {
            continue;
        }
        let place = symbols.symbol_section(ENDIAN, symbol, index).map_err(|error| broken(&error))?;
        let Some(section) = place.and_then(|place| sections.section(place).ok()) else { continue };
        let section_name = sections.section_name(ENDIAN, section).map_err(|error| broken(&error))?;
        let code_bytes = section.data(ENDIAN, bytes).map_err(|error| broken(&error))?.len() as u64;
        if !is_code(section_name, section) || code_bytes == 0 {
            continue;
        }
        let is_whole = symbol.st_value.get(ENDIAN) == 0 && symbol.st_size.get(ENDIAN) == code_bytes;
        if !is_whole || section_name.strip_prefix(b".text.") != Some(name) {
            let reason =
                format!("kernel {} begins or ends elsewhere than the section of its code", text_of(name));
            cubin.problem(section.sh_offset.get(ENDIAN), reason);
        }
        let Some(rest) = budget.checked_sub(name.len()) else {
            cubin.problem(0, "the kernels' names are longer than the file");
            break;
        };
        budget = rest;
        let number = u32::try_from(index.0).unwrap_or(u32::MAX);
        cubin.kernels.push(Kernel {
            name: text_of(name),
            code_bytes,
            registers: facts.registers.get(&number).copied(),
            stack_bytes: facts.stacks.get(&number).copied(),
            shared_bytes: facts.shared.get(name).copied().unwrap_or_default(),
            code_offset: section.sh_offset.get(ENDIAN),
            code: None,
        });
    }
    Ok(())
}
