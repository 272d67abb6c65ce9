//! The policy of a release as a maintainer writes it.
//!
//! ```toml
//! policy = 1                        # version of this format
//! fail_on = ["runtime-jit"]         # labels that are findings; none when left out
//!
//! [[rule]]                          # the first rule whose globs match a file is about it
//! name = "kernels"                  # for messages; the globs when left out
//! files = ["mypkg/lib*.so"]         # from the root of the wheel or folder; ** crosses folders
//! require = ["sm_90a", "sm_100a"]   # machine code for each must be there
//! allow = ["sm_80"]                 # and may be there as well: a list, or "any"; none when left out
//! ptx = ["sm_90"]                   # PTX that may be there: a list, "any" or "none", the default
//! lto_ir = false                    # whether LTO-IR may be there
//! runs_on = ["sm_103"]              # something in each file must run there: machine code or allowed PTX
//!
//! [[rule]]
//! files = ["**"]
//! device_code = false               # no device code in any other file
//!
//! [[waiver]]
//! files = ["mypkg/vendor/**"]
//! findings = ["unreadable"]         # which kinds; every kind when left out
//! reason = "unpacked and read by hand for 3.5.0"
//! ```
//!
//! Kinds of findings: see [`FindingKind`]. Every violation is reported, not only the
//! first.

use std::collections::BTreeSet;
use std::fmt;

use proofmark_packager::Arch;
use toml_edit::{DocumentMut, Item, Table, Value};

use super::finding::FindingKind;
use super::policy::{Allowed, Pattern, ReleasePolicy, Rule, Waiver};

/// The version of the format that is read.
pub const FORMAT_VERSION: i64 = 1;

/// Everything that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFileError {
    /// Each in words, in the order of the file.
    pub violations: Vec<String>,
}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.violations.join("; "))
    }
}

impl std::error::Error for PolicyFileError {}

impl ReleasePolicy {
    /// Reads a policy file's text.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyFileError> {
        let fail = |words: String| PolicyFileError { violations: vec![words] };
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            fail(format!("no TOML: {}", error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")))
        })?;
        let mut reader = Reader::default();
        let policy = reader.policy(name, document.as_table());
        if reader.violations.is_empty() {
            Ok(policy)
        } else {
            Err(PolicyFileError { violations: reader.violations })
        }
    }
}

#[derive(Default)]
struct Reader {
    violations: Vec<String>,
}

impl Reader {
    fn policy(&mut self, name: &str, table: &Table) -> ReleasePolicy {
        self.known("the policy", table, &["policy", "fail_on", "rule", "waiver"]);
        match table.get("policy").and_then(Item::as_integer) {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                self.violations
                    .push(format!("`policy = {other}`: this program reads version {FORMAT_VERSION}"));
            }
            None => {
                self.violations.push(format!("`policy = {FORMAT_VERSION}` must name the format's version"));
            }
        }
        let mut refuses_runtime_jit = false;
        for label in self.texts("fail_on", table.get("fail_on")).unwrap_or_default() {
            if label == FindingKind::RuntimeJit.word() {
                refuses_runtime_jit = true;
            } else {
                self.violations.push(format!("`fail_on`: {label:?} is no label; expected \"runtime-jit\""));
            }
        }
        let tables = |name: &str| table.get(name).and_then(Item::as_array_of_tables);
        for name in ["rule", "waiver"] {
            if table.contains_key(name) && tables(name).is_none() {
                self.violations.push(format!("`{name}` must be written as [[{name}]]"));
            }
        }
        let rules: Vec<Rule> =
            tables("rule").into_iter().flatten().zip(1..).map(|(one, n)| self.rule(n, one)).collect();
        let waivers =
            tables("waiver").into_iter().flatten().zip(1..).map(|(one, n)| self.waiver(n, one)).collect();
        if rules.is_empty() && self.violations.is_empty() {
            self.violations.push("no [[rule]]: nothing is asked of any file".to_owned());
        }
        let not_known = Vec::new();
        ReleasePolicy { name: name.to_owned(), rules, waivers, refuses_runtime_jit, not_known }
    }

    fn rule(&mut self, number: usize, table: &Table) -> Rule {
        let place = format!("rule {number}");
        let keys = ["name", "files", "device_code", "require", "allow", "ptx", "lto_ir", "runs_on"];
        self.known(&place, table, &keys);
        let files = self.globs(&place, table);
        let globs = files.iter().map(Pattern::text).collect::<Vec<_>>().join(", ");
        let device_code = self.flag(&place, table, "device_code", true);
        let require = match self.archs(&place, "require", table.get("require")) {
            Some(Allowed::These(archs)) => archs,
            Some(Allowed::Any) => {
                self.violations.push(format!("{place}: `require` must be a list of architectures"));
                BTreeSet::new()
            }
            None => BTreeSet::new(),
        };
        let allow = self.archs(&place, "allow", table.get("allow"));
        let ptx = self.archs(&place, "ptx", table.get("ptx"));
        let runs_on = self.archs(&place, "runs_on", table.get("runs_on"));
        let asks = ["require", "allow", "ptx", "lto_ir", "runs_on"].iter().any(|key| table.contains_key(key));
        if !device_code && asks {
            self.violations
                .push(format!("{place}: `device_code = false` leaves nothing to require or allow"));
        } else if device_code && !asks {
            self.violations
                .push(format!("{place}: asks for nothing: `require`, `allow` or `device_code = false`"));
        }
        let runs_on = match runs_on {
            Some(Allowed::These(archs)) => archs.into_iter().map(|arch| arch.number).collect(),
            _ => Vec::new(),
        };
        Rule {
            name: self.text(&place, table, "name").unwrap_or(globs),
            files,
            device_code,
            require,
            allow: allow.unwrap_or_else(Allowed::none),
            ptx: ptx.unwrap_or_else(Allowed::none),
            lto_ir: self.flag(&place, table, "lto_ir", false),
            runs_on,
        }
    }

    fn waiver(&mut self, number: usize, table: &Table) -> Waiver {
        let place = format!("waiver {number}");
        self.known(&place, table, &["files", "findings", "reason"]);
        let mut findings = Vec::new();
        for word in self.texts(&format!("{place}: `findings`"), table.get("findings")).unwrap_or_default() {
            if let Some(kind) = FindingKind::ALL.into_iter().find(|kind| kind.word() == word) {
                findings.push(kind);
            } else {
                let words: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.word()).collect();
                let words = words.join(", ");
                self.violations
                    .push(format!("{place}: {word:?} is no kind of finding; expected one of {words}"));
            }
        }
        let reason = self.text(&place, table, "reason").unwrap_or_default();
        if reason.trim().is_empty() {
            self.violations.push(format!("{place}: `reason` must say why it is accepted"));
        }
        Waiver { files: self.globs(&place, table), findings, reason }
    }

    fn known(&mut self, place: &str, table: &Table, keys: &[&str]) {
        for (key, _) in table {
            if !keys.contains(&key) {
                self.violations.push(format!("{place}: unknown key {key:?}; expected {}", keys.join(", ")));
            }
        }
    }

    fn globs(&mut self, place: &str, table: &Table) -> Vec<Pattern> {
        let texts = self.texts(&format!("{place}: `files`"), table.get("files"));
        let mut globs = Vec::new();
        for text in texts.unwrap_or_default() {
            match Pattern::new(&text) {
                Ok(glob) => globs.push(glob),
                Err(reason) => {
                    self.violations.push(format!("{place}: `files`: {text:?} is no glob: {reason}"));
                }
            }
        }
        if globs.is_empty() && !self.violations.iter().any(|one| one.starts_with(place)) {
            self.violations.push(format!("{place}: `files` must name at least one glob"));
        }
        globs
    }

    fn flag(&mut self, place: &str, table: &Table, key: &str, default: bool) -> bool {
        let Some(item) = table.get(key) else { return default };
        item.as_bool().unwrap_or_else(|| {
            self.violations.push(format!("{place}: `{key}` must be true or false"));
            default
        })
    }

    fn text(&mut self, place: &str, table: &Table, key: &str) -> Option<String> {
        let item = table.get(key)?;
        let text = item.as_str().map(str::to_owned);
        if text.is_none() {
            self.violations.push(format!("{place}: `{key}` must be a text"));
        }
        text
    }

    fn texts(&mut self, what: &str, item: Option<&Item>) -> Option<Vec<String>> {
        let item = item?;
        let texts = item.as_array().and_then(|array| {
            array.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.violations.push(format!("{what} must be a list of texts"));
        }
        texts
    }

    /// A list of architectures, `"any"` or `"none"`.
    fn archs(&mut self, place: &str, key: &str, item: Option<&Item>) -> Option<Allowed> {
        let item = item?;
        match item.as_value().and_then(Value::as_str) {
            Some("any") => return Some(Allowed::Any),
            Some("none") => return Some(Allowed::none()),
            Some(_) | None => {}
        }
        let mut archs = BTreeSet::new();
        for text in self.texts(&format!("{place}: `{key}`"), Some(item))? {
            match text.parse::<Arch>() {
                Ok(arch) => {
                    archs.insert(arch);
                }
                Err(error) => self.violations.push(format!("{place}: `{key}`: {error}")),
            }
        }
        Some(Allowed::These(archs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let text = r#"
            policy = 1
            fail_on = ["runtime-jit"]
            [[rule]]
            name = "kernels"
            files = ["pkg/lib*.so", "pkg/**/k.a"]
            require = ["sm_90a", "sm_100a"]
            allow = "any"
            ptx = ["sm_90"]
            lto_ir = true
            runs_on = ["sm_103"]
            [[rule]]
            files = ["**"]
            device_code = false
            [[waiver]]
            files = ["pkg/vendor/**"]
            findings = ["unreadable", "machine-code"]
            reason = "theirs"
        "#;
        let policy = ReleasePolicy::parse("release.toml", text).unwrap();
        assert!(policy.refuses_runtime_jit);
        assert_eq!((policy.rules.len(), policy.waivers.len()), (2, 1));
        let rule = &policy.rules[0];
        assert_eq!((rule.require.len(), &rule.allow, rule.lto_ir), (2, &Allowed::Any, true));
        assert_eq!((rule.runs_on.as_slice(), policy.rules[1].name.as_str()), (&[103][..], "**"));
    }

    #[test]
    fn every_violation_is_reported() {
        let text = r#"
            policy = 2
            fail_on = ["slow"]
            colour = "red"
            [[rule]]
            require = ["sm_9000000000", "gfx90a"]
            [[rule]]
            files = ["a/***"]
            device_code = false
            ptx = "any"
            [[waiver]]
            files = ["x"]
            findings = ["bad"]
        "#;
        let error = ReleasePolicy::parse("x", text).unwrap_err();
        let all = error.to_string();
        for word in ["colour", "policy = 2", "slow", "gfx90a", "***", "leaves nothing", "bad", "reason"] {
            assert!(all.contains(word), "{word} is missing in {all}");
        }
        assert!(ReleasePolicy::parse("x", "policy = 1\n[").is_err());
        assert!(ReleasePolicy::parse("x", "policy = 1").is_err());
    }
}
