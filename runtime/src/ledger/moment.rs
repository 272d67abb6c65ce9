//! Times as texts that sort: ISO 8601 in UTC, to the microsecond.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A time in the one spelling of the index; a text that is no time stays as it is, and sorts anywhere.
pub fn normal(text: &str) -> String {
    parse(text).map_or_else(|| text.to_owned(), spell)
}

/// Now, in the same spelling.
pub fn now() -> String {
    spell(Timestamp::now())
}

/// A day or time that a person names, such as `2026-11-28` or `2026-11-28T12:00`.
pub fn asked(text: &str) -> Result<String, String> {
    let expected = || format!("`{text}` is no date: expected one such as `2026-11-28` or `2026-11-28T12:00`");
    parse(text).map(spell).ok_or_else(expected)
}

/// So long before now.
pub fn before_now(age: std::time::Duration) -> String {
    let age = jiff::SignedDuration::try_from(age).unwrap_or(jiff::SignedDuration::MAX);
    spell(Timestamp::now().saturating_sub(age).unwrap_or(Timestamp::MIN))
}

/// The day and minute of a time, as tables show it.
pub fn short(text: &str) -> String {
    parse(text).map_or_else(|| text.to_owned(), |moment| moment.strftime("%F %H:%M").to_string())
}

/// Python's `isoformat` leaves the zone out where it was not told one: UTC then.
fn parse(text: &str) -> Option<Timestamp> {
    let utc = |civil: DateTime| TimeZone::UTC.to_timestamp(civil).ok();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<DateTime>().ok().and_then(utc))
        .or_else(|| text.parse::<Date>().ok().and_then(|date| utc(date.at(0, 0, 0, 0))))
}

fn spell(moment: Timestamp) -> String {
    moment.strftime("%FT%T%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_moment_is_one_text() {
        for text in [
            "2026-11-21T07:02:07.000000+00:00",
            "2026-11-21T07:02:07Z",
            "2026-11-21T07:02:07",
            "2026-11-21T09:02:07+02:00",
        ] {
            assert_eq!(normal(text), "2026-11-21T07:02:07.000000Z", "{text}");
        }
        assert_eq!(asked("2026-11-21").unwrap(), "2026-11-21T00:00:00.000000Z");
        assert_eq!(normal("yesterday"), "yesterday");
        assert!(asked("yesterday").is_err() && asked("").is_err());
        assert_eq!(short("2026-11-21T07:02:07Z"), "2026-11-21 07:02");
        assert!(before_now(std::time::Duration::MAX) < before_now(std::time::Duration::ZERO));
    }
}
