//! Fields of a `solution.json` that nothing reads: each is named, because a misspelt one changes what is built.

use serde_json::{Map, Value};

use crate::escape;

/// Most changed letters between a misspelt field and the one that is meant.
const MOST_CHANGES: usize = 2;

/// Fields of a solution, in both boards' files.
const ROOT: [&str; 6] = ["name", "definition", "author", "description", "spec", "sources"];

/// What a board reads of `spec`.
pub(crate) struct Reader {
    /// Its fields.
    pub spec: &'static [&'static str],
    /// Where it reads flags of the compiler.
    pub flags: &'static str,
}

impl Reader {
    /// What is to be noted of fields that were kept because nothing reads them.
    pub(crate) fn notes(&self, unknown: &Map<String, Value>) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, value) in unknown {
            match (name.as_str(), value) {
                ("spec", Value::Object(fields)) => {
                    let unread = fields.keys().filter(|field| !self.spec.contains(&field.as_str()));
                    notes.extend(unread.map(|field| self.note("spec.", field, self.spec)));
                }
                ("sources", Value::Object(sources)) => {
                    for (path, fields) in sources {
                        let fields = fields.as_object().into_iter().flat_map(Map::keys);
                        notes.extend(fields.map(|field| self.note(&format!("sources {path}: "), field, &[])));
                    }
                }
                (field, _) => notes.push(self.note("", field, &ROOT)),
            }
        }
        notes.iter().map(|note| escape::line(note)).collect()
    }

    fn note(&self, place: &str, field: &str, known: &[&str]) -> String {
        let way_out = match meant(field, known) {
            Some(meant) => format!(": `{place}{meant}` is what is read"),
            None if field.contains("flags") || field.contains("options") => {
                format!(": flags are read from {}", self.flags)
            }
            None if field == "languages" => ": `spec.language` is read".to_owned(),
            None => String::new(),
        };
        format!("`{place}{field}` is unknown and ignored{way_out}")
    }
}

/// The known name that a text misspells, if it is near enough to one.
pub(crate) fn meant<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|&name| (changes(text, name), name));
    near.filter(|(count, name)| *count <= MOST_CHANGES && *count * 3 <= name.len())
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out or replaced to make one text of another.
fn changes(from: &str, to: &str) -> usize {
    const LONGEST: usize = 64;
    if from.len().max(to.len()) > LONGEST {
        return usize::MAX;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, one) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(one != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_told_with_the_one_that_is_meant() {
        let known = ["cflags", "cuda_cflags", "ld_flags", "dependencies"];
        assert_eq!(meant("cuda_flags", &known), Some("cuda_cflags"));
        assert_eq!(meant("dependancies", &known), Some("dependencies"));
        for far in ["compile_flags", "", "x", "extra"] {
            assert_eq!(meant(far, &known), None, "{far}");
        }
        assert_eq!((changes("", "abc"), changes("kitten", "sitting")), (3, 3));
    }
}
