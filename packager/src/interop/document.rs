//! Takes a JSON document apart, field by field, and collects what is wrong on the way.

use serde_json::{Map, Value};

use super::violation::{FormatViolation, Invalid, WHOLE};
use crate::json::{self, Budget};

/// Longest text of a wrong value that is quoted in a violation, in characters.
const QUOTE_LENGTH: usize = 60;

/// An object whose fields are taken one after the other; what nobody took is unknown to us.
pub(in crate::interop) struct Object {
    place: String,
    fields: Map<String, Value>,
}

impl Object {
    /// Opens the root of a document.
    pub(in crate::interop) fn root(value: Value, violations: &mut Vec<FormatViolation>) -> Option<Self> {
        Self::open(String::new(), value, violations)
    }

    /// Opens an object at a place.
    pub(in crate::interop) fn open(
        place: String,
        value: Value,
        violations: &mut Vec<FormatViolation>,
    ) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self { place, fields }),
            other => {
                let place = if place.is_empty() { WHOLE.to_owned() } else { place };
                violations.push(FormatViolation::new(place, "an object", quote(&other)));
                None
            }
        }
    }

    /// The place of one field.
    pub(in crate::interop) fn place(&self, field: &str) -> String {
        if self.place.is_empty() { field.to_owned() } else { format!("{}.{field}", self.place) }
    }

    /// Whether a field stands in the object and has not been taken.
    pub(in crate::interop) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Takes a field that may be absent; `null` stays a value.
    pub(in crate::interop) fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.shift_remove(field)
    }

    /// Takes a field that may be absent or `null`, which mean the same.
    pub(in crate::interop) fn take_optional(&mut self, field: &str) -> Option<Value> {
        self.take(field).filter(|value| !value.is_null())
    }

    /// Takes a field that must stand.
    pub(in crate::interop) fn take_required(
        &mut self,
        field: &str,
        expected: &str,
        violations: &mut Vec<FormatViolation>,
    ) -> Option<Value> {
        let value = self.take(field);
        if value.is_none() {
            violations.push(FormatViolation::new(self.place(field), expected, "nothing"));
        }
        value
    }

    /// Takes a text of at least one character.
    pub(in crate::interop) fn text(
        &mut self,
        field: &str,
        violations: &mut Vec<FormatViolation>,
    ) -> Option<String> {
        const EXPECTED: &str = "a non-empty text";
        match self.take_required(field, EXPECTED, violations)? {
            Value::String(text) if !text.is_empty() => Some(text),
            other => self.refuse(field, EXPECTED, &other, violations),
        }
    }

    /// Takes a text that may be absent, `null` or empty.
    pub(in crate::interop) fn optional_text(
        &mut self,
        field: &str,
        violations: &mut Vec<FormatViolation>,
    ) -> Option<String> {
        match self.take_optional(field)? {
            Value::String(text) => Some(text),
            other => self.refuse(field, "a text or null", &other, violations),
        }
    }

    /// Takes a list of texts that may be absent or `null`.
    pub(in crate::interop) fn texts(
        &mut self,
        field: &str,
        violations: &mut Vec<FormatViolation>,
    ) -> Vec<String> {
        let Some(value) = self.take_optional(field) else { return Vec::new() };
        texts_of(&value).unwrap_or_else(|| {
            violations.push(FormatViolation::new(
                self.place(field),
                "a list of non-empty texts",
                quote(&value),
            ));
            Vec::new()
        })
    }

    /// Takes an object whose keys are names, in its order.
    pub(in crate::interop) fn entries(
        &mut self,
        field: &str,
        violations: &mut Vec<FormatViolation>,
    ) -> Vec<(String, String, Value)> {
        const EXPECTED: &str = "an object";
        let entries = match self.take_required(field, EXPECTED, violations) {
            Some(Value::Object(entries)) => entries,
            Some(other) => {
                violations.push(FormatViolation::new(self.place(field), EXPECTED, quote(&other)));
                return Vec::new();
            }
            None => return Vec::new(),
        };
        if entries.contains_key("") {
            violations.push(FormatViolation::new(self.place(field), "names of at least one character", "``"));
        }
        let place = self.place(field);
        entries.into_iter().map(|(name, value)| (format!("{place}.{name}"), name, value)).collect()
    }

    /// Notes that a field holds the wrong thing.
    pub(in crate::interop) fn refuse<T>(
        &self,
        field: &str,
        expected: &str,
        found: &Value,
        violations: &mut Vec<FormatViolation>,
    ) -> Option<T> {
        violations.push(FormatViolation::new(self.place(field), expected, quote(found)));
        None
    }

    /// What nobody took, in the document's order.
    pub(in crate::interop) fn rest(self) -> Map<String, Value> {
        self.fields
    }
}

/// Reads a list of non-empty texts.
pub(in crate::interop) fn texts_of(value: &Value) -> Option<Vec<String>> {
    let text_of = |item: &Value| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    value.as_array()?.iter().map(text_of).collect()
}

/// Reads a whole number from zero up; `3.0` counts, because pydantic takes it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and in range"
)]
pub(in crate::interop) fn whole_number(value: &Value) -> Option<u64> {
    const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it a double skips whole numbers
    let float = |number: f64| {
        (number.fract() == 0.0 && (0.0..=LARGEST_EXACT).contains(&number)).then_some(number as u64)
    };
    value.as_u64().or_else(|| value.as_f64().and_then(float))
}

/// Shows a wrong value, shortened.
pub(in crate::interop) fn quote(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= QUOTE_LENGTH {
        return format!("`{text}`");
    }
    format!("`{}…`", text.chars().take(QUOTE_LENGTH).collect::<String>())
}

/// Parses a document and hands its root to a reader; every violation comes back at once.
pub(in crate::interop) fn read<T>(
    document: &'static str,
    text: &str,
    reader: impl FnOnce(Value, &mut Vec<FormatViolation>) -> Option<T>,
) -> Result<T, Invalid> {
    let value = json::parse(text, Budget::DOCUMENT).map_err(|error| Invalid::json(document, &error))?;
    read_value(document, value, reader)
}

/// Hands a parsed document to a reader; every violation comes back at once.
pub(in crate::interop) fn read_value<T>(
    document: &'static str,
    value: Value,
    reader: impl FnOnce(Value, &mut Vec<FormatViolation>) -> Option<T>,
) -> Result<T, Invalid> {
    let mut violations = Vec::new();
    match reader(value, &mut violations) {
        Some(parsed) if violations.is_empty() => Ok(parsed),
        _ => Err(Invalid { document, violations }),
    }
}
