//! Parses JSON of strangers within a budget, so that a small file cannot take the machine's memory.
//!
//! A parsed value takes up to some hundred bytes of memory for every few bytes of text. The text is
//! therefore walked first, without keeping anything: what nests too deeply or holds too many values
//! is refused before the parser allocates for it.

use std::collections::HashSet;
use std::{fmt, io};

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};

/// How much one document may hold.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Most values and names.
    pub values: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
}

impl Budget {
    /// For a document that is kept whole: some 40 MB of memory at most. The largest real one, a
    /// manifest of 4,096 sources, holds 30,000 values.
    pub const DOCUMENT: Self = Self { values: 100_000, depth: 64 };

    /// For a file of numbers that is read into the types of its format: raw samples of measurements.
    /// A run over 54 workloads holds 40,000 values.
    pub const SAMPLES: Self = Self { values: 1_000_000, depth: 64 };
}

/// Why a text is not parsed.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// A field is absent or of the wrong type.
    #[error(transparent)]
    Format(#[from] serde_json::Error),
    /// Not JSON at all, whatever else is amiss before that place.
    #[error("not JSON: {0}")]
    Syntax(serde_json::Error),
    /// More values than the budget allows.
    #[error("it holds too many values: expected at most {most}")]
    TooManyValues {
        /// The budget.
        most: usize,
    },
    /// Nested deeper than the budget allows.
    #[error("it nests too deeply: expected at most {most} levels")]
    TooDeep {
        /// The budget.
        most: usize,
    },
}

/// Parses a document within a budget; a mark of byte order before it is passed over.
pub fn parse<T: DeserializeOwned>(text: &str, budget: Budget) -> Result<T, JsonError> {
    check(text.as_bytes(), budget)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|error| match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => JsonError::Format(error),
        Err(syntax) => JsonError::Syntax(syntax),
    })
}

/// Checks that a document keeps within a budget, in constant memory; it need not be JSON.
pub fn check(text: &[u8], budget: Budget) -> Result<(), JsonError> {
    let (mut values, mut depth) = (1, 0_usize);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_text(&mut bytes),
            b'[' | b'{' => {
                values += 1;
                depth += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if values > budget.values {
            return Err(JsonError::TooManyValues { most: budget.values });
        }
        if depth > budget.depth {
            return Err(JsonError::TooDeep { most: budget.depth });
        }
    }
    Ok(())
}

/// Refuses a document in which an object holds a name twice: two readers may take it for two documents.
pub fn check_names(text: &str) -> Result<(), JsonError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    UniqueNames.deserialize(&mut reader)?;
    Ok(reader.end()?)
}

/// Reads any value and keeps nothing but the names of the objects that are open.
#[derive(Clone, Copy)]
struct UniqueNames;

impl<'de> DeserializeSeed<'de> for UniqueNames {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value_seed(self)?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("`{name}` stands twice in one object")));
            }
        }
        Ok(())
    }
}

/// How many bytes a document takes, written with indentation. Nothing of it is kept.
///
/// # Panics
///
/// Where the document cannot be JSON: a map whose keys are no texts.
pub fn size_bytes(document: &impl Serialize) -> u64 {
    let mut count = Count(0);
    serde_json::to_writer_pretty(&mut count, document).expect("a count takes every write");
    count.0
}

/// Counts what is written.
struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 += written.len() as u64;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn skip_text(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const SMALL: Budget = Budget { values: 8, depth: 3 };

    #[test]
    fn a_name_that_stands_twice_in_one_object_is_refused_wherever_it_is() {
        assert!(check_names(r#"{"a": [1, -2, 0.5, null, true, "t"], "b": {"a": {}}}"#).is_ok());
        for (text, name) in [(r#"{"a": 1, "a": 1}"#, "`a`"), (r#"[{"b": {"c": 1, "\u0063": 2}}]"#, "`c`")] {
            let error = check_names(text).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("twice"), "{error}");
        }
        assert!(check_names("{} {}").is_err());
    }

    #[test]
    fn counts_values_and_depth_outside_of_texts() {
        let text = r#"{"a": [1, 2], "[[[[{{{{,,,,::::\"[[": null}"#;
        assert_eq!(parse::<Value>(text, SMALL).unwrap()["a"][1], 2);
    }

    #[test]
    fn refuses_what_is_too_deep_or_too_much_before_it_is_parsed() {
        assert!(matches!(parse::<Value>("[[[[]]]]", SMALL), Err(JsonError::TooDeep { most: 3 })));
        let many = "[1,2,3,4,5,6,7,8,9]";
        assert!(matches!(parse::<Value>(many, SMALL), Err(JsonError::TooManyValues { most: 8 })));
        let nested = "[".repeat(10_000_000);
        assert!(matches!(parse::<Value>(&nested, Budget::DOCUMENT), Err(JsonError::TooDeep { .. })));
    }

    #[test]
    fn leaves_what_is_no_json_to_the_parser() {
        for text in ["", "]]]]", "\"\\", "{\"a\"", "\"a"] {
            assert!(matches!(parse::<Value>(text, SMALL), Err(JsonError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_before_what_a_field_lacks_and_a_byte_order_mark_is_passed_over() {
        #[derive(Debug, serde::Deserialize)]
        struct Named {
            name: String,
        }
        let told = |text: &str| parse::<Named>(text, SMALL).unwrap_err().to_string();
        assert_eq!(told(r#"{"other": 1}"#), "missing field `name` at line 1 column 12");
        let cut = told(r#"{"outer": {"other": 1}, }"#);
        assert!(cut.starts_with("not JSON: ") && cut.ends_with("column 25"), "{cut}");
        assert_eq!(parse::<Named>("\u{feff}{\"name\": \"n\"}", SMALL).unwrap().name, "n");
    }
}
