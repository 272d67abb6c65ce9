//! What could be had of the protections, and what is missing.

/// How far the kernel bounds files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// Not at all, and why.
    Unbounded {
        /// Why.
        reason: String,
    },
    /// By Landlock.
    Bounded {
        /// The version of Landlock's interface that was used.
        version: i32,
    },
}

impl Files {
    /// The weaker of two bounds that were set one after the other: threads between them have the first.
    #[must_use]
    pub fn weaker(self, later: Self) -> Self {
        match (&self, &later) {
            (Self::Bounded { .. }, Self::Unbounded { .. }) => later,
            _ => self,
        }
    }
}

/// What could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protections {
    /// Files.
    pub files: Files,
    /// Why there is no list of allowed system calls; `None` where it holds.
    pub system_calls: Option<String>,
    /// Why capabilities are still held; `None` where they are not.
    pub capabilities: Option<String>,
}

/// What each version of Landlock began to bound. The list of system calls refuses all of these too.
const BOUNDED_SINCE: [(i32, &str); 5] = [
    (3, "truncating files"),
    (4, "TCP"),
    (5, "commands to devices"),
    (6, "signals and abstract sockets"),
    (9, "sockets with a path"),
];

impl Protections {
    /// What nothing refuses here, in words; `None` where everything is refused that should be.
    pub fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        match &self.files {
            Files::Unbounded { reason } => missing.push(format!("files are not bounded ({reason})")),
            Files::Bounded { version } if self.system_calls.is_some() => {
                let lacking: Vec<_> = BOUNDED_SINCE
                    .iter()
                    .filter(|(since, _)| version < since)
                    .map(|(_, what)| *what)
                    .collect();
                if !lacking.is_empty() {
                    let lacking = lacking.join(", ");
                    missing.push(format!("Landlock {version} does not bound {lacking}"));
                }
            }
            Files::Bounded { .. } => {}
        }
        if let Some(reason) = &self.system_calls {
            missing.push(format!("system calls are not refused ({reason})"));
        }
        if let Some(reason) = &self.capabilities {
            missing.push(format!("capabilities are still held ({reason})"));
        }
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: Files, system_calls: Option<&str>) -> Option<String> {
        Protections { files, system_calls: system_calls.map(str::to_owned), capabilities: None }.missing()
    }

    #[test]
    fn nothing_is_missing_where_the_list_holds_and_files_are_bounded() {
        assert_eq!(with(Files::Bounded { version: 1 }, None), None);
    }

    #[test]
    fn a_kernel_without_landlock_leaves_files_unbounded() {
        let missing = with(Files::Unbounded { reason: "not enabled".to_owned() }, None).unwrap();
        assert_eq!(missing, "files are not bounded (not enabled)");
    }

    #[test]
    fn without_the_list_the_gaps_of_an_old_landlock_are_named() {
        let missing = with(Files::Bounded { version: 3 }, Some("no seccomp")).unwrap();
        assert!(missing.contains("Landlock 3 does not bound TCP, commands to devices"), "{missing}");
        assert!(!missing.contains("truncating"), "{missing}");
        assert!(missing.ends_with("system calls are not refused (no seccomp)"), "{missing}");
    }

    #[test]
    fn a_new_landlock_alone_lacks_only_the_list() {
        let missing = with(Files::Bounded { version: 9 }, Some("no seccomp")).unwrap();
        assert_eq!(missing, "system calls are not refused (no seccomp)");
    }
}
