//! Every file of a path with what it holds, and what of it is not known.

use std::path::Path;

use crate::verdict::faults;
use crate::{Depth, Examination, InputError, Unread, examine_to, is_compiler_check, visit};

/// Most reasons that are kept of one file.
const REASONS: usize = 20;

/// One file or member.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// Its path from the root of the wheel or folder.
    pub name: &'a str,
    /// What it holds.
    pub examination: &'a Examination,
    /// Why that is not all, or cannot be believed.
    pub doubts: Vec<String>,
}

/// Examines every part of a path that may hold device code, but for a build system's own compiler check, and
/// hands back what was not read at all, by its path from the root.
pub fn survey(
    path: &Path,
    depth: Depth,
    mut look: impl FnMut(&Surveyed<'_>),
) -> Result<Vec<Unread>, InputError> {
    let real = path.canonicalize().ok();
    let place = |name: &str| Some(real.as_ref()?.join(Path::new(name).strip_prefix(path).ok()?));
    let tally = visit(path, |specimen| {
        let examination = examine_to(specimen.bytes, depth);
        if place(&specimen.name).is_some_and(|place| is_compiler_check(&place, &examination)) {
            return;
        }
        let name = inner_name(path, &specimen.name);
        look(&Surveyed { name: &name, examination: &examination, doubts: doubts(&examination) });
    })?;
    let unread = tally.unread.into_iter();
    Ok(unread.map(|one| Unread { path: inner_name(path, &one.path), ..one }).collect())
}

/// Why what was found in a file is not all of it, or cannot be believed.
pub fn doubts(examination: &Examination) -> Vec<String> {
    let all = faults(examination);
    let rest = all.len().saturating_sub(REASONS);
    let mut reasons: Vec<String> = all.into_iter().take(REASONS).map(|(_, reason)| reason).collect();
    if rest > 0 {
        reasons.push(format!("and {rest} more such reasons"));
    }
    reasons
}

/// The name of a file from the root of the wheel or folder in which it was found.
pub fn inner_name(root: &Path, name: &str) -> String {
    let root_name = root.display().to_string();
    let inner = name.strip_prefix(&root_name).unwrap_or(name).trim_start_matches(['/', '!']);
    if inner.is_empty() {
        root.file_name().map_or_else(|| root_name.clone(), |name| name.to_string_lossy().into_owned())
    } else {
        inner.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_at_the_root() {
        let root = Path::new("/w/p.whl");
        assert_eq!(inner_name(root, "/w/p.whl!pkg/k.so"), "pkg/k.so");
        assert_eq!(inner_name(Path::new("build"), "build/lib/k.so"), "lib/k.so");
        assert_eq!(inner_name(Path::new("/w/k.so"), "/w/k.so"), "k.so");
    }
}
