//! How fast memory was moved, against the copy that the same run measured.

use maud::{Markup, html};

use super::summary::{ExhibitSummary, Point};
use super::svg::{Scale, at, dots, label};
use super::{text, trust_mark};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 250.0;

/// Runs in one chart; more could not be told apart.
const SERIES: usize = 8;

/// A chart for each device: its ceiling is that device's.
pub(super) fn section(exhibits: &[ExhibitSummary]) -> Markup {
    let mut devices: Vec<&str> =
        exhibits.iter().filter(|one| !one.points.is_empty()).map(|one| one.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    html! {
        @if !devices.is_empty() {
            section {
                h2 { "Roofline" }
                @for device in devices {
                    @let runs: Vec<&ExhibitSummary> = exhibits.iter().filter(|one| one.device == device && !one.points.is_empty()).collect();
                    @for some in runs.chunks(SERIES) { (chart(device, some)) }
                }
            }
        }
    }
}

fn chart(device: &str, exhibits: &[&ExhibitSummary]) -> Markup {
    let of_copy = |one: &&ExhibitSummary| one.run.as_ref()?.copy_bytes_per_second;
    let ceilings: Vec<f64> =
        exhibits.iter().filter_map(of_copy).filter(|one| one.is_finite() && *one > 0.0).collect();
    let all: Vec<Point> = exhibits.iter().flat_map(|one| one.points.iter().copied()).collect();
    let x = Scale::log(all.iter().map(|point| point.0), LEFT, WIDTH - 8.0);
    let y = Scale::log(all.iter().map(|point| point.1).chain(ceilings.iter().copied()), BOTTOM, 12.0);
    let highest = ceilings.iter().copied().reduce(f64::max);
    html! {
        figure {
            svg aria-label=(format!("Bytes a second over bytes moved, for {} runs on {}, below the measured copy", exhibits.len(), text(device)))
                role="img" class="chart" viewBox=(format!("0 0 {WIDTH} 290")) {
                @for tick in y.ticks() {
                    path class="grid" d=(format!("M{LEFT} {}H{}", at(y.place(tick)), WIDTH - 8.0)) {}
                    text class="tick end" x=(LEFT - 5.0) y=(at(y.place(tick) + 4.0)) { (label(tick / 1e12)) }
                }
                @for tick in x.ticks() {
                    path class="grid" d=(format!("M{} 12V{BOTTOM}", at(x.place(tick)))) {}
                    text class="tick middle" x=(at(x.place(tick))) y=(BOTTOM + 16.0) { (label(tick / 1e6)) }
                }
                text class="tick middle" x=(f64::midpoint(LEFT, WIDTH)) y="284" { "megabytes that a perfect kernel moves" }
                text class="tick" x="2" y="10" { "TB/s" }
                @if let Some(ceiling) = highest {
                    path class="ceiling" d=(format!("M{LEFT} {}H{}", at(y.place(ceiling)), WIDTH - 8.0)) {}
                }
                @for (index, exhibit) in exhibits.iter().enumerate() {
                    path class=(format!("dots series{index}")) d=(dots(exhibit.points.iter().map(|&(bytes, speed)| (x.place(bytes), y.place(speed))))) {}
                }
            }
            figcaption {
                (text(device)) ", a dot a workload. "
                @if let Some(ceiling) = highest { span.key.ceiling { "a plain copy, measured: " (format!("{:.2}", ceiling / 1e12)) " TB/s" } " " }
                @for (index, exhibit) in exhibits.iter().enumerate() {
                    span class=(format!("key series{index}")) { (text(&exhibit.solution)) } " " (trust_mark(exhibit.trust)) " "
                }
                " Above the ceiling is possible: what is written may still be in the L2 when the kernel ends."
            }
        }
    }
}
