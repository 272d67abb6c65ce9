//! Opens and reads regular files, and nothing that only looks like one.
//!
//! In a folder that others may have touched, a pipe would be waited for without end, a device read
//! without end, and a link would lead anywhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file as the options say, if it is a regular one.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, OFlags::NOFOLLOW)
}

/// The same of a file that a person named: a link leads where they mean it to.
pub fn open_through_links(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, OFlags::empty())
}

/// The same of a file that this program keeps for itself and writes to: it has no other name, by which it would be
/// somebody else's.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open(path, options)?;
    if file.metadata()?.nlink() > 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it has another name elsewhere (a hard link)",
        ));
    }
    Ok(file)
}

fn open_with(path: &Path, options: &mut OpenOptions, more: OFlags) -> io::Result<File> {
    let flags = more | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))
}

/// Reads a regular file of at most so many bytes.
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    read_file(open(path, File::options().read(true))?, most_bytes)
}

/// The same of a file that a person named: a link leads where they mean it to.
pub fn read_through_links(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    read(&path.canonicalize()?, most_bytes)
}

/// Refuses what stands in the place of a folder and is none, such as a link: whoever writes there would write
/// elsewhere. What is not there is no fault.
pub fn require_folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(found) => {
            let text = if found.is_symlink() { "it is a link: expected a folder" } else { "it is no folder" };
            Err(io::Error::new(io::ErrorKind::NotADirectory, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_file(file: File, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        let text = format!("it is larger than {most_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_links_and_what_is_too_large_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, link, file] = ["pipe", "link", "file"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(&file, "four").unwrap();
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert!(read(&pipe, 9).is_err() && read(&link, 9).is_err() && read(folder.path(), 9).is_err());
        assert!(read(&file, 3).is_err());
        assert_eq!(read(&file, 4).unwrap(), b"four");
        let to_file = folder.path().join("to-file");
        std::os::unix::fs::symlink(&file, &to_file).unwrap();
        assert_eq!(read_through_links(&to_file, 4).unwrap(), b"four");
        assert!(read_through_links(&link, 4).is_err());
        assert!(open(&pipe, File::options().write(true)).is_err());
        assert!(open_through_links(&to_file, File::options().read(true)).is_ok());
        assert!(open_through_links(&link, File::options().read(true)).is_err());
    }

    #[test]
    fn a_folder_s_place_holds_a_folder_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [inner, link, file] = ["inner", "link", "file"].map(|name| folder.path().join(name));
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(require_folder(&inner).is_ok() && require_folder(&folder.path().join("none")).is_ok());
        assert!(require_folder(&link).is_err() && require_folder(&file).is_err());
    }
}
