//! A Python entry's libraries: found, built and proven before anything loads them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proofmark_packager::{Arch, Artifact, Digest};

use super::resources::{Installing, Resources};
use super::{Event, Listener, PipelineError};
use crate::cache::BuildName;
use crate::capture::{self, CapturedEntry, Document, Surroundings};
use crate::python::Interpreter;
use crate::rebuild::Freshness;
use crate::toolchain::lock_file::ComponentName;
use crate::toolchain::{Kit, KitName};

/// Each import may find what lies behind the libraries of the one before; entries seen so far need one or two.
const MOST_IMPORTS: usize = 4;

impl Resources<'_> {
    /// Finds what a Python entry compiles and takes each of it to a proven build; `None` where it compiles nothing.
    pub(crate) fn build_entry(
        &mut self,
        artifact: &Artifact,
        arch: Arch,
        freshness: Freshness,
        listen: &mut Listener<'_>,
    ) -> Result<Option<CapturedEntry>, PipelineError> {
        let mut document = self.capture(artifact, arch, &[], listen)?;
        let solution = &artifact.manifest().solution;
        let mut entry = CapturedEntry::of(solution.name.clone(), &document);
        if document.requests.is_empty() && entry.is_complete() {
            return Ok(None);
        }
        for _ in 0..MOST_IMPORTS {
            let proven = entry.proven().count();
            self.build_requests(artifact, arch, freshness, (&document, &mut entry), listen)?;
            if entry.is_complete() || entry.proven().count() == proven {
                break;
            }
            // It may have looked into a library that was not there yet, or ask for another behind it.
            let built: Vec<(Digest, &[u8])> = entry
                .proven()
                .map(|(library, build)| (library.request, build.entry.library_bytes.as_slice()))
                .collect();
            document = self.capture(artifact, arch, &built, listen)?;
            entry = entry.looked_at_again(&document);
        }
        Ok(Some(entry))
    }

    /// Builds what is asked for and was not built before.
    fn build_requests(
        &mut self,
        artifact: &Artifact,
        arch: Arch,
        freshness: Freshness,
        (document, entry): (&Document, &mut CapturedEntry),
        listen: &mut Listener<'_>,
    ) -> Result<(), PipelineError> {
        let solution = &artifact.manifest().solution;
        for request in &document.requests {
            if entry.has(request) {
                continue;
            }
            let translated = capture::translate(request).map_err(|source| PipelineError::Request {
                place: request.place.clone(),
                source: Box::new(source),
            })?;
            let name = format!("{}/{}", solution.name, request.name);
            let name = BuildName { solution: name, definition: solution.definition.clone() };
            let built = self.build_request(&translated.request, &name, arch, freshness, listen)?;
            entry.add(request, translated.left_out, built);
        }
        Ok(())
    }

    /// Refuses to measure a library with another torch than the one whose headers it was built with.
    pub(crate) fn check_torch(&mut self) -> Result<(), PipelineError> {
        let built = ComponentName::Kit(KitName::Torch)
            .pinned_version(&self.settings.search.machine)
            .unwrap_or_default();
        let python = self.interpreter()?;
        let found = python.packages.get("torch").cloned().unwrap_or_default();
        if found.split('+').next() == Some(built.as_str()) {
            return Ok(());
        }
        Err(PipelineError::OtherTorch { python: python.executable.clone(), built, found })
    }

    fn capture(
        &mut self,
        artifact: &Artifact,
        arch: Arch,
        built: &[(Digest, &[u8])],
        listen: &mut Listener<'_>,
    ) -> Result<Document, PipelineError> {
        self.find_toolchain(arch, listen)?;
        let python = Interpreter::find(&self.settings.python)?;
        let cutlass = self.cutlass_of(artifact, listen)?;
        listen(Event::Capturing { name: &artifact.manifest().solution.name });
        let scratch = self.store.scratch();
        let surroundings = Surroundings { cutlass: cutlass.as_deref(), built };
        Ok(capture::run(artifact, &python, arch, surroundings, &scratch)?)
    }

    /// Where CUTLASS stands, for an entry that looks for it on the machine.
    fn cutlass_of(
        &mut self,
        artifact: &Artifact,
        listen: &mut Listener<'_>,
    ) -> Result<Option<PathBuf>, PipelineError> {
        let python = artifact.sources().iter().filter(|source| source.path.extension() == "py");
        if !python.into_iter().any(|source| source.content.to_ascii_lowercase().contains("cutlass")) {
            return Ok(None);
        }
        let kits = self.kits_named(&BTreeSet::from([KitName::Cutlass]), &mut Installing(listen))?;
        Ok(kits.into_iter().next().map(|Kit { home, .. }| home))
    }
}
