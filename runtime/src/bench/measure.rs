//! The whole measurement of one artifact: workloads in, findings out.
//!
//! For every workload contents and expected outputs are made, the null gate is tried, and the subject
//! is shown under its clocks.

use proofmark_packager::interop::flashinfer::{Definition, Workload};

use super::finding::WorkloadFinding;
use super::judge::actor::{Actor, Stop};
use super::judge::house::House;
use super::judge::layout::Layout;
use super::judge::scene::Scene;
use super::player::PlayerEnd;
use super::player::protocol::{Clock, L2};
use super::show::Show;
use super::statistics::median;
use super::subject::{BenchError, Options, Progress, Subject};
use super::timing::executed::{Executed, executed};
use super::timing::{Evidence, distrust};
use super::verdict::Verdict;

/// What a whole run showed beside its workloads.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunFacts {
    /// The machine.
    pub environment: super::environment::Environment,
    /// Bytes a second that a device copy moves, reads and writes counted.
    pub copy_bandwidth: f64,
    /// Why there are no activity spans; the fallback is event pairs.
    pub cupti_problem: Option<String>,
    /// Which protections of the player could not be had.
    pub confinement_problem: Option<String>,
    /// Whether tensors travelled as copies through host memory.
    pub copies: bool,
}

/// Measures a subject against a reference over workloads.
pub fn measure(
    subject: &Subject,
    reference: &Subject,
    definition: &Definition,
    workloads: &[Workload],
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(RunFacts, Vec<WorkloadFinding>), BenchError> {
    let layouts = workloads
        .iter()
        .map(|workload| layout_of(definition, workload))
        .collect::<Result<Vec<_>, BenchError>>()?;
    let house = House::open(&layouts, options)?;
    house.gpu.require(subject.arch)?;
    let copy_bandwidth = house.copy_bandwidth()?;
    let mut company =
        Company { house: &house, subject, reference, options, actors: [None, None], unplayable: None };
    if let Err(stop) = company.actor(REFERENCE) {
        return Err(company.reference_failed(stop, "that comes first"));
    }
    let facts = company.facts(copy_bandwidth);
    progress(Progress::Opened(&facts));
    let mut findings = Vec::new();
    for (index, (workload, layout)) in workloads.iter().zip(layouts).enumerate() {
        progress(Progress::Begun { index, workload });
        let finding = company.judge(definition, workload, layout)?;
        progress(Progress::Ended { index, finding: &finding });
        findings.push(finding);
    }
    Ok((facts, findings))
}

impl RunFacts {
    /// What the user must hear before the first number.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(problem) = &self.cupti_problem {
            warnings.push(format!("no CUPTI ({problem}): latencies are event pairs, which add about 3 µs"));
        }
        if let Some(problem) = &self.confinement_problem {
            warnings.push(format!("the player is less confined than it should be: {problem}"));
        }
        if self.copies {
            warnings.push("no device IPC here: tensors travel as copies".to_owned());
        }
        warnings
    }
}

pub(super) fn layout_of(definition: &Definition, workload: &Workload) -> Result<Layout, BenchError> {
    definition.shapes(workload).map(|shapes| Layout::new(&shapes)).map_err(|invalid| BenchError::Workload {
        workload: workload.uuid().to_owned(),
        detail: invalid.to_string(),
    })
}

/// The two players and what they play.
struct Company<'run> {
    house: &'run House,
    subject: &'run Subject,
    reference: &'run Subject,
    options: &'run Options,
    /// Subject, reference; started when needed, again after a crash.
    actors: [Option<Actor>; 2],
    /// Why the subject cannot even be loaded: then no workload needs to try again.
    unplayable: Option<String>,
}

const SUBJECT: usize = 0;
const REFERENCE: usize = 1;

impl Company<'_> {
    fn facts(&self, copy_bandwidth: f64) -> RunFacts {
        let actor = self.actors[REFERENCE].as_ref();
        let problem = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        let cupti_problem = problem(actor.map(|actor| &actor.cupti_problem));
        RunFacts {
            environment: self.house.environment(cupti_problem.is_none().then(|| "libcupti.so.13".to_owned())),
            copy_bandwidth,
            cupti_problem,
            confinement_problem: problem(actor.map(|actor| &actor.confinement_problem)),
            copies: self.house.home.get() == Some(super::player::protocol::Home::Copies),
        }
    }

    fn judge(
        &mut self,
        definition: &Definition,
        workload: &Workload,
        layout: Layout,
    ) -> Result<WorkloadFinding, BenchError> {
        let traffic = definition.shapes(workload).map_or(0, |shapes| shapes.traffic_bytes());
        let mut finding = WorkloadFinding::new(workload.clone(), traffic);
        let mut scene = Scene::new(self.house, definition, workload, layout, self.options)?;
        finding.readings.push(self.house.reading());
        self.rehearse(&scene, workload, &mut finding)?;
        match scene.refusal() {
            Ok(None) => {}
            Ok(refusal) => {
                finding.refusal = refusal;
                return Ok(finding);
            }
            Err(stop) => return Err(self.reference_failed(stop, workload.uuid())),
        }
        match self.perform(&mut scene, &mut finding) {
            Ok(verdict) | Err(Stop::Verdict(verdict)) => finding.verdict = Some(verdict),
            Err(Stop::Bench(error)) => return Err(error),
            Err(Stop::End(end)) => self.bury(&end, &mut finding),
        }
        finding.checked_calls = scene.checked;
        finding.readings.push(self.house.reading());
        Ok(finding)
    }

    /// A player that ended ends its workload; the next one gets a fresh player.
    fn bury(&mut self, end: &PlayerEnd, finding: &mut WorkloadFinding) {
        let output = self.actors[SUBJECT].take().map(Actor::end).unwrap_or_default();
        let said = output.trim_end();
        let mut last: Vec<&str> = said.lines().rev().take(5).collect();
        last.reverse();
        let tail = last.join(" | ");
        let reason = if tail.is_empty() { end.to_string() } else { format!("{end}; it wrote: {tail}") };
        finding.verdict = Some(match end {
            PlayerEnd::TimedOut { .. } => Verdict::Timeout { reason },
            _ => Verdict::RuntimeError { reason },
        });
        finding.output = (!output.is_empty()).then_some(output);
    }

    fn rehearse(
        &mut self,
        scene: &Scene<'_>,
        workload: &Workload,
        finding: &mut WorkloadFinding,
    ) -> Result<(), BenchError> {
        let outcome = self.actor(REFERENCE).and_then(|actor| {
            scene.rehearse(actor)?;
            let mut times = Vec::new();
            for _ in 0..3 {
                times.push(actor.call(0, Clock::Events, L2::Cold)?.event_ns);
            }
            Ok(median(&times))
        });
        match outcome {
            Ok(reference_ns) => {
                finding.reference_ns = reference_ns;
                Ok(())
            }
            Err(stop) => Err(self.reference_failed(stop, workload.uuid())),
        }
    }

    fn reference_failed(&mut self, stop: Stop, workload: &str) -> BenchError {
        match stop {
            Stop::Bench(error) => error,
            Stop::End(end) => {
                let said = self.actors[REFERENCE].take().map(Actor::end).unwrap_or_default();
                let end = match (end, said.trim()) {
                    (end, "") => end,
                    (end, said) => PlayerEnd::Refused { text: format!("{end}; it wrote: {said}") },
                };
                BenchError::Reference { workload: workload.to_owned(), end }
            }
            Stop::Verdict(verdict) => BenchError::Reference {
                workload: workload.to_owned(),
                end: PlayerEnd::Refused { text: verdict.to_string() },
            },
        }
    }

    fn actor(&mut self, role: usize) -> Result<&mut Actor, Stop> {
        if self.actors[role].is_none() {
            let (part, blocks) = match role {
                SUBJECT => (self.subject, &self.house.shared),
                _ => (self.reference, &self.house.secret),
            };
            let actor = Actor::start(self.house, blocks, part, self.options)?;
            self.actors[role] = Some(actor);
        }
        Ok(self.actors[role].as_mut().expect("started just above"))
    }

    fn perform(&mut self, scene: &mut Scene<'_>, finding: &mut WorkloadFinding) -> Result<Verdict, Stop> {
        let (options, house, images) = (self.options, self.house, &self.subject.images);
        if let Some(reason) = &self.unplayable {
            return Ok(Verdict::RuntimeError { reason: reason.clone() });
        }
        if let Err(stop) = self.actor(SUBJECT) {
            if let Stop::End(end) = &stop {
                self.unplayable = Some(end.to_string());
            }
            return Err(stop);
        }
        let actor = self.actor(SUBJECT)?;
        scene.bind(actor)?;
        let mut show = Show { house, options, scene, actor, evidence: Evidence::default(), finding };
        show.warm_up()?;
        show.events()?;
        show.batches()?;
        let suspicion = show.spans()?;
        let modules = show.actor.modules()?;
        let code = executed(&show.actor.own_modules, &modules, images);
        let evidence = show.evidence;
        match code {
            Executed::Foreign(reason) => return Ok(Verdict::UntrustedTiming { reason }),
            Executed::Proven => {
                finding.notes.push("executed: only proven device images were loaded".to_owned());
            }
            Executed::Unknown => finding.notes.push("executed: not known".to_owned()),
        }
        let reason = suspicion.or_else(|| distrust(&evidence));
        Ok(reason.map_or(Verdict::Passed, |reason| Verdict::UntrustedTiming { reason }))
    }
}
