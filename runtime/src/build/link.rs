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
use super::{link_log, objects, symbols};
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
        if self.plan.links_driver {
            self.make_driver_stand_in()?;
        }
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
            if self.plan.links_driver && symbols::is_drivers(&symbol) {
                continue;
            }
            let (finding, hint) = diagnostics::undefined(&symbol, &self.callers(&symbol));
            findings.push(finding);
            hints.push(hint);
        }
        if !symbols::exports(library, &self.plan.entry_point.symbol).map_err(no_library)? {
            findings.push(self.not_exported());
        }
        hints.dedup();
        Ok((findings, hints))
    }

    /// The sources whose objects call a function that they do not define.
    fn callers(&self, symbol: &str) -> Vec<String> {
        let calls =
            |index: usize| fs::read(self.object(index)).is_ok_and(|object| symbols::calls(&object, symbol));
        let units = self.plan.units().enumerate();
        units.filter(|(index, _)| calls(*index)).map(|(_, source)| source.to_string()).collect()
    }

    /// An empty library with the driver's name, for the linker to name it in the output.
    fn make_driver_stand_in(&self) -> Result<(), BuildError> {
        let output = format!("{HERE}/{}/libcuda.so", place::DRIVER);
        let arguments =
            ["-shared", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o", &output, "-x", "c++", "/dev/null"];
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let driver = format!("{HERE}/{}/g++", place::HOST);
        let done = self.start_program(&driver, &arguments)?;
        if done.succeeded {
            return Ok(());
        }
        let reason = "cannot make a stand-in for libcuda.so".to_owned();
        Err(BuildError::Environment { reason, log: done.log })
    }

    fn not_exported(&self) -> Diagnostic {
        let symbol = &self.plan.entry_point.symbol;
        Diagnostic {
            file: Some(self.plan.entry_point.file.to_string()),
            ..Diagnostic::error(format!(
                "the library does not export `{symbol}`: expected \
                 `TVM_FFI_DLL_EXPORT_TYPED_FUNC({symbol}, …)` in one of the sources"
            ))
        }
    }
}
