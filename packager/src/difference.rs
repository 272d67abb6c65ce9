//! What differs between two artifacts: metadata, target, attachments, sources.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use crate::Digest;
use crate::artifact::Artifact;
use crate::sources::SourcePath;

/// Lines of context around a change, as `diff -u` has by default.
const CONTEXT_LINES: usize = 3;

/// Most lines of a text whose changes are shown: the search takes memory for each.
const MOST_LINES: usize = 100_000;

/// Longest search for the smallest change of one text: two long texts with nothing in common would
/// take hours.
const LONGEST_SEARCH: Duration = Duration::from_secs(2);

/// One field with two values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldDifference {
    /// Dotted name, such as `target.arch`.
    pub field: String,
    /// The first artifact's value.
    pub a: Value,
    /// The second artifact's value.
    pub b: Value,
}

/// What happened to a text on the way from the first artifact to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// In both, with other content.
    Changed,
}

/// One text that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextDifference {
    /// The entry, such as `kernel.cu` or `definition.json`.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// A unified diff.
    pub unified: String,
}

/// Everything that differs; empty lists mean the same artifact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The first artifact's identity.
    pub a: Digest,
    /// The second artifact's identity.
    pub b: Digest,
    /// Metadata, build and target fields.
    pub fields: Vec<FieldDifference>,
    /// Sources and attachments.
    pub texts: Vec<TextDifference>,
    /// What differs between their references, where both have one and these differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<Difference>>,
    /// Whether the sources that both have stand in another order in `solution.json`. That is no
    /// other artifact, yet the file's bytes and FlashInfer-Bench's hashes differ.
    pub source_order_differs: bool,
}

impl Difference {
    /// Whether both artifacts are one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.a == self.b
    }
}

/// Compares two artifacts.
#[must_use]
pub fn compare(a: &Artifact, b: &Artifact) -> Difference {
    let mut fields = Vec::new();
    let as_value = |artifact: &Artifact| {
        let manifest = artifact.manifest();
        serde_json::json!({
            "solution": manifest.solution, "build": manifest.build, "target": manifest.target,
            "unknown": manifest.unknown,
        })
    };
    compare_values("", &as_value(a), &as_value(b), &mut fields);
    let reference = match (a.reference(), b.reference()) {
        (Some(a), Some(b)) => Some(compare(a, b)).filter(|difference| !difference.is_empty()).map(Box::new),
        (a, b) => {
            let digest = |one: Option<&Artifact>| serde_json::json!(one.map(Artifact::digest));
            compare_values("reference", &digest(a), &digest(b), &mut fields);
            None
        }
    };
    let (texts_a, texts_b) = (texts_of(a), texts_of(b));
    let paths: BTreeSet<_> = texts_a.iter().chain(&texts_b).map(|(path, _)| *path).collect();
    let find = |texts: &[(&str, &str)], path| {
        texts.iter().find(|(one, _)| *one == path).map(|(_, text)| (*text).to_owned())
    };
    let texts =
        paths.into_iter().filter_map(|path| compare_texts(path, find(&texts_a, path), find(&texts_b, path)));
    Difference {
        a: a.digest(),
        b: b.digest(),
        fields,
        texts: texts.collect(),
        reference,
        source_order_differs: source_order_differs(a, b),
    }
}

fn source_order_differs(a: &Artifact, b: &Artifact) -> bool {
    let paths = |artifact: &Artifact| {
        artifact.sources().iter().map(|source| source.path.clone()).collect::<Vec<SourcePath>>()
    };
    let (mut in_a, mut in_b) = (paths(a), paths(b));
    let (all_a, all_b): (BTreeSet<_>, BTreeSet<_>) =
        (in_a.iter().cloned().collect(), in_b.iter().cloned().collect());
    in_a.retain(|path| all_b.contains(path));
    in_b.retain(|path| all_a.contains(path));
    in_a != in_b
}

fn texts_of(artifact: &Artifact) -> Vec<(&str, &str)> {
    let attachments = [
        artifact.definition().map(|text| (crate::format::DEFINITION_NAME, text)),
        artifact.workloads().map(|text| (crate::format::WORKLOADS_NAME, text)),
    ];
    let sources = artifact.sources().iter().map(|source| (source.path.as_str(), source.content.as_str()));
    sources.chain(attachments.into_iter().flatten()).collect()
}

fn compare_texts(path: &str, a: Option<String>, b: Option<String>) -> Option<TextDifference> {
    let change = match (&a, &b) {
        (Some(a), Some(b)) if a == b => return None,
        (Some(_), Some(_)) => Change::Changed,
        (Some(_), None) => Change::Removed,
        (None, _) => Change::Added,
    };
    let names = (
        if a.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() },
        if b.is_some() { format!("b/{path}") } else { "/dev/null".to_owned() },
    );
    let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
    let lines = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    if lines(&a).max(lines(&b)) > MOST_LINES {
        let unified = format!("--- {}\n+++ {}\nmore than {MOST_LINES} lines: not shown\n", names.0, names.1);
        return Some(TextDifference { path: path.to_owned(), change, unified });
    }
    let unified = TextDiff::configure()
        .timeout(LONGEST_SEARCH)
        .diff_lines(&a, &b)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .header(&names.0, &names.1)
        .to_string();
    Some(TextDifference { path: path.to_owned(), change, unified })
}

fn compare_values(prefix: &str, a: &Value, b: &Value, fields: &mut Vec<FieldDifference>) {
    if a == b {
        return;
    }
    let (Value::Object(left), Value::Object(right)) = (a, b) else {
        fields.push(FieldDifference { field: prefix.to_owned(), a: a.clone(), b: b.clone() });
        return;
    };
    let mut keys: Vec<_> = left.keys().collect();
    keys.extend(right.keys().filter(|key| !left.contains_key(*key)));
    for key in keys {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let (a, b) = (left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null));
        compare_values(&dotted, a, b, fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::flashinfer::solution;
    use crate::submission::Submission;

    fn artifact(author: &str, content: &str, extra: &str) -> Artifact {
        let text = format!(
            r#"{{"name":"n","definition":"d","author":"{author}",
            "spec":{{"language":"cuda","target_hardware":["cuda"],"entry_point":"k.cu::run"}},
            "sources":[{{"path":"k.cu","content":"{content}"}}{extra}]}}"#
        );
        solution::read(&text).unwrap()
    }

    #[test]
    fn sees_another_order_of_the_same_sources() {
        let source = |path: &str| format!(r#",{{"path":"{path}","content":"x"}}"#);
        let a = artifact("x", "k", &(source("t.h") + &source("u.h")));
        let b = artifact("x", "k", &(source("u.h") + &source("t.h")));
        let difference = compare(&a, &b);
        assert!(difference.is_empty() && difference.source_order_differs);
        assert_ne!(solution::hashes(&a), solution::hashes(&b));
        assert!(!compare(&a, &artifact("x", "k", &source("u.h"))).source_order_differs);
    }

    #[test]
    fn sees_a_reference_that_changed_or_is_gone() {
        let with = |reference: Option<&str>| {
            let submission = |content: &str, reference| {
                let plain = artifact("x", content, "");
                Submission {
                    solution: plain.manifest().solution.clone(),
                    build: plain.manifest().build.clone(),
                    target: plain.manifest().target.clone(),
                    sources: plain.sources().to_vec(),
                    definition: Some("{}".to_owned()),
                    workloads: None,
                    reference,
                    unknown: serde_json::Map::new(),
                }
            };
            let reference = reference.map(|content| Box::new(submission(content, None)));
            Artifact::pack(submission("k", reference)).unwrap()
        };
        let difference = compare(&with(Some("a")), &with(Some("b")));
        assert!(difference.fields.is_empty() && difference.texts.is_empty() && !difference.is_empty());
        assert_eq!(difference.reference.unwrap().texts[0].path, "k.cu");
        let difference = compare(&with(Some("a")), &with(None));
        assert_eq!(difference.fields[0].field, "reference");
        assert!(difference.fields[0].b.is_null() && difference.reference.is_none());
        assert!(compare(&with(Some("a")), &with(Some("a"))).is_empty());
    }

    #[test]
    fn names_fields_and_shows_changed_lines() {
        let a = artifact("x", r"one\ntwo\n", "");
        let b = artifact("y", r"one\n2\n", r#",{"path":"t.h","content":"t"}"#);
        let difference = compare(&a, &b);
        assert_eq!(difference.fields.len(), 1);
        assert_eq!(difference.fields[0].field, "solution.author");
        let changes: Vec<_> = difference.texts.iter().map(|text| (text.path.as_str(), text.change)).collect();
        assert_eq!(changes, [("k.cu", Change::Changed), ("t.h", Change::Added)]);
        assert!(difference.texts[0].unified.contains("-two\n+2\n"), "{}", difference.texts[0].unified);
        assert!(compare(&a, &a).is_empty() && !difference.is_empty());
    }
}
