//! Writes result files: whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use proofmark_packager::{Bundle, Evidence};
use tempfile::NamedTempFile;

use super::console::{write_out, written_out};
use super::failure::Failure;
use super::protected;

/// How the name of a file starts that is about to become a result.
const TEMPORARY_PREFIX: &str = ".proofmark-";

/// The way out where a folder cannot be written.
pub(super) const OTHER_FOLDER: &str = "name a folder that you can write with `-o`";

/// Longer than any result takes to be written.
const TEMPORARY_GRACE: Duration = Duration::from_secs(60 * 60);

/// Writes a file by rename, with the permissions that the user's umask gives.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    write_pieces(path, |out| out.write_all(content))
}

/// The same of what is written piece by piece.
pub(super) fn write_pieces(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let fail = |error: io::Error| cannot_write(path, &error);
    if path.is_dir() {
        return Err(Failure::request(format!("{} is a folder: expected a file name", path.display())));
    }
    let finish = |file: &File| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    };
    // A device or pipe cannot be replaced by rename; it is written to.
    if path.exists() && !path.is_file() {
        return File::create(path).and_then(|file| finish(&file)).map_err(fail);
    }
    let file = temporary_beside(path)?;
    finish(file.as_file()).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(path).map(drop).map_err(|error| fail(error.error))
}

fn cannot_write(path: &Path, error: &impl std::fmt::Display) -> Failure {
    Failure::could_not_judge(format!("cannot write {}: {error}", path.display()))
}

/// Says why a page could not be made.
#[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
pub(super) fn unfinished_page(error: io::Error) -> Failure {
    Failure::could_not_judge(format!("cannot make the page: {error}"))
        .hint("parts of it wait in the folder that TMPDIR names: is there space?")
}

/// Refuses, before anything takes time, an output that could not be written.
pub(super) fn check(output: &Path) -> Result<(), Failure> {
    if output.as_os_str() == "-" {
        return Ok(());
    }
    if output.exists() && !output.is_file() {
        return Ok(());
    }
    temporary_beside(output).map(drop).map_err(elsewhere)
}

/// A temporary file that can become `path` by a rename.
fn temporary_beside(path: &Path) -> Result<NamedTempFile, Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let text = format!("cannot write {}: {} is no folder", path.display(), folder.display());
        return Err(Failure::request(text));
    }
    sweep_beside(folder);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX).permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The kind alone: the temporary file's name means nothing to anybody.
    builder.tempfile_in(folder).map_err(|error| cannot_write(path, &error.kind()))
}

/// Removes what earlier calls left here when they were killed: files of ours alone, and old ones.
fn sweep_beside(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| {
            name.strip_prefix(TEMPORARY_PREFIX)
                .is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|one| one.is_ascii_alphanumeric()))
        });
        let is_old = || {
            let found = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(found.modified().ok()?.elapsed().ok()? > TEMPORARY_GRACE)
        };
        if is_ours && is_old().unwrap_or_default() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn elsewhere(failure: Failure) -> Failure {
    failure.hint("name another place with `-o`")
}

/// Writes to a file, or to stdout for `-`.
pub(super) fn write_to(path: &Path, content: &[u8]) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return write_out(content);
    }
    write_file(path, content).map_err(elsewhere)
}

/// The same of what is written piece by piece.
pub(super) fn write_pieces_to(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return written_out(write(&mut io::stdout().lock()));
    }
    write_pieces(path, write).map_err(elsewhere)
}

/// Writes to a place that the user did not name: nothing else that stands there is replaced, and no submission gets
/// another source.
pub(super) fn write_unnamed(path: &Path, content: &[u8]) -> Result<(), Failure> {
    match std::fs::read(path) {
        Ok(there) if there == content => Ok(()),
        Ok(_) => Err(Failure::request(format!("{} exists and holds something else", path.display()))
            .hint(format!("`-o {}` replaces it; another name keeps both", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            protected::refuse_new_part(path).and_then(|()| write_file(path, content)).map_err(elsewhere)
        }
        Err(error) => Err(Failure::could_not_judge(format!("cannot read {}: {error}", path.display()))),
    }
}

/// The artifact that stands at a path, if one does.
pub(super) fn artifact_at(path: &Path) -> Option<Bundle> {
    if path.is_file() { proofmark_packager::open::open(path).ok().map(|opened| opened.bundle) } else { None }
}

/// Refuses to replace an artifact whose evidence would be lost: nobody may be able to take its
/// measurements again. `why` goes behind the path.
pub(super) fn refuse_to_lose(
    output: &Path,
    is_lost: impl FnOnce(&Evidence) -> bool,
    why: &str,
) -> Result<(), Failure> {
    if artifact_at(output).is_some_and(|there| is_lost(&there.evidence)) {
        return Err(Failure::request(format!("{} {why}", output.display()))
            .hint("name another file with `-o`, or remove this one first"));
    }
    Ok(())
}
