//! Reads `config.toml`.

use serde_json::Map;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, TomlError, Value};

use super::board_table;
use super::text::{PLAIN_TEXT, PLAIN_TEXTS, PROSE, is_plain, is_prose};
use super::unknown_keys::{misspelt, unknown_keys, unknown_tables};
use super::{Binding, BuildSpec, Language, Note, SolutionMeta, Target, Violation, Violations};
use crate::entry_point::EntryPoint;
use crate::escape;
use crate::target::Arch;

/// The file that makes a folder a submission.
pub const CONFIG_NAME: &str = "config.toml";

/// The hardware list that the contest's packer always writes.
pub(super) const CONTEST_HARDWARE: &str = "cuda";

/// What `[solution]` can hold.
const SOLUTION_KEYS: [&str; 4] = ["name", "definition", "author", "description"];

/// What `[build]` can hold.
const BUILD_KEYS: [&str; 6] =
    ["language", "entry_point", "destination_passing_style", "binding", "dependencies", "target_hardware"];

/// The three tables, as far as they could be read.
pub(super) struct Config {
    pub(super) solution: Option<SolutionMeta>,
    pub(super) build: Option<BuildSpec>,
    pub(super) target: Option<Target>,
    pub(super) language: Option<Language>,
    /// What a board's table says, as the fields of its solution.json.
    pub(super) beside: Map<String, serde_json::Value>,
    /// What an unknown key names as the only files.
    pub(super) files: Vec<String>,
    pub(super) notes: Vec<Note>,
}

/// Reads every key, collecting what is wrong.
pub(super) fn parse(text: &str, violations: &mut Vec<Violation>) -> Config {
    let mut config = Config {
        solution: None,
        build: None,
        target: None,
        language: None,
        beside: Map::new(),
        files: Vec::new(),
        notes: Vec::new(),
    };
    let Some(document) = keep(document_of(text), violations) else {
        return config;
    };
    let empty = Table::new();
    let mut table = |name: &'static str, required: bool| -> &dyn TableLike {
        match document.get(name).map(|item| (item, item.as_table_like())) {
            Some((_, Some(table))) => table,
            Some((item, None)) => {
                violations.push(wrong(name, item, "a table"));
                &empty
            }
            None if required => {
                violations.push(Violation::MissingKey { key: name, expected: "a table" });
                &empty
            }
            None => &empty,
        }
    };
    let (solution, build, target) = (table("solution", true), table("build", true), table("target", false));
    let board = table(board_table::NAME, false);
    config.beside = board_table::parse(board, violations);
    config.solution = parse_solution(solution, violations);
    config.language = parse_language(build, violations);
    config.build = parse_build(build, config.language, violations);
    config.target = parse_target(target, violations);
    let known = [("solution", solution, &SOLUTION_KEYS[..]), ("build", build, &BUILD_KEYS)];
    let listed = ["files", "source_files", "sources"].into_iter().find_map(|key| build.get(key)?.as_array());
    let texts = listed.into_iter().flat_map(|array| array.iter().filter_map(Value::as_str));
    config.files = texts.map(str::to_owned).collect();
    let unread = unknown_tables(&document).into_iter().chain(unknown_keys(&known));
    config.notes = unread.map(|what| Note { path: CONFIG_NAME.to_owned(), what }).collect();
    violations.extend(misspelt(&document, &known, violations));
    config
}

fn parse_solution(table: &dyn TableLike, violations: &mut Vec<Violation>) -> Option<SolutionMeta> {
    let name = required(table, "name", "solution.name", violations);
    let definition = required(table, "definition", "solution.definition", violations);
    let author = required(table, "author", "solution.author", violations);
    let description = optional(table, "description", |item| match item.as_str() {
        Some(text) if is_prose(text) => Ok(text.to_owned()),
        _ => Err(wrong("solution.description", item, PROSE)),
    });
    let description = keep(description, violations)?.unwrap_or_default();
    Some(SolutionMeta {
        name: name?,
        definition: definition?,
        author: author?,
        description: Some(description),
    })
}

fn parse_language(table: &dyn TableLike, violations: &mut Vec<Violation>) -> Option<Language> {
    let word = required(table, "language", "build.language", violations)?;
    let found = Language::ALL.into_iter().find(|language| language.as_str() == word);
    if found.is_none() {
        let expected = "python, triton, cpp, cuda or tilelang";
        violations.push(Violation::WrongValue {
            key: "build.language",
            found: format!("`{word}`"),
            expected,
        });
    }
    found
}

fn parse_build(
    table: &dyn TableLike,
    language: Option<Language>,
    violations: &mut Vec<Violation>,
) -> Option<BuildSpec> {
    let entry_point = required(table, "entry_point", "build.entry_point", violations)
        .and_then(|text| keep(text.parse::<EntryPoint>().map_err(Violation::from), violations));
    let style = keep(optional(table, "destination_passing_style", parse_style), violations);
    let binding = keep(optional(table, "binding", parse_binding), violations);
    let mut list = |key: &'static str, dotted: &'static str| {
        keep(optional(table, key, |item| parse_strings(item, dotted)), violations)
    };
    let dependencies = list("dependencies", "build.dependencies");
    let hardware = list("target_hardware", "build.target_hardware");
    Some(BuildSpec {
        language: language?,
        target_hardware: hardware?.unwrap_or_else(|| vec![CONTEST_HARDWARE.to_owned()]),
        entry_point: entry_point?,
        dependencies: dependencies?.unwrap_or_default(),
        destination_passing_style: style?.unwrap_or(true),
        binding: binding?,
    })
}

/// Accepts what pydantic takes for a bool, because the contest's packer does.
fn parse_style(item: &Item) -> Result<bool, Violation> {
    let word = match item.as_value() {
        Some(Value::Boolean(flag)) => return Ok(*flag.value()),
        Some(Value::Integer(number)) => number.value().to_string(),
        Some(Value::String(text)) => text.value().to_lowercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
        "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
        _ => Err(wrong("build.destination_passing_style", item, "true or false")),
    }
}

fn parse_binding(item: &Item) -> Result<Binding, Violation> {
    match item.as_str() {
        Some("tvm-ffi") => Ok(Binding::TvmFfi),
        Some("torch") => Ok(Binding::Torch),
        _ => Err(wrong("build.binding", item, "\"tvm-ffi\" or \"torch\"")),
    }
}

fn parse_target(table: &dyn TableLike, violations: &mut Vec<Violation>) -> Option<Target> {
    let arch = optional(table, "arch", |item| match item.as_str() {
        Some(text) => text.parse::<Arch>().map_err(Violation::from),
        None => Err(wrong("target.arch", item, "a string such as \"sm_100a\"")),
    });
    let arch = keep(arch, violations);
    let flags = optional(table, "nvcc_flags", |item| parse_strings(item, "target.nvcc_flags"));
    let flags = keep(flags, violations);
    for (key, _) in table.iter().filter(|(key, _)| !["arch", "nvcc_flags"].contains(key)) {
        violations.push(Violation::UnknownTargetKey { key: key.to_owned() });
    }
    Some(Target { arch: arch?.unwrap_or(Arch::SM_100A), nvcc_flags: flags?.unwrap_or_default() })
}

pub(super) fn parse_strings(item: &Item, key: &'static str) -> Result<Vec<String>, Violation> {
    let array = item.as_array().ok_or_else(|| wrong(key, item, PLAIN_TEXTS))?;
    let is_text = |text: &&str| !text.is_empty() && is_plain(text);
    let texts = array.iter().map(|one| one.as_str().filter(is_text).map(str::to_owned));
    texts.collect::<Option<Vec<_>>>().ok_or_else(|| wrong(key, item, PLAIN_TEXTS))
}

pub(super) fn strings(texts: &[String]) -> Array {
    texts.iter().map(String::as_str).collect()
}

fn required(
    table: &dyn TableLike,
    key: &str,
    dotted: &'static str,
    violations: &mut Vec<Violation>,
) -> Option<String> {
    let violation = match table.get(key) {
        None => Violation::MissingKey { key: dotted, expected: PLAIN_TEXT },
        Some(item) => match item.as_str() {
            Some(text) if !text.is_empty() && is_plain(text) => return Some(text.to_owned()),
            _ => wrong(dotted, item, PLAIN_TEXT),
        },
    };
    violations.push(violation);
    None
}

pub(super) fn optional<T>(
    table: &dyn TableLike,
    key: &str,
    parse: impl Fn(&Item) -> Result<T, Violation>,
) -> Result<Option<T>, Violation> {
    table.get(key).map(parse).transpose()
}

fn keep<T>(outcome: Result<T, Violation>, violations: &mut Vec<Violation>) -> Option<T> {
    outcome.map_err(|violation| violations.push(violation)).ok()
}

pub(super) fn wrong(key: &'static str, item: &Item, expected: &'static str) -> Violation {
    let found = match item.as_value() {
        Some(Value::String(text)) => format!("{:?}", text.value()),
        Some(plain @ (Value::Integer(_) | Value::Boolean(_) | Value::Float(_))) => {
            plain.to_string().trim().to_owned()
        }
        _ => format!("of type {}", item.type_name()),
    };
    Violation::WrongValue { key, found, expected }
}

/// Reads the `[target]` table alone; the rest of the text may break any rule but TOML's own.
pub fn target_of(text: &str) -> Result<Target, Violations> {
    let mut violations = Vec::new();
    let document = keep(document_of(text), &mut violations).unwrap_or_default();
    let empty = Table::new();
    let table: &dyn TableLike = match document.get("target").map(|item| (item, item.as_table_like())) {
        Some((_, Some(table))) => table,
        Some((item, None)) => {
            violations.push(wrong("target", item, "a table"));
            &empty
        }
        None => &empty,
    };
    match parse_target(table, &mut violations) {
        Some(target) if violations.is_empty() => Ok(target),
        _ => Err(Violations(violations)),
    }
}

/// Parses the text as the contest's reader does, which takes CRLF for LF even inside strings.
pub(super) fn document_of(text: &str) -> Result<DocumentMut, Violation> {
    text.replace("\r\n", "\n").parse().map_err(|error: TomlError| Violation::Syntax {
        message: escape::block(error.to_string().trim_end()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[solution]
name = "n"          # a comment
definition = "d"
author = "a"

[build]
language = "cuda"
entry_point = "kernel.cu::run"
"#;

    fn violations_of(text: &str) -> Vec<String> {
        let mut violations = Vec::new();
        parse(text, &mut violations);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_the_kits_form_with_its_defaults() {
        let mut violations = Vec::new();
        let config = parse(GOOD, &mut violations);
        assert_eq!(violations, []);
        let build = config.build.unwrap();
        assert!(build.destination_passing_style);
        assert_eq!(build.target_hardware, ["cuda"]);
        assert_eq!(config.target.unwrap(), Target::default());
        assert_eq!(config.solution.unwrap().description.as_deref(), Some(""));
    }

    #[test]
    fn reports_every_violation_at_once() {
        let found = violations_of(
            "[solution]\nname = 5\ndefiniton = \"d\"\nauthor = \"\"\n[build]\nlanguage = \"rust\"\nentry_point = \"kernel\"\nbinding = \"c\"\n[target]\narch = \"100a\"\nnvcc_flags = \"-O3\"\narhc = 1\n",
        );
        for part in [
            "`solution.name` is 5",
            "`solution.definition` is missing",
            "`solution.definiton` is unknown",
            "`solution.author` is \"\"",
            "`build.language` is `rust`",
            "entry point `kernel`",
            "`build.binding` is \"c\"",
            "`100a` names no architecture",
            "`target.nvcc_flags` is \"-O3\"",
            "`target.arhc` is unknown",
        ] {
            assert!(found.iter().any(|text| text.contains(part)), "{part} not in {found:#?}");
        }
        assert_eq!(found.len(), 10, "{found:#?}");
    }

    #[test]
    fn refuses_control_characters_in_every_text() {
        let text = GOOD.replace("\"n\"", r#""n\u001b[2J""#).replace("\"a\"", r#""a\nforged: line""#);
        let lists = "dependencies = [\"x\\u0007\"]\ntarget_hardware = [\"c\\u0085\"]\n";
        let found = violations_of(&format!("{text}{lists}[target]\nnvcc_flags = [\"-O3\\r\"]\n"));
        assert_eq!(found.len(), 5, "{found:#?}");
        assert!(found.iter().all(|one| is_plain(one)), "{found:#?}");
        let described = |text: &str| {
            violations_of(&GOOD.replace("author", &format!("description = \"{text}\"\nauthor"))).len()
        };
        assert_eq!((described(r"two\n\tlines"), described(r"a\u007fb")), (0, 1));
    }

    #[test]
    fn takes_the_words_that_pydantic_takes_for_a_bool() {
        let read = |word: &str| {
            let mut violations = Vec::new();
            let text = format!("{GOOD}destination_passing_style = {word}\n");
            (
                parse(&text, &mut violations).build.map(|build| build.destination_passing_style),
                violations.len(),
            )
        };
        assert_eq!(read("false"), (Some(false), 0));
        assert_eq!(read("\"False\""), (Some(false), 0));
        assert_eq!(read("\"yes\""), (Some(true), 0));
        assert_eq!(read("0"), (Some(false), 0));
        assert_eq!(read("\"maybe\""), (None, 1));
        assert_eq!(read("2"), (None, 1));
    }

    #[test]
    fn names_the_line_of_a_syntax_error() {
        let found = violations_of("[solution]\nname = \n");
        assert!(found[0].contains("line 2"), "{found:?}");
    }
}
