//! What travels between us, the keeper and the first process: orders there, a report back.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::layer::Layers;
use super::policy::Policy;

/// How a program in the sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
}

/// What the first process reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) layers: Layers,
    pub(super) ending: Ending,
    /// The most memory that one process of it held, in bytes.
    pub(super) peak_bytes: u64,
}

/// What the keeper and the first process are told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// `None` confines nothing: the program only ends with us.
    pub(super) policy: Option<Policy>,
    /// What the keeper has put on; empty on the way to it.
    pub(super) layers: Layers,
    /// The whole environment of the program; `None` leaves it the keeper's.
    pub(super) environment: Option<Vec<(OsString, OsString)>>,
}

impl Ending {
    pub(super) fn of(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match status.signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Code(status.code().unwrap_or_default()),
        }
    }

    /// Whether it ended by itself and well.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

/// The socket between us and the keeper: it carries the orders there and the report back, and its
/// end is the sign to end everything.
pub(crate) struct Lifeline(pub(super) UnixStream);

impl Lifeline {
    pub(crate) fn send(&mut self, orders: &Orders) -> io::Result<()> {
        send(&mut self.0, orders)
    }

    /// Tells the keeper to end everything.
    pub(crate) fn cut(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }

    /// What the keeper wrote; it has ended, so all of it is there.
    pub(super) fn report(&mut self) -> Option<Report> {
        // Whoever else holds the other end must not make us wait.
        self.0.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        receive(&mut self.0).ok()
    }
}

/// Longest message that is taken, in bytes: a policy names tens of paths.
const LONGEST_MESSAGE_BYTES: u32 = 4 << 20;

/// Writes one message: its length, then JSON.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&text)
}

/// Reads one message.
pub(super) fn receive<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST_MESSAGE_BYTES {
        return Err(io::Error::other("a message of the sandbox is too long"));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}
