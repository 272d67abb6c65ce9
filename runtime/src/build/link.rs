//! Links what was compiled, and looks at what goes in and what comes out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::dependencies;
use super::diagnostics::{self, Diagnostic, Diagnostics};
use super::error::BuildError;
use super::nvcc::{Build, escaped, failure};
use super::outcome::{BuildOutcome, BuildOutput};
use super::plan::{HERE, place};
use super::{link_log, objects, stand_in, symbols};
use crate::toolchain::FileDigests;

impl Build<'_> {
    /// Links what was compiled, and looks at what came out.
    pub(super) fn link(
        &self,
        mut output: BuildOutput,
        digests: &mut FileDigests,
        scratch: &Path,
    ) -> Result<BuildOutcome, BuildError> {
        let no_folder = |source| BuildError::Folder { scratch: scratch.to_owned(), source };
        let foreign = self.foreign_sections().map_err(no_folder)?;
        if !foreign.is_empty() {
            return Ok(BuildOutcome::CompileError(Diagnostics::of_finding(foreign, Vec::new(), output.log)));
        }
        let mut traced = String::new();
        self.make_stand_ins().map_err(no_folder)??;
        for command in &self.plan.link {
            let done = self.start(command)?;
            let said = self.tidy(&link_log::messages(&done.log));
            output.log.push_str(&said);
            if !done.succeeded {
                return failure(&output.log);
            }
            traced.push_str(&done.log);
        }
        let linked = link_log::files(&traced);
        let reads = dependencies::read_by_linker(self.plan, self.folder, &linked, digests);
        let reads = reads.map_err(no_folder)?;
        if !reads.escapes.is_empty() {
            return Ok(BuildOutcome::CompileError(escaped(&reads.escapes, output.log)));
        }
        output.dependencies.extend(reads.dependencies);
        output.library = fs::read(self.folder.join(place::LIBRARY)).map_err(no_folder)?;
        let (findings, hints) = self.findings(&output.library, &linked)?;
        if !findings.is_empty() {
            return Ok(BuildOutcome::CompileError(Diagnostics::of_finding(findings, hints, output.log)));
        }
        output.sandbox = self.sandbox();
        Ok(BuildOutcome::Built(output))
    }

    /// What is in the objects that no linker should see.
    fn foreign_sections(&self) -> io::Result<Vec<Diagnostic>> {
        let mut found = Vec::new();
        for (index, command) in self.plan.compile.iter().enumerate() {
            let bytes = fs::read(self.object(index))?;
            let file = command.source.as_ref().map(ToString::to_string);
            if let Some(message) = objects::refusal(&bytes) {
                found.push(Diagnostic { file, ..Diagnostic::error(message) });
            }
        }
        Ok(found)
    }

    /// What makes a library useless that the linker did not object to.
    fn findings(
        &self,
        library: &[u8],
        linked: &[String],
    ) -> Result<(Vec<Diagnostic>, Vec<String>), BuildError> {
        let no_library = |source| BuildError::Library { source };
        let linked: Vec<PathBuf> = linked.iter().map(|name| self.inside(name)).collect();
        let undefined =
            symbols::undefined(library, linked.iter().map(PathBuf::as_path)).map_err(no_library)?;
        let mut findings = Vec::new();
        let mut hints = Vec::new();
        for symbol in undefined {
            if self.plan.interface.is_given_by_caller(&symbol) {
                continue;
            }
            let (finding, hint) = diagnostics::undefined(&symbol, &self.callers(&symbol));
            findings.push(finding);
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        if !self.plan.interface.is_exported_by(library).map_err(no_library)? {
            findings.push(self.not_exported());
        }
        Ok((findings, hints))
    }

    /// The sources whose objects call a function that they do not define.
    fn callers(&self, symbol: &str) -> Vec<String> {
        let calls =
            |index: usize| fs::read(self.object(index)).is_ok_and(|object| symbols::calls(&object, symbol));
        let units = self.plan.units().enumerate();
        units.filter(|(index, _)| calls(*index)).map(|(_, source)| source.to_string()).collect()
    }

    /// Libraries with the names of CUDA's, for the linker to name them in the output.
    fn make_stand_ins(&self) -> io::Result<Result<(), BuildError>> {
        if self.plan.stand_ins.is_empty() {
            return Ok(Ok(()));
        }
        let objects: Vec<Vec<u8>> = (0..self.plan.compile.len())
            .map(|index| fs::read(self.object(index)))
            .collect::<io::Result<_>>()?;
        for (library, soname) in &self.plan.stand_ins {
            let name = format!("{}/lib{}", place::DRIVER, library.name());
            stand_in::write_assembly(*library, &objects, &self.folder.join(format!("{name}.s")))?;
            let (output, input) = (format!("{HERE}/{name}.so"), format!("{HERE}/{name}.s"));
            let soname = format!("-Wl,-soname,{soname}");
            let arguments = ["-shared", "-nostdlib", &soname, "-o", &output, "-x", "assembler", &input];
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let done = match self.start_program(&format!("{HERE}/{}/g++", place::HOST), &arguments) {
                Ok(done) => done,
                Err(error) => return Ok(Err(error)),
            };
            if !done.succeeded {
                let reason = format!("cannot make a stand-in for lib{}.so", library.name());
                return Ok(Err(BuildError::Environment { reason, log: done.log }));
            }
        }
        Ok(Ok(()))
    }

    fn not_exported(&self) -> Diagnostic {
        let file = self.plan.entry_file.as_ref().map(ToString::to_string);
        Diagnostic { file, ..Diagnostic::error(self.plan.interface.not_exported()) }
    }
}
