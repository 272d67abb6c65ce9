//! Shards and what became of them, in a few words.

use proofmark_packager::escape;

use crate::cause_text;
use crate::fleet::summary::is_refused;
use crate::fleet::{PlannedShard, ShardState};

/// What a shard is about.
pub(super) fn name(shard: &PlannedShard) -> String {
    let names: Vec<String> = shard.label.subjects.iter().map(|one| escape::line(&one.solution)).collect();
    names.join(" and ")
}

/// A number of shards: `1 shard`.
pub(super) fn shards(count: usize) -> String {
    format!("{count} shard{}", if count == 1 { "" } else { "s" })
}

/// How far a shard is, in a word.
pub(super) fn state(state: &ShardState) -> String {
    match state {
        ShardState::Finished(outcome) => ["/verdict", "/decision", "/report/decision"]
            .iter()
            .find_map(|place| outcome.pointer(place)?.as_str())
            .map_or_else(|| "measured".to_owned(), escape::line),
        ShardState::Invalid(_) => "invalid".to_owned(),
        ShardState::Ended(_) if is_refused(state) => "refused".to_owned(),
        ShardState::Ended(_) => "not judged".to_owned(),
        ShardState::Lost => "lost".to_owned(),
        ShardState::Running => "running".to_owned(),
        ShardState::Untried => "open".to_owned(),
    }
}

/// Why there is no outcome, where that is known, behind a colon.
pub(super) fn reason(state: &ShardState) -> String {
    let reason = match state {
        ShardState::Invalid(fault) => Some(fault.to_string()),
        ShardState::Ended(ended) => ended.error.clone(),
        ShardState::Finished(_) | ShardState::Lost | ShardState::Running | ShardState::Untried => None,
    };
    reason.map_or_else(String::new, |reason| format!(": {}", escape::line(&cause_text::one_line(&reason))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_is_called_by_its_verdict_or_decision() {
        let said = |outcome| state(&ShardState::Finished(Box::new(outcome)));
        assert_eq!(said(json!({ "verdict": "proven" })), "proven");
        assert_eq!(said(json!({ "a": {}, "b": {}, "report": { "decision": "worse" } })), "worse");
        let disqualified =
            json!({ "decision": "disqualified", "verdict": { "status": "incorrect_numerical" } });
        assert_eq!(said(disqualified), "disqualified");
        assert_eq!(said(json!({ "passed": 3, "expected": 3 })), "measured");
    }
}
