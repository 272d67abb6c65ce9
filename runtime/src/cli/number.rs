//! Numbers as they are typed: what was expected stands in words where there is none.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;

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
}
