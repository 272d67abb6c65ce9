//! Numbers as they are typed: what was expected stands in words where there is none.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A whole number.
pub fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// A whole number that counts something.
pub fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number, at least 1".to_owned())
}

/// A number that may have a fraction.
pub fn decimal(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number such as 0.5".to_owned())
}

/// A whole number within bounds.
pub fn within<N: FromStr + Display + PartialOrd>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone
where
    RangeInclusive<N>: Clone,
{
    move |text| {
        let found = text.parse().ok().filter(|number| range.contains(number));
        found.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A number of bytes, such as `2G`.
pub fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is no size: expected a number and K, M, G or T, such as `2G`");
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let scale: u64 = match text[digits.len()..].trim_end_matches(['B', 'b', 'i']).to_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(scale).ok_or_else(expected)
}

/// A span of time, such as `30d`.
pub fn age(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is no age: expected a number and s, m, h or d, such as `30d`");
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let scale: u64 = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(scale).map(Duration::from_secs).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_number_is_answered_with_what_was_expected() {
        assert_eq!((whole("7"), at_least_one("1")), (Ok(7_u64), Ok(NonZeroUsize::MIN)));
        assert_eq!((decimal("-0.5"), within(1..=9_u64)("9")), (Ok(-0.5), Ok(9)));
        let refused = [
            whole::<usize>("-1").err(),
            whole::<u64>("18446744073709551616").err(),
            at_least_one("0").err(),
            decimal("much").err(),
            within(1..=9_u64)("0").err(),
            within(1..=9_u64)("10").err(),
        ];
        assert!(refused.iter().flatten().all(|text| text.starts_with("expected a ")), "{refused:?}");
        assert_eq!(refused.iter().flatten().count(), refused.len());
    }

    #[test]
    fn reads_sizes_and_ages_with_units() {
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("7"), Ok(7));
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86400)));
        for text in ["", "G", "-1G", "1X", "99999999999999T", "1.5G"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["", "30", "d", "-1d", "1w", "9999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
