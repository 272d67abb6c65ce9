//! What came of a plan, as a table: one row a shard.

use comfy_table::{CellAlignment, Table, TableStyle};
use proofmark_packager::escape;

use super::ShardSubject;
use super::summary::{ShardSummary, Standing};
use crate::report::figures::{NONE, or_none};

/// One row a shard.
pub fn table(shards: &[&ShardSummary]) -> String {
    let header = ["shard", "definition", "solution", "author", "arch", "answer", "µs", "B to A", "tries"];
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for shard in shards {
        let names = |of: fn(&ShardSubject) -> &str| {
            let names: Vec<_> = shard.subjects.iter().map(|one| escape::line(of(one))).collect();
            names.join(" and ")
        };
        let answer = shard.answer.as_ref();
        let change = |ratio: f64| format!("{:+.2} %", 100.0 * (ratio - 1.0));
        table.add_row([
            shard.shard.short(),
            escape::line(&shard.definition),
            names(|one| &one.solution),
            names(|one| &one.author),
            escape::line(&shard.arch),
            answer.map_or_else(|| words(shard), |answer| escape::line(&answer.word)),
            or_none(answer.and_then(|answer| answer.mean_us).map(|mean| format!("{mean:.2}"))),
            or_none(answer.and_then(|answer| answer.ratio).map(change)),
            shard.attempts.to_string(),
        ]);
    }
    for index in [6, 7, 8] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Why there is no answer.
fn words(shard: &ShardSummary) -> String {
    let word = match shard.standing {
        Standing::Finished => NONE,
        Standing::Refused => "refused",
        Standing::NotJudged => "not judged",
        Standing::Lost => "lost",
        Standing::Running => "running",
        Standing::Untried => "open",
        Standing::Invalid => "invalid",
    };
    match &shard.reason {
        Some(reason) => format!("{word}: {}", escape::line(reason)),
        None => word.to_owned(),
    }
}
