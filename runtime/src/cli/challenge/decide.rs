//! Keep, reject, or nobody can tell: by a comparison here, by one that was recorded, or for lack of a champion.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proofmark_packager::interop::flashinfer::Timestamp;
use proofmark_packager::{Bundle, open};

use super::evidence::{Evidenced, unsigned_digest};
use super::{Arguments, Challenge, Decided, first_unmeasured, no_gpu};
use crate::cli::failure::Failure;
use crate::cli::ledger_folder::explain;
use crate::job::{Action, Input, Outcome};
use crate::ledger::champion::{self, Champion};
use crate::ledger::entry::{Answer, ChallengeLine, id_of};
use crate::ledger::{Ledger, Origin};
use crate::measure::Compared;
use crate::measure::decision::{Arm, Decision};
use crate::pipeline::Settings;
use crate::record::{ComparisonRecord, Record, WorkloadRecord, journal};

/// The last comparison in the named file whose candidate is this one.
pub(super) fn recorded(arguments: &Arguments, bundle: &Bundle) -> Result<Option<ComparisonRecord>, Failure> {
    let Some(path) = &arguments.comparison else { return Ok(None) };
    if !path.is_file() {
        return Err(Failure::request(format!("{} is no file", path.display())));
    }
    let found = journal::read(path).map_err(Failure::request)?;
    let candidate = Some(bundle.artifact.digest());
    let comparison = found.records.into_iter().rev().find_map(|record| match record {
        Record::Comparison(comparison) if comparison.b.artifact == candidate => Some(*comparison),
        _ => None,
    });
    let missing = || {
        let name = &bundle.artifact.manifest().solution.name;
        Failure::request(format!("{} holds no comparison whose candidate is this {name}", path.display()))
            .hint("`compare CHAMPION CANDIDATE --record FILE` writes one")
    };
    comparison.map(Some).ok_or_else(missing)
}

impl Challenge<'_> {
    fn line(&self, answer: Answer, reason: String) -> ChallengeLine {
        let solution = &self.bundle.artifact.manifest().solution;
        ChallengeLine {
            timestamp: Timestamp::now(),
            slot: self.slot.clone(),
            champion: self.champion_artifact(),
            candidate: self.candidate(),
            solution: solution.name.clone(),
            author: solution.author.clone(),
            answer,
            reason,
            comparison: None,
            ratio: None,
            trust: None,
        }
    }

    fn decided(&self, answer: Answer, reason: String) -> Decided {
        Decided { line: self.line(answer, reason), sealed: None, tried_before: false }
    }

    /// Without a champion, whoever passes every workload is kept.
    pub(super) fn first(&self) -> Result<Decided, Failure> {
        let imported = || {
            let name = self.arguments.candidate.file_name();
            Origin::Imported {
                from: name.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            }
        };
        let sealed = Evidenced::of(self.bundle.clone(), self.arch, &self.slot.device, imported());
        let sealed = match sealed {
            Some(sealed) if !self.has_gpu => sealed,
            _ if !self.has_gpu => return Err(first_unmeasured(&self.slot)),
            _ => match self.seal()? {
                Ok(sealed) => sealed,
                Err(reason) => return Ok(self.decided(Answer::Reject, reason)),
            },
        };
        let Some(report) = sealed.report() else { return Err(first_unmeasured(&self.slot)) };
        // Whoever sealed it chose what an error may be: that is theirs to say, and ours to repeat.
        let held = |one: &WorkloadRecord| (one.tolerance.atol.to_bits(), one.tolerance.rtol.to_bits());
        let held: BTreeSet<_> = sealed.sealed.measurements.iter().map(held).collect();
        let errors: Vec<String> = held
            .iter()
            .map(|(atol, rtol)| format!("{:e} and {:e}", f64::from_bits(*atol), f64::from_bits(*rtol)))
            .collect();
        let how = match sealed.origin {
            Origin::Measured => String::new(),
            Origin::Imported { .. } => {
                format!(" when it was sealed, as the seal says, with errors up to {}", errors.join(" or "))
            }
        };
        let passed = format!("{} of {} workloads passed{how}", report.passed, report.expected);
        let answer = champion::answer_to_first(report.passed, report.expected);
        let reason = if answer == Answer::Keep { format!("the first: {passed}") } else { passed };
        let trust = sealed.sealed.measurements.last().map(|record| record.finding.trust.clone());
        let line = ChallengeLine { trust, ..self.line(answer, reason) };
        Ok(Decided { line, sealed: Some(sealed), tried_before: false })
    }

    /// By a comparison that was recorded elsewhere: its raw samples must lead to what it says.
    pub(super) fn by_record(
        &self,
        ledger: &mut Ledger,
        champion: &Champion,
        compared: ComparisonRecord,
    ) -> Result<Decided, Failure> {
        if compared.a.artifact != Some(champion.promotion.artifact) {
            let found = compared.a.artifact.map_or_else(|| "no artifact".to_owned(), |digest| digest.short());
            let expected = champion.promotion.artifact.short();
            let text = format!("the comparison is with {found}, and the champion is {expected}");
            return Err(Failure::request(text).hint("compare with the champion: `ledger lineage` names it"));
        }
        for (context, what) in [(&compared.a, "A"), (&compared.b, "B")] {
            if context.definition != self.slot.definition
                || context.arch != self.slot.arch
                || context.environment.device != self.slot.device
            {
                return Err(Failure::request(format!("{what} was not measured for {}", self.slot)));
            }
        }
        if compared.recomputed().as_ref() != Some(&compared.report) {
            return Err(Failure::request("the raw samples of the comparison do not lead to what it says"));
        }
        let from = self.arguments.comparison.as_ref().and_then(|path| path.file_name());
        let from = from.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        self.by_decision(ledger, compared, &Origin::Imported { from })
    }

    /// By a comparison here and now.
    pub(super) fn by_comparison(&self, ledger: &mut Ledger, champion: &Champion) -> Result<Decided, Failure> {
        if !self.has_gpu {
            return Err(no_gpu());
        }
        let measuring = &self.arguments.measuring;
        let settings = measuring.settings()?;
        // First the candidate alone, so that what does not build is known to be it.
        let build = Action::Build { subject: Box::new(self.bundle.clone()) };
        if let Some(Outcome::Finding { finding, .. }) = self.run(build, &settings)? {
            let words = crate::report::build::describe_finding(&finding);
            return Ok(self.decided(Answer::Reject, first_line(&words)));
        }
        let incumbent = self.champion_bundle(champion)?;
        let how =
            measuring.measuring(Some(&self.bundle.artifact), &self.arguments.candidate, self.console)?;
        let protocol = Box::new(self.arguments.protocol.protocol(how.task.workloads.len()));
        let action = Action::Compare {
            incumbent: Input::Artifact(Box::new(incumbent)),
            candidate: Input::Artifact(Box::new(self.bundle.clone())),
            measuring: Box::new(how),
            protocol,
            limit_s: None,
        };
        let Some(outcome) = self.run(action, &settings)? else { return Err(no_gpu()) };
        match outcome {
            Outcome::Compared {
                compared: Compared::Disqualified { arm: Arm::B, workload, verdict }, ..
            } => Ok(self.decided(Answer::Reject, format!("on workload {workload}: {verdict}"))),
            Outcome::Compared { record: Some(record), .. } => match *record {
                Record::Comparison(compared) => self.by_decision(ledger, *compared, &Origin::Measured),
                Record::Workload(_) => Err(Failure::could_not_judge("the comparison gave no comparison")),
            },
            Outcome::Compared { compared: Compared::Disqualified { workload, verdict, .. }, .. } => {
                let text = format!("the champion itself fails on workload {workload}: {verdict}");
                Err(Failure::could_not_judge(text))
            }
            _ => Err(Failure::could_not_judge("the champion does not build here")
                .hint("`proofmark replay` says why")),
        }
    }

    fn by_decision(
        &self,
        ledger: &mut Ledger,
        compared: ComparisonRecord,
        origin: &Origin,
    ) -> Result<Decided, Failure> {
        let report = &compared.report;
        let answer = champion::answer_to(&report.decision);
        let sessions = report.sessions.len();
        let reason = match &report.decision {
            Decision::Better => format!("faster than the champion, as {sessions} sessions found"),
            Decision::Worse => format!("slower than the champion, as {sessions} sessions found"),
            Decision::Equal => "equal to the champion".to_owned(),
            Decision::Undecided { reason } => reason.to_string(),
        };
        let (ratio, trust) = (report.ratio, Some(compared.trust.clone()));
        let text = Record::Comparison(Box::new(compared)).to_line().map_err(Failure::could_not_judge)?;
        let comparison = Some(id_of(&text));
        ledger.append_lines(origin, &[text]).map_err(explain)?;
        let line = ChallengeLine { comparison, ratio, trust, ..self.line(answer, reason) };
        Ok(Decided { line, sealed: None, tried_before: false })
    }

    /// The champion as it was promoted: the file must hold the same artifact with the same evidence.
    fn champion_bundle(&self, champion: &Champion) -> Result<Bundle, Failure> {
        let promotion = &champion.promotion;
        let path: PathBuf = self.arguments.shelf.join(&promotion.file);
        let way_out = "name the folder where champions stand with --shelf";
        let opened = open::open(&path)
            .map_err(|error| Failure::request(format!("the champion: {error}")).hint(way_out))?;
        let found = opened.bundle;
        if found.artifact.digest() != promotion.artifact || unsigned_digest(&found) != promotion.evidence {
            let text = format!("{} is not what was promoted", path.display());
            return Err(Failure::request(text).hint(way_out));
        }
        Ok(found)
    }

    pub(super) fn run(&self, action: Action, settings: &Settings) -> Result<Option<Outcome>, Failure> {
        self.arguments.measuring.line.run(self.arch, action, settings, self.console)
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
