//! A comparison: every block as a dot, the interval that was decided by, and the control's band.

use maud::{Markup, html};

use super::svg::{Scale, at, dots};
use super::{text, trust_mark};
use crate::measure::decision::{BlockEffect, BlockKind, Report, SessionReport, block_effects};
use crate::measure::statistics::Interval;
use crate::record::ComparisonRecord;
use crate::report::figures::{change, microseconds, or_none};

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 264.0;

/// One comparison.
pub(super) fn section(index: usize, comparison: &ComparisonRecord) -> Markup {
    let report = &comparison.report;
    html! {
        section id=(format!("comparison-{index}")) {
            h2 { (text(&comparison.b.solution)) " against " (text(&comparison.a.solution)) " " (trust_mark(comparison.trust.name())) }
            p { "Decision: " strong { (text(&report.decision.to_string())) } ". B over A: " strong { (or_none(report.ratio.as_ref().map(change))) }
                ", on " (text(&comparison.b.environment.device)) ", " (text(comparison.timestamp.as_str())) "." }
            (blocks(comparison))
            (sessions(report))
            (workloads(report))
            p.note {
                "A difference is claimed only where " (report.protocol.sessions) " sessions find it beyond ±"
                (format!("{:.1}", 100.0 * report.protocol.margin)) " %, with an error rate of "
                (format!("{:.0}", 100.0 * report.protocol.alpha)) " % a session over " (report.protocol.looks.len())
                " looks. A′ is A's bytes loaded again. Seed " (report.seed) "."
            }
        }
    }
}

fn blocks(comparison: &ComparisonRecord) -> Markup {
    let report = &comparison.report;
    let uuids = report.workloads.iter().map(|workload| workload.uuid.clone()).collect();
    let Ok(effects) = block_effects(&report.protocol, uuids, report.seed.0, &comparison.events) else {
        return html! { p.note { "Its raw samples do not lead to this report: they are not drawn." } };
    };
    let effects: Vec<BlockEffect> =
        effects.into_iter().filter(|one| one.kind != BlockKind::Warmup && one.ratio.is_some()).collect();
    if effects.is_empty() {
        return html! { p.note { "No block was finished." } };
    }
    let percent = |ratio: f64| 100.0 * (ratio - 1.0);
    let kept: Vec<f64> = {
        let mut all: Vec<f64> = effects.iter().filter_map(|one| one.ratio).map(percent).collect();
        all.sort_unstable_by(f64::total_cmp);
        let cut = all.len() / 100;
        all[cut..all.len() - cut].to_vec()
    };
    let y = Scale::linear(kept.into_iter().chain([0.0]), BOTTOM, 10.0);
    #[expect(clippy::cast_precision_loss, reason = "a count of blocks")]
    let x = |place: usize| LEFT + (place as f64 + 0.5) / effects.len() as f64 * (WIDTH - LEFT - 8.0);
    let of = |kind: BlockKind| {
        let points = effects.iter().enumerate().filter(move |(_, one)| one.kind == kind);
        dots(points.filter_map(|(place, one)| Some((x(place), y.place(percent(one.ratio?))))))
    };
    let label = format!(
        "{} blocks of B over A and {} of A′ over A in the order in which they were taken, in percent",
        effects.iter().filter(|one| one.kind == BlockKind::Effect).count(),
        effects.iter().filter(|one| one.kind == BlockKind::Control).count()
    );
    html! {
        figure {
            svg aria-label=(label) role="img" class="chart" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
                @for tick in y.ticks() {
                    path class="grid" d=(format!("M{LEFT} {}H{}", at(y.place(tick)), WIDTH - 8.0)) {}
                    text class="tick end" x=(LEFT - 5.0) y=(at(y.place(tick) + 4.0)) { (format!("{tick:+.1} %")) }
                }
                @for (index, session) in report.sessions.iter().enumerate() {
                    @if let Some((from, to)) = reach(&effects, index) { (bands(session, index, x(from), x(to), &y)) }
                }
                path class="zero" d=(format!("M{LEFT} {}H{}", at(y.place(0.0)), WIDTH - 8.0)) {}
                path class="dots control" d=(of(BlockKind::Control)) {}
                path class="dots effect" d=(of(BlockKind::Effect)) {}
            }
            figcaption {
                span.key.effect { "B over A, a dot a block" } " " span.key.control { "A′ over A" }
                ". Bands: what each session decided by, and its control."
            }
        }
    }
}

/// The first and last block of a session.
fn reach(effects: &[BlockEffect], session: usize) -> Option<(usize, usize)> {
    let first = effects.iter().position(|one| one.process.session == session)?;
    let last = effects.iter().rposition(|one| one.process.session == session)?;
    Some((first, last))
}

fn bands(session: &SessionReport, index: usize, from: f64, to: f64, y: &Scale) -> Markup {
    let band = |class: &str, interval: Option<&Interval>| {
        let Some(interval) = interval else { return html! {} };
        let place = |ratio: f64| y.place(100.0 * (ratio - 1.0));
        let (high, low) = (place(interval.high), place(interval.low));
        html! { rect class=(class) x=(at(from)) y=(at(high)) width=(at(to - from)) height=(at((low - high).max(1.0))) {} }
    };
    html! {
        (band("band control", session.control_ratio.as_ref()))
        (band("band effect", session.ratio.as_ref()))
        text class="tick middle" x=(at(f64::midpoint(from, to))) y=(HEIGHT - 14.0) { "session " (index + 1) }
    }
}

fn sessions(report: &Report) -> Markup {
    html! {
        div.wide {
            table {
                caption { "Sessions" }
                thead { tr {
                    th scope="col" { "" } th scope="col" { "found" } th.number scope="col" { "processes" } th.number scope="col" { "B over A" }
                    th.number scope="col" { "in cycles" } th.number scope="col" { "A′ over A" } th.number scope="col" { "blocks dropped" }
                } }
                tbody {
                    @for (index, session) in report.sessions.iter().enumerate() {
                        tr {
                            th scope="row" { (index + 1) }
                            td { (text(&session.finding.to_string())) }
                            td.number { (session.processes) }
                            td.number { (or_none(session.ratio.as_ref().map(change))) }
                            td.number { (or_none(session.cycles_ratio.as_ref().map(change))) }
                            td.number { (or_none(session.control_ratio.as_ref().map(change))) }
                            td.number { (session.dropped_blocks) " of " (session.block_count) }
                        }
                    }
                }
            }
        }
    }
}

fn workloads(report: &Report) -> Markup {
    html! {
        details open[report.workloads.len() <= 8] {
            summary { "Workloads (" (report.workloads.len()) ")" }
            div.wide {
                table {
                    thead { tr {
                        th scope="col" { "workload" } th.number scope="col" { "A µs" } th.number scope="col" { "B µs" }
                        th.number scope="col" { "B over A" } th scope="col" { "alone" }
                    } }
                    tbody {
                        @for one in &report.workloads {
                            tr {
                                th scope="row" { code { (text(&one.uuid)) } }
                                td.number { (or_none(one.a.map(|summary| microseconds(summary.median)))) }
                                td.number { (or_none(one.b.map(|summary| microseconds(summary.median)))) }
                                td.number { (or_none(one.ratio.as_ref().map(change))) }
                                td { (text(&one.decision.to_string())) }
                            }
                        }
                    }
                }
            }
        }
    }
}
