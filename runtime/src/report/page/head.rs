//! The verdict on top of the page, with how far it can be believed.

use maud::{Markup, html};

use super::summary::{ComparisonSummary, ExhibitSummary};
use super::{text, trust_mark};
use crate::measure::decision::Decision;
use crate::report::figures::{change, microseconds};

/// The page's name.
pub(super) fn title(exhibits: &[ExhibitSummary], comparisons: &[ComparisonSummary]) -> String {
    match (exhibits, comparisons) {
        ([one], []) => format!("{} on {}", text(&one.solution), text(&one.definition)),
        ([], [one]) => format!("{} against {}", text(&one.b), text(&one.a)),
        (runs, []) => format!("{} runs", runs.len()),
        (runs, comparisons) => format!("{} runs, {} comparisons", runs.len(), comparisons.len()),
    }
}

/// What the page comes to.
pub(super) fn section(exhibits: &[ExhibitSummary], comparisons: &[ComparisonSummary]) -> Markup {
    html! {
        header {
            h1 { (title(exhibits, comparisons)) }
            @for comparison in comparisons { (compared(comparison)) }
            @if exhibits.len() == 1 { (measured(&exhibits[0])) }
            @else if exhibits.len() > 1 { (several(exhibits)) }
        }
    }
}

fn compared(comparison: &ComparisonSummary) -> Markup {
    let (class, word) = match &comparison.decision {
        Decision::Better => ("good", "better"),
        Decision::Worse => ("bad", "worse"),
        Decision::Equal => ("", "equal"),
        Decision::Undecided { .. } => ("doubt", "undecided"),
    };
    html! {
        p.verdict {
            strong class=(class) { (text(&comparison.b)) " is " (word) }
            @if let Some(ratio) = &comparison.ratio { ": time " (change(ratio)) " against " }
            @else { " beside " }
            (text(&comparison.a)) " " (trust_mark(comparison.trust))
        }
    }
}

fn measured(exhibit: &ExhibitSummary) -> Markup {
    let Some(run) = &exhibit.run else {
        return html! { p.verdict { strong { "Sealed, not measured" } " " (trust_mark(exhibit.trust)) } };
    };
    let class = if run.is_complete { "good" } else { "bad" };
    html! {
        p.verdict {
            strong class=(class) { (run.passed) " of " (run.expected) " workloads passed" }
            @match exhibit.mean_ns() {
                Some(mean) => { ", " strong { (microseconds(mean)) " µs" } " on average, on " (text(&exhibit.device)) },
                None => { ", no mean: " (text(run.no_overall.as_deref().unwrap_or_default())) },
            }
            " " (trust_mark(exhibit.trust))
        }
    }
}

fn several(exhibits: &[ExhibitSummary]) -> Markup {
    let of = |trust: &str| exhibits.iter().filter(|one| one.trust == trust).count();
    let complete = exhibits.iter().filter(|one| one.run.as_ref().is_some_and(|run| run.is_complete));
    html! {
        p.verdict {
            strong { (complete.count()) " of " (exhibits.len()) " runs passed every workload" }
            @for trust in ["hermetic", "live", "mixed", "not measured"] {
                @if of(trust) > 0 { ", " (of(trust)) " " (trust_mark(trust)) }
            }
        }
    }
}
