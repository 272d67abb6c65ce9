//! `proofmark challenge`: keep or reject a candidate, and move the champion.

use std::path::PathBuf;

use clap::Args;
use proofmark_packager::{Arch, Bundle, Digest};
use serde_json::json;

use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::input;
use super::ledger_folder::explain;
use super::line;
use super::measuring::MeasuringOptions;
use super::protocol::ProtocolOptions;
use super::signing_key::KeyOptions;
use crate::device;
use crate::ledger::champion::{self, Champion};
use crate::ledger::entry::{Answer, ChallengeLine};
use crate::ledger::{Ledger, LedgerLine, Slot, moment};
use crate::report::figures::change;

mod decide;
mod evidence;
mod promote;

use evidence::Evidenced;

/// Hold a candidate against the champion, and keep or reject it.
///
/// There is one champion for each definition, architecture and device model. The candidate is built, proven,
/// recorded and compared with it by the protocol of `compare`, with its known error rate. What came of it goes
/// into the ledger either way, so that nothing is tried twice unknowingly. Where there is no champion yet, a
/// candidate is kept that passes every workload.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark challenge my-kernel --arch sm_90a            keep or reject, with the interval
  proofmark challenge my-kernel --arch sm_90a --promote  kept: sealed into solutions/, and champion
  proofmark challenge new.zip --comparison today.jsonl --promote
                                                         decided where there was a GPU, by `compare --record`
  proofmark ledger lineage                               who was champion, and why

Exit code 0: keep. 1: reject. 3: undecided, or there is no GPU.")]
pub struct Arguments {
    /// The candidate: a submission folder, an artifact or a solution.json.
    candidate: PathBuf,
    /// Make a candidate that is kept the champion: sealed into the shelf, with the reason in the ledger.
    #[arg(long)]
    promote: bool,
    /// Where champions stand.
    #[arg(long, value_name = "DIR", default_value = "solutions")]
    shelf: PathBuf,
    /// Decide by a comparison of these two that was recorded elsewhere; its raw samples must lead to it.
    #[arg(long, value_name = "FILE")]
    comparison: Option<PathBuf>,
    /// Measure again what was tried before.
    #[arg(long)]
    again: bool,
    /// Sign what is promoted with your OpenSSH key.
    #[arg(long)]
    sign: bool,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    protocol: ProtocolOptions,
    #[command(flatten)]
    measuring: MeasuringOptions,
}

/// Who is held against whom, for what.
struct Challenge<'a> {
    arguments: &'a Arguments,
    console: &'a Console,
    bundle: Bundle,
    arch: Arch,
    slot: Slot,
    champion: Option<Champion>,
    has_gpu: bool,
}

/// What became of it, with what is sealed already.
struct Decided {
    line: ChallengeLine,
    sealed: Option<Evidenced>,
    tried_before: bool,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    if arguments.measuring.line.as_job {
        return Err(Failure::request("a challenge is no job: it writes into the ledger")
            .hint("`compare --as-job` is; `challenge --comparison` takes what it recorded"));
    }
    let mut ledger = arguments.measuring.ledger.open(console)?;
    let key = if arguments.sign { Some(arguments.key.open()?) } else { None };
    let bundle = input::open_one(&arguments.candidate, console)?.bundle;
    let arch = line::arch_of(&bundle, arguments.measuring.line.arch, console);
    let gpu = device::describe().gpu;
    let compared = decide::recorded(arguments, &bundle)?;
    let device = match (&compared, &gpu, evidence::sealed_device(&bundle)) {
        (Some(compared), ..) => compared.b.environment.device.clone(),
        (None, Some(gpu), _) => gpu.name.clone(),
        (None, None, Some(device)) => device,
        (None, None, None) => return Err(nothing_measured()),
    };
    let definition = bundle.artifact.manifest().solution.definition.clone();
    let slot = Slot { definition, arch, device };
    let champion = champion::lineage(&ledger, &slot).map_err(explain)?.champion().cloned();
    let has_gpu = gpu.is_some();
    let challenge = Challenge { arguments, console, bundle, arch, slot, champion, has_gpu };
    if challenge.is_champion() {
        console.print(format!("champion     {} is it already", challenge.slot))?;
        return challenge.answer(None, None);
    }
    let decided = challenge.decide(&mut ledger, compared)?;
    console.print(challenge.words(&decided))?;
    let promoted = if arguments.promote && decided.line.answer == Answer::Keep {
        Some(challenge.promote(&mut ledger, &decided, key.as_ref())?)
    } else {
        None
    };
    challenge.answer(Some(&decided), promoted.as_ref())
}

/// Where there is neither a GPU nor anything that was measured on one.
fn no_gpu() -> Failure {
    Failure::could_not_judge("there is no GPU here, and two runs of their own cannot be compared")
        .hint("`compare --record FILE` where there is one; then `challenge --comparison FILE` here")
}

/// Where nothing says for which device the candidate is a candidate.
fn nothing_measured() -> Failure {
    Failure::could_not_judge("there is no GPU here, and the candidate holds no measurement that names one")
        .hint("`seal` where there is one; then `challenge` what it sealed here")
        .hint("where there is a champion: `compare --record FILE` there, then `challenge --comparison FILE` here")
}

/// Where there is neither a GPU nor a champion, and the candidate was not measured for this slot.
fn first_unmeasured(slot: &Slot) -> Failure {
    let text = format!(
        "{slot} has no champion yet, and there is no GPU here on which a first one could be measured"
    );
    Failure::could_not_judge(text).hint("`seal` where there is one; then `challenge` what it sealed here")
}

impl Challenge<'_> {
    fn candidate(&self) -> Digest {
        self.bundle.artifact.digest()
    }

    fn champion_artifact(&self) -> Option<Digest> {
        self.champion.as_ref().map(|champion| champion.promotion.artifact)
    }

    fn is_champion(&self) -> bool {
        self.champion_artifact() == Some(self.candidate())
    }

    fn decide(
        &self,
        ledger: &mut Ledger,
        compared: Option<crate::record::ComparisonRecord>,
    ) -> Result<Decided, Failure> {
        let before = champion::tried(ledger, &self.slot, self.candidate(), self.champion_artifact())
            .map_err(explain)?;
        if let Some(line) = before
            && !self.arguments.again
            && compared.is_none()
        {
            return Ok(Decided { line, sealed: None, tried_before: true });
        }
        let found = match (&self.champion, compared) {
            (Some(champion), Some(compared)) => self.by_record(ledger, champion, compared)?,
            (Some(champion), None) => self.by_comparison(ledger, champion)?,
            (None, None) => self.first()?,
            (None, Some(_)) => {
                let text =
                    format!("{} has no champion that anything could have been compared with", self.slot);
                return Err(Failure::request(text).hint(
                    "`challenge` without --comparison makes the first one; `ledger lineage` names them",
                ));
            }
        };
        ledger.append_own(&LedgerLine::Challenge(found.line.clone())).map_err(explain)?;
        Ok(found)
    }

    fn words(&self, decided: &Decided) -> String {
        let line = &decided.line;
        let mut text = format!("{:13}{}", line.answer.name(), line.reason);
        if let (Some(ratio), Some(trust)) = (&line.ratio, &line.trust) {
            text += &format!("\n  time       {} against the champion, {}", change(ratio), trust.name());
        }
        text += &format!("\n  slot       {}", self.slot);
        text += &match &self.champion {
            Some(Champion { promotion, .. }) => {
                format!(
                    "\n  champion   {} {} by {}",
                    promotion.artifact.short(),
                    promotion.solution,
                    promotion.author
                )
            }
            None => "\n  champion   nobody yet".to_owned(),
        };
        if decided.tried_before {
            let when = moment::short(line.timestamp.as_str());
            text += &format!("\n  tried      before, on {when}: --again measures it again");
        }
        text
    }

    fn answer(
        &self,
        decided: Option<&Decided>,
        promoted: Option<&promote::Promoted>,
    ) -> Result<ExitCode, Failure> {
        let line = decided.map(|decided| &decided.line);
        if let Some(promoted) = promoted {
            self.console.print(format!("promoted     {}", promoted.path.display()))?;
        }
        let body = json!({
            "slot": self.slot,
            "candidate": self.candidate(),
            "champion": self.champion_artifact(),
            "answer": line.map_or(Answer::Keep, |line| line.answer),
            "reason": line.map_or("it is the champion already", |line| line.reason.as_str()),
            "comparison": line.and_then(|line| line.comparison),
            "ratio": line.and_then(|line| line.ratio),
            "trust": line.and_then(|line| line.trust.clone()),
            "tried_before": decided.is_some_and(|decided| decided.tried_before),
            "promoted": promoted.map(|promoted| json!({
                "file": crate::path_text::text(&promoted.path), "promotion": promoted.promotion,
            })),
        });
        self.console.document("proofmark.challenge", 1, &body)?;
        Ok(match line.map_or(Answer::Keep, |line| line.answer) {
            Answer::Keep => ExitCode::Yes,
            Answer::Reject => ExitCode::No,
            Answer::Undecided => ExitCode::CouldNotJudge,
        })
    }
}
