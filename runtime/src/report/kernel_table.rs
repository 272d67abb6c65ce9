//! What each kernel of a build uses of the device, and what the compilers had doubts about.

use comfy_table::{CellAlignment, Table, TableStyle};

use crate::build::{Diagnostic, KernelResources};

/// Longest kernel name in the table, in characters: template arguments grow without end.
const LONGEST_NAME: usize = 80;

/// Most warnings that are shown: whoever has more reads the log.
const MOST_WARNINGS: usize = 10;

/// Writes one row a kernel, in the order in which they were compiled; empty without kernels.
pub fn kernel_table(kernels: &[KernelResources]) -> String {
    if kernels.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    let header = ["kernel", "registers", "spilled B", "reloaded B", "stack B", "shared B"];
    table.load_style(TableStyle::new()).set_header(header);
    for kernel in kernels {
        let numbers = [
            kernel.registers,
            kernel.spill_store_bytes,
            kernel.spill_load_bytes,
            kernel.stack_bytes,
            kernel.shared_bytes,
        ];
        let cells = std::iter::once(shortened(&kernel.name)).chain(numbers.map(|number| number.to_string()));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// Writes the warnings, a line each, and how many more there are; empty without any.
pub fn warning_lines(warnings: &[Diagnostic]) -> String {
    let mut lines: Vec<String> = warnings.iter().take(MOST_WARNINGS).map(ToString::to_string).collect();
    if warnings.len() > MOST_WARNINGS {
        lines.push(format!("and {} more warnings: `--json` has them all", warnings.len() - MOST_WARNINGS));
    }
    lines.join("\n")
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Severity;

    fn kernel(name: &str) -> KernelResources {
        KernelResources {
            symbol: "k".into(),
            name: name.into(),
            arch: "sm_100a".into(),
            registers: 255,
            stack_bytes: 16,
            spill_store_bytes: 8,
            spill_load_bytes: 4,
            shared_bytes: 4096,
        }
    }

    #[test]
    fn a_kernel_is_a_row_with_its_numbers_under_their_names() {
        let text = kernel_table(&[kernel("add(float*, int)")]);
        let mut lines = text.lines();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(lines.next().unwrap().contains("registers"));
        assert_eq!(words(lines.last().unwrap()), ["add(float*,", "int)", "255", "8", "4", "16", "4096"]);
        assert_eq!(kernel_table(&[]), "");
    }

    #[test]
    fn a_long_name_is_cut_and_many_warnings_are_counted() {
        assert!(kernel_table(&[kernel(&"x".repeat(500))]).lines().all(|line| line.chars().count() < 200));
        let warning = Diagnostic { severity: Severity::Warning, ..Diagnostic::error("doubt") };
        let text = warning_lines(&vec![warning; 13]);
        assert_eq!((text.lines().count(), text.lines().last().unwrap().contains("3 more")), (11, true));
    }
}
