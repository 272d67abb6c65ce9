//! Writes result files: whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use super::failure::Failure;

/// Writes a file by rename, with the permissions that the user's umask gives.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let fail = |error: io::Error| {
        Failure::could_not_judge(format!("cannot write {}: {error}", path.display()))
            .hint("name another place with `-o`")
    };
    if path.is_dir() {
        return Err(Failure::request(format!("{} is a folder: expected a file name", path.display())));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A device or pipe cannot be replaced by rename; it is written to.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, content).map_err(fail);
    }
    let mut file = tempfile::Builder::new()
        .prefix(".proofmark-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map(drop).map_err(|error| fail(error.error))
}

/// Writes to a file, or to stdout for `-`.
pub(super) fn write_to(path: &Path, content: &[u8]) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return match io::stdout().write_all(content) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::could_not_judge(error)),
            _ => Ok(()),
        };
    }
    write_file(path, content)
}
