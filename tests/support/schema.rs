//! Checks documents against the schemas that `proofmark schema` publishes.
//!
//! The schemas use a small part of JSON Schema (2020-12), which keeps them readable and every document
//! strict; a test holds them to it. This reads exactly that part and refuses any other keyword. Crates
//! that read the whole standard would take a fifth of the time that this repository's CI has.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::repository;

/// Every published schema by its document's name.
pub fn all() -> &'static BTreeMap<String, Value> {
    static ALL: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    ALL.get_or_init(|| {
        let files = fs::read_dir(repository().join("runtime/schemas")).expect("the schemas");
        let read = |path: std::path::PathBuf| {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
            let text = fs::read_to_string(&path).expect("readable");
            let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (format!("proofmark.{name}"), schema)
        };
        files.map(|entry| read(entry.expect("readable").path())).collect()
    })
}

/// Asserts that a document is what its schema allows.
#[track_caller]
pub fn check(document: &Value) {
    let name = document["schema"].as_str().unwrap_or_else(|| panic!("no schema is named: {document:#}"));
    let schema = all().get(name).unwrap_or_else(|| panic!("runtime/schemas has no file for {name}"));
    let faults = faults(schema, document);
    assert!(faults.is_empty(), "{name} is not what its schema allows:\n{}\n{document:#}", faults.join("\n"));
}

/// Where a document is not what a schema allows.
pub fn faults(schema: &Value, document: &Value) -> Vec<String> {
    let mut checker = Checker { definitions: &schema["$defs"], faults: Vec::new() };
    checker.check(schema, document, "");
    checker.faults
}

/// The document is walked with the schema; what is amiss is collected.
struct Checker<'a> {
    definitions: &'a Value,
    faults: Vec<String>,
}

impl Checker<'_> {
    fn check(&mut self, schema: &Value, value: &Value, place: &str) {
        let Value::Object(schema) = schema else { panic!("no schema: {schema}") };
        for (keyword, expected) in schema {
            self.check_keyword(schema, keyword, expected, value, place);
        }
    }

    fn check_keyword(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        expected: &Value,
        value: &Value,
        place: &str,
    ) {
        match keyword {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let name = expected.as_str().and_then(|path| path.strip_prefix("#/$defs/"));
                let definition = &self.definitions[name.expect("references lead into $defs")];
                assert!(definition.is_object(), "{expected} leads nowhere");
                self.check(definition, value, place);
            }
            "const" => {
                self.expect(expected == value, place, || format!("expected {expected}, found {value}"));
            }
            "enum" => {
                let known = expected.as_array().expect("a list").contains(value);
                self.expect(known, place, || format!("expected one of {expected}, found {value}"));
            }
            "type" => {
                let known = match expected {
                    Value::Array(types) => types.iter().any(|one| has_type(value, one)),
                    one => has_type(value, one),
                };
                self.expect(known, place, || format!("expected {expected}, found {value}"));
            }
            "oneOf" => {
                let choices = expected.as_array().expect("a list");
                let fits = |choice: &&Value| {
                    let mut checker = Checker { definitions: self.definitions, faults: Vec::new() };
                    checker.check(choice, value, place);
                    checker.faults.is_empty()
                };
                let count = choices.iter().filter(fits).count();
                self.expect(count == 1, place, || format!("fits {count} of the choices: {value}"));
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(expected, item, &format!("{place}/{index}"));
                }
            }
            "required" => {
                let Value::Object(fields) = value else { return };
                for name in expected.as_array().expect("a list").iter().filter_map(Value::as_str) {
                    self.expect(fields.contains_key(name), place, || format!("`{name}` is missing"));
                }
            }
            "properties" => {
                for (name, property) in expected.as_object().expect("an object") {
                    if let Some(field) = value.get(name) {
                        self.check(property, field, &format!("{place}/{name}"));
                    }
                }
            }
            "additionalProperties" => {
                let known =
                    |name: &String| schema.get("properties").is_some_and(|all| all.get(name).is_some());
                for (name, field) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name))
                {
                    let place = format!("{place}/{name}");
                    match expected {
                        Value::Bool(allowed) => self.expect(*allowed, &place, || "is not allowed".to_owned()),
                        schema => self.check(schema, field, &place),
                    }
                }
            }
            other => panic!("the schemas do without `{other}`"),
        }
    }

    fn expect(&mut self, holds: bool, place: &str, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(format!("{}: {}", if place.is_empty() { "/" } else { place }, fault()));
        }
    }
}

fn has_type(value: &Value, expected: &Value) -> bool {
    match expected.as_str().expect("a type is a text") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}
