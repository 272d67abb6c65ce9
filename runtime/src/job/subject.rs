//! What is measured, and what came with it: a proven library, or code in Python.

use std::collections::BTreeMap;

use proofmark_packager::interop::flashinfer::Definition;
use proofmark_packager::{Arch, Artifact, Digest, Gencode};

use super::input::Library;
use super::measuring::Measuring;
use crate::build::TORCH_MODULE;
use crate::capture::CapturedEntry;
use crate::evidence::Sealed;
use crate::measure::environment::Environment;
use crate::measure::{Host, Subject};
use crate::proof::{self, Judgement, RequestedClaim};
use crate::python::{PythonDocument, PythonHome};
use crate::rebuild::ProvenBuild;
use crate::record::{Context, RunId};
use crate::recording::CheckedRecording;

/// A proven library, and what came with it.
#[derive(Debug, Clone)]
pub struct BuiltSubject {
    /// The library and its entry.
    pub subject: Subject,
    /// The digest of the library, or of the document that says what Python runs.
    library: Digest,
    /// The artifact's digest; absent for a bare library.
    pub artifact: Option<Digest>,
    /// Who wrote it; empty for a bare library.
    pub author: String,
    /// The digest of what built it; absent for a bare library.
    pub toolchain: Option<Digest>,
}

impl BuiltSubject {
    /// What was just built and proven.
    pub fn of(artifact: &Artifact, build: &ProvenBuild) -> Self {
        let manifest = artifact.manifest();
        let subject = Subject {
            name: manifest.solution.name.clone(),
            symbol: manifest.build.entry_point.symbol.clone(),
            arch: build.entry.proof.arch(),
            images: build.entry.proof.device_images().iter().map(|image| image.digest).collect(),
            library: build.entry.library_bytes.clone(),
            host: Host::Compiled,
        };
        Self {
            library: build.entry.proof.library_digest(),
            subject,
            artifact: Some(artifact.digest()),
            author: manifest.solution.author.clone(),
            toolchain: Some(build.entry.ingredients.toolchain.digest()),
        }
    }

    /// A library that was built before: it is proven here and now.
    pub fn of_library(library: &Library, arch: Arch) -> Result<Self, Box<Judgement>> {
        let claim = RequestedClaim::from_command([format!("-gencode={}", Gencode::exact(arch))]);
        let proof = proof::prove(&claim, &library.bytes, arch)?;
        let subject = Subject {
            name: library.name.clone(),
            symbol: library.symbol.clone(),
            arch,
            images: proof.device_images().iter().map(|image| image.digest).collect(),
            library: library.bytes.clone(),
            host: Host::Compiled,
        };
        Ok(Self {
            library: proof.library_digest(),
            subject,
            artifact: None,
            author: String::new(),
            toolchain: None,
        })
    }

    /// A submission in Python. Of what it runs, only what it compiles through the known functions is proven before.
    pub fn of_python(
        artifact: &Artifact,
        definition: &Definition,
        (home, entry): (PythonHome, Option<&CapturedEntry>),
        arch: Arch,
    ) -> Self {
        let proven = || entry.into_iter().flat_map(CapturedEntry::proven);
        let digests =
            proven().map(|(asked, build)| (asked.request.to_string(), build.entry.proof.library_digest()));
        let toolchain = proven().next().map(|(_, build)| build.entry.ingredients.toolchain.digest());
        let document = PythonDocument::of_submission(artifact, definition, digests.collect());
        let mut home = home;
        home.built = proven().flat_map(|(asked, build)| images_of(build, &asked.name)).collect();
        Self { toolchain, ..Self::in_python(artifact, &document, home, arch) }
    }

    /// A submission that was built as a module of Python.
    pub fn of_extension(
        artifact: &Artifact,
        definition: &Definition,
        build: &ProvenBuild,
        home: PythonHome,
    ) -> Self {
        let proof = &build.entry.proof;
        let document =
            PythonDocument::of_extension(artifact, definition, TORCH_MODULE, proof.library_digest());
        let name = &artifact.manifest().solution.name;
        let mut home = home;
        home.built = images_of(build, name).collect();
        let toolchain = Some(build.entry.ingredients.toolchain.digest());
        Self { toolchain, ..Self::in_python(artifact, &document, home, proof.arch()) }
    }

    fn in_python(artifact: &Artifact, document: &PythonDocument, home: PythonHome, arch: Arch) -> Self {
        let manifest = artifact.manifest();
        let subject = Subject {
            name: manifest.solution.name.clone(),
            symbol: manifest.build.entry_point.symbol.clone(),
            arch,
            images: Vec::new(),
            library: document.bytes(),
            host: Host::Python(Box::new(home)),
        };
        let (artifact, author) = (Some(artifact.digest()), manifest.solution.author.clone());
        Self { library: Digest::of_bytes(&subject.library), subject, artifact, author, toolchain: None }
    }

    /// What a seal holds recordings of, by workload.
    pub fn of_seal(
        artifact: &Artifact,
        sealed: &Sealed,
        launched: BTreeMap<String, CheckedRecording>,
    ) -> Self {
        let manifest = artifact.manifest();
        let subject = Subject {
            name: manifest.solution.name.clone(),
            symbol: manifest.build.entry_point.symbol.clone(),
            arch: sealed.build.gencode.real_arch,
            images: sealed.build.device_images.iter().map(|image| image.sha256).collect(),
            library: Vec::new(),
            host: Host::Sealed(launched),
        };
        Self {
            subject,
            library: sealed.build.library.sha256,
            artifact: Some(artifact.digest()),
            author: manifest.solution.author.clone(),
            toolchain: Some(sealed.build.toolchain.digest()),
        }
    }

    /// A definition's own reference.
    pub fn of_definition(definition: &Definition, home: PythonHome, arch: Arch) -> Self {
        let subject = Subject::of_definition(definition, home, arch);
        let library = Digest::of_bytes(&subject.library);
        Self { library, subject, artifact: None, author: String::new(), toolchain: None }
    }

    /// The digest of the library that runs.
    pub fn library(&self) -> Digest {
        self.library
    }

    /// Versions of the interpreter that runs it and of its packages; `None` where none does.
    fn versions(&self) -> Option<BTreeMap<String, String>> {
        self.subject.host.python().map(|home| home.interpreter.versions())
    }

    /// What every line of a record says of it.
    pub fn context(
        &self,
        run_id: RunId,
        reference: &Self,
        measuring: &Measuring,
        environment: Environment,
    ) -> Context {
        let definition_digest = measuring.task.definition_digest();
        Context {
            run_id: Some(run_id),
            solution: self.subject.name.clone() + measuring.strides.label(),
            author: self.author.clone(),
            artifact: self.artifact,
            library: self.library(),
            reference: Some(measuring.reference.digest(definition_digest)),
            reference_library: reference.library(),
            definition: measuring.task.definition.name().to_owned(),
            definition_digest: Some(definition_digest),
            arch: self.subject.arch,
            toolchain: self.toolchain,
            seed_commitment: measuring.seed.map(crate::measure::Seed::commitment),
            live: measuring.live,
            strides: measuring.strides,
            environment: Environment {
                python: self.versions(),
                reference_python: reference.versions(),
                ..environment
            },
            copy_bytes_per_second: None,
        }
    }
}

/// The images of a build by digest, with the name of what holds them.
fn images_of<'a>(build: &'a ProvenBuild, name: &'a str) -> impl Iterator<Item = (Digest, String)> + 'a {
    build.entry.proof.device_images().iter().map(move |image| (image.digest, name.to_owned()))
}
