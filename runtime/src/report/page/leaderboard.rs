//! Several runs side by side: ranked only among those that can be ranked.

use maud::{Markup, html};

use super::summary::ExhibitSummary;
use super::{text, trust_mark};
use crate::report::figures::{factor, microseconds, or_none};

/// What runs must share to stand in one ranking.
type Place<'a> = (&'a str, &'a str, &'a str, &'static str);

fn place(exhibit: &ExhibitSummary) -> Place<'_> {
    (&exhibit.definition, &exhibit.arch, &exhibit.device, exhibit.trust)
}

/// A table for each definition, architecture, device and trust; nothing for a single run.
pub(super) fn section(exhibits: &[ExhibitSummary]) -> Markup {
    if exhibits.len() < 2 {
        return html! {};
    }
    let mut places: Vec<Place<'_>> = exhibits.iter().map(place).collect();
    places.sort_unstable();
    places.dedup();
    html! {
        section {
            h2 { "Leaderboard" }
            @for one in places { (table(one, exhibits)) }
            p.note {
                "Each time is of a run of its own, and runs of one artifact differ by several percent. Which of two is "
                "faster, with a known error rate, only a comparison says. Hermetic and live times are never ranked together."
            }
        }
    }
}

fn table(wanted: Place<'_>, exhibits: &[ExhibitSummary]) -> Markup {
    let mut rows: Vec<(usize, &ExhibitSummary)> =
        exhibits.iter().enumerate().filter(|(_, exhibit)| place(exhibit) == wanted).collect();
    let key = |exhibit: &ExhibitSummary| exhibit.mean_ns().unwrap_or(f64::INFINITY);
    rows.sort_by(|(_, one), (_, other)| key(one).total_cmp(&key(other)));
    let best = rows.first().and_then(|(_, exhibit)| exhibit.mean_ns());
    let (definition, arch, device, trust) = wanted;
    html! {
        div.wide {
            table {
                caption {
                    (text(definition)) ", " (arch) @if !device.is_empty() { ", " (text(device)) } " " (trust_mark(trust))
                }
                thead {
                    tr {
                        th scope="col" { "" } th scope="col" { "solution" } th scope="col" { "by" }
                        th.number scope="col" { "passed" } th.number scope="col" { "mean µs" }
                        th.number scope="col" { "geometric" } th.number scope="col" { "of the first" }
                        th scope="col" { "from" }
                    }
                }
                tbody {
                    @for (rank, (index, exhibit)) in rows.iter().enumerate() {
                        @let run = exhibit.run.as_ref();
                        @let overall = run.and_then(|run| run.overall);
                        tr {
                            td.number { @if overall.is_some() { (rank + 1) } @else { "–" } }
                            th scope="row" { a href=(format!("#run-{index}")) { (text(&exhibit.solution)) } }
                            td { (text(&exhibit.author)) }
                            td.number {
                                @match run { Some(run) => { (run.passed) "/" (run.expected) }, None => "–" }
                            }
                            td.number { (or_none(overall.map(|means| microseconds(means.arithmetic_mean_ns)))) }
                            td.number { (or_none(overall.map(|means| microseconds(means.geometric_mean_ns)))) }
                            td.number { (or_none(exhibit.mean_ns().zip(best).map(|(own, best)| factor(own / best)))) }
                            td.source { (text(&exhibit.source)) }
                        }
                    }
                }
            }
        }
    }
}
