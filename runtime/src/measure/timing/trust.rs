//! All clocks of a workload against each other and against the judge's own.
//!
//! What the player reads is read inside a process that runs foreign code, which can patch every
//! function there. Two things cannot be patched: the judge's own clock, and the outputs that the judge
//! compares afterwards. So a held batch over fresh inputs is let go by the judge, timed by the judge
//! until its end is signalled, and checked by the judge; a claim well below what that took per call is
//! not believed.
//!
//! What this cannot catch: a claim too low by less than the margins below, and a submission that
//! patches the clocks *and* signals the batch's end early *and* finishes it before the judge looks at
//! the outputs, which is some tens of microseconds for the whole batch.

/// A claim may lie below the judge's bound by this factor: a held batch runs back to back, at another
/// temperature of caches and memory than single cold calls.
const BOUND_FACTOR: f64 = 1.15;
/// …and by this much: the gap between two launches, 1.0 to 1.3 µs on an H200, and its scatter.
const BOUND_SLACK_NS: f64 = 2_500.0;
/// Slack for every further kernel, copy or fill of a call: engines hand over through semaphores, which
/// takes 2 to 4 µs on an H200 where a traced call overlaps it with its own launches.
const HANDOVER_SLACK_NS: f64 = 2_500.0;
/// A batch that costs less than this beside each call puts nothing back, in nanoseconds.
const RESTORE_FLOOR_NS: f64 = 2_000.0;
/// How much of what putting back costs may scatter from batch to batch, as a share.
const RESTORE_SCATTER: f64 = 0.5;
/// More slack where the entry point waits for the device: every call then pays a round trip.
const WAITING_SLACK_NS: f64 = 40_000.0;
/// No kernel takes less, in nanoseconds: an empty one reads 500 to 600 on an H200.
pub const LEAST_KERNEL_NS: f64 = 250.0;
/// Outputs that stay in the L2 are written faster than memory, by less than this factor.
const CACHE_SPEED_FACTOR: f64 = 4.0;
/// Events around one kernel may read less than its activity record by this factor at most.
const EVENT_FACTOR: f64 = 0.9;
/// …and more than it by the bound's factor, the empty pair's reading and this much.
const EVENT_SLACK_NS: f64 = 5_000.0;

/// Everything that bears on whether the numbers can be believed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClockReadings {
    /// Median of activity spans in nanoseconds; absent without CUPTI.
    pub span_ns: Option<f64>,
    /// Median of event pairs in nanoseconds.
    pub event_ns: Option<f64>,
    /// Median of empty event pairs in nanoseconds.
    pub event_floor_ns: Option<f64>,
    /// The player's events around the batch, per call, in nanoseconds.
    pub batch_event_ns: Option<f64>,
    /// The judge's clock around the batch less that around an empty one, per call, in nanoseconds.
    pub wall_ns: Option<f64>,
    /// Whether the entry point waits for the device.
    pub waits: bool,
    /// What a stage's batch costs beside each call, in nanoseconds: memory is put back. Absent for live calls.
    pub restore_ns: Option<f64>,
    /// Kernels, copies and fills of one call; absent without CUPTI.
    pub launches: Option<usize>,
    /// Less than any call can take, in nanoseconds.
    pub floor_ns: f64,
    /// Most bytes of L2 found set aside after a call.
    pub persisting_bytes: u64,
    /// Most bytes found in the stream's access window after a call.
    pub window_bytes: u64,
}

/// Says why the numbers cannot be believed; `None` when they can.
pub fn distrust(readings: &ClockReadings) -> Option<String> {
    persistence(readings)
        .or_else(|| absurd(readings))
        .or_else(|| bound(readings))
        .or_else(|| disagreement(readings))
}

/// Less than any call can take on a device: half of what an empty kernel's activity record shows on an H200,
/// and what writing the outputs takes at several times the speed of memory.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
pub fn floor_ns(output_bytes: u64, peak_bytes_per_second: f64) -> f64 {
    let writing = 1e9 * output_bytes as f64 / (peak_bytes_per_second * CACHE_SPEED_FACTOR);
    if writing.is_finite() { writing.max(LEAST_KERNEL_NS) } else { LEAST_KERNEL_NS }
}

fn absurd(readings: &ClockReadings) -> Option<String> {
    let claimed = readings.span_ns.or(readings.event_ns)?;
    (claimed < readings.floor_ns).then(|| {
        format!(
            "it claims {:.2} µs a call, and no call that writes its outputs takes less than {:.2} µs here",
            claimed / 1e3,
            readings.floor_ns / 1e3
        )
    })
}

fn persistence(readings: &ClockReadings) -> Option<String> {
    if readings.persisting_bytes > 0 {
        return Some(format!(
            "it set {} bytes of L2 aside for persisting accesses, which keeps data across calls",
            readings.persisting_bytes
        ));
    }
    (readings.window_bytes > 0)
        .then(|| format!("it left an L2 access window of {} bytes on the stream", readings.window_bytes))
}

fn bound(readings: &ClockReadings) -> Option<String> {
    let claimed = readings.span_ns.or(readings.event_ns)?;
    let wall = readings.wall_ns?;
    let slack = match readings.restore_ns {
        // The bound is a difference of two batches that both put memory back; a stage's calls never wait.
        Some(restore_ns) => {
            let handovers = if restore_ns > RESTORE_FLOOR_NS { 2.0 * HANDOVER_SLACK_NS } else { 0.0 };
            BOUND_SLACK_NS + handovers + restore_ns * RESTORE_SCATTER
        }
        None if readings.waits => WAITING_SLACK_NS,
        None => BOUND_SLACK_NS,
    };
    let allowed = claimed * BOUND_FACTOR + slack + handovers(readings);
    (wall > allowed).then(|| {
        format!(
            "it claims {:.2} µs a call, and a batch that the judge timed took {:.2} µs a call",
            claimed / 1e3,
            wall / 1e3
        )
    })
}

fn handovers(readings: &ClockReadings) -> f64 {
    #[allow(clippy::cast_precision_loss)] // a handful
    let further = readings.launches.unwrap_or(1).saturating_sub(1) as f64;
    further * HANDOVER_SLACK_NS
}

fn disagreement(readings: &ClockReadings) -> Option<String> {
    let (span, event) = (readings.span_ns?, readings.event_ns?);
    let floor = readings.event_floor_ns.unwrap_or(0.0);
    // With several kernels, a held call has no gaps where a traced one waits for its launches.
    let too_little = readings.launches == Some(1) && event < span * EVENT_FACTOR;
    let too_much = !(readings.waits && readings.restore_ns.is_none())
        && event > span * BOUND_FACTOR + floor + EVENT_SLACK_NS + handovers(readings);
    (too_little || too_much).then(|| {
        format!(
            "the clocks disagree: activity records say {:.2} µs, events {:.2} µs over a floor of {:.2} µs",
            span / 1e3,
            event / 1e3,
            floor / 1e3
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An honest kernel of 18 µs, read on an H200.
    fn honest() -> ClockReadings {
        ClockReadings {
            span_ns: Some(18_000.0),
            event_ns: Some(20_500.0),
            event_floor_ns: Some(3_000.0),
            batch_event_ns: Some(18_600.0),
            wall_ns: Some(18_700.0),
            waits: false,
            restore_ns: None,
            launches: Some(1),
            floor_ns: floor_ns(1 << 20, 4.8e12),
            persisting_bytes: 0,
            window_bytes: 0,
        }
    }

    #[test]
    fn no_call_is_faster_than_its_outputs_can_be_written() {
        let absurd = ClockReadings { floor_ns: floor_ns(1 << 30, 4.8e12), ..honest() };
        assert!(distrust(&absurd).unwrap().contains("writes its outputs"));
        let empty = ClockReadings { span_ns: Some(0.0), ..honest() };
        assert!(distrust(&empty).unwrap().contains("0.25 µs"));
        assert!((floor_ns(0, f64::NAN) - LEAST_KERNEL_NS).abs() < 1e-9);
    }

    #[test]
    fn believes_clocks_that_agree() {
        assert_eq!(distrust(&honest()), None);
        let small = ClockReadings {
            span_ns: Some(1_800.0),
            event_ns: Some(4_600.0),
            wall_ns: Some(2_600.0),
            ..honest()
        };
        assert_eq!(distrust(&small), None);
    }

    #[test]
    fn does_not_believe_a_claim_below_the_judges_bound() {
        let forged = ClockReadings { span_ns: Some(2_000.0), event_ns: Some(4_000.0), ..honest() };
        assert!(distrust(&forged).unwrap().contains("the judge timed"));
        let without_tracer = ClockReadings { span_ns: None, event_ns: Some(1_000.0), ..honest() };
        assert!(distrust(&without_tracer).is_some());
        let hiding_behind_waits = ClockReadings { waits: true, wall_ns: Some(80_000.0), ..forged };
        assert!(distrust(&hiding_behind_waits).is_some());
    }

    #[test]
    fn does_not_believe_clocks_that_disagree() {
        let events_say_less = ClockReadings { event_ns: Some(9_000.0), wall_ns: Some(9_000.0), ..honest() };
        assert!(distrust(&events_say_less).unwrap().contains("disagree"));
        let events_say_more = ClockReadings { event_ns: Some(40_000.0), ..honest() };
        assert!(distrust(&events_say_more).unwrap().contains("disagree"));
        let gaps = ClockReadings { launches: Some(5), event_ns: Some(12_000.0), ..honest() };
        assert_eq!(distrust(&gaps), None, "held launches have no gaps");
    }

    #[test]
    fn does_not_believe_what_keeps_l2() {
        assert!(distrust(&ClockReadings { persisting_bytes: 1, ..honest() }).unwrap().contains("persisting"));
        assert!(distrust(&ClockReadings { window_bytes: 1, ..honest() }).unwrap().contains("window"));
    }
}
