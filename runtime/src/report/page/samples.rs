//! Every raw sample, as numbers that the page's script shows on request.
//!
//! Times are written to a tenth of a nanosecond, which is below what any clock resolves; the records hold every
//! bit. Nothing but numbers and the clocks' own names stands here.

use std::fmt::Write as _;

use super::Exhibit;
use super::distribution::clock_name;

/// One list of clocks a workload, in one list.
pub(super) fn of_run(exhibit: &Exhibit) -> String {
    let mut json = String::from("[");
    for (place, record) in exhibit.records.iter().enumerate() {
        json.push_str(if place == 0 { "[" } else { ",[" });
        for (index, clock) in record.finding.measurements.iter().enumerate() {
            // Names of clocks are our own words; numbers cannot end a script.
            let _ = write!(json, "{}[\"{}\"", if index == 0 { "" } else { "," }, clock_name(clock));
            for sample in clock.samples_ns.iter().filter(|sample| sample.is_finite()) {
                let tenths = (sample * 10.0).round() / 10.0;
                let _ = write!(json, ",{tenths}");
            }
            json.push(']');
        }
        json.push(']');
    }
    json.push(']');
    json
}
