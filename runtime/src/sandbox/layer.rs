//! The layers of the sandbox, and which of them a run had.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One protection, tried on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Rights count only inside.
    UserNamespace,
    /// Other processes are not seen, and none outlives the first.
    PidNamespace,
    /// No network.
    NetworkNamespace,
    /// No shared memory with others.
    IpcNamespace,
    /// Files that are not named do not exist.
    Mounts,
    /// Files that are not named are refused.
    Landlock,
    /// No program gives rights.
    NoNewPrivileges,
    /// System calls that no compiler needs are refused.
    Seccomp,
    /// Memory, files, processes and time are bounded.
    Limits,
}

impl Layer {
    /// Every layer, in the order in which they are put on.
    pub const ALL: [Self; 9] = [
        Self::UserNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::Mounts,
        Self::Limits,
        Self::NoNewPrivileges,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// Its name in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserNamespace => "user namespace",
            Self::PidNamespace => "pid namespace",
            Self::NetworkNamespace => "network namespace",
            Self::IpcNamespace => "ipc namespace",
            Self::Mounts => "mounts",
            Self::Landlock => "landlock",
            Self::NoNewPrivileges => "no new privileges",
            Self::Seccomp => "seccomp",
            Self::Limits => "limits",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a run had, and why it lacked the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layers {
    /// What was put on, with what there is to say of it, such as Landlock's version.
    pub held: BTreeMap<Layer, String>,
    /// What was not to be had, with the system's reason.
    pub missing: BTreeMap<Layer, String>,
}

impl Layers {
    /// No layer at all, for one reason.
    pub fn none(reason: &str) -> Self {
        let missing = Layer::ALL.into_iter().map(|layer| (layer, reason.to_owned()));
        Self { held: BTreeMap::new(), missing: missing.collect() }
    }

    /// Notes how putting on one layer went.
    pub(super) fn note(&mut self, layer: Layer, outcome: Result<String, String>) {
        match outcome {
            Ok(words) => {
                self.missing.remove(&layer);
                self.held.insert(layer, words);
            }
            Err(reason) => {
                self.missing.insert(layer, reason);
            }
        }
    }

    pub(super) fn has(&self, layer: Layer) -> bool {
        self.held.contains_key(&layer)
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        Layer::ALL.iter().all(|layer| self.has(*layer))
    }

    /// The layers of several runs: held only where each of them held it.
    pub fn common(runs: impl IntoIterator<Item = Self>) -> Option<Self> {
        runs.into_iter().reduce(|mut all, one| {
            all.held.retain(|layer, _| one.has(*layer));
            all.missing.extend(one.missing);
            all
        })
    }

    /// The missing ones in words: `landlock (not implemented), seccomp (…)`.
    pub fn missing_words(&self) -> String {
        let phrase = |(layer, reason): (&Layer, &String)| format!("{layer} ({reason})");
        self.missing.iter().map(phrase).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_run_lacks_all_of_them_lack() {
        let mut whole = Layers::default();
        for layer in Layer::ALL {
            whole.note(layer, Ok(String::new()));
        }
        assert!(whole.is_whole());
        let mut without = whole.clone();
        without.held.remove(&Layer::Seccomp);
        without.note(Layer::Seccomp, Err("not implemented".to_owned()));
        let common = Layers::common([whole.clone(), without, whole]).unwrap();
        assert!(!common.is_whole() && !common.has(Layer::Seccomp) && common.has(Layer::Landlock));
        assert_eq!(common.missing_words(), "seccomp (not implemented)");
    }
}
