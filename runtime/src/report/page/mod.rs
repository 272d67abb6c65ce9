//! One HTML file that shows runs, comparisons, and where they came from. It loads nothing and sends nothing.
//!
//! Every text goes through `text`, which shows control and bidirectional characters as escapes, and through
//! maud, which escapes for HTML. The page's policy allows its own script and style by their digests and
//! nothing else, so that a text that got past both would still not run. Charts are drawn here as SVG; the
//! script only opens a workload's samples, which are embedded as numbers.
//!
//! | file | what it holds |
//! |---|---|
//! | [`draft`] | a page while it is made |
//! | [`exhibit`] | one run that a page shows |
//! | `summary` | what is kept of a run once it is drawn |
//! | `head` | the verdict on top |
//! | `leaderboard` | several runs side by side |
//! | `workloads` | one run: its table and distributions |
//! | `distribution` | boxes and cumulative shares |
//! | `comparison` | A and B, block by block |
//! | `roofline` | speed against the copy that was measured |
//! | `history` | means over time |
//! | `provenance` | build, proof and environment |
//! | `samples` | every raw sample, as numbers |
//! | `svg` | what charts share |

mod comparison;
mod distribution;
pub mod draft;
pub mod exhibit;
mod head;
mod history;
mod leaderboard;
mod provenance;
mod roofline;
mod samples;
mod summary;
mod svg;
mod workloads;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use proofmark_packager::{Digest, escape};

pub use draft::PageDraft;
pub use exhibit::Exhibit;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Only this page's own script and style, and no network.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(Digest::of_bytes(text.as_bytes()).as_bytes());
    format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

/// A text of strangers: nothing in it turns a line around or hides; maud escapes the rest.
fn text(text: &str) -> String {
    escape::line(text)
}

/// The word for how far a number can be believed, as a mark that stands beside it.
fn trust_mark(trust: &str) -> Markup {
    let (class, meaning) = match trust {
        "hermetic" => {
            ("mark good", "proven machine code, launched as recorded, without the submission's host code")
        }
        "live" => ("mark doubt", "measured beside the submission's host code, which can forge times"),
        "reported" => ("mark doubt", "another harness's figure"),
        _ => ("mark", "of more than one kind, or of none"),
    };
    html! { span class=(class) title=(meaning) { (trust) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::decision::Protocol;
    use crate::measure::decision::simulation::{World, run};
    use crate::record::ComparisonRecord;
    use crate::record::line::tests::record;
    use crate::recording::Trust;

    const EVIL: &str =
        "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}[2J&amp;";

    fn page(name: &str) -> String {
        let mut records: Vec<_> = ["a", "b", "c"].map(record).into();
        for record in &mut records {
            name.clone_into(&mut record.context.solution);
            name.clone_into(&mut record.context.author);
            name.clone_into(&mut record.context.definition);
            name.clone_into(&mut record.context.environment.device);
            record.finding.notes.push(name.to_owned());
            record.finding.trust = Trust::Live { reason: name.to_owned() };
        }
        let protocol = Protocol { samples_per_cell: 1, blocks_per_process: 4, ..Protocol::default() };
        let comparison = run(&protocol, &World { truth: 0.05, ..World::default() }, 2, 1);
        let comparison = ComparisonRecord {
            timestamp: records[0].timestamp.clone(),
            a: records[0].context.clone(),
            b: records[0].context.clone(),
            trust: Trust::Live { reason: name.to_owned() },
            report: comparison.report().unwrap(),
            events: comparison.events().to_vec(),
            readings: Vec::new(),
        };
        let mut draft = PageDraft::default();
        draft.add_exhibit(&Exhibit::of_run(records, name.to_owned()).unwrap()).unwrap();
        draft.add_comparison(&comparison).unwrap();
        let mut bytes = Vec::new();
        draft.write(&[], &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_text_of_a_record_becomes_markup() {
        let page = page(EVIL);
        for forbidden in ["<img", "alert(1)</script>", "\u{202e}", "\u{1b}", "onerror=alert(1)>"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert_eq!(page.matches("<script").count(), 2, "the numbers and the page's own");
        assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)") && page.contains("\\u{202e}"));
    }

    #[test]
    fn a_page_asks_the_network_for_nothing() {
        let page = page("mine");
        // The script names SVG's namespace, which nobody fetches.
        let text = page.replace("http://www.w3.org/2000/svg", "");
        for forbidden in ["http://", "https://", " src=", " href=\"//", "@import", "url("] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn every_chart_has_a_name_and_the_trust_stands_on_top() {
        let page = page("mine");
        assert_eq!(page.matches("<svg").count(), page.matches("role=\"img\"").count());
        assert_eq!(page.matches("<svg").count(), page.matches("<svg aria-label=\"").count());
        let top = page.find("class=\"mark doubt\"").unwrap();
        assert!(top < page.find("<main").unwrap(), "the trust stands beside the verdict");
        assert!(page.contains("Decision: <strong>") && page.contains("A′"));
    }
}
