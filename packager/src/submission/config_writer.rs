//! Writes `config.toml`, and edits one that a person wrote: comments and order stay.

use toml_edit::{DocumentMut, Item, Table, TableLike, Value, value};

use super::board_table;
use super::config::{CONTEST_HARDWARE, document_of, strings, wrong};
use super::{Target, Violation};
use crate::artifact::Manifest;
use crate::target::Arch;

/// Writes a `config.toml`: what [`super::read`] reads back as the same tables.
#[must_use]
pub(crate) fn write_config(manifest: &Manifest) -> String {
    let Manifest { solution: meta, build: spec, target, unknown, .. } = manifest;
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
    if let Some(table) = board_table::of_kept(unknown) {
        document[board_table::NAME] = Item::Table(table);
    }
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
    use crate::submission::config::{parse, target_of};

    const GOOD: &str = "[solution]\nname = \"n\" # a comment\ndefinition = \"d\"\nauthor = \"a\"\n\n[build]\nlanguage = \"cuda\"\nentry_point = \"kernel.cu::run\"\n";

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
