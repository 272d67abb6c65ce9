//! Keys and tables of `config.toml` that nothing reads: noted, or suspected of being a misspelt one.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, TableLike};

use super::{Violation, board_table};

/// A table's name, the table, and the keys that are read.
pub(super) type Known<'t> = (&'static str, &'t dyn TableLike, &'static [&'static str]);

/// What is to be noted of keys that are not read.
pub(super) fn unknown_keys(tables: &[Known<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, table, known) in tables {
        notes.extend(unread(*table, known).map(|key| unknown(&format!("{name}.{key}"), is_of_target(key))));
    }
    notes
}

fn unread<'t>(table: &'t dyn TableLike, known: &[&str]) -> impl Iterator<Item = &'t str> {
    table.iter().map(|(key, _)| key).filter(|key| !known.contains(key))
}

/// Unknown keys beside a missing one, and unknown tables where a table is missing.
pub(super) fn misspelt(
    document: &DocumentMut,
    known: &[Known<'_>],
    violations: &[Violation],
) -> Vec<Violation> {
    // `solution.name` lacks in a table, `solution` in the document.
    let places: BTreeSet<Option<&str>> = violations
        .iter()
        .filter_map(|violation| match violation {
            Violation::MissingKey { key, .. } => Some(key.split_once('.').map(|(table, _)| table)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for &(name, table, known) in known.iter().filter(|(name, ..)| places.contains(&Some(*name))) {
        found.extend(unread(table, known).map(|key| format!("{name}.{key}")));
    }
    if places.contains(&None) {
        found.extend(other_tables(document).map(|(name, _)| name.to_owned()));
    }
    found.into_iter().map(|key| Violation::UnknownKey { key }).collect()
}

fn other_tables(document: &DocumentMut) -> impl Iterator<Item = (&str, &Item)> {
    document.iter().filter(|(name, _)| !["solution", "build", "target", board_table::NAME].contains(name))
}

/// What stands beside the three tables. Another tool may read it, so it is noted alone; but what looks
/// like a misplaced `[target]` must not be overlooked.
pub(super) fn unknown_tables(document: &DocumentMut) -> Vec<String> {
    let of_target = |item: &Item| {
        item.as_table_like().is_some_and(|table| table.iter().any(|(key, _)| is_of_target(key)))
    };
    other_tables(document).map(|(name, item)| unknown(name, is_of_target(name) || of_target(item))).collect()
}

fn is_of_target(key: &str) -> bool {
    ["arch", "nvcc_flags"].contains(&key)
}

fn unknown(key: &str, belongs_to_target: bool) -> String {
    let way_out = match key.rsplit('.').next().unwrap_or(key) {
        _ if belongs_to_target => ": architecture and flags are read from `[target]`",
        "source_dir" | "source_directory" | "src_dir" => {
            ": sources are read from `solution/<language>/`, or beside config.toml: move them there"
        }
        "files" | "source_files" | "sources" | "headers" => {
            ": every source in the folder is packed and built: move others into a sub-folder that no file includes"
        }
        _ => "",
    };
    format!("`{key}` is unknown and ignored{way_out}")
}
