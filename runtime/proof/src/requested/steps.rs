//! What makes which file: from it follows which claim is about which file.
//!
//! A claim is about the file that its command writes, and about what is linked from that. Objects are in a
//! library for certain; of an archive the linker takes what is missing, so what only an archive was
//! compiled for may be there or not. A library that is linked against is no part of the result.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proofmark_packager::Arch;
use serde::Serialize;

use super::call::{Compilation, CompilationStep};
use super::claim::{RequestedClaim, RequestedForm};

/// Most steps that are kept: several times those of the largest frameworks.
const STEPS_LIMIT: usize = 500_000;

/// One step of a build.
#[derive(Debug, Default, Clone)]
pub(super) struct Step {
    /// What it writes.
    pub(super) outputs: Vec<PathBuf>,
    /// The objects and archives that it reads.
    pub(super) inputs: Vec<PathBuf>,
    /// The compilations in its command.
    pub(super) compilations: Vec<Compilation>,
}

/// What is known about how one file is made.
#[derive(Debug, Default)]
struct Target {
    claim: Option<RequestedClaim>,
    link_claim: Option<RequestedClaim>,
    inputs: Vec<PathBuf>,
    /// The build file that says so.
    origin: Option<Rc<Path>>,
}

/// One file with what the build files ask of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetClaim {
    /// The file; empty where the command does not say what it writes.
    pub target: String,
    /// The build file that asks.
    pub build_file: String,
    /// What it asks for.
    #[serde(flatten)]
    pub claim: RequestedClaim,
}

/// The requests of every build file that was found.
#[derive(Debug, Default)]
pub struct Requests {
    targets: BTreeMap<PathBuf, Target>,
    /// Claims whose command does not say what it writes.
    nameless: Vec<(Rc<Path>, RequestedClaim)>,
    /// Build files and whether one of their steps links.
    builds: HashMap<Rc<Path>, bool>,
    /// What was left out, in words.
    pub notes: Vec<String>,
}

fn ends_with(path: &Path, endings: &[&str]) -> bool {
    path.extension().and_then(|end| end.to_str()).is_some_and(|end| endings.contains(&end))
}

/// Whether a linker takes all of it.
fn is_object(path: &Path) -> bool {
    ends_with(path, &["o", "obj", "cubin", "fatbin", "ptx"])
}

fn is_archive(path: &Path) -> bool {
    ends_with(path, &["a", "lib"])
}

/// Whether a step's input may bring device code along.
pub(super) fn is_linkable(path: &Path) -> bool {
    is_object(path) || is_archive(path)
}

impl Requests {
    /// Whether nobody asked for anything.
    pub fn is_empty(&self) -> bool {
        self.nameless.is_empty() && self.targets.values().all(|target| target.claim.is_none())
    }

    /// Takes in a step that a build file describes; one that is described twice asks for both.
    pub(super) fn add(&mut self, origin: &Rc<Path>, step: Step) {
        if self.targets.len() > STEPS_LIMIT {
            return;
        }
        let links = self.builds.entry(origin.clone()).or_default();
        let makes_objects = step.outputs.iter().all(|output| is_object(output));
        *links |= step.compilations.is_empty() && !makes_objects && !step.inputs.is_empty();
        let named: HashSet<&PathBuf> =
            step.compilations.iter().filter_map(|compilation| compilation.output.as_ref()).collect();
        // What the command does not name is made by all of its calls.
        let rest: Vec<&PathBuf> = step.outputs.iter().filter(|output| !named.contains(output)).collect();
        for compilation in &step.compilations {
            let places: Vec<&PathBuf> = match &compilation.output {
                Some(output) if rest.is_empty() || step.outputs.contains(output) => vec![output],
                Some(output) => rest.iter().copied().chain([output]).collect(),
                None => rest.clone(),
            };
            if places.is_empty() && compilation.step == CompilationStep::Compiles {
                self.nameless.push((origin.clone(), compilation.claim.clone()));
            }
            for place in places {
                let target = self.targets.entry(place.clone()).or_default();
                let slot = match compilation.step {
                    CompilationStep::Compiles => &mut target.claim,
                    CompilationStep::Links => &mut target.link_claim,
                };
                let known = slot.take().unwrap_or_default();
                *slot = Some(known.merge(compilation.claim.clone()));
                target.origin = Some(origin.clone());
            }
        }
        for output in step.outputs {
            let target = self.targets.entry(output).or_default();
            target.origin.get_or_insert_with(|| origin.clone());
            for input in &step.inputs {
                if !target.inputs.contains(input) {
                    target.inputs.push(input.clone());
                }
            }
        }
    }

    /// Adds what another reader found.
    pub(super) fn note(&mut self, notes: Vec<String>) {
        self.notes.extend(notes);
    }

    /// What was asked of a file that holds machine code for these architectures; `None` when nobody asked
    /// for device code in it, or when it cannot be told what.
    pub fn claim_for(&self, file: &Path, built: &BTreeSet<Arch>) -> Option<RequestedClaim> {
        if self.targets.contains_key(file) {
            return self.gathered(file, built);
        }
        self.same_name(file, built).or_else(|| self.only_claim(file))
    }

    /// Every file that a command compiles, with what it asks for.
    pub fn targets(&self) -> impl Iterator<Item = TargetClaim> {
        let nameless = self.nameless.iter().map(|(origin, claim)| TargetClaim {
            target: String::new(),
            build_file: origin.display().to_string(),
            claim: claim.clone(),
        });
        self.targets
            .iter()
            .filter_map(|(path, target)| {
                Some(TargetClaim {
                    target: path.display().to_string(),
                    build_file: target
                        .origin
                        .as_ref()
                        .map_or_else(String::new, |at| at.display().to_string()),
                    claim: target.claim.clone()?,
                })
            })
            .chain(nameless)
    }

    /// The different claims, each once, in the order of their files.
    pub fn distinct_claims(&self) -> Vec<RequestedClaim> {
        let mut distinct: Vec<RequestedClaim> = Vec::new();
        for claim in self.claims() {
            if !distinct.contains(claim) {
                distinct.push(claim.clone());
            }
        }
        distinct
    }

    fn claims(&self) -> impl Iterator<Item = &RequestedClaim> {
        let named = self.targets.values().filter_map(|target| target.claim.as_ref());
        named.chain(self.nameless.iter().map(|(_, claim)| claim))
    }

    /// What a file's own command and those of its parts ask for.
    fn gathered(&self, file: &Path, built: &BTreeSet<Arch>) -> Option<RequestedClaim> {
        let mut certain = RequestedClaim::default();
        let mut possible = RequestedClaim::default();
        let mut seen = HashSet::from([file.to_owned()]);
        let mut waiting = vec![(file.to_owned(), false)];
        let mut asked = false;
        while let Some((path, from_archive)) = waiting.pop() {
            let Some(target) = self.targets.get(&path) else { continue };
            let into = if from_archive { &mut possible } else { &mut certain };
            if let Some(claim) = &target.claim {
                asked = true;
                *into = std::mem::take(into).merge(claim.clone());
            }
            // The device linker makes machine code of what was left to it.
            let waits = into.images.iter().any(|image| image.form == RequestedForm::Lto)
                || target.inputs.iter().any(|input| self.waits_for_link(input));
            if let Some(link) = target.link_claim.as_ref().filter(|_| waits) {
                *into = std::mem::take(into).merge(link.clone());
            }
            for input in target.inputs.iter().filter(|input| is_linkable(input)) {
                if seen.insert(input.clone()) {
                    waiting.push((input.clone(), from_archive || is_archive(input)));
                }
            }
        }
        possible
            .images
            .retain(|image| image.form == RequestedForm::MachineCode && built.contains(&image.arch));
        possible.unclear.clear();
        asked.then(|| certain.merge(possible))
    }

    fn waits_for_link(&self, input: &Path) -> bool {
        let claim = self.targets.get(input).and_then(|target| target.claim.as_ref());
        claim.is_some_and(|claim| claim.images.iter().any(|image| image.form == RequestedForm::Lto))
    }

    /// A file that was copied or installed keeps its name.
    fn same_name(&self, file: &Path, built: &BTreeSet<Arch>) -> Option<RequestedClaim> {
        let name = file.file_name().filter(|_| !is_object(file))?;
        let mut alike = self.targets.keys().filter(|target| target.file_name() == Some(name));
        let only = alike.next().filter(|_| alike.next().is_none())?;
        self.gathered(only, built)
    }

    /// Where the nearest build file compiles objects and leaves linking to somebody else, what all of them
    /// ask for is asked of what lies beside them.
    fn only_claim(&self, file: &Path) -> Option<RequestedClaim> {
        let folder_of = |origin: &Rc<Path>| origin.parent().map_or_else(PathBuf::new, Path::to_owned);
        let around = |origin: &&Rc<Path>| file.starts_with(folder_of(origin));
        let nearest =
            self.builds.keys().filter(around).map(|origin| folder_of(origin).components().count()).max()?;
        let is_near = |origin: &Rc<Path>| {
            file.starts_with(folder_of(origin)) && folder_of(origin).components().count() == nearest
        };
        if self.builds.iter().any(|(origin, links)| *links && is_near(origin)) {
            return None;
        }
        let named = self
            .targets
            .values()
            .filter_map(|target| Some((target.origin.as_ref()?, target.claim.as_ref()?)));
        let nameless = self.nameless.iter().map(|(origin, claim)| (origin, claim));
        let mut claims = named.chain(nameless).filter(|(origin, _)| is_near(origin)).map(|(_, claim)| claim);
        let first = claims.next()?;
        claims.all(|claim| claim == first).then(|| first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compilation(arch: &str, output: Option<&str>) -> Compilation {
        let code = format!("-gencode=arch=compute_{arch},code=sm_{arch}");
        Compilation {
            claim: RequestedClaim::from_command([code.as_str(), "k.cu"]),
            step: CompilationStep::Compiles,
            output: output.map(PathBuf::from),
        }
    }

    fn step(outputs: &[&str], inputs: &[&str], compilations: Vec<Compilation>) -> Step {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        Step { outputs: paths(outputs), inputs: paths(inputs), compilations }
    }

    fn requests(steps: Vec<Step>) -> Requests {
        let origin: Rc<Path> = Rc::from(Path::new("/b/build.ninja"));
        let mut requests = Requests::default();
        for step in steps {
            requests.add(&origin, step);
        }
        requests
    }

    fn archs(requests: &Requests, file: &str, built: &[&str]) -> Option<Vec<String>> {
        let built = built.iter().map(|arch| arch.parse().unwrap()).collect();
        let claim = requests.claim_for(Path::new(file), &built)?;
        Some(claim.images.iter().map(|image| image.arch.to_string()).collect())
    }

    fn two_libraries() -> Requests {
        requests(vec![
            step(&["/b/one.o"], &[], vec![compilation("100a", Some("/b/one.o"))]),
            step(&["/b/two.o"], &[], vec![compilation("90a", Some("/b/two.o"))]),
            step(&["/b/libone.so"], &["/b/one.o"], Vec::new()),
            step(&["/b/libtwo.so"], &["/b/two.o", "/b/libone.so"], Vec::new()),
            step(&["/b/libtwo.a"], &["/b/two.o"], Vec::new()),
            step(&["/b/prog"], &["/b/one.o", "/b/libtwo.a"], Vec::new()),
        ])
    }

    #[test]
    fn each_library_is_asked_for_what_went_into_it() {
        let requests = two_libraries();
        assert_eq!(archs(&requests, "/b/libone.so", &[]).unwrap(), ["sm_100a"]);
        assert_eq!(archs(&requests, "/b/libtwo.so", &[]).unwrap(), ["sm_90a"]);
        assert_eq!(requests.distinct_claims().len(), 2);
    }

    #[test]
    fn an_archive_may_be_taken_or_left() {
        let requests = two_libraries();
        assert_eq!(archs(&requests, "/b/prog", &["sm_100a"]).unwrap(), ["sm_100a"]);
        assert_eq!(archs(&requests, "/b/prog", &["sm_100a", "sm_90a"]).unwrap(), ["sm_100a", "sm_90a"]);
    }

    #[test]
    fn a_copy_is_asked_for_what_the_original_is_and_a_stranger_for_nothing() {
        let requests = two_libraries();
        assert_eq!(archs(&requests, "/b/install/lib/libtwo.so", &[]).unwrap(), ["sm_90a"]);
        assert_eq!(archs(&requests, "/b/_deps/other.so", &[]), None);
    }

    #[test]
    fn where_nothing_is_linked_the_one_claim_is_about_what_lies_beside() {
        let compile = |arch: &str, name: &str| {
            step(&[&format!("/b/{name}.o")], &[], vec![compilation(arch, Some(&format!("/b/{name}.o")))])
        };
        let alike = requests(vec![compile("90a", "a"), compile("90a", "b")]);
        assert_eq!(archs(&alike, "/b/lib/k.so", &[]).unwrap(), ["sm_90a"]);
        assert_eq!(archs(&alike, "/elsewhere/k.so", &[]), None);
        let different = requests(vec![compile("90a", "a"), compile("100a", "b")]);
        assert_eq!(archs(&different, "/b/lib/k.so", &[]), None);
    }

    #[test]
    fn a_file_that_two_commands_write_is_asked_for_both() {
        let both = vec![compilation("100a", None), compilation("90a", None)];
        let requests = requests(vec![step(&["/b/k.o"], &[], both)]);
        assert_eq!(archs(&requests, "/b/k.o", &[]).unwrap(), ["sm_100a", "sm_90a"]);
    }

    #[test]
    fn files_that_are_made_of_each_other_come_to_an_end() {
        let requests = requests(vec![
            step(&["/b/a.o"], &["/b/b.o"], vec![compilation("90a", Some("/b/a.o"))]),
            step(&["/b/b.o"], &["/b/a.o"], Vec::new()),
        ]);
        assert_eq!(archs(&requests, "/b/b.o", &[]).unwrap(), ["sm_90a"]);
    }
}
