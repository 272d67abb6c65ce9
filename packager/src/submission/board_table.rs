//! `[sol-execbench]` of a `config.toml`: what that board's solution says beside our three tables.
//!
//! | key | what it is |
//! |---|---|
//! | `languages` | the board's own words, such as `["cutlass"]` |
//! | `cflags` | flags for sources without device code |
//! | `ld_flags` | flags for the linker |
//!
//! They are kept where those of a solution.json of that board are, so that a folder made from one packs to the same
//! artifact.

use serde_json::{Map, Value, json};
use toml_edit::{Table, TableLike, value};

use super::config::{optional, parse_strings, strings};
use super::violation::Violation;

/// The table's name.
pub(super) const NAME: &str = "sol-execbench";

/// Its keys, with the names that messages give them, and where their values are kept below `spec`.
const KEYS: [(&str, &str, Place); 3] = [
    ("languages", "sol-execbench.languages", Place::Spec),
    ("cflags", "sol-execbench.cflags", Place::Options),
    ("ld_flags", "sol-execbench.ld_flags", Place::Options),
];

/// The object of a solution.json that has the field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `spec`.
    Spec,
    /// `spec.compile_options`.
    Options,
}

/// Reads the table as the fields of a solution.json that it stands for.
pub(super) fn parse(table: &dyn TableLike, violations: &mut Vec<Violation>) -> Map<String, Value> {
    let (mut spec, mut options) = (Map::new(), Map::new());
    for (key, dotted, place) in KEYS {
        match optional(table, key, |item| parse_strings(item, dotted)) {
            Ok(None) => {}
            Ok(Some(texts)) => {
                let fields = if place == Place::Spec { &mut spec } else { &mut options };
                fields.insert(key.to_owned(), json!(texts));
            }
            Err(violation) => violations.push(violation),
        }
    }
    for (key, _) in table.iter().filter(|(key, _)| KEYS.iter().all(|(known, ..)| known != key)) {
        violations.push(Violation::UnknownBoardKey { key: key.to_owned() });
    }
    if !options.is_empty() {
        spec.insert("compile_options".to_owned(), Value::Object(options));
    }
    if spec.is_empty() {
        return Map::new();
    }
    Map::from_iter([("spec".to_owned(), Value::Object(spec))])
}

/// The table for fields that were kept, as far as it has a place for them; `None` without any.
pub(super) fn of_kept(unknown: &Map<String, Value>) -> Option<Table> {
    let spec = unknown.get("spec")?;
    let mut table = Table::new();
    for (key, _, place) in KEYS {
        let fields = if place == Place::Spec { spec } else { &spec["compile_options"] };
        let Some(texts) = fields[key].as_array() else { continue };
        let texts: Option<Vec<_>> = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
        if let Some(texts) = texts {
            table[key] = value(strings(&texts));
        }
    }
    (!table.is_empty()).then_some(table)
}
