//! What an outcome says, in a word and a figure.

use serde::Serialize;
use serde_json::Value;

/// What an outcome says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardAnswer {
    /// The verdict or decision, or how many workloads passed.
    pub word: String,
    /// The mean over all workloads, in microseconds, where every one passed.
    pub mean_us: Option<f64>,
    /// How much longer B takes than A, as a ratio, where they were compared.
    pub ratio: Option<f64>,
    /// The digest of the library.
    pub library: Option<String>,
    /// The exit code of the verb.
    pub exit_code: u64,
}

impl ShardAnswer {
    /// Of the document of `job run`.
    pub fn of(outcome: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let decision = [&outcome["report"]["decision"], &outcome["decision"], &outcome["verdict"]];
        let passed =
            || Some(format!("{} of {} passed", outcome["passed"].as_u64()?, outcome["expected"].as_u64()?));
        let word = decision.into_iter().find_map(text).or_else(passed);
        Self {
            word: word.unwrap_or_else(|| "unknown".to_owned()),
            mean_us: outcome["overall"]["arithmetic_mean_ns"].as_f64().map(|time_ns| time_ns / 1e3),
            ratio: outcome["report"]["ratio"]["mean"].as_f64(),
            library: text(&outcome["library_sha256"]),
            // What does not say it is no positive answer.
            exit_code: outcome["exit_code"].as_u64().unwrap_or(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn builds_measurements_and_decisions_have_each_their_word() {
        let built = ShardAnswer::of(&json!({ "verdict": "proven", "library_sha256": "ab", "exit_code": 0 }));
        assert_eq!(
            (built.word.as_str(), built.library.as_deref(), built.exit_code),
            ("proven", Some("ab"), 0)
        );
        let overall = json!({ "arithmetic_mean_ns": 7661.0 });
        let measured = json!({ "passed": 54, "expected": 54, "overall": overall, "exit_code": 0 });
        let measured = ShardAnswer::of(&measured);
        assert_eq!((measured.word.as_str(), measured.mean_us), ("54 of 54 passed", Some(7.661)));
        let report = json!({ "decision": "better", "ratio": { "mean": 0.97 } });
        let compared = ShardAnswer::of(&json!({ "report": report, "exit_code": 0 }));
        assert_eq!((compared.word.as_str(), compared.ratio), ("better", Some(0.97)));
        assert_eq!(
            ShardAnswer::of(&json!({ "decision": "disqualified", "exit_code": 1 })).word,
            "disqualified"
        );
        assert_eq!(ShardAnswer::of(&json!({})).exit_code, 3);
    }
}
