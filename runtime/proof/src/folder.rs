//! Lists the files below a folder: links are followed, each real file comes once, and whatever
//! cannot be read is named.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use proofmark_packager::escape;
use serde::Serialize;
use walkdir::WalkDir;

/// Something in a folder that was not read, so that nothing is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its path.
    pub path: String,
    /// Why not.
    pub reason: String,
}

impl Unread {
    /// Notes why a path was not read.
    pub(super) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: escape::line(&path.display().to_string()), reason: reason.into() }
    }
}

/// Most files of one folder, so that their names fit into memory.
const FILES_LIMIT: usize = 2_000_000;
const TOO_MANY: &str = "this file and others behind it: more than are read of one folder";

/// What lies below a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Each real file once, in the order of names. One with a name below the folder has that name,
    /// any other the name of the first link to it.
    pub(super) files: Vec<PathBuf>,
    /// What is no file, or leads to none.
    pub(super) unread: Vec<Unread>,
    seen: HashSet<PathBuf>,
    links: VecDeque<PathBuf>,
}

impl Listing {
    /// Lists a folder. Every real folder is entered once, so links in circles come to an end.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let top = fs::canonicalize(folder)?;
        // A folder that cannot be opened is no empty one.
        fs::read_dir(&top)?;
        let mut listing = Self::default();
        listing.walk(folder, &top);
        while let Some(link) = listing.links.pop_front() {
            listing.follow(&link, &top);
        }
        listing.files.sort();
        listing.unread.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(listing)
    }

    /// Takes in what lies below the real folder `real` under the name `name`; links wait.
    fn walk(&mut self, name: &Path, real: &Path) {
        let mut items = WalkDir::new(real).sort_by_file_name().into_iter();
        while let Some(item) = items.next() {
            let named = |path: &Path| name.join(path.strip_prefix(real).unwrap_or(path));
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    let path = named(error.path().unwrap_or(real));
                    self.unread.push(Unread::new(&path, io::Error::from(error).to_string()));
                    continue;
                }
            };
            let path = if item.depth() == 0 { name.to_owned() } else { named(item.path()) };
            let kind = item.file_type();
            if kind.is_symlink() {
                self.links.push_back(path);
            } else if kind.is_dir() {
                if !self.seen.insert(item.into_path()) {
                    items.skip_current_dir();
                }
            } else if kind.is_file() {
                self.add(path, item.into_path());
            } else {
                self.unread.push(Unread::new(&path, name_of_kind(kind)));
            }
        }
    }

    /// Whether a path leads to a file that is listed, under whatever name.
    pub(super) fn holds(&self, path: &Path) -> bool {
        fs::canonicalize(path).is_ok_and(|real| real.is_file() && self.seen.contains(&real))
    }

    fn add(&mut self, path: PathBuf, real: PathBuf) {
        if self.files.len() >= FILES_LIMIT {
            if self.files.len() == FILES_LIMIT
                && self.unread.last().is_none_or(|last| last.reason != TOO_MANY)
            {
                self.unread.push(Unread::new(&path, TOO_MANY));
            }
            return;
        }
        if self.seen.insert(real) {
            self.files.push(path);
        }
    }

    fn follow(&mut self, link: &Path, top: &Path) {
        let target = fs::canonicalize(link).and_then(|real| Ok((fs::metadata(&real)?.file_type(), real)));
        match target {
            Err(error) => self.unread.push(Unread::new(link, format!("a link that leads nowhere: {error}"))),
            Ok((kind, real)) if kind.is_dir() => {
                if real != top && top.starts_with(&real) {
                    let reason = "a link to a folder around this one, which is not followed";
                    self.unread.push(Unread::new(link, reason));
                } else if !self.seen.contains(&real) {
                    self.walk(link, &real);
                }
            }
            Ok((kind, real)) if kind.is_file() => self.add(link.to_owned(), real),
            Ok((kind, _)) => {
                self.unread.push(Unread::new(link, format!("a link to {}", name_of_kind(kind))));
            }
        }
    }
}

/// What a thing that is neither file, folder nor link is called.
pub(super) fn name_of_kind(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else if kind.is_char_device() {
        "a character device"
    } else {
        "no file"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Names of files and of what was not read, relative to the folder.
    fn names(folder: &Path) -> (Vec<String>, Vec<String>) {
        let listing = Listing::of(folder).unwrap();
        let relative = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        (
            listing.files.iter().map(|path| relative(path)).collect(),
            listing.unread.iter().map(|unread| relative(Path::new(&unread.path))).collect(),
        )
    }

    #[test]
    fn a_file_with_several_links_comes_once_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("lib")).unwrap();
        fs::write(path.join("lib/libk.so.1"), "k").unwrap();
        symlink("libk.so.1", path.join("lib/libk.so")).unwrap();
        symlink("lib", path.join("also")).unwrap();
        assert_eq!(names(path), (vec!["lib/libk.so.1".to_owned()], Vec::new()));
    }

    #[test]
    fn links_to_elsewhere_are_followed_under_the_name_of_the_link() {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("k.so"), "k").unwrap();
        fs::write(elsewhere.path().join("one.so"), "k").unwrap();
        let folder = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), folder.path().join("out")).unwrap();
        symlink(elsewhere.path().join("one.so"), folder.path().join("single")).unwrap();
        let (files, unread) = names(folder.path());
        assert_eq!((files, unread.len()), (vec!["out/k.so".to_owned(), "out/one.so".to_owned()], 0));
    }

    #[test]
    fn links_in_circles_come_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/b/k.so"), "k").unwrap();
        symlink("..", path.join("a/b/up")).unwrap();
        symlink(path, path.join("a/top")).unwrap();
        assert_eq!(names(path), (vec!["a/b/k.so".to_owned()], Vec::new()));
        symlink("/", path.join("all")).unwrap();
        assert_eq!(names(path).1, ["all"]);
    }

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        symlink("gone.so", folder.path().join("dangling.so")).unwrap();
        symlink("/dev/null", folder.path().join("null")).unwrap();
        let _listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let listing = Listing::of(folder.path()).unwrap();
        let reasons: Vec<&str> = listing.unread.iter().map(|unread| unread.reason.as_str()).collect();
        assert!(reasons[0].starts_with("a link that leads nowhere"), "{reasons:?}");
        assert_eq!(reasons[1..], ["a link to a character device", "a socket"]);
    }
}
