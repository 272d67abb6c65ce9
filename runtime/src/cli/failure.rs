//! Why a verb could not answer: an error with its exit code and the ways out.

use std::error::Error;
use std::fmt;

use super::exit_code::ExitCode;

/// An error as the command line reports it.
#[derive(Debug)]
pub struct Failure {
    code: ExitCode,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl Failure {
    /// The request or its input is wrong: exit code 2.
    pub fn request(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: ExitCode::Request, source: source.into(), hints: Vec::new() }
    }

    /// The input may be right, but we could not judge it: exit code 3.
    pub fn could_not_judge(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: ExitCode::CouldNotJudge, source: source.into(), hints: Vec::new() }
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, way_out: impl Into<String>) -> Self {
        self.hints.push(way_out.into());
        self
    }

    /// The exit code that belongs to this failure.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// The ways out, in the order in which they were added.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Failure {
    /// Writes the whole chain of causes, outermost first.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
