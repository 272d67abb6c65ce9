//! What a call reads is never what it replaces, and what it writes is no new part of a submission: one rule for every
//! option that names a place to write, and one for `-`.
//!
//! [`guard`] holds it for all that a command line names, before the verb begins. A verb that finds its files itself,
//! in a folder, or makes a name of its own, asks [`refuse`] too.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use clap::ArgMatches;
use proofmark_packager::submission::{
    self, CONFIG_NAME, CONTEST_EXTENSIONS, DEFINITION_NAME, WORKLOADS_NAME,
};

use super::failure::Failure;

/// Options that name what is written, by their ids. Every other path of a command line is read, or is a folder that
/// belongs to this program.
const OUTPUTS: [&str; 7] = ["output", "traces", "record", "report", "resume", "extract", "into"];

/// The outputs that `-` sends to standard output, by verb and option.
const STREAMED: [(&str, &str); 7] = [
    ("build", "output"),
    ("pack", "output"),
    ("plan", "output"),
    ("reduce", "report"),
    ("report", "output"),
    ("seal", "output"),
    ("sign", "output"),
];

/// What a verb may replace although it reads it: `sign` adds to an artifact where it stands, and `seal` asks itself.
const IN_PLACE: [(&str, &str); 2] = [("sign", "path"), ("seal", "path")];

/// Folders of which everything is read, or what lies in these parts of it.
const READ_WHOLE: [(&str, &[&str]); 3] = [
    ("dataset", &["definitions", "workloads", "blob"]),
    ("ledger", &["."]),
    ("results", &["outcomes", "attempts", "records"]),
];

/// The paths of a command line, each with the option that holds it and that option's verb.
fn paths_of(matches: &ArgMatches) -> Vec<(&str, &str, &Path)> {
    let (mut found, mut verb, mut level) = (Vec::new(), "", Some(matches));
    while let Some(here) = level {
        for id in here.ids().map(clap::Id::as_str) {
            // Whatever else an option holds is no path.
            let paths = here.try_get_many::<PathBuf>(id).ok().flatten();
            found.extend(paths.into_iter().flatten().map(|path| (verb, id, path.as_path())));
        }
        level = here.subcommand().map(|(name, below)| {
            verb = name;
            below
        });
    }
    found
}

/// Whether what is written goes to standard output.
pub(super) fn fills_standard_output(matches: &ArgMatches) -> bool {
    paths_of(matches).iter().any(|(_, id, path)| OUTPUTS.contains(id) && is_standard_output(path))
}

fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses a command line that would write over what it reads, add to a submission, or send to standard output what
/// does not go there.
pub(super) fn guard(matches: &ArgMatches) -> Result<(), Failure> {
    let (mut outputs, mut inputs, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (verb, id, path) in paths_of(matches) {
        if OUTPUTS.contains(&id) {
            if is_standard_output(path) && !STREAMED.contains(&(verb, id)) {
                let text =
                    format!("`{} -`: what is written there does not go to standard output", option(id));
                return Err(Failure::request(text).hint("name a file or folder; `./-` is one of that name"));
            }
            outputs.push((id, path));
        } else if let Some((_, parts)) = READ_WHOLE.iter().find(|(folder, _)| *folder == id) {
            whole.extend(parts.iter().map(|part| path.join(part)));
        } else if !IN_PLACE.contains(&(verb, id)) {
            inputs.push(path);
        }
    }
    for (id, output) in outputs {
        let refused = refuse(output, &inputs).and_then(|()| refuse_below(output, &whole));
        refused.map_err(|failure| failure.hint(format!("name another file with `{}`", option(id))))?;
    }
    Ok(())
}

/// An option as it is typed.
fn option(id: &str) -> String {
    if id == "output" { "-o".to_owned() } else { format!("--{id}") }
}

/// Refuses an output that stands in the place of one of the files that are read, or of a part of a submission, or
/// that would become such a part.
pub(super) fn refuse(output: &Path, inputs: &[impl AsRef<Path>]) -> Result<(), Failure> {
    if is_standard_output(output) {
        return Ok(());
    }
    let Ok(found) = fs::metadata(output) else { return refuse_new_part(output) };
    // Into a folder something is added.
    if found.is_dir() {
        return Ok(());
    }
    if inputs.iter().any(|input| is_same(output, &found, input.as_ref())) {
        return Err(Failure::request(format!("{} is what is read: it would be lost", output.display())));
    }
    if found.is_file() && is_part_of_submission(output) {
        return Err(Failure::request(format!("{} is a part of the submission", output.display())));
    }
    Ok(())
}

fn refuse_below(output: &Path, folders: &[PathBuf]) -> Result<(), Failure> {
    let Some(place) = output.canonicalize().ok().filter(|place| !place.is_dir()) else { return Ok(()) };
    let holds = |folder: &&PathBuf| folder.canonicalize().is_ok_and(|folder| place.starts_with(folder));
    match folders.iter().find(holds) {
        None => Ok(()),
        Some(folder) => {
            let text = format!("{} is a part of {}, which is read", output.display(), folder.display());
            Err(Failure::request(text))
        }
    }
}

/// Whether two names are of one file, through links of either kind.
fn is_same(output: &Path, found: &Metadata, input: &Path) -> bool {
    let is_one = |other: Metadata| (other.dev(), other.ino()) == (found.dev(), found.ino());
    // A terminal or /dev/null is read and written, and loses nothing.
    if !found.is_file() {
        return false;
    }
    fs::metadata(input).is_ok_and(is_one)
        || absolute(output).is_ok_and(|output| absolute(input).is_ok_and(|input| input == output))
}

/// Refuses a file that is not there yet, and would be packed with a submission from then on.
pub(super) fn refuse_new_part(output: &Path) -> Result<(), Failure> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(folder), Some(name)) = (folder.canonicalize(), output.file_name()) else { return Ok(()) };
    let root = folder.ancestors().find(|folder| is_submission(folder));
    let is_document = [DEFINITION_NAME, WORKLOADS_NAME].iter().any(|one| name == *one);
    let of_task = || submission::find(&folder).is_ok_and(|found| !found.is_empty());
    let is_part = match root {
        Some(root) if is_document => root == folder,
        Some(root) => has_source_ending(Path::new(name)) && folder.starts_with(sources_of(root)),
        None => is_document && of_task(),
    };
    if is_part {
        let text = format!("{} would become a part of the submission", output.display());
        return Err(Failure::request(text));
    }
    Ok(())
}

/// The folder that a submission's sources lie in.
fn sources_of(root: &Path) -> PathBuf {
    let language = submission::read(root).map(|read| read.submission.build.language);
    let kit = language.map(|language| root.join("solution").join(language.as_str())).unwrap_or_default();
    if kit.is_dir() { kit } else { root.to_owned() }
}

fn has_source_ending(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    CONTEST_EXTENSIONS.iter().any(|one| end.eq_ignore_ascii_case(one))
}

/// Whether a file is packed with the submission in whose folder it lies, or with those beside it.
fn is_part_of_submission(output: &Path) -> bool {
    let Ok(place) = output.canonicalize() else { return false };
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(folder) = place.parent() else { return false };
    // A task folder gives definition and workloads to the submissions in it.
    let of_task = [DEFINITION_NAME, WORKLOADS_NAME].contains(&name);
    if of_task && submission::find(folder).is_ok_and(|found| !found.is_empty()) {
        return true;
    }
    place.ancestors().skip(1).find(|folder| is_submission(folder)).is_some_and(|root| packs(root, &place))
}

fn is_submission(folder: &Path) -> bool {
    fs::read_to_string(folder.join(CONFIG_NAME)).is_ok_and(|text| text.contains("[solution]"))
}

/// Whether a submission packs a file; of one that cannot be read, the endings tell.
fn packs(root: &Path, place: &Path) -> bool {
    let is_at = |path: PathBuf| path.canonicalize().is_ok_and(|path| path == place);
    if [CONFIG_NAME, DEFINITION_NAME, WORKLOADS_NAME].iter().any(|name| is_at(root.join(name))) {
        return true;
    }
    match submission::read(root) {
        Ok(read) => {
            let kit = root.join("solution").join(read.submission.build.language.as_str());
            let mut paths = read.submission.sources.iter().map(|source| source.path.as_str());
            paths.any(|path| is_at(root.join(path)) || is_at(kit.join(path)))
        }
        Err(_) => has_source_ending(place),
    }
}

#[cfg(test)]
mod tests {
    use clap::builder::ValueParser;
    use clap::{Command, CommandFactory};

    use super::super::CommandLine;
    use super::*;

    /// Paths that are read, and folders of this program: an option that is none of these has to be put somewhere.
    const READ: [&str; 36] = [
        "a",
        "against",
        "allowed_signers",
        "b",
        "bounds",
        "cache_dir",
        "cache_key",
        "cache_signers",
        "candidate",
        "comparison",
        "cuda_home",
        "cupti",
        "data",
        "data_dir",
        "dataset",
        "definition",
        "folder",
        "job",
        "key",
        "ledger",
        "ncu",
        "path",
        "paths",
        "plan",
        "program",
        "project",
        "python",
        "reference",
        "results",
        "sbatch",
        "shelf",
        "ssh",
        "subject",
        "tvm_ffi",
        "wheels",
        "workloads",
    ];

    fn path_options(command: &Command, found: &mut Vec<String>) {
        let is_path =
            |one: &&clap::Arg| one.get_value_parser().type_id() == ValueParser::path_buf().type_id();
        found.extend(command.get_arguments().filter(is_path).map(|one| one.get_id().to_string()));
        command.get_subcommands().for_each(|verb| path_options(verb, found));
    }

    #[test]
    fn every_path_of_the_command_line_is_read_or_written() {
        let mut found = Vec::new();
        path_options(&CommandLine::command(), &mut found);
        found.sort();
        found.dedup();
        let unknown: Vec<_> = found
            .iter()
            .filter(|id| !OUTPUTS.contains(&id.as_str()) && !READ.contains(&id.as_str()))
            .collect();
        assert!(unknown.is_empty(), "neither read nor written: {unknown:?}");
        let gone: Vec<_> =
            OUTPUTS.iter().chain(&READ).filter(|id| !found.iter().any(|one| one == *id)).collect();
        assert!(gone.is_empty(), "no option any more: {gone:?}");
    }

    #[test]
    fn every_output_that_goes_to_standard_output_is_an_option_of_its_verb() {
        for (verb, id) in STREAMED {
            let mut line = CommandLine::command();
            let found = find(&mut line, verb);
            assert!(
                found.is_some_and(|found| found.get_arguments().any(|one| one.get_id() == id)),
                "{verb} {id}"
            );
            assert!(OUTPUTS.contains(&id), "{id}");
        }
    }

    fn find<'a>(command: &'a mut Command, verb: &str) -> Option<&'a mut Command> {
        command.get_subcommands_mut().find_map(|one| {
            if one.get_name() == verb && one.get_subcommands().next().is_none() {
                return Some(one);
            }
            find(one, verb)
        })
    }
}
