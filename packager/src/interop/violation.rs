//! What is wrong with a document: every finding, in document order.

use std::fmt;

/// One place in a document that does not hold what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatViolation {
    /// Dotted path from the document's root, such as `inputs.q.shape`.
    pub place: String,
    /// What belongs there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl FormatViolation {
    /// Notes one finding.
    pub fn new(place: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { place: place.into(), expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for FormatViolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: expected {}, found {}", self.place, self.expected, self.found)
    }
}

/// A document that breaks its format, with every violation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {document}: {}", list(.violations))]
pub struct Invalid {
    /// What the document claims to be: `definition`, `workload`, `trace`.
    pub document: &'static str,
    /// Everything that is wrong; never empty.
    pub violations: Vec<FormatViolation>,
}

impl Invalid {
    /// A document that is not even JSON.
    pub(in crate::interop) fn json(document: &'static str, error: &crate::json::JsonError) -> Self {
        Self { document, violations: vec![FormatViolation::new("$", "JSON", error.to_string())] }
    }
}

impl Invalid {
    /// Every violation on a line of its own.
    #[must_use]
    pub fn lines(&self) -> String {
        self.violations.iter().fold(String::new(), |lines, one| lines + &format!("\n  {one}"))
    }
}

fn list(violations: &[FormatViolation]) -> String {
    violations.iter().map(FormatViolation::to_string).collect::<Vec<_>>().join("; ")
}
