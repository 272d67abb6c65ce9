//! What definitions of both boards say alike: entries by name, constants, shapes, and names that stand once.

use serde_json::Value;

use super::document::{Object, texts_of, whole_number};
use super::named::Named;
use super::violation::FormatViolation;

/// An object of a document, in the order of the entries.
pub(super) fn object<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(entries.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The entries of an object that could be read, each with its place and name.
pub(super) fn named<T>(
    entries: Vec<(String, String, Value)>,
    read: impl Fn(String, Value, &mut Vec<FormatViolation>) -> Option<T>,
    violations: &mut Vec<FormatViolation>,
) -> Named<T> {
    let read = |(place, name, value)| Some((name, read(place, value, violations)?));
    entries.into_iter().filter_map(read).collect()
}

/// The value of a constant axis.
pub(super) fn constant(fields: &mut Object, violations: &mut Vec<FormatViolation>) -> Option<u64> {
    const EXPECTED: &str = "a whole number from zero up";
    let value = fields.take_required("value", EXPECTED, violations)?;
    whole_number(&value).or_else(|| fields.refuse("value", EXPECTED, &value, violations))
}

/// A tensor's shape, `None` inside for a scalar.
#[expect(clippy::option_option, reason = "a field that could not be read, and a shape that is null")]
pub(super) fn shape(
    fields: &mut Object,
    violations: &mut Vec<FormatViolation>,
) -> Option<Option<Vec<String>>> {
    const EXPECTED: &str = "a list of axis names, or null for a scalar";
    match fields.take_required("shape", EXPECTED, violations)? {
        Value::Null => Some(None),
        value => match texts_of(&value) {
            Some(names) => Some(Some(names)),
            None => fields.refuse("shape", EXPECTED, &value, violations),
        },
    }
}

/// Names the dimensions of a side, `inputs` or `outputs`, that are no axis.
pub(super) fn check_dimensions<'a>(
    side: &str,
    shapes: impl Iterator<Item = (&'a str, Option<&'a Vec<String>>)>,
    is_known: impl Fn(&str) -> bool,
    violations: &mut Vec<FormatViolation>,
) {
    for (name, shape) in shapes {
        for axis in shape.into_iter().flatten().filter(|axis| !is_known(axis)) {
            let place = format!("{side}.{name}.shape");
            violations.push(FormatViolation::new(place, "axes that stand in `axes`", format!("`{axis}`")));
        }
    }
}

/// Names the entries that are called like one that stands already.
pub(super) fn check_names<'a>(
    side: &str,
    names: impl Iterator<Item = &'a str>,
    is_taken: impl Fn(&str) -> bool,
    expected: &str,
    violations: &mut Vec<FormatViolation>,
) {
    for name in names.filter(|name| is_taken(name)) {
        violations.push(FormatViolation::new(format!("{side}.{name}"), expected, format!("`{name}`")));
    }
}
