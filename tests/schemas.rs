//! The published schemas: there is one for each document, and each is strict. `support::schema` checks
//! every document that any test sees against its own.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::schema::{all, faults};
use crate::support::{Sandbox, repository};

/// Documents that a verb prints, by the texts in its source.
fn printed_documents() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let folders = ["cli", "job"].map(|room| repository().join("runtime/src").join(room));
    for entry in folders.iter().flat_map(walkdir::WalkDir::new) {
        let path = entry.unwrap().into_path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        names.extend(text.split('"').filter_map(document_name));
    }
    // A line of the file that `replay --resume` keeps, and no document.
    assert!(names.remove("proofmark.replay-row"));
    names
}

fn document_name(text: &str) -> Option<String> {
    let name = text.strip_prefix("proofmark.")?;
    let plain = |one: char| one.is_ascii_lowercase() || ['.', '-'].contains(&one);
    (!name.is_empty() && name.chars().all(plain) && !name.ends_with("json") && !name.ends_with("fish"))
        .then(|| text.to_owned())
}

#[test]
fn every_document_has_a_schema_and_every_schema_a_document() {
    let published: BTreeSet<String> = all().keys().cloned().collect();
    assert_eq!(printed_documents(), published, "what verbs print, and runtime/schemas");
    let sandbox = Sandbox::new();
    let listed = sandbox.run(["schema", "--json"]).expect(0).json();
    let listed: BTreeSet<String> =
        listed["schemas"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, published, "what `proofmark schema` lists, and runtime/schemas");
    for name in &published {
        let short = name.strip_prefix("proofmark.").unwrap();
        let file = fs::read_to_string(repository().join(format!("runtime/schemas/{short}.json"))).unwrap();
        assert_eq!(sandbox.run(["schema", short]).expect(0).stdout, file);
    }
}

#[test]
fn a_schema_names_its_document_and_explains_it() {
    for (name, schema) in all() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["title"], json!(name));
        assert_eq!(schema["properties"]["schema"]["const"], json!(name));
        let version = schema["properties"]["schema_version"]["const"].as_u64();
        assert!(version.is_some_and(|version| version > 0), "{name} has no version");
        assert_eq!(schema["$id"], format!("urn:proofmark:schema:{name}:{}", version.unwrap()));
        assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
    }
}

#[test]
fn every_object_in_a_schema_says_all_that_it_may_hold() {
    for (name, schema) in all() {
        let mut objects = 0;
        visit(schema, &mut |part| {
            if part.get("properties").is_some() || part["type"] == "object" {
                objects += 1;
                let rest = &part["additionalProperties"];
                let closed = *rest == Value::Bool(false);
                let map = rest.is_object() && part.get("properties").is_none();
                // Each choice is an object of its own, which is closed.
                let by_choice = rest.is_null() && part["oneOf"].is_array();
                assert!(closed || map || by_choice || is_open(part), "{name} leaves an object open: {part}");
            }
            for required in part["required"].as_array().into_iter().flatten() {
                assert!(part["properties"][required.as_str().unwrap()].is_object(), "{name}: {required}");
            }
        });
        assert!(objects > 0, "{name}");
    }
}

/// What others write is passed on as it is, and what measuring finds out may grow: the description says so.
fn is_open(part: &Value) -> bool {
    let says = |words| part["description"].as_str().is_some_and(|text| text.contains(words));
    part["additionalProperties"] == Value::Bool(true) && (says("as found in") || says("may gain fields"))
}

/// Calls with every schema inside a schema.
fn visit(schema: &Value, see: &mut impl FnMut(&Value)) {
    see(schema);
    for keyword in ["properties", "$defs"] {
        for inner in schema[keyword].as_object().into_iter().flat_map(|all| all.values()) {
            visit(inner, see);
        }
    }
    for inner in schema["oneOf"].as_array().into_iter().flatten() {
        visit(inner, see);
    }
    for keyword in ["items", "additionalProperties"] {
        if schema[keyword].is_object() {
            visit(&schema[keyword], see);
        }
    }
}

#[test]
fn what_two_schemas_call_by_one_name_is_one_thing() {
    let mut seen: std::collections::BTreeMap<&str, (&str, &Value)> = std::collections::BTreeMap::new();
    for (name, schema) in all() {
        for (part, definition) in schema["$defs"].as_object().into_iter().flatten() {
            let (first, known) = *seen.entry(part).or_insert((name, definition));
            assert_eq!(known, definition, "{part} in {first} and {name}");
        }
    }
}

#[test]
fn a_field_too_many_and_one_too_few_are_both_seen() {
    let sandbox = Sandbox::new();
    let good = sandbox.run(["inspect", "missing", "--json"]).expect(2).json();
    let schema = &all()["proofmark.error"];
    assert_eq!(faults(schema, &good), Vec::<String>::new());
    let mut more = good.clone();
    more["more"] = json!(1);
    assert_eq!(faults(schema, &more), ["/more: is not allowed"]);
    let mut less = good.clone();
    less.as_object_mut().unwrap().remove("hints");
    assert_eq!(faults(schema, &less), ["/: `hints` is missing"]);
    let mut wrong = good;
    wrong["exit_code"] = json!("2");
    assert!(faults(schema, &wrong)[0].starts_with("/exit_code: "));
}
