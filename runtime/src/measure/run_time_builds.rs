//! What Python compiles while it runs, compiled before it is confined.
//!
//! A builder calls the entry point once for each workload, on contents that nobody uses again. It may start compilers
//! and write one folder, its libraries' caches; it maps none of the judge's memory. What is measured afterwards reads
//! that folder and can compile nothing.

use std::collections::HashMap;
use std::time::Duration;

use proofmark_packager::interop::flashinfer::{Definition, Workload};
use proofmark_player::protocol::{Clock, L2, Role};

use super::judge::device::JudgeDevice;
use super::judge::layout::CallLayout;
use super::judge::session::{Part, PlayerSession, Stop};
use super::judge::trial::Trial;
use super::seed::Seed;
use super::subject::{BenchError, Options, Subject};
use crate::recording::{CheckedRecording, Unrecorded};

/// Calls of each workload: the first compiles or tunes, the second shows that nothing is left to do.
const CALL_COUNT: usize = 2;
/// How long one of them may take: compilers are slow, and tuning compiles many times.
const CALL_LIMIT: Duration = Duration::from_secs(300);

/// Calls every workload once. What comes back are those on which the entry point failed.
pub(super) fn run_time_builds(
    device: &JudgeDevice,
    subject: &Subject,
    definition: &Definition,
    workloads: &[&Workload],
    options: &Options,
    reference: &mut PlayerSession,
) -> Result<HashMap<String, Result<CheckedRecording, Unrecorded>>, BenchError> {
    let options = &Options { call_limit: options.call_limit.max(CALL_LIMIT), ..options.clone() };
    let mut failed = HashMap::new();
    let mut session: Option<PlayerSession> = None;
    for workload in workloads {
        let layout = CallLayout::of(definition, workload)?;
        let mut trial = Trial::new(device, definition, workload, layout, options)?;
        let built = start(device, subject, options, &mut session)
            .and_then(|session| build(&mut trial, session, reference));
        match built {
            Ok(()) => {}
            Err(Stop::Bench(error)) => return Err(error),
            Err(Stop::Verdict(verdict)) => {
                failed.insert(workload.uuid().to_owned(), Err(Unrecorded::Refused(verdict.to_string())));
            }
            Err(Stop::End(end)) => {
                let output = session.take().map(PlayerSession::end).unwrap_or_default();
                failed.insert(workload.uuid().to_owned(), Err(Unrecorded::Ended(end, output)));
            }
        }
    }
    Ok(failed)
}

fn start<'session>(
    device: &JudgeDevice,
    subject: &Subject,
    options: &Options,
    session: &'session mut Option<PlayerSession>,
) -> Result<&'session mut PlayerSession, Stop> {
    if session.is_none() {
        let part = Part { subject, role: Role::Builder };
        *session = Some(PlayerSession::start(device, &device.shared, part, options)?);
    }
    Ok(session.as_mut().expect("started just above"))
}

fn build(
    trial: &mut Trial<'_>,
    session: &mut PlayerSession,
    reference: &mut PlayerSession,
) -> Result<(), Stop> {
    trial.place_decoys(session, reference, Seed::secret(), 1)?;
    trial.bind(session)?;
    for _ in 0..CALL_COUNT {
        session.call(0, Clock::Host, L2::AsIs)?;
    }
    Ok(())
}
