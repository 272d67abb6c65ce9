//! The state machine: it says what to measure next and is fed what was measured. It touches no
//! clock, no device and no random source, so the same readings always give the same decision.

use serde::{Deserialize, Serialize};

use super::block::CellReading;
use super::finding::{Decision, Reason};
use super::protocol::{Protocol, ProtocolError};
use super::schedule::{Arm, BlockKind, CELLS_PER_BLOCK, Cell, ProcessId, Schedule};
use super::session::{ProcessEffect, Session};

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Start a fresh process with A, B and A′ loaded, warm it up, then call
    /// [`Comparison::process_started`].
    StartProcess {
        /// Which one.
        process: ProcessId,
        /// How long to warm up, in milliseconds.
        warmup_ms: u64,
    },
    /// Measure a cell, then call [`Comparison::feed`].
    Measure(Cell),
    /// End the processes: everything is known.
    Finished,
}

/// A call that does not answer the current step.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ComparisonError {
    /// The protocol cannot work.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// There is nothing to compare on.
    #[error("no workloads to compare on")]
    NoWorkloads,
    /// The step is another one.
    #[error("expected an answer to {step:?}, got {answer}")]
    OutOfStep {
        /// The current step.
        step: Step,
        /// What was answered.
        answer: &'static str,
    },
}

/// One answer to a step: all that a comparison ever learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A process was ready.
    Started,
    /// A cell was measured.
    Cell(CellReading),
    /// A process died or could not go on.
    Lost,
    /// The time was up.
    Stopped,
}

/// Kept samples of both arms on one workload, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct ArmSamples {
    pub(super) a: Vec<f64>,
    pub(super) b: Vec<f64>,
}

/// One comparison of B with A on some workloads.
#[derive(Debug, Clone)]
pub struct Comparison {
    pub(super) protocol: Protocol,
    pub(super) workloads: Vec<String>,
    pub(super) seed: u64,
    pub(super) sessions: Vec<Session>,
    pub(super) samples: Vec<ArmSamples>,
    events: Vec<Event>,
    running: Option<(Schedule, Vec<CellReading>)>,
    pub(super) decision: Option<Decision>,
}

impl Comparison {
    /// Starts a comparison on workloads, named by uuid. The seed decides orders; keep it secret
    /// from the submissions until the end, and record it.
    pub fn new(protocol: Protocol, workloads: Vec<String>, seed: u64) -> Result<Self, ComparisonError> {
        protocol.check()?;
        if workloads.is_empty() {
            return Err(ComparisonError::NoWorkloads);
        }
        let samples = vec![ArmSamples::default(); workloads.len()];
        let sessions = vec![Session::default()];
        let events = Vec::new();
        Ok(Self { protocol, workloads, seed, sessions, samples, events, running: None, decision: None })
    }

    /// Repeats a comparison from its record.
    pub fn replay(
        protocol: Protocol,
        workloads: Vec<String>,
        seed: u64,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Self, ComparisonError> {
        let mut comparison = Self::new(protocol, workloads, seed)?;
        for event in events {
            match event {
                Event::Started => comparison.process_started()?,
                Event::Cell(reading) => comparison.feed(reading)?,
                Event::Lost => comparison.process_lost(),
                Event::Stopped => comparison.stop(),
            }
        }
        Ok(comparison)
    }

    /// Every answer so far, raw samples included: what a record keeps.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What to do next; asking changes nothing.
    pub fn next(&self) -> Step {
        if self.decision.is_some() {
            return Step::Finished;
        }
        let cell = self.running.as_ref().and_then(|(schedule, readings)| schedule.cell(readings.len()));
        match cell {
            Some(cell) => Step::Measure(cell),
            None => Step::StartProcess { process: self.next_process(), warmup_ms: self.protocol.warmup_ms },
        }
    }

    /// The process that [`Step::StartProcess`] asked for is ready.
    pub fn process_started(&mut self) -> Result<(), ComparisonError> {
        match self.next() {
            Step::StartProcess { process, .. } => {
                let schedule = Schedule::new(&self.protocol, self.workloads.len(), self.seed, process);
                self.running = Some((schedule, Vec::new()));
                self.events.push(Event::Started);
                Ok(())
            }
            step => Err(ComparisonError::OutOfStep { step, answer: "a started process" }),
        }
    }

    /// What the cell that [`Step::Measure`] asked for showed.
    pub fn feed(&mut self, reading: CellReading) -> Result<(), ComparisonError> {
        let step = self.next();
        let (Step::Measure(_), Some((schedule, readings))) = (step, &mut self.running) else {
            return Err(ComparisonError::OutOfStep { step, answer: "a reading" });
        };
        readings.push(reading.clone());
        self.events.push(Event::Cell(reading));
        if readings.len() == schedule.cell_count() {
            self.finish_process();
        }
        Ok(())
    }

    /// The running process, or the one that should start, died or cannot go on. What it measured
    /// is thrown away and a fresh one takes its place, up to a number.
    pub fn process_lost(&mut self) {
        self.running = None;
        if self.decision.is_none() {
            self.events.push(Event::Lost);
            self.current().lose_process();
            self.settle();
        }
    }

    /// The time is up: what is not known by now stays unknown.
    pub fn stop(&mut self) {
        self.running = None;
        if self.decision.is_none() {
            self.events.push(Event::Stopped);
            let processes = self.current().session.processes.len();
            let reason = Reason::BudgetSpent { processes };
            self.current().session.finding = Some(Decision::Undecided { reason });
            self.settle();
        }
    }

    /// Cells fed so far in this session, and the cells up to its next look.
    pub fn progress(&self) -> (usize, usize) {
        let (Some(session), Some(last)) = (self.sessions.last(), self.protocol.looks.last()) else {
            return (0, 0);
        };
        let cells = self.workloads.len() * self.protocol.blocks_per_workload() * CELLS_PER_BLOCK;
        let finished = session.processes.len();
        let look = self.protocol.looks.iter().find(|look| **look > finished).unwrap_or(last);
        let running = self.running.as_ref().map_or(0, |(_, readings)| readings.len());
        (finished * cells + running, look * cells)
    }

    /// The answer; `None` before [`Step::Finished`].
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    fn next_process(&self) -> ProcessId {
        let session = self.sessions.len() - 1;
        let process = self.sessions.last().map_or(0, |last| last.processes.len() + last.lost_processes);
        ProcessId { session, process }
    }

    fn current(&mut self) -> Current<'_> {
        let session = self.sessions.last_mut().expect("a comparison starts with a session");
        Current { session, protocol: &self.protocol }
    }

    fn finish_process(&mut self) {
        let Some((schedule, readings)) = self.running.take() else { return };
        let effect = ProcessEffect::new(&self.protocol, self.workloads.len(), &schedule, &readings);
        match effect {
            Some(effect) => {
                self.keep_samples(&schedule, &readings);
                self.current().add(effect);
            }
            None => self.current().lose_process(),
        }
        self.settle();
    }

    /// Keeps the samples of A/B blocks for the report's summaries.
    fn keep_samples(&mut self, schedule: &Schedule, readings: &[CellReading]) {
        for (index, reading) in readings.iter().enumerate() {
            match schedule.cell(index) {
                Some(cell) if cell.kind == BlockKind::Effect && reading.disturbance.is_none() => {
                    let samples = &mut self.samples[cell.workload];
                    let arm = if cell.arm == Arm::A { &mut samples.a } else { &mut samples.b };
                    arm.extend(&reading.samples_ns);
                }
                _ => {}
            }
        }
    }

    /// Ends the comparison, or opens the next session, where the current one is over.
    fn settle(&mut self) {
        let Some(Some(finding)) = self.sessions.last().map(|session| &session.finding) else { return };
        let findings = self.sessions.iter().filter_map(|session| session.finding.as_ref());
        let Some(agreed) = Decision::agreed(findings) else { return };
        let needs_more = self.sessions.len() < self.protocol.sessions;
        if finding.is_difference() && agreed.is_difference() && needs_more {
            self.sessions.push(Session::default());
        } else {
            self.decision = Some(agreed);
        }
    }
}

/// The session that runs, with the protocol that it follows.
struct Current<'a> {
    session: &'a mut Session,
    protocol: &'a Protocol,
}

impl Current<'_> {
    fn add(&mut self, effect: ProcessEffect) {
        self.session.add(effect, self.protocol);
    }

    fn lose_process(&mut self) {
        self.session.lose(self.protocol);
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;

    fn protocol() -> Protocol {
        Protocol { samples_per_cell: 1, blocks_per_process: 4, dropped_blocks: 1, ..Protocol::default() }
    }

    fn comparison(protocol: Protocol) -> Comparison {
        Comparison::new(protocol, vec!["w".to_owned(), "v".to_owned()], 1).unwrap()
    }

    /// Runs a comparison to its end on a function from cell to time.
    fn run(comparison: &mut Comparison, time: impl Fn(Cell) -> f64) -> Decision {
        loop {
            match comparison.next() {
                Step::StartProcess { .. } => comparison.process_started().unwrap(),
                Step::Measure(cell) => {
                    let reading = CellReading { samples_ns: vec![time(cell)], ..CellReading::default() };
                    comparison.feed(reading).unwrap();
                }
                Step::Finished => return comparison.decision().unwrap().clone(),
            }
        }
    }

    /// A tenth of a percent of luck for each process, so that intervals have a width.
    fn luck(cell: Cell) -> f64 {
        f64::from(u8::try_from(cell.process.process * 7 % 5).unwrap()) * 1e-3
    }

    fn slower(cell: Cell, share: f64) -> f64 {
        1e4 * if cell.arm == Arm::B { 1.0 + share + luck(cell) } else { 1.0 }
    }

    #[test]
    fn finds_the_truth_where_it_is_clear() {
        for (share, expected, sessions) in
            [(0.03, Decision::Worse, 2), (-0.03, Decision::Better, 2), (0.0, Decision::Equal, 1)]
        {
            let mut comparison = comparison(protocol());
            assert_eq!(run(&mut comparison, |cell| slower(cell, share)), expected);
            assert_eq!(comparison.sessions.len(), sessions, "{share}");
            assert_eq!(comparison.sessions[0].processes.len(), 6, "settled at the first look");
        }
    }

    #[test]
    fn a_second_session_that_finds_otherwise_undoes_the_first() {
        let mut comparison = comparison(protocol());
        let decision =
            run(&mut comparison, |cell| slower(cell, if cell.process.session == 0 { 0.03 } else { 0.0 }));
        assert_eq!(decision, Decision::Undecided { reason: Reason::SessionsDisagree });
    }

    #[test]
    fn a_control_that_differs_makes_no_decision() {
        let mut comparison = comparison(protocol());
        let decision = run(&mut comparison, |cell| match cell.arm {
            Arm::A => 1e4,
            Arm::B | Arm::Control => 1e4 * (1.03 + luck(cell)),
        });
        assert!(
            matches!(decision, Decision::Undecided { reason: Reason::ControlFails { .. } }),
            "{decision}"
        );
    }

    #[test]
    fn a_second_copy_that_lies_elsewhere_is_no_reason_to_give_up() {
        let mut comparison = comparison(protocol());
        let decision = run(&mut comparison, |cell| match cell.arm {
            Arm::A => 1e4,
            Arm::B => 1e4 * (1.03 + luck(cell)),
            Arm::Control => 1e4 * (1.001 + luck(cell)),
        });
        assert_eq!(decision, Decision::Worse, "a certain 0.3 % between A and A′ is below the margin");
    }

    #[test]
    fn a_difference_that_only_the_clock_made_is_none() {
        // B takes 1.5 % longer at a clock that is 1.5 % lower: the same number of cycles.
        let mut comparison = comparison(protocol());
        loop {
            match comparison.next() {
                Step::StartProcess { .. } => comparison.process_started().unwrap(),
                Step::Measure(cell) => {
                    let slow = if cell.arm == Arm::B { 1.015 + luck(cell) } else { 1.0 };
                    let reading = CellReading {
                        samples_ns: vec![1e4 * slow],
                        sm_mhz: Some(1980.0 / slow),
                        disturbance: None,
                    };
                    comparison.feed(reading).unwrap();
                }
                Step::Finished => break,
            }
        }
        assert_eq!(comparison.decision(), Some(&Decision::Undecided { reason: Reason::CyclesDisagree }));
    }

    #[test]
    fn too_many_disturbed_blocks_make_no_decision() {
        let mut comparison = comparison(Protocol { blocks_per_process: 12, ..protocol() });
        let mut count = 0;
        loop {
            match comparison.next() {
                Step::StartProcess { .. } => comparison.process_started().unwrap(),
                Step::Measure(cell) => {
                    count += 1;
                    let disturbance = (count % 16 == 0).then(|| "another process".to_owned());
                    let samples_ns = vec![slower(cell, 0.03)];
                    comparison.feed(CellReading { samples_ns, sm_mhz: None, disturbance }).unwrap();
                }
                Step::Finished => break,
            }
        }
        assert!(matches!(
            comparison.decision(),
            Some(Decision::Undecided { reason: Reason::Disturbed { dropped, of } }) if dropped * 5 > *of
        ));
    }

    #[test]
    fn lost_processes_are_replaced_up_to_a_number() {
        let mut comparison = comparison(protocol());
        comparison.process_lost();
        comparison.process_started().unwrap();
        comparison.process_lost();
        assert!(matches!(
            comparison.next(),
            Step::StartProcess { process: ProcessId { process: 2, .. }, .. }
        ));
        for _ in 0..3 {
            comparison.process_lost();
        }
        let reason = Reason::ProcessesLost { lost: 5 };
        assert_eq!(comparison.decision(), Some(&Decision::Undecided { reason }));
        comparison.process_lost();
        assert_eq!(comparison.next(), Step::Finished);
    }

    #[test]
    fn a_record_of_the_answers_repeats_the_decision() {
        let mut comparison = comparison(protocol());
        comparison.process_lost();
        assert_eq!(run(&mut comparison, |cell| slower(cell, 0.03)), Decision::Worse);
        let json = serde_json::to_string(comparison.events()).unwrap();
        let events: Vec<Event> = serde_json::from_str(&json).unwrap();
        let again = Comparison::replay(protocol(), comparison.workloads.clone(), 1, events).unwrap();
        assert_eq!(again.report(), comparison.report());
        let early = [Event::Cell(CellReading::default())];
        assert!(Comparison::replay(protocol(), vec!["w".to_owned()], 1, early).is_err());
    }

    #[test]
    fn stopping_between_two_looks_decides_nothing() {
        let mut comparison = comparison(protocol());
        comparison.process_started().unwrap();
        comparison.stop();
        let reason = Reason::BudgetSpent { processes: 0 };
        assert_eq!(comparison.decision(), Some(&Decision::Undecided { reason }));
    }

    #[test]
    fn progress_reaches_the_look_as_the_cells_do() {
        let mut comparison = comparison(protocol());
        assert_eq!(comparison.progress(), (0, 6 * 2 * 7 * 4));
        comparison.process_started().unwrap();
        for _ in 0..2 * 7 * 4 {
            assert!(matches!(comparison.next(), Step::Measure(_)));
            comparison.feed(CellReading { samples_ns: vec![1.0], ..CellReading::default() }).unwrap();
        }
        assert_eq!(comparison.progress(), (2 * 7 * 4, 6 * 2 * 7 * 4));
        assert!(matches!(comparison.next(), Step::StartProcess { .. }));
    }

    #[test]
    fn a_workload_alone_can_differ_where_the_whole_is_equal() {
        let mut comparison = comparison(Protocol { sessions: 1, ..protocol() });
        let decision =
            run(&mut comparison, |cell| slower(cell, if cell.workload == 0 { 0.03 } else { -0.03 }));
        assert_eq!(decision, Decision::Equal);
        let report = comparison.report().unwrap();
        assert_eq!(report.workloads[0].decision, Decision::Worse);
        assert_eq!(report.workloads[1].decision, Decision::Better);
        let twice = |report: Report| {
            serde_json::from_str::<Report>(&serde_json::to_string(&report).unwrap()).unwrap()
        };
        assert_eq!(twice(report.clone()).workloads, report.workloads);
    }

    #[test]
    fn refuses_answers_to_questions_that_it_did_not_ask() {
        let mut comparison = comparison(protocol());
        assert!(comparison.feed(CellReading::default()).is_err());
        comparison.process_started().unwrap();
        assert!(comparison.process_started().is_err());
        assert!(Comparison::new(protocol(), Vec::new(), 1).is_err());
    }

    #[test]
    fn a_reading_without_samples_loses_the_process_and_never_panics() {
        let mut comparison = comparison(protocol());
        loop {
            match comparison.next() {
                Step::StartProcess { .. } => comparison.process_started().unwrap(),
                Step::Measure(_) => comparison.feed(CellReading::default()).unwrap(),
                Step::Finished => break,
            }
        }
        assert!(matches!(
            comparison.decision(),
            Some(Decision::Undecided { reason: Reason::ProcessesLost { lost: 5 } })
        ));
        assert!(comparison.report().is_some());
    }
}
