//! Means over time, with a band of noise: what the same artifact moved from run to run.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::svg::{Scale, at, dots, label, line};
use super::{PageContent, text, trust_mark};
use crate::ledger::{RunRow, moment};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 190.0;

/// Half of the band where no artifact was measured twice, as a share: what an unchanged artifact moves between
/// two devices of one model in the field's own reports (5 to 9 %).
const USUAL_NOISE: f64 = 0.05;

/// Runs that may stand in one chart.
type Place = (String, String, String, String);

/// A chart for each definition, architecture, device and trust that has more than one run with a mean.
pub(super) fn section(content: &PageContent) -> Markup {
    let mut charts: BTreeMap<Place, Vec<&RunRow>> = BTreeMap::new();
    for run in content.history.iter().filter(|run| run.mean_ns.is_some()) {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let place = (run.definition.clone(), text(&run.arch), text(&run.device), run.trust.clone());
        charts.entry(place).or_default().push(run);
    }
    charts.retain(|_, runs| runs.len() > 1);
    html! {
        @if !charts.is_empty() {
            section {
                h2 { "History" }
                @for (place, runs) in &charts { (chart(place, runs)) }
            }
        }
    }
}

/// The largest share by which two runs of one artifact differ from their middle, and whether there were any.
fn noise(runs: &[&RunRow]) -> Option<f64> {
    let mut of_artifact: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for run in runs {
        if let (Some(artifact), Some(mean)) = (run.artifact, run.mean_ns) {
            of_artifact.entry(artifact).or_default().push(mean);
        }
    }
    let spread = |means: &Vec<f64>| {
        let (low, high) =
            means.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(*one), high.max(*one)));
        (high - low) / (high + low)
    };
    of_artifact.values().filter(|means| means.len() > 1).map(spread).reduce(f64::max)
}

fn chart(place: &Place, runs: &[&RunRow]) -> Markup {
    let (definition, arch, device, trust) = place;
    let mut runs = runs.to_vec();
    runs.sort_by(|one, other| one.time.cmp(&other.time));
    let means: Vec<f64> = runs.iter().filter_map(|run| run.mean_ns).map(|mean| mean / 1e3).collect();
    let seen = noise(&runs);
    let half = seen.unwrap_or(USUAL_NOISE);
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
                @match seen {
                    Some(share) => { "±" (format!("{:.1}", 100.0 * share)) " %, as far as runs of one artifact lay apart here." },
                    None => { "±" (format!("{:.0}", 100.0 * USUAL_NOISE)) " %, what runs of one artifact are known to differ by; none was measured twice here." },
                }
            }
        }
        details {
            summary { "These " (runs.len()) " runs" }
            div.wide {
                table {
                    thead { tr { th scope="col" { "time" } th scope="col" { "solution" } th.number scope="col" { "mean µs" } th scope="col" { "origin" } th scope="col" { "run" } } }
                    tbody {
                        @for run in &runs {
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
