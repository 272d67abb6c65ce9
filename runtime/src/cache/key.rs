//! What names a build, and why a name was not found.

use std::collections::BTreeMap;
use std::fmt;

use proofmark_packager::{Arch, Digest, DigestBuilder, Gencode};
use serde::{Deserialize, Serialize};

use crate::build::Dependencies;
use crate::toolchain::Fingerprint;

/// Tag of the plan hash. Changes whenever what enters the hash does.
const PLAN_DOMAIN: &str = "proofmark/plan/2";

/// Tag of the key hash.
const KEY_DOMAIN: &str = "proofmark/key/1";

/// Tag of the hash that names a unit.
const UNIT_DOMAIN: &str = "proofmark/unit/1";

/// Names everything that is known before the compiler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanKey(pub(super) Digest);

/// Names one build: the plan and every header that it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub(super) Digest);

impl fmt::Display for PlanKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whose build it is, for people: groups builds for explanations and enters no key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildName {
    /// The submission's name.
    pub solution: String,
    /// The definition's name.
    pub definition: String,
}

/// Everything that can change a build's output, headers aside; nothing of it is a person's choice of
/// words. Names, author and description are not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingredients {
    /// Each source's digest by path: any of them may be included, or looked for.
    pub sources: BTreeMap<String, Digest>,
    /// What the library must export.
    pub entry_symbol: String,
    /// What nvcc is asked for.
    pub gencode: Gencode,
    /// Every command with its whole environment, as lines for a shell; free of paths of this machine.
    pub commands: Vec<String>,
    /// Everything that turns sources into a library, headers aside.
    pub toolchain: Fingerprint,
}

impl Ingredients {
    /// Names the plan.
    pub fn plan_key(&self) -> PlanKey {
        let Self { sources, entry_symbol, gencode, commands, toolchain } = self;
        let hash = DigestBuilder::new(PLAN_DOMAIN)
            .list(sources.iter(), |hash, (path, digest)| hash.text(path).digest(digest))
            .text(entry_symbol)
            .text(&gencode.to_string())
            .list(commands.iter(), |hash, command| hash.text(command))
            .digest(&toolchain.digest());
        PlanKey(hash.finish())
    }
}

/// Names one unit, as far as that is known before it is compiled: its source, every path that an
/// `#include` could find in the submission, its command and the toolchain. What it reads besides is
/// kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitKey(pub(super) Digest);

impl Ingredients {
    /// Names the unit of a source that is compiled by this command.
    pub fn unit_key(&self, source: &str, command: &str) -> UnitKey {
        let hash = DigestBuilder::new(UNIT_DOMAIN)
            .text(source)
            .list(self.sources.keys(), |hash, path| hash.text(path))
            .text(command)
            .digest(&self.toolchain.digest());
        UnitKey(hash.finish())
    }
}

impl BuildName {
    /// Names the file that remembers this name's last build.
    pub(super) fn digest(&self) -> Digest {
        DigestBuilder::new("proofmark/name/1").text(&self.solution).text(&self.definition).finish()
    }
}

impl PlanKey {
    /// Completes the key with the headers' digests.
    pub fn with(&self, dependencies: &Dependencies) -> Key {
        let hash = DigestBuilder::new(KEY_DOMAIN).digest(&self.0);
        Key(hash.list(dependencies.iter(), |hash, (label, digest)| hash.text(label).digest(digest)).finish())
    }
}

/// Why a build was not found, in the order in which we look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum MissReason {
    /// The caller asked for a fresh build.
    Bypassed,
    /// Nothing of this name was ever built here.
    NeverBuilt {
        /// The submission's name.
        name: String,
    },
    /// Files of the submission changed since its last build.
    SourcesChanged {
        /// Paths that were changed, added or removed.
        paths: Vec<String>,
    },
    /// Another function must be exported than in the last build.
    EntryChanged {
        /// The last build's.
        last: String,
        /// The one asked for now.
        now: String,
    },
    /// Another architecture than in the last build.
    ArchChanged {
        /// The last build's.
        last: Arch,
        /// The one asked for now.
        now: Arch,
    },
    /// Other flags or environment.
    CommandChanged {
        /// Arguments and variables only in this command.
        added: Vec<String>,
        /// Arguments and variables only in the last one.
        removed: Vec<String>,
    },
    /// Another compiler.
    ToolchainChanged {
        /// The parts that differ.
        parts: Vec<String>,
    },
    /// Headers changed under the same plan.
    HeadersChanged {
        /// Labels of the headers that changed or are gone.
        labels: Vec<String>,
    },
    /// The entry was removed, by `gc` or by hand.
    Removed,
    /// The entry was there but did not hold what it claims; it was set aside.
    Damaged {
        /// What was found.
        fault: String,
    },
}

impl MissReason {
    /// Explains why `now` has no build, from the last build of the same name.
    pub(super) fn between(name: &BuildName, last: Option<&Ingredients>, now: &Ingredients) -> Self {
        let Some(last) = last else {
            return Self::NeverBuilt { name: name.solution.clone() };
        };
        let paths = keys_that_differ(&last.sources, &now.sources);
        let parts = last.toolchain.differences(&now.toolchain);
        if !paths.is_empty() {
            Self::SourcesChanged { paths }
        } else if last.gencode != now.gencode {
            Self::ArchChanged { last: last.gencode.real_arch, now: now.gencode.real_arch }
        } else if !parts.is_empty() {
            Self::ToolchainChanged { parts }
        } else if last.commands != now.commands {
            let (last, now) = (words_of(last), words_of(now));
            let only = |these: &[String], those: &[String]| {
                let mut words: Vec<String> =
                    these.iter().filter(|word| !those.contains(word)).cloned().collect();
                words.sort();
                words.dedup();
                words
            };
            Self::CommandChanged { added: only(&now, &last), removed: only(&last, &now) }
        } else if last.entry_symbol != now.entry_symbol {
            Self::EntryChanged { last: last.entry_symbol.clone(), now: now.entry_symbol.clone() }
        } else {
            Self::Removed
        }
    }
}

fn words_of(ingredients: &Ingredients) -> Vec<String> {
    ingredients.commands.iter().flat_map(|command| command.split(' ')).map(str::to_owned).collect()
}

/// The keys under which two maps differ.
pub(super) fn keys_that_differ(a: &BTreeMap<String, Digest>, b: &BTreeMap<String, Digest>) -> Vec<String> {
    let mut keys: Vec<_> =
        a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key)).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

impl fmt::Display for MissReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bypassed => write!(formatter, "a fresh build was asked for"),
            Self::NeverBuilt { name } => write!(formatter, "`{name}` was never built here"),
            Self::SourcesChanged { paths } => {
                write!(formatter, "changed since the last build: {}", listed(paths))
            }
            Self::EntryChanged { last, now } => {
                write!(formatter, "the last build was for the function `{last}`, this one is for `{now}`")
            }
            Self::ArchChanged { last, now } => {
                write!(formatter, "the last build was for {last}, this one is for {now}")
            }
            Self::CommandChanged { added, removed } => {
                let part = |what: &str, words: &[String]| {
                    (!words.is_empty()).then(|| format!("{what} {}", listed(words)))
                };
                let parts: Vec<_> =
                    [part("added", added), part("removed", removed)].into_iter().flatten().collect();
                let how = "its arguments have another order or number".to_owned();
                let text = if parts.is_empty() { how } else { parts.join("; ") };
                write!(formatter, "the command changed: {text}")
            }
            Self::ToolchainChanged { parts } => write!(formatter, "the toolchain changed: {}", listed(parts)),
            Self::HeadersChanged { labels } => write!(formatter, "headers changed: {}", listed(labels)),
            Self::Removed => write!(formatter, "the cached build was removed"),
            Self::Damaged { fault } => {
                write!(formatter, "the cached build was damaged and set aside: {fault}")
            }
        }
    }
}

/// Names at most five things: a reader wants the cause, not the list.
fn listed(names: &[String]) -> String {
    const MOST_NAMED: usize = 5;
    let mut text = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMED {
        text.push_str(&format!(" and {} more", names.len() - MOST_NAMED));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::toolchain::Release;
    use crate::toolchain::fingerprint::Part;

    pub(crate) fn ingredients() -> Ingredients {
        let digest = |text: &str| Digest::of_bytes(text.as_bytes());
        let part = Part { role: "<cuda>/bin/ptxas".into(), sha256: digest("ptxas") };
        let release = Release { major: 13, minor: 0, patch: 88 };
        Ingredients {
            sources: BTreeMap::from([("kernel.cu".to_owned(), digest("kernel.cu"))]),
            entry_symbol: "run".into(),
            gencode: Gencode::exact(Arch::SM_100A),
            commands: vec!["env -i LC_ALL=C nvcc -O2".into()],
            toolchain: Fingerprint {
                release,
                host_compiler: "g++".into(),
                linker: "ld".into(),
                tvm_ffi: "0.1".into(),
                parts: vec![part],
            },
        }
    }

    pub(crate) fn name() -> BuildName {
        BuildName { solution: "n".into(), definition: "d".into() }
    }

    type Edit = fn(&mut Ingredients, Digest);

    #[test]
    fn every_ingredient_changes_the_key_and_explains_itself() {
        let last = ingredients();
        let other = Digest::of_bytes(b"other");
        let edits: [(Edit, &str); 7] = [
            (|now, _| now.entry_symbol = "launch".into(), "launch"),
            (|now, other| now.sources.extend([("kernel.cu".into(), other)]), "kernel.cu"),
            (|now, other| now.sources.extend([("new.h".into(), other)]), "new.h"),
            (|now, _| now.gencode = Gencode::exact("sm_90a".parse().unwrap()), "sm_90a"),
            (|now, _| now.commands[0].push_str(" -O3"), "-O3"),
            (|now, _| now.commands.push("ld X=1".into()), "X=1"),
            (|now, other| now.toolchain.parts[0].sha256 = other, "ptxas"),
        ];
        for (edit, word) in edits {
            let mut now = last.clone();
            edit(&mut now, other);
            assert_ne!(now.plan_key(), last.plan_key(), "{word}");
            let reason = MissReason::between(&name(), Some(&last), &now).to_string();
            assert!(reason.contains(word), "{word} not in {reason}");
        }
        assert_eq!(MissReason::between(&name(), Some(&last), &last), MissReason::Removed);
        assert_eq!(MissReason::between(&name(), None, &last), MissReason::NeverBuilt { name: "n".into() });
    }

    #[test]
    fn everything_that_a_unit_could_see_beside_contents_names_it() {
        let here = ingredients();
        let unit = here.unit_key("kernel.cu", "nvcc");
        assert_ne!(unit, here.unit_key("other.cu", "nvcc"));
        assert_ne!(unit, here.unit_key("kernel.cu", "nvcc -O3"));
        let mut changed = here.clone();
        changed.toolchain.parts[0].sha256 = Digest::of_bytes(b"other");
        assert_ne!(unit, changed.unit_key("kernel.cu", "nvcc"));
        // A new file may be found by an include in the place of another.
        let mut changed = here.clone();
        changed.sources.insert("include/shift.cuh".into(), Digest::of_bytes(b""));
        assert_ne!(unit, changed.unit_key("kernel.cu", "nvcc"));
        // Contents are compared one by one.
        let mut changed = here;
        changed.sources.insert("kernel.cu".into(), Digest::of_bytes(b"other"));
        assert_eq!(unit, changed.unit_key("kernel.cu", "nvcc"));
    }

    #[test]
    fn headers_complete_the_key() {
        let plan = ingredients().plan_key();
        let one = Dependencies::from([("<cuda>/a.h".to_owned(), Digest::of_bytes(b"1"))]);
        let two = Dependencies::from([("<cuda>/a.h".to_owned(), Digest::of_bytes(b"2"))]);
        assert_ne!(plan.with(&one), plan.with(&two));
        assert_ne!(plan.with(&one), plan.with(&Dependencies::new()));
    }

    #[test]
    fn a_changed_command_says_only_what_changed() {
        let with = |command: &str| Ingredients { commands: vec![command.to_owned()], ..ingredients() };
        let last = with("nvcc -O2 k.cu");
        let said = |command: &str| MissReason::between(&name(), Some(&last), &with(command)).to_string();
        assert_eq!(said("nvcc -O2 -lineinfo -lineinfo k.cu"), "the command changed: added -lineinfo");
        assert_eq!(said("nvcc -O3 k.cu"), "the command changed: added -O3; removed -O2");
        assert_eq!(
            said("nvcc -O2 -O2 k.cu"),
            "the command changed: its arguments have another order or number"
        );
    }
}
