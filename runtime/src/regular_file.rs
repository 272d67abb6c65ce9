//! Opens and reads regular files, and nothing that only looks like one.
//!
//! In a folder that others may have touched, a pipe would be waited for without end, a device read
//! without end, and a link would lead anywhere.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
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
    let expected = |found: FileType| {
        let text = format!("it is {}: expected a file", kind_words(found));
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let look = || if more.contains(OFlags::NOFOLLOW) { path.symlink_metadata() } else { path.metadata() };
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match look() {
        // What the system says of a link that is not followed, or of a pipe that nobody reads, names neither.
        Ok(found) if !found.is_file() => expected(found.file_type()),
        _ => error,
    })?;
    let found = file.metadata()?.file_type();
    if found.is_file() { Ok(file) } else { Err(expected(found)) }
}

/// What a thing is, in words.
pub fn kind_words(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_symlink() => "a link",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_file() => "a file",
        _ => "a device",
    }
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
            let text = format!("it is {}: expected a folder", kind_words(found.file_type()));
            Err(io::Error::new(io::ErrorKind::NotADirectory, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads what is left of an open file of at most so many bytes.
pub fn read_file(file: File, most_bytes: u64) -> io::Result<Vec<u8>> {
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
    fn what_stands_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, link, gone, socket] =
            ["pipe", "link", "gone", "socket"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        std::os::unix::fs::symlink("none", &gone).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let reading = |path: &Path| open(path, File::options().read(true)).unwrap_err().to_string();
        let writing = |path: &Path| open(path, File::options().append(true)).unwrap_err().to_string();
        for (path, kind) in [
            (pipe.as_path(), "a pipe"),
            (&link, "a link"),
            (&gone, "a link"),
            (&socket, "a socket"),
            (folder.path(), "a folder"),
            (Path::new("/dev/null"), "a device"),
        ] {
            let expected = format!("it is {kind}: expected a file");
            assert_eq!([reading(path), writing(path)], [expected.clone(), expected], "{}", path.display());
        }
        let through = |path: &Path| open_through_links(path, File::options().read(true)).unwrap_err();
        assert_eq!(through(&link).to_string(), "it is a device: expected a file");
        assert_eq!(through(&gone).kind(), io::ErrorKind::NotFound);
        assert_eq!(
            open(&folder.path().join("none"), File::options().read(true)).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let refused = require_folder(&pipe).unwrap_err().to_string();
        assert_eq!(refused, "it is a pipe: expected a folder");
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
