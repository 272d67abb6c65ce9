//! What came of a plan, as a table: one row a shard.

use comfy_table::{CellAlignment, Table, TableStyle};
use proofmark_packager::escape;

use super::ShardSubject;
use super::summary::{ShardSummary, Standing};
use crate::cause_text;
use crate::report::figures::{NONE, or_none};

/// One row a shard.
pub fn table(shards: &[&ShardSummary]) -> String {
    let header = ["shard", "definition", "solution", "author", "arch", "answer", "µs", "B to A", "tries"];
    let has_places = shards.iter().any(|shard| shard.planned_from.is_some());
    let mut table = Table::new();
    let more = has_places.then_some("planned from");
    table.load_style(TableStyle::new()).set_header(header.into_iter().chain(more));
    for shard in shards {
        let names = |of: fn(&ShardSubject) -> &str| {
            let names: Vec<_> = shard.subjects.iter().map(|one| escape::line(of(one))).collect();
            names.join(" and ")
        };
        let answer = shard.answer.as_ref();
        let change = |ratio: f64| format!("{:+.2} %", 100.0 * (ratio - 1.0));
        let places = shard.planned_from.iter().flatten().map(|path| escape::line(path));
        let places = has_places.then(|| places.collect::<Vec<_>>().join(" and "));
        let cells = [
            shard.shard.short(),
            escape::line(&shard.definition),
            names(|one| &one.solution),
            names(|one| &one.author),
            escape::line(&shard.arch),
            answer.map_or_else(|| words(shard), |answer| escape::line(&answer.word)),
            or_none(answer.and_then(|answer| answer.mean_us).map(|mean| format!("{mean:.2}"))),
            or_none(answer.and_then(|answer| answer.ratio).map(change)),
            shard.attempts.to_string(),
        ];
        table.add_row(cells.into_iter().chain(places));
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
        Some(reason) => format!("{word}: {}", escape::line(&cause_text::one_line(reason))),
        None => word.to_owned(),
    }
}
