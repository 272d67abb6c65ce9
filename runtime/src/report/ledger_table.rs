//! Runs, entries and champions of a ledger as tables.

use comfy_table::{CellAlignment, Table, TableStyle};

use super::figures::{NONE, change, microseconds, or_none};
use crate::ledger::champion::{Champion, Lineage};
use crate::ledger::{Row, RunRow, moment};

/// Digits of a name that tell it apart on a screen.
const SHORT: usize = 12;

fn short(name: &str) -> String {
    name.chars().take(SHORT).collect()
}

/// The run's name as a screen shows it: random digits tell runs apart, not those of their time.
pub fn short_run(run: &str) -> String {
    if run.len() == 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        short(run)
    } else {
        run.to_owned()
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    table
}

fn finish(mut table: Table, right: &[usize]) -> String {
    for (index, column) in table.column_iter_mut().enumerate() {
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// One row a run.
pub fn run_table(runs: &[RunRow]) -> String {
    let header =
        ["run", "time", "definition", "solution", "arch", "device", "passed", "mean µs", "trust", "origin"];
    let mut table = table(&header);
    for run in runs {
        table.add_row([
            short_run(&run.run),
            moment::short(&run.time),
            run.definition.clone(),
            run.solution.clone(),
            run.arch.clone().unwrap_or_default(),
            run.device.clone().unwrap_or_default(),
            format!("{}/{}", run.passed, run.workloads),
            or_none(run.mean_ns.map(microseconds)),
            run.trust.clone(),
            run.origin.clone(),
        ]);
    }
    finish(table, &[6, 7])
}

/// One row an entry.
pub fn entry_table(rows: &[Row]) -> String {
    let header =
        ["entry", "kind", "time", "definition", "solution", "workload", "verdict", "µs", "trust", "origin"];
    let mut table = table(&header);
    for row in rows {
        table.add_row([
            row.id.short(),
            row.kind.name().to_owned(),
            moment::short(&row.time),
            row.definition.clone(),
            row.solution.clone(),
            row.workload.as_deref().map(short).unwrap_or_default(),
            or_none(row.verdict.clone()),
            or_none(row.latency_ns.map(microseconds)),
            row.trust.clone().unwrap_or_default(),
            row.origin.clone(),
        ]);
    }
    finish(table, &[7])
}

/// The path of champions of every slot.
pub fn lineage_text(lineages: &[Lineage]) -> String {
    let mut text = String::new();
    for lineage in lineages {
        text += &format!("{}\n", lineage.slot);
        for (index, one) in lineage.path.iter().enumerate() {
            let mark = if index + 1 == lineage.path.len() { '*' } else { ' ' };
            text += &format!("{mark} {}\n", champion_line(one));
        }
        for one in &lineage.aside {
            text += &format!("  aside: {} ({})\n", champion_line(one), one.origin);
        }
    }
    text.trim_end().to_owned()
}

fn champion_line(one: &Champion) -> String {
    let promotion = &one.promotion;
    let trust = promotion.trust.as_ref().map_or(NONE, |trust| trust.name());
    let ratio =
        promotion.ratio.as_ref().map(|ratio| format!("{}, {trust}; ", change(ratio))).unwrap_or_default();
    format!(
        "{}  {}  {} by {}  {ratio}{}",
        moment::short(promotion.timestamp.as_str()),
        promotion.artifact.short(),
        promotion.solution,
        promotion.author,
        promotion.reason
    )
}
