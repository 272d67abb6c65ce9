//! Reads, writes and edits `config.toml`; edits keep comments and order.

use std::collections::BTreeSet;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, TomlError, Value, value};

use super::text::{PLAIN_TEXT, PLAIN_TEXTS, PROSE, is_plain, is_prose};
use super::{Binding, BuildSpec, Language, Note, SolutionMeta, Target, Violation, Violations};
use crate::entry_point::EntryPoint;
use crate::escape;
use crate::target::Arch;

/// The file that makes a folder a submission.
pub const CONFIG_NAME: &str = "config.toml";

/// The hardware list that the contest's packer always writes.
const CONTEST_HARDWARE: &str = "cuda";

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
    config.solution = parse_solution(solution, violations);
    config.language = parse_language(build, violations);
    config.build = parse_build(build, config.language, violations);
    config.target = parse_target(target, violations);
    let known = [("solution", solution, &SOLUTION_KEYS[..]), ("build", build, &BUILD_KEYS)];
    let listed = ["files", "source_files", "sources"].into_iter().find_map(|key| build.get(key)?.as_array());
    let texts = listed.into_iter().flat_map(|array| array.iter().filter_map(Value::as_str));
    config.files = texts.map(str::to_owned).collect();
    config.notes = unknown_tables(&document);
    config.notes.extend(unknown_keys(&known));
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

fn parse_strings(item: &Item, key: &'static str) -> Result<Vec<String>, Violation> {
    let array = item.as_array().ok_or_else(|| wrong(key, item, PLAIN_TEXTS))?;
    let is_text = |text: &&str| !text.is_empty() && is_plain(text);
    let texts = array.iter().map(|one| one.as_str().filter(is_text).map(str::to_owned));
    texts.collect::<Option<Vec<_>>>().ok_or_else(|| wrong(key, item, PLAIN_TEXTS))
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

fn optional<T>(
    table: &dyn TableLike,
    key: &str,
    parse: impl Fn(&Item) -> Result<T, Violation>,
) -> Result<Option<T>, Violation> {
    table.get(key).map(parse).transpose()
}

fn keep<T>(outcome: Result<T, Violation>, violations: &mut Vec<Violation>) -> Option<T> {
    outcome.map_err(|violation| violations.push(violation)).ok()
}

fn wrong(key: &'static str, item: &Item, expected: &'static str) -> Violation {
    let found = match item.as_value() {
        Some(Value::String(text)) => format!("{:?}", text.value()),
        Some(plain @ (Value::Integer(_) | Value::Boolean(_) | Value::Float(_))) => {
            plain.to_string().trim().to_owned()
        }
        _ => format!("of type {}", item.type_name()),
    };
    Violation::WrongValue { key, found, expected }
}

/// A table's name, the table, and the keys that are read.
type Known<'t> = (&'static str, &'t dyn TableLike, &'static [&'static str]);

fn unknown_keys(tables: &[Known<'_>]) -> Vec<Note> {
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
fn misspelt(document: &DocumentMut, known: &[Known<'_>], violations: &[Violation]) -> Vec<Violation> {
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
    document.iter().filter(|(name, _)| !["solution", "build", "target"].contains(name))
}

/// What stands beside the three tables. Another tool may read it, so it is noted alone; but what looks
/// like a misplaced `[target]` must not be overlooked.
fn unknown_tables(document: &DocumentMut) -> Vec<Note> {
    let of_target = |item: &Item| {
        item.as_table_like().is_some_and(|table| table.iter().any(|(key, _)| is_of_target(key)))
    };
    other_tables(document).map(|(name, item)| unknown(name, is_of_target(name) || of_target(item))).collect()
}

fn is_of_target(key: &str) -> bool {
    ["arch", "nvcc_flags"].contains(&key)
}

fn unknown(key: &str, belongs_to_target: bool) -> Note {
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
    Note { path: CONFIG_NAME.to_owned(), what: format!("`{key}` is unknown and ignored{way_out}") }
}

/// Writes a `config.toml`: what [`super::read`] reads back as the same three tables.
#[must_use]
pub(crate) fn write_config(meta: &SolutionMeta, spec: &BuildSpec, target: &Target) -> String {
    let mut solution = Table::new();
    solution["name"] = value(&meta.name);
    solution["definition"] = value(&meta.definition);
    solution["author"] = value(&meta.author);
    if let Some(description) = meta.description.as_deref().filter(|text| !text.is_empty()) {
        solution["description"] = value(description);
    }
    let mut build = Table::new();
    build["language"] = value(spec.language.as_str());
    build["entry_point"] = value(spec.entry_point.to_string());
    build["destination_passing_style"] = value(spec.destination_passing_style);
    if let Some(binding) = spec.binding {
        build["binding"] = value(binding.as_str());
    }
    if !spec.dependencies.is_empty() {
        build["dependencies"] = value(strings(&spec.dependencies));
    }
    if spec.target_hardware != [CONTEST_HARDWARE] {
        build["target_hardware"] = value(strings(&spec.target_hardware));
    }
    let mut document = DocumentMut::new();
    document["solution"] = Item::Table(solution);
    document["build"] = Item::Table(build);
    document["target"] = Item::Table(target_table(target));
    document.to_string()
}

fn target_table(target: &Target) -> Table {
    let mut table = Table::new();
    table["arch"] = value(target.arch.to_string());
    if !target.nvcc_flags.is_empty() {
        table["nvcc_flags"] = value(strings(&target.nvcc_flags));
    }
    table
}

fn strings(texts: &[String]) -> Array {
    texts.iter().map(String::as_str).collect()
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

/// Sets what is given in the `[target]` table of a `config.toml`, keeping every comment, the order
/// of the rest, and CRLF line ends. Empty flags remove the key. What stood there before need not
/// be valid.
pub fn edit_target(text: &str, arch: Option<Arch>, flags: Option<&[String]>) -> Result<String, Violation> {
    let mut document = document_of(text)?;
    let table = document.entry("target").or_insert_with(|| Item::Table(Table::new()));
    let Some(table) = table.as_table_like_mut() else {
        return Err(wrong("target", table, "a table"));
    };
    if let Some(arch) = arch {
        set(table, "arch", Some(Value::from(arch.to_string())));
    }
    if let Some(flags) = flags {
        set(table, "nvcc_flags", (!flags.is_empty()).then(|| Value::Array(strings(flags))));
    }
    let edited = document.to_string();
    // The document writes LF alone; the first line end stands for all.
    let is_crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    Ok(if is_crlf { edited.replace("\r\n", "\n").replace('\n', "\r\n") } else { edited })
}

/// Parses the text as the contest's reader does, which takes CRLF for LF even inside strings.
fn document_of(text: &str) -> Result<DocumentMut, Violation> {
    text.replace("\r\n", "\n").parse().map_err(|error: TomlError| Violation::Syntax {
        message: escape::block(error.to_string().trim_end()),
    })
}

/// Replaces a value in place, so that the comment behind it stays.
fn set(table: &mut dyn TableLike, key: &str, new: Option<Value>) {
    let Some(mut new) = new else {
        table.remove(key);
        return;
    };
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(new));
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

    #[test]
    fn edits_the_target_and_keeps_comments() {
        let text =
            format!("# top\n{GOOD}\n[target]  # ours\narch = \"sm_90a\" # exact\n[other]\nx = 1 # kept\n");
        let target = Target { arch: Arch::SM_100A, nvcc_flags: vec!["-O3".into()] };
        let set = |text: &str| edit_target(text, Some(target.arch), Some(&target.nvcc_flags)).unwrap();
        let edited = set(&text);
        for part in ["# top", "# a comment", "[target]  # ours", "arch = \"sm_100a\" # exact", "x = 1 # kept"]
        {
            assert!(edited.contains(part), "{part} not in {edited}");
        }
        assert!(edited.contains("nvcc_flags = [\"-O3\"]"));
        let mut violations = Vec::new();
        assert_eq!(parse(&edited, &mut violations).target.unwrap(), target);
        assert_eq!(parse(&set(GOOD), &mut violations).target.unwrap(), target);
        let crlf = set(&text.replace('\n', "\r\n"));
        assert_eq!(crlf, edited.replace('\n', "\r\n"));
    }

    #[test]
    fn repairs_a_target_that_cannot_be_read_and_touches_nothing_else() {
        let broken = "[solution]\nname = 5\n[target]\narch = \"100a\" # ours\nnvcc_flags = 3\n";
        assert_eq!(target_of(broken).unwrap_err().0.len(), 2);
        let arch = edit_target(broken, Some(Arch::SM_100A), None).unwrap();
        assert_eq!(arch, broken.replace("\"100a\"", "\"sm_100a\""));
        assert_eq!(target_of(&arch).unwrap_err().0.len(), 1);
        let both = edit_target(&arch, None, Some(&[])).unwrap();
        assert_eq!(target_of(&both).unwrap(), Target::default());
        assert!(edit_target("target = 1\n", Some(Arch::SM_100A), None).is_err());
        assert!(target_of("target = 1\n").is_err() && target_of("a =\n").is_err());
    }
}
