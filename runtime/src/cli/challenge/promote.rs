//! Promotion: sealed onto the shelf, then one line in the ledger that makes it so.
//!
//! Whenever this is cut short before that line, the champion is still the old one, and the same command goes
//! on: the challenge is in the ledger, and what stands on the shelf is taken as it is.

use std::path::PathBuf;

use proofmark_packager::format::MEASUREMENTS_EVIDENCE;
use proofmark_packager::interop::flashinfer::Timestamp;
use proofmark_packager::{Digest, bundle};

use super::evidence::{Evidenced, unsigned_digest};
use super::{Challenge, Decided, no_gpu};
use crate::cli::failure::Failure;
use crate::cli::ledger_folder::explain;
use crate::cli::{output, signing_key};
use crate::job::{Action, MeasurementOutcome, Outcome};
use crate::ledger::champion;
use crate::ledger::entry::{LedgerLine, PromotionLine, id_of};
use crate::ledger::import::seal_line;
use crate::ledger::{Ledger, Origin};
use crate::signing::SigningKey;

/// A new champion.
pub(super) struct Promoted {
    /// Where it stands.
    pub(super) path: PathBuf,
    /// Its promotion, by the SHA-256 of the line.
    pub(super) promotion: Digest,
}

impl Challenge<'_> {
    /// Makes the candidate champion.
    pub(super) fn promote(
        &self,
        ledger: &mut Ledger,
        decided: &Decided,
        key: Option<&SigningKey>,
    ) -> Result<Promoted, Failure> {
        let file = self.file_name();
        let path = self.arguments.shelf.join(&file);
        let standing = self.standing(&path)?;
        let is_new = standing.is_none();
        let made;
        let sealed = match (&standing, &decided.sealed) {
            (Some(standing), _) => standing,
            (None, Some(sealed)) => sealed,
            (None, None) => {
                made = self.sealed_now()?;
                &made
            }
        };
        if !sealed.is_passed() {
            return Err(Failure::could_not_judge("not every workload passed when it was sealed")
                .hint("`proofmark bench` shows which"));
        }
        let mut to_write = sealed.bundle.clone();
        if let Some(key) = key {
            to_write = signing_key::signed(&to_write, key)?;
        }
        if is_new || key.is_some() {
            std::fs::create_dir_all(&self.arguments.shelf).map_err(|error| {
                Failure::could_not_judge(format!("cannot make {}: {error}", self.arguments.shelf.display()))
            })?;
            output::write_file(&path, &bundle::write(&to_write))?;
        }
        keep(ledger, sealed)?;
        let line = &decided.line;
        let promotion = PromotionLine {
            timestamp: Timestamp::now(),
            slot: self.slot.clone(),
            artifact: self.candidate(),
            evidence: unsigned_digest(&sealed.bundle),
            solution: line.solution.clone(),
            author: line.author.clone(),
            file,
            previous: None,
            reason: line.reason.clone(),
            comparison: line.comparison,
            ratio: line.ratio,
            trust: line.trust.clone(),
        };
        let beaten = self.champion.as_ref().map(|champion| champion.id);
        let promotion = champion::promote(ledger, beaten, promotion).map_err(explain)?;
        Ok(Promoted { path, promotion })
    }

    /// The name on the shelf: solution, digest, architecture, device.
    fn file_name(&self) -> String {
        let plain = |one: char| if one.is_ascii_alphanumeric() { one.to_ascii_lowercase() } else { '-' };
        let device: String = self.slot.device.chars().map(plain).collect();
        let name = self.bundle.artifact.file_name();
        format!("{}-{}-{device}.zip", name.trim_end_matches(".zip"), self.arch)
    }

    /// What an earlier promotion that was cut short left there.
    fn standing(&self, path: &std::path::Path) -> Result<Option<Evidenced>, Failure> {
        if !path.exists() {
            return Ok(None);
        }
        let found = output::artifact_at(path).filter(|found| found.artifact.digest() == self.candidate());
        let origin = Origin::Imported { from: self.file_name() };
        let found = found.and_then(|found| Evidenced::of(found, self.arch, &self.slot.device, origin));
        let other = || {
            Failure::request(format!("{} holds something else", path.display()))
                .hint("move it away, or name another folder with --shelf")
        };
        found.map(Some).ok_or_else(other)
    }

    /// The candidate's own seal where it was measured on this device, else one that is made now.
    fn sealed_now(&self) -> Result<Evidenced, Failure> {
        let from = self.arguments.candidate.file_name();
        let from = from.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let origin = Origin::Imported { from };
        if let Some(sealed) = Evidenced::of(self.bundle.clone(), self.arch, &self.slot.device, origin) {
            return Ok(sealed);
        }
        if !self.has_gpu {
            return Err(no_gpu());
        }
        self.seal()?.map_err(Failure::could_not_judge)
    }

    /// Builds, proves, measures and seals; a finding where it is no proven build.
    pub(super) fn seal(&self) -> Result<Result<Evidenced, String>, Failure> {
        let measuring = &self.arguments.measuring;
        let artifact = &self.bundle.artifact;
        let measure = measuring.measure(artifact, &self.arguments.candidate, self.console)?;
        let action = Action::Seal { subject: Box::new(self.bundle.clone()), measure };
        match self.run(action, &measuring.settings()?)? {
            Some(Outcome::Sealed { measurement, sealed, .. }) => {
                if let MeasurementOutcome::Skipped(reason) = &measurement {
                    return Err(Failure::could_not_judge(format!("it was not measured: {reason}")));
                }
                let sealed = Evidenced::of(*sealed, self.arch, &self.slot.device, Origin::Measured);
                let other = || Failure::could_not_judge("it was measured on another device than the slot's");
                sealed.map(Ok).ok_or_else(other)
            }
            Some(Outcome::Finding { finding, .. }) => {
                Ok(Err(crate::report::build::describe_finding(&finding).lines().take(1).collect()))
            }
            _ => Err(no_gpu()),
        }
    }
}

/// The records that the seal names, and the line that names them.
fn keep(ledger: &mut Ledger, sealed: &Evidenced) -> Result<(), Failure> {
    let text = sealed.bundle.evidence.get(MEASUREMENTS_EVIDENCE).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let named = lines.iter().map(|line| id_of(line)).collect();
    let seal = seal_line(&sealed.bundle, &sealed.sealed, named);
    lines.push(LedgerLine::Seal(seal).to_line().map_err(Failure::could_not_judge)?);
    ledger.append_lines(&sealed.origin, &lines).map_err(explain)?;
    Ok(())
}
