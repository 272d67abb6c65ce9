//! What came of an entry: each library that it would compile, built and proven, or why not.

use proofmark_packager::Digest;

use super::document::{Document, Request, Unreached};
use crate::rebuild::{Built, Finding, ProvenBuild};

/// A Python entry after its libraries were built.
#[derive(Debug)]
pub struct CapturedEntry {
    /// The solution's name.
    pub name: String,
    /// Each library, in the order in which the entry asks for them.
    pub libraries: Vec<CapturedLibrary>,
    /// Why the import ended early.
    pub error: Option<String>,
    /// Calls that compile and that nothing reached.
    pub unreached: Vec<Unreached>,
    /// Modules that were stood in for.
    pub stand_ins: Vec<String>,
    /// The Python's version.
    pub python: String,
}

/// One library of an entry.
#[derive(Debug)]
pub struct CapturedLibrary {
    /// By which the entry asks for it.
    pub request: Digest,
    /// Where in the entry the call stands.
    pub place: String,
    /// The module's name.
    pub name: String,
    /// `tvm-ffi`, `torch`, `torch-library` or `library`.
    pub interface: String,
    /// What is compiled.
    pub units: Vec<String>,
    /// What of the request is otherwise, each with the reason.
    pub left_out: Vec<String>,
    /// What came of it.
    pub built: Built,
}

impl CapturedEntry {
    /// Starts with what was found and no library.
    pub fn of(name: String, document: &Document) -> Self {
        Self {
            name,
            libraries: Vec::new(),
            error: document.error.clone(),
            unreached: document.unreached.clone(),
            stand_ins: document.stand_ins.clone(),
            python: document.python.clone(),
        }
    }

    /// The same libraries with what a later import found.
    #[must_use]
    pub fn looked_at_again(self, document: &Document) -> Self {
        Self { libraries: self.libraries, ..Self::of(self.name, document) }
    }

    /// Whether a request was built before.
    pub fn has(&self, request: &Request) -> bool {
        self.libraries.iter().any(|library| library.request == request.request)
    }

    /// Adds what came of a request.
    pub fn add(&mut self, request: &Request, left_out: Vec<String>, built: Built) {
        self.libraries.push(CapturedLibrary {
            request: request.request,
            place: request.place.clone(),
            name: request.name.clone(),
            interface: request.interface.clone(),
            units: request.units.clone(),
            left_out,
            built,
        });
    }

    /// The libraries that are proven, by the digest by which the entry asks for each.
    pub fn proven(&self) -> impl Iterator<Item = (&CapturedLibrary, &ProvenBuild)> {
        self.libraries.iter().filter_map(|library| Some((library, library.proven()?)))
    }

    /// The first library that is not proven, and why.
    pub fn into_finding(self) -> Option<(String, Finding)> {
        self.libraries.into_iter().find_map(|library| match library.built {
            Built::Proven(_) => None,
            Built::Finding(finding) => Some((library.name, finding)),
        })
    }

    /// Whether any of the libraries is torch's to load.
    pub fn needs_torch(&self) -> bool {
        self.libraries.iter().any(|library| library.interface.starts_with("torch"))
    }

    /// Whether nothing of what it compiles is left open.
    pub fn is_complete(&self) -> bool {
        self.error.is_none() && self.unreached.is_empty()
    }

    /// Whether every library that was found is proven.
    pub fn is_proven(&self) -> bool {
        self.libraries.iter().all(|library| library.proven().is_some())
    }
}

impl CapturedLibrary {
    /// The proven build, if it is one.
    pub fn proven(&self) -> Option<&ProvenBuild> {
        match &self.built {
            Built::Proven(build) => Some(build),
            Built::Finding(_) => None,
        }
    }

    /// Why it is none.
    pub fn finding(&self) -> Option<&Finding> {
        match &self.built {
            Built::Proven(_) => None,
            Built::Finding(finding) => Some(finding),
        }
    }
}
