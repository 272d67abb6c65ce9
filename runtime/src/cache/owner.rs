//! Who may write to the cache: we alone, and whoever may do anything anyway.
//!
//! What stands in the cache is loaded and run, and builds happen in it. Whoever can write there can run
//! code as us, so such a folder is not used at all.

use std::fs::{self, DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::error::CacheError;

/// The folders of a cache.
const PARTS: [&str; 7] = ["entries", "plans", "names", "units", "failures", "locks", "staging"];

/// Makes a folder and those above it for ourselves alone, or checks that it is.
pub(super) fn claim(folder: &Path) -> Result<(), CacheError> {
    if !folder.is_dir() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(CacheError::io("create", folder))?;
    }
    check(folder)
}

/// Refuses a folder that others can write to.
pub(super) fn check(folder: &Path) -> Result<(), CacheError> {
    let found = fs::metadata(folder).map_err(CacheError::io("look at", folder))?;
    match refusal(&found, rustix::process::geteuid().as_raw()) {
        Some(reason) => Err(CacheError::Shared { path: folder.to_owned(), reason }),
        None => Ok(()),
    }
}

/// Refuses a cache of which a part is a link, which leads a sweep to what is not ours, or can be written by
/// others.
pub(super) fn check_parts(root: &Path) -> Result<(), CacheError> {
    check(root)?;
    refuse_links(root)?;
    PARTS.map(|name| root.join(name)).iter().filter(|part| part.exists()).try_for_each(|part| check(part))
}

/// Refuses a cache of which a part is a link.
pub(super) fn refuse_links(root: &Path) -> Result<(), CacheError> {
    match PARTS.map(|name| root.join(name)).into_iter().find(|part| part.is_symlink()) {
        Some(path) => Err(CacheError::Linked { path }),
        None => Ok(()),
    }
}

fn refusal(found: &Metadata, user: u32) -> Option<String> {
    refusal_of(found.mode(), found.uid(), found.gid(), user)
}

/// `None` for a folder of ours, or of the system, that nobody else can write to.
fn refusal_of(mode: u32, owner: u32, group: u32, user: u32) -> Option<String> {
    if owner != user && owner != 0 {
        return Some(format!("it belongs to user {owner}, and this is user {user}"));
    }
    if mode & 0o002 != 0 {
        return Some("everybody can write to it".to_owned());
    }
    // Where each user has a group of the same number, nobody else is in it.
    if mode & 0o020 != 0 && group != owner {
        return Some(format!("group {group} can write to it"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_else_can_write_is_used() {
        for (mode, owner, group) in [(0o700, 7, 7), (0o755, 7, 9), (0o775, 7, 7), (0o755, 0, 0)] {
            assert_eq!(refusal_of(mode, owner, group, 7), None, "{mode:o} {owner} {group}");
        }
        for (mode, owner, group) in [(0o777, 7, 7), (0o1777, 0, 0), (0o775, 7, 9), (0o700, 8, 8)] {
            assert!(refusal_of(mode, owner, group, 7).is_some(), "{mode:o} {owner} {group}");
        }
    }
}
