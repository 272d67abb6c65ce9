//! Which entries are asked for.

use rusqlite::types::Value;

use super::LedgerKind;

/// Which entries are asked for: whatever is set must hold. A text with `*` in it stands for many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// The kind.
    pub kind: Option<LedgerKind>,
    /// The definition's name.
    pub definition: Option<String>,
    /// The solution's name.
    pub solution: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// How the artifact's digest begins.
    pub artifact: Option<String>,
    /// What it was built for.
    pub arch: Option<String>,
    /// What it ran on.
    pub device: Option<String>,
    /// The verdict, decision or answer.
    pub verdict: Option<String>,
    /// `hermetic`, `live` or `reported`.
    pub trust: Option<String>,
    /// `measured` or `imported`.
    pub origin: Option<String>,
    /// How the run's name begins.
    pub run: Option<String>,
    /// The workload's uuid.
    pub workload: Option<String>,
    /// Not before this, in the index's spelling.
    pub since: Option<String>,
    /// Before this.
    pub until: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// The oldest first, instead of the newest.
    pub oldest_first: bool,
    /// A `*` is a star.
    pub literal: bool,
}

/// What kinds of columns a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Entries,
    Runs,
}

impl Filter {
    /// The condition with its values, and the order.
    pub(super) fn clauses(&self, table: Table) -> (String, Vec<Value>) {
        let mut conditions: Vec<String> = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let mut hold = |condition: &str, value: String| {
            conditions.push(condition.to_owned());
            values.push(Value::Text(value));
        };
        let texts = [
            ("definition", &self.definition),
            ("solution", &self.solution),
            ("author", &self.author),
            ("arch", &self.arch),
            ("device", &self.device),
            ("trust", &self.trust),
            ("origin", &self.origin),
        ];
        for (column, text) in texts {
            if let Some(text) = text {
                let is_pattern = !self.literal && text.contains('*');
                hold(
                    &if is_pattern { format!("{column} GLOB ?") } else { format!("{column} = ?") },
                    text.clone(),
                );
            }
        }
        for (column, prefix) in [("artifact", &self.artifact), ("run", &self.run)] {
            if let Some(prefix) = prefix {
                // Up to the largest text that begins so.
                hold(&format!("{column} >= ?"), prefix.clone());
                hold(&format!("{column} < ?"), format!("{prefix}\u{10ffff}"));
            }
        }
        for (condition, text) in [("time >= ?", &self.since), ("time < ?", &self.until)] {
            if let Some(text) = text {
                hold(condition, text.clone());
            }
        }
        match table {
            Table::Entries => {
                if let Some(kind) = self.kind {
                    hold("kind = ?", kind.name().to_owned());
                }
                for (column, text) in [("verdict", &self.verdict), ("workload", &self.workload)] {
                    if let Some(text) = text {
                        hold(&format!("{column} = ?"), text.clone());
                    }
                }
            }
            Table::Runs => match self.verdict.as_deref() {
                Some("passed") => conditions.push("passed = workloads".to_owned()),
                Some(_) => conditions.push("passed < workloads".to_owned()),
                None => {}
            },
        }
        let mut text = String::new();
        if !conditions.is_empty() {
            text = format!(" WHERE {}", conditions.join(" AND "));
        }
        let name = if table == Table::Entries { "id" } else { "run" };
        text += &format!(" ORDER BY time {}, {name}", if self.oldest_first { "ASC" } else { "DESC" });
        if let Some(limit) = self.limit {
            text += &format!(" LIMIT {limit}");
        }
        (text, values)
    }
}
