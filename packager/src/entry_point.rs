//! Names the function that a submission exports, written `kernel.cu::run`.

use std::fmt;
use std::str::FromStr;

use crate::sources::{SourcePath, SourcePathError};

/// The entry file and the symbol in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// The file that defines the symbol.
    pub file: SourcePath,
    /// The exported name, a C identifier.
    pub symbol: String,
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::{}", self.file, self.symbol)
    }
}

/// Why a text cannot be an entry point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPointError {
    /// Not exactly one `::`.
    #[error(
        "entry point `{}` must be a file, `::` and a function, such as {}", found.escape_debug(), examples(found)
    )]
    Form {
        /// The text as found.
        found: String,
    },
    /// Nothing usable behind the `::`.
    #[error("entry point `{}` must name a function behind `::`: letters, digits and `_`", found.escape_debug())]
    Symbol {
        /// The text as found.
        found: String,
    },
    /// The part in front of the `::` is no source path.
    #[error("entry point `{}` names no usable file: {source}", found.escape_debug())]
    File {
        /// The text as found.
        found: String,
        /// What is wrong with the file part.
        source: SourcePathError,
    },
}

/// Entry points that a text may have meant: `kernel` is what the contest's kit ships.
fn examples(found: &str) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || one == '_';
    let (stem, ending) = found.split_once('.').unwrap_or((found, ""));
    if stem.is_empty() || stem.len() > 40 || !stem.chars().all(is_plain) {
        return "`kernel.cu::run`".to_owned();
    }
    if !ending.is_empty() && ending.len() < 4 && ending.chars().all(is_plain) {
        return format!("`{stem}.{ending}::run`");
    }
    format!("`{stem}.cu::run` or `{stem}.py::run`")
}

impl FromStr for EntryPoint {
    type Err = EntryPointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = text.to_owned();
        let Some((file, symbol)) = text.split_once("::").filter(|(_, symbol)| !symbol.contains("::")) else {
            return Err(EntryPointError::Form { found });
        };
        let starts_well = symbol.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts_well || !symbol.chars().all(|one| one.is_ascii_alphanumeric() || one == '_') {
            return Err(EntryPointError::Symbol { found });
        }
        match file.parse() {
            Ok(file) => Ok(Self { file, symbol: symbol.to_owned() }),
            Err(source) => Err(EntryPointError::File { found, source }),
        }
    }
}

crate::text_form!(EntryPoint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["kernel.cu::run", "src/main.cu::run_2", "main.py::_f"] {
            assert_eq!(text.parse::<EntryPoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong_with_each_bad_form() {
        let error = |text: &str| text.parse::<EntryPoint>().unwrap_err();
        for text in ["kernel", "", "a::b::c", "a:b"] {
            assert!(matches!(error(text), EntryPointError::Form { .. }), "{text}");
        }
        assert!(error("main").to_string().ends_with("such as `main.cu::run` or `main.py::run`"));
        assert!(error("k.py").to_string().ends_with("such as `k.py::run`"));
        assert!(error("k\n").to_string().ends_with("such as `kernel.cu::run`"));
        for text in ["k.cu::", "k.cu::1x", "k.cu::a b", "k.cu::a-b", "k.cu::é"] {
            assert!(matches!(error(text), EntryPointError::Symbol { .. }), "{text}");
        }
        for text in ["::run", "../k.cu::run", "/k.cu::run"] {
            assert!(matches!(error(text), EntryPointError::File { .. }), "{text}");
        }
    }
}
