//! The verdict on top of the page, with how far it can be believed.

use maud::{Markup, html};

use super::{Exhibit, PageContent, text, trust_mark};
use crate::measure::decision::Decision;
use crate::record::ComparisonRecord;
use crate::report::BenchReport;
use crate::report::figures::{change, microseconds};

/// The page's name.
pub(super) fn title(content: &PageContent) -> String {
    match (content.exhibits.as_slice(), content.comparisons.as_slice()) {
        ([one], []) => format!("{} on {}", text(&one.solution), text(&one.definition)),
        ([], [one]) => format!("{} against {}", text(&one.b.solution), text(&one.a.solution)),
        (runs, []) => format!("{} runs", runs.len()),
        (runs, comparisons) => format!("{} runs, {} comparisons", runs.len(), comparisons.len()),
    }
}

/// What the page comes to.
pub(super) fn section(content: &PageContent) -> Markup {
    html! {
        header {
            h1 { (title(content)) }
            @for comparison in &content.comparisons { (compared(comparison)) }
            @if content.exhibits.len() == 1 { (measured(&content.exhibits[0])) }
            @else if content.exhibits.len() > 1 { (several(&content.exhibits)) }
        }
    }
}

fn compared(comparison: &ComparisonRecord) -> Markup {
    let (class, word) = match &comparison.report.decision {
        Decision::Better => ("good", "better"),
        Decision::Worse => ("bad", "worse"),
        Decision::Equal => ("", "equal"),
        Decision::Undecided { .. } => ("doubt", "undecided"),
    };
    html! {
        p.verdict {
            strong class=(class) { (text(&comparison.b.solution)) " is " (word) }
            @if let Some(ratio) = &comparison.report.ratio { ": time " (change(ratio)) " against " }
            @else { " beside " }
            (text(&comparison.a.solution)) " " (trust_mark(comparison.trust.name()))
        }
    }
}

fn measured(exhibit: &Exhibit) -> Markup {
    let Some(report) = &exhibit.report else {
        return html! { p.verdict { strong { "Sealed, not measured" } " " (trust_mark(exhibit.trust())) } };
    };
    let class = if report.is_complete() { "good" } else { "bad" };
    html! {
        p.verdict {
            strong class=(class) { (report.passed) " of " (report.expected) " workloads passed" }
            @match exhibit.mean_ns() {
                Some(mean) => { ", " strong { (microseconds(mean)) " µs" } " on average, on " (text(exhibit.device())) },
                None => { ", no mean: " (text(report.no_overall.as_deref().unwrap_or_default())) },
            }
            " " (trust_mark(exhibit.trust()))
        }
    }
}

fn several(exhibits: &[Exhibit]) -> Markup {
    let of = |trust: &str| exhibits.iter().filter(|one| one.trust() == trust).count();
    let complete = exhibits.iter().filter(|one| one.report.as_ref().is_some_and(BenchReport::is_complete));
    html! {
        p.verdict {
            strong { (complete.count()) " of " (exhibits.len()) " runs passed every workload" }
            @for trust in ["hermetic", "live", "mixed", "not measured"] {
                @if of(trust) > 0 { ", " (of(trust)) " " (trust_mark(trust)) }
            }
        }
    }
}
