//! Objects as files of a folder.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proofmark_packager::escape;

use walkdir::WalkDir;

use super::object::{Creation, ObjectError};
use crate::regular_file;

/// Whoever shares the folder reads what is made in it; the umask takes from this.
const MODE: u32 = 0o644;

/// A folder that many machines reach. It must be there: a share that is not mounted is no empty cache.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn list(&self, prefix: &str, most: usize) -> Result<Vec<String>, ObjectError> {
        self.require_root()?;
        let folder = self.root.join(prefix);
        if matches!(folder.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        // Links are not followed: they may lead in circles.
        for entry in WalkDir::new(&folder).follow_root_links(false).sort_by_file_name() {
            let entry = entry.map_err(|error| failed("list", &folder)(error.into()))?;
            let path = entry.path().strip_prefix(&self.root).ok().and_then(Path::to_str);
            names.extend(path.filter(|_| !entry.file_type().is_dir()).map(str::to_owned));
            if names.len() == most {
                break;
            }
        }
        Ok(names)
    }

    pub(super) fn get(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        self.require_root()?;
        self.require_folders(name)?;
        let path = self.root.join(name);
        match regular_file::read(&path, most_bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(ObjectError::TooLarge { name: name.to_owned(), most_bytes })
            }
            // Whoever can write here can put anything in an object's place, and must not take the others away.
            Err(error) if is_no_file(&path) || error.kind() == io::ErrorKind::PermissionDenied => {
                Err(unusable(name, &error))
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, ObjectError> {
        self.require_root()?;
        self.require_folders(name)?;
        let path = self.root.join(name);
        if path.symlink_metadata().is_ok() {
            return Ok(Creation::Existed);
        }
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".new-").permissions(Permissions::from_mode(MODE));
        let mut file = builder.tempfile_in(folder).map_err(failed("create a file in", folder))?;
        file.write_all(bytes)
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed("write", file.path()))?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(Creation::Made),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Creation::Existed),
            Err(error) => Err(failed("write", &path)(error.error)),
        }
    }

    /// Refuses an object whose folders below the root are links: what they lead to is not this place.
    fn require_folders(&self, name: &str) -> Result<(), ObjectError> {
        let mut folder = self.root.clone();
        let folders = name.rsplit_once('/').map_or("", |(folders, _)| folders);
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            regular_file::require_folder(&folder).map_err(|error| ObjectError::Failed {
                reason: escape::line(&format!("cannot use {}: {error}", folder.display())),
            })?;
        }
        Ok(())
    }

    fn require_root(&self) -> Result<(), ObjectError> {
        match fs::metadata(&self.root) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(failed("use", &self.root)(io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(failed("use", &self.root)(error)),
        }
    }
}

/// Whether something that is no file stands there.
fn is_no_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| !found.is_file())
}

fn unusable(name: &str, error: &io::Error) -> ObjectError {
    ObjectError::Unusable { name: escape::line(name), reason: format!("cannot be read: {error}") }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ObjectError {
    let path = path.to_owned();
    move |error| ObjectError::Failed {
        reason: escape::line(&format!("cannot {action} {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_made_once_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().to_owned());
        assert_eq!(folder.list("a", 9).unwrap(), Vec::<String>::new());
        assert_eq!(folder.get("a/one", 9).unwrap(), None);
        assert_eq!(folder.create("a/one", b"first").unwrap(), Creation::Made);
        assert_eq!(folder.create("a/one", b"second").unwrap(), Creation::Existed);
        assert_eq!(folder.get("a/one", 9).unwrap().unwrap(), b"first");
        assert_eq!(folder.list("a", 9).unwrap(), ["a/one"]);
        assert_eq!(folder.create("a/b/two", b"").unwrap(), Creation::Made);
        assert_eq!(folder.list("", 9).unwrap(), ["a/b/two", "a/one"]);
        assert_eq!(folder.list("", 1).unwrap(), ["a/b/two"]);
        assert!(matches!(folder.get("a/one", 4), Err(ObjectError::TooLarge { most_bytes: 4, .. })));
    }

    #[test]
    fn a_folder_that_is_not_there_or_a_pipe_in_an_object_s_place_fails_at_once() {
        let root = tempfile::tempdir().unwrap();
        assert!(Folder::new(root.path().join("unmounted")).list("a", 9).is_err());
        assert!(
            std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status().unwrap().success()
        );
        let folder = Folder::new(root.path().to_owned());
        assert!(folder.get("pipe", 9).unwrap_err().is_of_one_object());
        assert_eq!(folder.create("pipe", b"x").unwrap(), Creation::Existed);
        fs::create_dir(root.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.path().join("link")).unwrap();
        for name in ["folder", "link"] {
            assert!(folder.get(name, 9).unwrap_err().is_of_one_object(), "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_a_link_leads_nowhere() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(root.path().join("v1")).unwrap();
        fs::write(elsewhere.path().join("one"), "theirs").unwrap();
        for name in ["v1/archives/one", "v1/archives/ab/one", "link/one", "link/a/b/one"] {
            let link = if name.starts_with("v1") { "v1/archives" } else { "link" };
            let _ = std::os::unix::fs::symlink(elsewhere.path(), root.path().join(link));
            let folder = Folder::new(root.path().to_owned());
            let refused = folder.create(name, b"ours").unwrap_err().to_string();
            assert!(refused.contains("it is a link: expected a folder"), "{name}: {refused}");
            assert!(folder.get(name, 9).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing was written there");
    }
}
