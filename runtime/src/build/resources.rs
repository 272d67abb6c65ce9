//! Reads what ptxas says that each kernel uses.

use serde::Serialize;

use crate::proof::demangle;

/// What one kernel uses of the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelResources {
    /// The kernel's symbol, as in the device image.
    pub symbol: String,
    /// The symbol as written in the source, where it can be read.
    pub name: String,
    /// The architecture it was compiled for, such as `sm_100a`.
    pub arch: String,
    /// Registers of each thread.
    pub registers: u32,
    /// Stack of each thread.
    pub stack_bytes: u32,
    /// Written to memory because registers ran out.
    pub spill_store_bytes: u32,
    /// Read back from memory because registers ran out.
    pub spill_load_bytes: u32,
    /// Shared memory of each block that is known at compile time.
    pub shared_bytes: u32,
}

/// Reads the report of `ptxas -v`, kernel by kernel.
pub fn read(log: &str) -> Vec<KernelResources> {
    let mut found: Vec<KernelResources> = Vec::new();
    // Functions that are called and not inlined have properties, too.
    let mut of_kernel = false;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            found.extend(begin(rest));
            of_kernel = true;
        } else if let Some((_, function)) = line.split_once("Function properties for ") {
            of_kernel = found.last().is_some_and(|kernel| kernel.symbol == function.trim());
        } else if let Some(kernel) = found.last_mut().filter(|_| of_kernel) {
            read_frame(line, kernel);
            read_use(line, kernel);
        }
    }
    found
}

fn begin(rest: &str) -> Option<KernelResources> {
    let (symbol, rest) = rest.split_once("' for '")?;
    Some(KernelResources {
        symbol: symbol.to_owned(),
        name: demangle(symbol),
        arch: rest.trim_end_matches('\'').to_owned(),
        registers: 0,
        stack_bytes: 0,
        spill_store_bytes: 0,
        spill_load_bytes: 0,
        shared_bytes: 0,
    })
}

/// `0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads`
fn read_frame(line: &str, kernel: &mut KernelResources) {
    if !line.contains(" bytes stack frame") {
        return;
    }
    for part in line.split(',') {
        let Some((number, what)) = part.trim().split_once(" bytes ") else { continue };
        let Ok(bytes) = number.parse() else { continue };
        match what {
            "stack frame" => kernel.stack_bytes = bytes,
            "spill stores" => kernel.spill_store_bytes = bytes,
            "spill loads" => kernel.spill_load_bytes = bytes,
            _ => {}
        }
    }
}

/// `ptxas info    : Used 24 registers, used 1 barriers, 4096 bytes smem, 400 bytes cmem[0]`
fn read_use(line: &str, kernel: &mut KernelResources) {
    let Some((_, rest)) = line.split_once("Used ") else { return };
    for part in rest.split(',') {
        match part.trim().split_once(' ') {
            Some((number, "registers")) => kernel.registers = number.parse().unwrap_or_default(),
            Some((number, "bytes smem")) => kernel.shared_bytes = number.parse().unwrap_or_default(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kernel_of_a_report() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Compiling entry function '_Z3addPfi' for 'sm_100a'\n\
                   ptxas info    : Function properties for _Z3addPfi\n\
                   \x20   16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
                   ptxas info    : Used 24 registers, used 1 barriers, 4096 bytes smem\n\
                   ptxas info    : Function properties for _Z6helperPi\n\
                   \x20   256 bytes stack frame, 1 bytes spill stores, 1 bytes spill loads\n\
                   ptxas info    : Compiling entry function 'plain' for 'sm_90'\n\
                   ptxas info    : Used 8 registers, used 0 barriers\n";
        let found = read(log);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "add(float*, int)");
        assert_eq!((found[0].registers, found[0].shared_bytes), (24, 4096));
        let spills = (found[0].stack_bytes, found[0].spill_store_bytes, found[0].spill_load_bytes);
        assert_eq!(spills, (16, 8, 4));
        assert_eq!(
            (found[1].name.as_str(), found[1].arch.as_str(), found[1].registers),
            ("plain", "sm_90", 8)
        );
    }
}
