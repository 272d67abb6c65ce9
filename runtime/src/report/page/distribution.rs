//! Distributions: a box for each workload on one axis, and the share of samples below each time.

use maud::{Markup, html};

use super::svg::{Scale, at, line};
use crate::measure::measurement::Measurement;
use crate::measure::statistics::Summary;
use crate::record::WorkloadRecord;

/// Width of a box chart, in pixels.
const BOX_WIDTH: f64 = 180.0;

/// Points of a line of cumulative shares: more are not seen.
const POINTS: usize = 120;

/// The axis that all boxes of a run share: times over the workload's own median, from the fastest sample to a
/// little above the largest third quartile.
pub(super) fn shared_scale<'a>(summaries: impl Iterator<Item = &'a Summary>) -> Scale {
    let edges = summaries.flat_map(|summary| {
        let (low, high) = (summary.min / summary.median, summary.third_quartile / summary.median);
        [low, 1.0 + 2.5 * (high - 1.0)]
    });
    Scale::linear(edges, 2.0, BOX_WIDTH - 2.0)
}

/// Smallest, quartiles, median and largest on the shared axis; what lies beyond stands at its edge.
pub(super) fn box_chart(summary: &Summary, scale: &Scale) -> Markup {
    let over_median = |value: f64| scale.place(value / summary.median);
    let place = |value: f64| at(over_median(value));
    let (first, third) = (over_median(summary.first_quartile), over_median(summary.third_quartile));
    let label = format!(
        "from {:.2} to {:.2} µs, half of the samples between {:.2} and {:.2}, median {:.2}",
        summary.min / 1e3,
        summary.max / 1e3,
        summary.first_quartile / 1e3,
        summary.third_quartile / 1e3,
        summary.median / 1e3
    );
    html! {
        svg aria-label=(label) role="img" class="box" viewBox=(format!("0 0 {BOX_WIDTH} 14")) width=(BOX_WIDTH) height="14" {
            path class="whisker" d=(format!("M{} 7H{}", place(summary.min), place(summary.max))) {}
            rect class="quartiles" x=(at(first)) y="3" width=(at((third - first).max(1.0))) height="8" {}
            path class="median" d=(format!("M{} 1V13", place(summary.median))) {}
        }
    }
}

/// Cumulative shares of all samples of a run, each over the median of its own workload and clock: how wide each
/// clock spreads.
pub(super) fn cumulative(records: &[WorkloadRecord]) -> Markup {
    let mut clocks: Vec<(String, Vec<f64>)> = Vec::new();
    for record in records.iter().filter(|record| record.finding.latency_ns().is_some()) {
        for clock in &record.finding.measurements {
            let Some(summary) = clock.summary() else { continue };
            let name = clock_name(clock);
            let shares = clock.samples_ns.iter().map(|sample| sample / summary.median);
            match clocks.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.extend(shares),
                None => clocks.push((name, shares.collect())),
            }
        }
    }
    if clocks.is_empty() {
        return html! {};
    }
    for (_, shares) in &mut clocks {
        shares.sort_unstable_by(f64::total_cmp);
    }
    let (width, height) = (560.0, 200.0);
    let edge = |share: f64| clocks.iter().map(move |(_, all)| quantile(all, share));
    let x = Scale::linear(edge(0.005).chain(edge(0.98)).collect::<Vec<_>>(), 46.0, width - 8.0);
    let y = |share: f64| 8.0 + (1.0 - share) * (height - 40.0);
    html! {
        figure {
            svg aria-label="Share of samples below each multiple of their workload's median, for each clock" role="img"
                class="chart" viewBox=(format!("0 0 {width} {height}")) {
                @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    path class="grid" d=(format!("M46 {}H{}", at(y(share)), at(width - 8.0))) {}
                    text class="tick end" x="42" y=(at(y(share) + 4.0)) { (format!("{:.0} %", 100.0 * share)) }
                }
                @for tick in x.ticks() {
                    path class="grid" d=(format!("M{} 8V{}", at(x.place(tick)), at(y(0.0)))) {}
                    text class="tick middle" x=(at(x.place(tick))) y=(at(height - 16.0)) { (format!("{tick:.3}")) "×" }
                }
                @for (index, (_, shares)) in clocks.iter().enumerate() {
                    path class=(format!("line series{}", index % 8)) d=(line(points(shares).map(|(value, share)| (x.place(value), y(share))))) {}
                }
            }
            figcaption {
                "Cumulative shares over each workload's own median: "
                @for (index, (name, shares)) in clocks.iter().enumerate() {
                    span class=(format!("key series{}", index % 8)) { (name) " (" (shares.len()) ")" } " "
                }
            }
        }
    }
}

/// A clock's name and what it found in the L2.
pub(super) fn clock_name(clock: &Measurement) -> String {
    format!("{}, {}", clock.method, clock.l2_state)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank within a slice"
)]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "a rank within a slice")]
fn points(sorted: &[f64]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let count = POINTS.min(sorted.len());
    (0..=count).map(move |index| {
        let share = index as f64 / count.max(1) as f64;
        (quantile(sorted, share), share)
    })
}
