//! Figures of other harnesses: traces of FlashInfer-Bench and SOL-ExecBench, which have one shape.
//!
//! What stands in them was measured by somebody else's protocol, in the process that ran the submission.
//! So their figures are `reported`: beside `hermetic` and `live` a third kind, which is never mixed with
//! either.

use proofmark_packager::interop::flashinfer::{Status, Trace};
use proofmark_packager::json::{self, Budget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The word for how far another harness's figure can be believed.
pub const REPORTED: &str = "reported";

/// Statuses that SOL-ExecBench has beside those of FlashInfer-Bench.
pub(super) const SOL_STATUSES: [&str; 2] = ["REWARD_HACK", "INVALID_REFERENCE"];

/// Whose shape a trace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Board {
    /// FlashInfer-Bench, and SOL-ExecBench where it says no more.
    FlashinferBench,
    /// SOL-ExecBench, by what only it says.
    SolExecbench,
}

impl Board {
    /// The name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::FlashinferBench => "flashinfer-bench",
            Self::SolExecbench => "sol-execbench",
        }
    }
}

/// A trace as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceLine {
    /// Whose.
    pub board: Board,
    /// The trace, untouched.
    pub trace: Value,
}

/// What the ledger takes from a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceFigures {
    /// The definition's name.
    pub definition: String,
    /// The solution's name.
    pub solution: String,
    /// The workload's uuid.
    pub workload: String,
    /// The status, in our spelling.
    pub verdict: String,
    /// When, as it stands there.
    pub timestamp: String,
    /// On what.
    pub device: String,
    /// The latency, where it passed.
    pub latency_ns: Option<f64>,
}

/// A line that is no evaluated trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// It is none of their formats.
    #[error("neither a record nor a trace: {reason}")]
    Format {
        /// What is amiss.
        reason: String,
    },
    /// A workload alone: nothing was measured.
    #[error("a workload without an evaluation")]
    NotEvaluated,
}

impl TraceLine {
    /// Reads a trace of either board.
    pub fn from_json(text: &str) -> Result<Self, TraceError> {
        let format = |reason: String| TraceError::Format { reason };
        let trace: Value = json::parse(text, Budget::DOCUMENT).map_err(|error| format(error.to_string()))?;
        if trace["workload"].is_object() && trace["evaluation"].is_null() {
            return Err(TraceError::NotEvaluated);
        }
        let status = trace.pointer("/evaluation/status").and_then(Value::as_str);
        if let Some(status) = status.filter(|status| !is_known(status)) {
            let known: Vec<&str> = Status::ALL.into_iter().map(Status::name).chain(SOL_STATUSES).collect();
            return Err(format(format!(
                "`evaluation.status`: expected one of {}, found `{status}`",
                known.join(", ")
            )));
        }
        if is_sol(&trace) {
            let line = Self { board: Board::SolExecbench, trace };
            return if line.figures().is_some() {
                Ok(line)
            } else {
                Err(format(
                    "expected `definition`, `solution`, `workload.uuid`, and `evaluation` with `status`, `timestamp` and \
                     `environment.hardware`"
                        .to_owned(),
                ))
            };
        }
        Trace::from_json(text).map_err(|error| format(error.to_string()))?;
        Ok(Self { board: Board::FlashinferBench, trace })
    }

    /// What the ledger takes from it; `None` where that is not there, as in a line that was forged.
    pub fn figures(&self) -> Option<TraceFigures> {
        let text = |pointer: &str| Some(self.trace.pointer(pointer)?.as_str()?.to_owned());
        let status = text("/evaluation/status")?;
        let latency_ms = self.trace.pointer("/evaluation/performance/latency_ms").and_then(Value::as_f64);
        let is_passed = status == Status::Passed.name();
        is_known(&status).then_some(())?;
        Some(TraceFigures {
            definition: text("/definition")?,
            solution: text("/solution")?,
            workload: text("/workload/uuid")?,
            verdict: status.to_ascii_lowercase(),
            timestamp: text("/evaluation/timestamp")?,
            device: text("/evaluation/environment/hardware")?,
            latency_ns: latency_ms.filter(|time| is_passed && time.is_finite()).map(|time| time * 1e6),
        })
    }
}

fn is_known(status: &str) -> bool {
    status.parse::<Status>().is_ok() || SOL_STATUSES.contains(&status)
}

/// What only SOL-ExecBench says: its own statuses, whether values were finite, inputs that a function makes, a
/// workload's tolerance.
fn is_sol(trace: &Value) -> bool {
    let status = trace.pointer("/evaluation/status").and_then(Value::as_str).unwrap_or_default();
    SOL_STATUSES.contains(&status)
        || ["/evaluation/correctness/has_nan", "/evaluation/correctness/has_inf", "/workload/tolerance"]
            .iter()
            .any(|field| trace.pointer(field).is_some())
        || trace
            .pointer("/workload/inputs")
            .and_then(Value::as_object)
            .is_some_and(|inputs| inputs.values().any(|input| input["type"] == "custom"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(status: &str, inputs: &str, more: &str) -> String {
        format!(
            r#"{{"definition":"d","workload":{{"axes":{{"n":1}},"inputs":{inputs},"uuid":"u"}},"solution":"s",
            "evaluation":{{"status":"{status}","environment":{{"hardware":"NVIDIA B200","libs":{{}}}},
            "timestamp":"2026-11-21T07:02:07","log":""{more}}}}}"#
        )
    }

    #[test]
    fn both_boards_are_read_and_what_is_neither_is_refused() {
        let passed = r#","correctness":{"max_relative_error":0.1,"max_absolute_error":0.1,"extra":null},
            "performance":{"latency_ms":0.002,"reference_latency_ms":1.0,"speedup_factor":500.0}"#;
        let read = TraceLine::from_json(&trace("PASSED", "{}", passed)).unwrap();
        assert_eq!(read.board, Board::FlashinferBench);
        assert_eq!(read.figures().unwrap().latency_ns, Some(2000.0));
        let custom = r#"{"x":{"type":"custom"}}"#;
        for (status, inputs) in [("REWARD_HACK", "{}"), ("INVALID_REFERENCE", custom), ("TIMEOUT", custom)] {
            let read = TraceLine::from_json(&trace(status, inputs, "")).unwrap();
            assert_eq!(read.board, Board::SolExecbench, "{status}");
            assert_eq!(read.figures().unwrap().latency_ns, None);
        }
        assert!(matches!(
            TraceLine::from_json(&trace("SPLENDID", custom, "")),
            Err(TraceError::Format { .. })
        ));
        let splendid = TraceLine::from_json(&trace("SPLENDID", "{}", "")).unwrap_err().to_string();
        assert!(splendid.contains("TIMEOUT, REWARD_HACK, INVALID_REFERENCE, found `SPLENDID`"), "{splendid}");
        let tolerated = trace("PASSED", "{}", passed)
            .replace(r#""uuid":"u""#, r#""uuid":"u","tolerance":{"max_atol":1.0}"#);
        assert_eq!(TraceLine::from_json(&tolerated).unwrap().board, Board::SolExecbench);
        for flag in ["has_nan", "has_inf"] {
            let flagged =
                trace("PASSED", "{}", &passed.replace(r#""extra""#, &format!(r#""{flag}":false,"extra""#)));
            assert_eq!(TraceLine::from_json(&flagged).unwrap().board, Board::SolExecbench, "{flag}");
        }
        let workload = r#"{"definition":"d","workload":{"axes":{},"inputs":{},"uuid":"u"},"solution":null,"evaluation":null}"#;
        assert_eq!(TraceLine::from_json(workload), Err(TraceError::NotEvaluated));
        for wrong in ["", "[]", "{}", "null"] {
            assert!(TraceLine::from_json(wrong).is_err(), "{wrong}");
        }
    }
}
