//! Means over time, with a band of noise.

use maud::{Markup, html};

use super::svg::{Scale, at, dots, label, line};
use super::{text, trust_mark};
use crate::ledger::{RunRow, moment};
use crate::report::history::{History, Place};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 190.0;

/// A chart for each definition, architecture, device and trust that has more than one run with a mean.
pub(super) fn section(runs: &[RunRow]) -> Markup {
    let histories = History::of(runs);
    html! {
        @if !histories.is_empty() {
            section {
                h2 { "History" }
                @for (place, history) in &histories { (chart(place, history)) }
            }
        }
    }
}

fn chart(place: &Place, history: &History<'_>) -> Markup {
    let (definition, arch, device, trust) = place;
    let (runs, means, half) = (&history.runs, history.means_us(), history.half_width());
    let y =
        Scale::linear(means.iter().flat_map(|mean| [mean * (1.0 - half), mean * (1.0 + half)]), BOTTOM, 12.0);
    #[expect(clippy::cast_precision_loss, reason = "a count of runs")]
    let x = |index: usize| LEFT + (index as f64 + 0.5) / means.len() as f64 * (WIDTH - LEFT - 8.0);
    let points = || means.iter().enumerate().map(|(index, mean)| (x(index), y.place(*mean)));
    let upper = means.iter().enumerate().map(|(index, mean)| (x(index), y.place(mean * (1.0 + half))));
    let lower = means.iter().enumerate().rev().map(|(index, mean)| (x(index), y.place(mean * (1.0 - half))));
    let band = line(upper.chain(lower).collect::<Vec<_>>()) + "Z";
    let step = runs.len().div_ceil(6);
    html! {
        figure {
            svg aria-label=(format!("Mean time of {} runs in the order in which they were measured", runs.len())) role="img"
                class="chart" viewBox=(format!("0 0 {WIDTH} 230")) {
                @for tick in y.ticks() {
                    path class="grid" d=(format!("M{LEFT} {}H{}", at(y.place(tick)), WIDTH - 8.0)) {}
                    text class="tick end" x=(LEFT - 5.0) y=(at(y.place(tick) + 4.0)) { (label(tick)) }
                }
                path class="band effect" d=(band) {}
                path class="line series0" d=(line(points())) {}
                path class="dots series0" d=(dots(points())) {}
                @for (index, run) in runs.iter().enumerate().step_by(step) {
                    text class="tick middle" x=(at(x(index))) y=(BOTTOM + 18.0) { (text(&moment::short(&run.time))) }
                }
            }
            figcaption {
                (text(definition)) ", " (text(arch)) ", " (text(device)) " " (trust_mark(trust)) ", mean µs. Band: "
                (history.band_words()) "."
            }
        }
        details {
            summary { "These " (runs.len()) " runs" }
            div.wide {
                table {
                    thead { tr { th scope="col" { "time" } th scope="col" { "solution" } th.number scope="col" { "mean µs" } th scope="col" { "origin" } th scope="col" { "run" } } }
                    tbody {
                        @for run in runs {
                            tr {
                                td { (text(&moment::short(&run.time))) }
                                td { (text(&run.solution)) }
                                td.number { (run.mean_ns.map_or_else(String::new, |mean| format!("{:.2}", mean / 1e3))) }
                                td { (run.origin) }
                                td { code { (text(&run.run)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
