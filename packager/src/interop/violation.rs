//! What is wrong with a document: every finding, in document order.

use std::fmt;

use crate::json::JsonError;
use crate::submission::Violation;

/// One place in a document that does not hold what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatViolation {
    /// Dotted path from the document's root, such as `inputs.q.shape`.
    pub place: String,
    /// What belongs there; empty where `found` says all of it.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// The place that is the whole document.
pub(crate) const WHOLE: &str = "$";

impl FormatViolation {
    /// Notes one finding.
    pub fn new(place: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { place: place.into(), expected: expected.into(), found: found.into() }
    }

    /// A rule of packing that the parts break together, in its own words.
    pub(crate) fn of_packing(violation: &Violation) -> Self {
        Self::new(WHOLE, "", violation.to_string())
    }
}

impl fmt::Display for FormatViolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.as_str(), self.expected.as_str()) {
            (WHOLE, "") => formatter.write_str(&self.found),
            (WHOLE, expected) => write!(formatter, "expected {expected}, found {}", self.found),
            (place, expected) => write!(formatter, "`{place}`: expected {expected}, found {}", self.found),
        }
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
    pub(in crate::interop) fn json(document: &'static str, error: &JsonError) -> Self {
        let violation = match error {
            JsonError::Syntax(error) => FormatViolation::new(WHOLE, "JSON", format!("none: {error}")),
            other => FormatViolation::new(WHOLE, "", other.to_string()),
        };
        Self { document, violations: vec![violation] }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_document_has_no_sign_for_its_place() {
        let said = |text: &str| {
            let error = crate::json::parse::<u8>(text, crate::json::Budget::DOCUMENT).unwrap_err();
            Invalid::json("trace", &error).to_string()
        };
        assert_eq!(
            said("{x"),
            "not a valid trace: expected JSON, found none: key must be a string at line 1 column 2"
        );
        let nested = said(&"[".repeat(100));
        assert!(nested.starts_with("not a valid trace: it nests too deeply"), "{nested}");
        let missing = Violation::MissingKey { key: "build.language", expected: "a text" };
        let packed = FormatViolation::of_packing(&missing).to_string();
        assert_eq!(packed, missing.to_string());
        assert_eq!(
            FormatViolation::new(WHOLE, "an object", "`[]`").to_string(),
            "expected an object, found `[]`"
        );
    }
}
