//! Which of two artifacts is faster: drives the decision's state machine with real players.
//!
//! Each process of the protocol is three fresh players, one an arm: A, B, and A's bytes again. They
//! share the judge's buffers, so every arm reads and writes the same physical memory, and only one of
//! them has work on the GPU at a time. Separate processes keep one arm's code from reaching another's;
//! the control A′ pays for that separation like the others, so what it costs is seen. As in `bench`,
//! every call has fresh contents and every output is checked.
//!
//! An arm that fails is measured once more alone. Only where it fails again is it out: what it failed of may
//! have been another arm.

use std::time::{Duration, Instant};

use proofmark_packager::interop::flashinfer::{Definition, Workload};

use super::decision::{Arm, CellReading, Comparison, ComparisonError, Event, Protocol, Report, Step};
use super::environment::Reading;
use super::finding::WorkloadFinding;
use super::judge::device::JudgeDevice;
use super::judge::layout::CallLayout;
use super::judge::session::{Part, PlayerSession, Stop};
use super::judge::trial::{Dice, Trial};
use super::recordings::Recordings;
use super::run::{BenchRun, OUT_OF_BOUNDS};
use super::sampler::{CYCLE_STRETCH_NS, Sampler};
use super::subject::{BenchError, Live, Options, Subject};
use super::timing::executed::{Executed, executed};
use super::timing::{ClockReadings, distrust, span};
use super::verdict::Verdict;
use crate::recording::{CheckedRecording, Trust, Unrecorded};
use proofmark_player::PlayerEnd;
use proofmark_player::protocol::{Clock, Role, Tracing};

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Compared {
    /// The decision, with everything that is known.
    Decided(Box<Settled>),
    /// One arm cannot be compared: it is wrong, or its timing cannot be believed.
    Disqualified {
        /// Which arm.
        arm: Arm,
        /// On which workload.
        workload: String,
        /// Why.
        verdict: Verdict,
    },
}

/// A decision and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Everything that is known.
    pub report: Report,
    /// Whether the numbers rest on recordings.
    pub trust: Trust,
    /// Every answer that the decision got, raw samples included.
    pub events: Vec<Event>,
    /// The device at the start of every process, and at the end.
    pub readings: Vec<Reading>,
}

/// Where a comparison stands: cells measured in this session, and cells up to the next look.
pub type Standing = (usize, usize);

/// What is compared, and on what.
#[derive(Debug, Clone, Copy)]
pub struct Contest<'run> {
    /// The incumbent.
    pub a: &'run Subject,
    /// The candidate.
    pub b: &'run Subject,
    /// What both are checked against.
    pub reference: &'run Subject,
    /// What all of them implement.
    pub definition: &'run Definition,
    /// The workloads.
    pub workloads: &'run [Workload],
}

/// Compares B with A.
pub fn compare(
    device: &JudgeDevice,
    contest: Contest<'_>,
    protocol: Protocol,
    options: &Options,
    budget: Option<Duration>,
    progress: &mut dyn FnMut(Standing),
) -> Result<Compared, BenchError> {
    let workloads = contest.workloads;
    let uuids = workloads.iter().map(|workload| workload.uuid().to_owned()).collect();
    let mut decision =
        Comparison::new(protocol, uuids, options.seed.0).map_err(|error| out_of_step(&error))?;
    let mut trials = Vec::new();
    for workload in workloads {
        let layout = CallLayout::of(contest.definition, workload)?;
        trials.push(Trial::new(device, contest.definition, workload, layout, options)?);
    }
    let part = Part { subject: contest.reference, role: Role::Live };
    let mut reference = PlayerSession::start(device, &device.reference, part, options)
        .map_err(|stop| reference_failed(stop, "that comes first"))?;
    let recordings = match record(device, &contest, &mut reference, options)? {
        Ok(recordings) => recordings,
        Err(disqualified) => return Ok(disqualified),
    };
    let trust = match &recordings {
        ArmRecordings::Both(_) => Trust::Hermetic,
        ArmRecordings::Neither { reason } => Trust::Live { reason: reason.clone() },
    };
    let mut run = CompareRun {
        contest,
        device,
        options,
        trials,
        recordings,
        reference,
        arms: Vec::new(),
        current: None,
        dice: Dice::new(options.seed, "starting"),
        examined: vec![[None, None]; workloads.len()],
    };
    let begun = Instant::now();
    let mut readings = Vec::new();
    loop {
        progress(decision.progress());
        if budget.is_some_and(|budget| begun.elapsed() > budget) {
            decision.stop();
        }
        let outcome = match decision.next() {
            Step::Finished => break,
            Step::StartProcess { warmup_ms, .. } => {
                readings.push(device.reading());
                run.start(Duration::from_millis(warmup_ms)).map(|()| None)
            }
            Step::Measure(cell) => run.cell(cell.workload, cell.arm, cell.samples).map(Some),
        };
        match outcome {
            Ok(None) => decision.process_started().map_err(|error| out_of_step(&error))?,
            Ok(Some(reading)) => decision.feed(reading).map_err(|error| out_of_step(&error))?,
            Err(Setback::Lost) => {
                run.arms.clear();
                decision.process_lost();
            }
            Err(Setback::Failed { arm, workload }) => match run.failure_alone(arm, workload)? {
                Some(verdict) => return Ok(run.disqualified(arm, workload, verdict)),
                None => decision.process_lost(),
            },
            Err(Setback::Bench(error)) => return Err(error),
        }
    }
    let report = decision.report().expect("a finished comparison has a report");
    if let Some(disqualified) = run.distrusted(&report) {
        return Ok(disqualified);
    }
    readings.push(device.reading());
    let events = decision.events().to_vec();
    Ok(Compared::Decided(Box::new(Settled { report, trust, events, readings })))
}

/// What the arms are measured as: both from recordings, or neither.
enum ArmRecordings {
    /// A's and B's.
    Both(Box<[Recordings; 2]>),
    /// They are measured live.
    Neither {
        /// Why.
        reason: String,
    },
}

/// Records both arms on every workload. Where that cannot be done they are both measured live, if that was
/// asked for: a recorded arm and a live one are not compared.
fn record(
    device: &JudgeDevice,
    contest: &Contest<'_>,
    reference: &mut PlayerSession,
    options: &Options,
) -> Result<Result<ArmRecordings, Compared>, BenchError> {
    let workloads: Vec<&Workload> = contest.workloads.iter().collect();
    let mut take = |subject| {
        Recordings::take(device, subject, reference, contest.definition, &workloads, options, &mut |_| {})
    };
    let both = [take(contest.a)?, take(contest.b)?];
    for (arm, recordings) in [Arm::A, Arm::B].into_iter().zip(&both) {
        let Some((workload, gap)) = recordings.gap() else { continue };
        let verdict = match gap {
            Unrecorded::Refused(reason) if options.live != Live::Never => {
                return Ok(Ok(ArmRecordings::Neither {
                    reason: format!("arm {}: {reason}", if arm == Arm::B { "B" } else { "A" }),
                }));
            }
            Unrecorded::Refused(reason) => Verdict::NotRecorded { reason: reason.clone() },
            Unrecorded::Ended(end, _) => Verdict::of_end(end, end.to_string()),
        };
        return Ok(Err(Compared::Disqualified { arm, workload: workload.to_owned(), verdict }));
    }
    // Three arms are mapped at once: one that takes all memory must not cost another its place.
    let (free, _) = device.gpu.free_memory()?;
    let share = free.saturating_sub(RESERVED_BYTES) / ARMS.len() as u64;
    for (arm, recordings) in [Arm::A, Arm::B].into_iter().zip(&both) {
        if let Some(workload) = recordings.larger_than(share) {
            let reason = format!("its memory is more than an arm's share of the GPU, {} MiB", share >> 20);
            let workload = workload.to_owned();
            return Ok(Err(Compared::Disqualified {
                arm,
                workload,
                verdict: Verdict::NotRecorded { reason },
            }));
        }
    }
    Ok(Ok(ArmRecordings::Both(Box::new(both))))
}

fn out_of_step(error: &ComparisonError) -> BenchError {
    BenchError::Protocol { detail: error.to_string() }
}

fn reference_failed(stop: Stop, workload: &str) -> BenchError {
    let end = match stop {
        Stop::Bench(error) => return error,
        Stop::End(end) => end,
        Stop::Verdict(verdict) => PlayerEnd::Refused { text: verdict.to_string() },
    };
    BenchError::Reference { workload: workload.to_owned(), end }
}

/// A workload that nothing can be held against.
fn unfit(workload: &Workload, detail: &str) -> BenchError {
    BenchError::Workload {
        workload: workload.uuid().to_owned(),
        detail: format!("it cannot judge: {detail}"),
    }
}

/// Why a step could not be done.
enum Setback {
    /// The process is lost; a fresh one may do.
    Lost,
    /// An arm failed on a workload, beside the others.
    Failed {
        /// Which arm.
        arm: Arm,
        /// The workload's place.
        workload: usize,
    },
    /// We cannot go on.
    Bench(BenchError),
}

/// The players of a comparison and what they share.
struct CompareRun<'run> {
    contest: Contest<'run>,
    device: &'run JudgeDevice,
    options: &'run Options,
    trials: Vec<Trial<'run>>,
    recordings: ArmRecordings,
    reference: PlayerSession,
    /// A, B, A′.
    arms: Vec<PlayerSession>,
    /// The workload whose contents lie in the secret blocks.
    current: Option<usize>,
    /// Shuffles who is started first: the first gets other memory than the last, which can be worth
    /// half a percent, and must not favour one arm.
    dice: Dice,
    /// What is known of A and B beside their spans, for each workload; taken once.
    examined: Vec<[Option<ClockReadings>; 2]>,
}

/// Device memory that is not shared out among arms: contexts, flush buffers, images.
const RESERVED_BYTES: u64 = 8 << 30;

const ARMS: [Arm; 3] = [Arm::A, Arm::B, Arm::Control];

impl CompareRun<'_> {
    fn start(&mut self, warmup: Duration) -> Result<(), Setback> {
        self.arms.clear();
        let of_arm = [self.contest.a, self.contest.b, self.contest.a];
        let order = self.dice.permutation(ARMS.len());
        let role = match self.recordings {
            ArmRecordings::Both(_) => Role::Stage,
            ArmRecordings::Neither { .. } => Role::Live,
        };
        let parts: Vec<Part<'_>> = order.iter().map(|arm| Part { subject: of_arm[*arm], role }).collect();
        let started = PlayerSession::start_all(self.device, &self.device.shared, &parts, self.options);
        let mut sessions: Vec<(usize, PlayerSession)> = Vec::new();
        for (arm, started) in order.into_iter().zip(started.map_err(Setback::Bench)?) {
            match started {
                Ok(session) => sessions.push((arm, session)),
                Err(stop) => return Err(setback(stop, ARMS[arm], 0)),
            }
        }
        sessions.sort_by_key(|(arm, _)| *arm);
        self.arms = sessions.into_iter().map(|(_, session)| session).collect();
        self.current = None;
        self.bring(0)?;
        let begun = Instant::now();
        while begun.elapsed() < warmup {
            for arm in ARMS {
                self.sample(0, arm, Clock::Host)?;
            }
        }
        for arm in ARMS {
            let session = &mut self.arms[place(arm)];
            if session.cupti_problem.is_none()
                && let Err(end) = session.trace(Tracing::On)
            {
                return Err(setback(Stop::End(end), arm, 0));
            }
        }
        Ok(())
    }

    /// Brings a workload to the blocks: contents, expected outputs, bound players.
    fn bring(&mut self, workload: usize) -> Result<(), Setback> {
        if self.current == Some(workload) {
            return Ok(());
        }
        let trial = &mut self.trials[workload];
        let prepared = trial.prepare(&mut self.reference).and_then(|()| trial.refusal(&mut self.reference));
        match prepared {
            Ok(None) => {}
            Ok(Some(detail)) => {
                return Err(Setback::Bench(unfit(&self.contest.workloads[workload], &detail)));
            }
            Err(stop) => {
                let uuid = self.contest.workloads[workload].uuid();
                return Err(Setback::Bench(reference_failed(stop, uuid)));
            }
        }
        for arm in ARMS {
            if let Err(stop) = self.bind(workload, arm) {
                return Err(setback(stop, arm, workload));
            }
        }
        self.current = Some(workload);
        Ok(())
    }

    /// Gives an arm what it runs on a workload.
    fn bind(&mut self, workload: usize, arm: Arm) -> Result<(), Stop> {
        let session = &mut self.arms[place(arm)];
        let ArmRecordings::Both(both) = &self.recordings else { return self.trials[workload].bind(session) };
        let recordings = if arm == Arm::B { &both[1] } else { &both[0] };
        let recording = recordings.of(&self.contest.workloads[workload]).expect("every workload has one");
        Ok(session.stage(&recording.recording, &recording.contents, recording.code())?)
    }

    /// Takes the other clocks of A and B once a workload: what spans are held against.
    fn examine(&mut self, index: usize) -> Result<(), Setback> {
        for arm in [0, 1] {
            if self.examined[index][arm].is_some() {
                continue;
            }
            let workload = &self.contest.workloads[index];
            let restores = match &self.recordings {
                ArmRecordings::Both(both) => both[arm].of(workload).map_or(0, CheckedRecording::restores),
                ArmRecordings::Neither { .. } => 0,
            };
            let mut finding = WorkloadFinding::new(workload.clone(), 0);
            let session = &mut self.arms[arm];
            let traced = session.cupti_problem.is_none();
            let mut sampler = Sampler {
                restores,
                launches: None,
                device: self.device,
                options: self.options,
                trial: &mut self.trials[index],
                session,
                reference: &mut self.reference,
                readings: ClockReadings::default(),
                finding: &mut finding,
            };
            let outcome = quiet(&mut sampler, traced);
            let readings = sampler.readings;
            if let Err(stop) = outcome {
                return Err(setback(stop, ARMS[arm], index));
            }
            self.examined[index][arm] = Some(readings);
            self.check_modules(arm, index)?;
        }
        Ok(())
    }

    fn check_modules(&mut self, arm: usize, workload: usize) -> Result<(), Setback> {
        let images = if arm == 1 { &self.contest.b.images } else { &self.contest.a.images };
        let session = &mut self.arms[arm];
        let least = session.least();
        let loaded = match session.modules() {
            Ok(loaded) => loaded,
            Err(end) => return Err(setback(Stop::End(end), ARMS[arm], workload)),
        };
        match session.is_intact() {
            Ok(true) => {}
            Ok(false) => {
                let verdict = Verdict::UntrustedTiming { reason: OUT_OF_BOUNDS.to_owned() };
                return Err(setback(Stop::Verdict(verdict), ARMS[arm], workload));
            }
            Err(end) => return Err(setback(Stop::End(end), ARMS[arm], workload)),
        }
        let session = &mut self.arms[arm];
        match executed(&session.own_modules, &loaded, images, least) {
            Executed::Foreign(reason) => {
                let verdict = Verdict::UntrustedTiming { reason };
                Err(setback(Stop::Verdict(verdict), ARMS[arm], workload))
            }
            Executed::Proven | Executed::Unknown => Ok(()),
        }
    }

    fn cell(&mut self, workload: usize, arm: Arm, samples: usize) -> Result<CellReading, Setback> {
        self.bring(workload)?;
        self.examine(workload)?;
        let traced = self.arms[0].cupti_problem.is_none();
        let clock = if traced { Clock::Cupti } else { Clock::Events };
        let mut reading = CellReading::default();
        for _ in 0..samples {
            reading.samples_ns.push(self.sample(workload, arm, clock)?);
        }
        let clocked = self.arms[place(arm)].sm_mhz(CYCLE_STRETCH_NS);
        reading.sm_mhz = Some(clocked.map_err(|end| setback(Stop::End(end), arm, workload))?);
        reading.disturbance = self.device.disturbance(self.options.neighbours);
        Ok(reading)
    }

    fn sample(&mut self, workload: usize, arm: Arm, clock: Clock) -> Result<f64, Setback> {
        let session = &mut self.arms[place(arm)];
        let least = session.least();
        let report = match self.trials[workload].call(session, &mut self.reference, clock) {
            Ok(report) => report,
            Err(stop) => return Err(setback(stop, arm, workload)),
        };
        if let Some(readings) = self.examined[workload].get_mut(place(arm)).and_then(Option::as_mut) {
            readings.persisting_bytes = readings.persisting_bytes.max(report.persisting_bytes);
            readings.window_bytes = readings.window_bytes.max(report.window_bytes);
        }
        match clock {
            Clock::Host => Ok(report.host_ns),
            Clock::Events => Ok(report.event_ns.expect("a session gives no event call without its time")),
            Clock::Cupti => span(&report.activities, least).map(|found| found.elapsed_ns).map_err(|found| {
                let verdict = Verdict::UntrustedTiming { reason: found.to_string() };
                setback(Stop::Verdict(verdict), arm, workload)
            }),
        }
    }

    /// What is wrong with an arm on a workload when nothing runs beside it; `None` where it passes.
    fn failure_alone(&mut self, arm: Arm, workload: usize) -> Result<Option<Verdict>, BenchError> {
        self.arms.clear();
        let Contest { a, b, reference, definition, workloads } = self.contest;
        let (subject, number) = if arm == Arm::B { (b, 1) } else { (a, 0) };
        let recordings = match &self.recordings {
            ArmRecordings::Both(both) => both[number].clone(),
            ArmRecordings::Neither { .. } => Recordings::default(),
        };
        let mut alone =
            BenchRun::start(self.device, subject, reference, self.options)?.with_recordings(recordings);
        let workload = &workloads[workload];
        let WorkloadFinding { verdict, refusal, .. } = alone.judge(definition, workload)?;
        match (verdict, refusal) {
            (Some(Verdict::Passed), _) => Ok(None),
            (Some(verdict), _) => Ok(Some(verdict)),
            (None, refusal) => Err(unfit(workload, &refusal.unwrap_or_default())),
        }
    }

    fn disqualified(&self, arm: Arm, workload: usize, verdict: Verdict) -> Compared {
        let workload = self.contest.workloads[workload].uuid().to_owned();
        Compared::Disqualified { arm, workload, verdict }
    }

    /// Holds the medians that decided against the other clocks.
    fn distrusted(&self, report: &Report) -> Option<Compared> {
        for (workload, examined) in report.workloads.iter().zip(&self.examined) {
            let medians = [workload.a, workload.b].map(|arm| arm.map(|summary| summary.median));
            for (arm, (claimed, taken)) in medians.into_iter().zip(examined).enumerate() {
                let Some(mut readings) = taken.clone() else { continue };
                if self.arms.first().is_some_and(|session| session.cupti_problem.is_none()) {
                    readings.span_ns = claimed;
                }
                if let Some(reason) = distrust(&readings) {
                    let verdict = Verdict::UntrustedTiming { reason };
                    let workload = workload.uuid.clone();
                    return Some(Compared::Disqualified { arm: ARMS[arm], workload, verdict });
                }
            }
        }
        None
    }
}

/// Takes events and batches without the tracer, which is on between cells.
fn quiet(sampler: &mut Sampler<'_, '_, '_>, traced: bool) -> Result<(), Stop> {
    if traced {
        sampler.session.trace(Tracing::Off)?;
    }
    sampler.warm_up()?;
    sampler.events()?;
    sampler.batches()?;
    if traced {
        sampler.session.trace(Tracing::On)?;
    }
    Ok(())
}

fn place(arm: Arm) -> usize {
    match arm {
        Arm::A => 0,
        Arm::B => 1,
        Arm::Control => 2,
    }
}

/// What a stop means for an arm.
fn setback(stop: Stop, arm: Arm, workload: usize) -> Setback {
    match stop {
        Stop::Bench(error) => Setback::Bench(error),
        // The incumbent may die of bad luck; a candidate that dies may be none.
        Stop::End(_) if arm != Arm::B => Setback::Lost,
        Stop::Verdict(_) | Stop::End(_) => Setback::Failed { arm, workload },
    }
}
