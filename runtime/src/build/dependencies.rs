//! Names every file that a build has read.
//!
//! Three lists are put together: the host preprocessor's, over the host and the device pass of each
//! source; the assembler's, which alone knows of `.incbin`; and the linker's. A file must be of the
//! artifact, of the toolchain, or in a folder that the host compiler searches by itself; any other
//! file is an escape, and the build is refused.
//!
//! Not covered: a file that was looked for and not found (`__has_include`, a missing optional
//! header). If it appears later, only a rebuild notices. And device assembly cannot read files.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use proofmark_packager::Digest;
use serde::{Deserialize, Serialize};

use super::plan::{BuildPlan, HERE, place};
use crate::toolchain::{FileDigests, Toolchain};

/// A file that a build has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// `<source>/kernel.cu`, `<cuda>/include/cuda_fp16.h`, `<tvm-ffi>/…`, `<system>/usr/include/…`.
    pub label: String,
    /// Where it was on the machine that built; where it was packed, for a source.
    pub path: PathBuf,
    /// The digest of its content.
    pub sha256: Digest,
}

impl Dependency {
    /// Whether the file belongs to the artifact, whose digest covers it already.
    pub fn is_source(&self) -> bool {
        self.label.starts_with(SOURCE_LABEL)
    }
}

const SOURCE_LABEL: &str = "<source>/";

/// Where a labelled file is on this machine, whether or not it is there.
pub fn locate(label: &str, toolchain: &Toolchain) -> Option<PathBuf> {
    let below = |prefix: &str| label.strip_prefix(prefix).map(Path::new);
    below("<cuda>/")
        .map(|rest| toolchain.home().join(rest))
        .or_else(|| below("<tvm-ffi>/").map(|rest| toolchain.tvm_ffi.home.join(rest)))
        .or_else(|| below("<system>").map(Path::to_owned))
}

/// What was read, and what should not have been.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Every file, once, in the order of labels.
    pub dependencies: Vec<Dependency>,
    /// Files that belong to neither artifact nor toolchain, as named by the compilers.
    pub escapes: Vec<String>,
}

/// Where a named file belongs.
enum Belongs {
    To {
        label: String,
        path: PathBuf,
    },
    /// Made by the build itself.
    Intermediate,
    Outside,
}

/// Puts the lists together. `names` are as the compilers wrote them; `linked` are the linker's.
pub(super) fn collect(
    plan: &BuildPlan,
    folder: &Path,
    names: &[String],
    linked: &[String],
    digests: &mut FileDigests,
) -> io::Result<Reads> {
    let mut found = BTreeMap::new();
    let mut reads = Reads::default();
    for (name, is_linked) in
        names.iter().map(|name| (name, false)).chain(linked.iter().map(|name| (name, true)))
    {
        match belongs(plan, folder, name, is_linked) {
            Belongs::To { label, path } => {
                found.insert(label, path);
            }
            Belongs::Intermediate => {}
            Belongs::Outside => reads.escapes.push(name.clone()),
        }
    }
    reads.escapes.sort();
    reads.escapes.dedup();
    for (label, path) in found {
        let sha256 = digests.digest(&path)?;
        // A source's path is that of a folder that is about to vanish.
        let path = label.strip_prefix(SOURCE_LABEL).map_or(path, PathBuf::from);
        reads.dependencies.push(Dependency { label, path, sha256 });
    }
    Ok(reads)
}

fn belongs(plan: &BuildPlan, folder: &Path, name: &str, is_linked: bool) -> Belongs {
    let name = Path::new(name);
    if let Ok(inside) = name.strip_prefix(HERE).or_else(|_| name.strip_prefix(folder)) {
        return belongs_inside(plan, folder, inside);
    }
    if name.is_absolute() {
        return belongs_to_system(plan, name, is_linked);
    }
    // The assembler lists the name that the compiler gives to its input, too; no such file exists.
    if folder.join(name).exists() { belongs_inside(plan, folder, name) } else { Belongs::Intermediate }
}

fn belongs_inside(plan: &BuildPlan, folder: &Path, inside: &Path) -> Belongs {
    let Some(clean) = without_dots(inside) else { return Belongs::Outside };
    let mut parts = clean.components();
    let top = parts.next().and_then(|top| top.as_os_str().to_str()).unwrap_or_default();
    let rest = parts.as_path();
    match top {
        place::SOURCE => {
            Belongs::To { label: format!("{SOURCE_LABEL}{}", rest.display()), path: folder.join(&clean) }
        }
        place::CUDA | place::TVM_FFI => {
            let target = plan.links.iter().find(|link| link.name == top).map(|link| link.target.join(rest));
            target.map_or(Belongs::Outside, |path| Belongs::To {
                label: format!("<{top}>/{}", rest.display()),
                path,
            })
        }
        place::OBJECT | place::TEMPORARY | place::DRIVER => Belongs::Intermediate,
        _ => Belongs::Outside,
    }
}

/// The linker finds its own files, and no flag lets a submission name others; a header must be in
/// one of the host compiler's folders.
fn belongs_to_system(plan: &BuildPlan, name: &Path, is_linked: bool) -> Belongs {
    let Some(clean) = without_dots(name) else { return Belongs::Outside };
    let real = clean.canonicalize().unwrap_or_else(|_| clean.clone());
    let searched = |path: &Path| plan.system_includes.iter().any(|folder| path.starts_with(folder));
    if is_linked || searched(&clean) || searched(&real) {
        let label = format!("<system>{}", clean.display());
        return Belongs::To { label, path: clean };
    }
    Belongs::Outside
}

/// Takes `..` back lexically; `None` if it leads above the start.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Some(clean)
}

/// Reads the prerequisites of a make rule, as `-MD` writes it.
pub(super) fn read_rule(text: &str) -> Vec<String> {
    let body = text.split_once(": ").map_or("", |(_, body)| body);
    let mut words = Vec::new();
    let mut word = String::new();
    let mut rest = body.chars().peekable();
    while let Some(one) = rest.next() {
        match (one, rest.peek()) {
            ('\\', Some('\n')) => {}
            ('\\', Some(' ' | '#' | '\\')) | ('$', Some('$')) => word.extend(rest.next()),
            (' ' | '\n' | '\t', _) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(one),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Reads what the linker's `--trace` prints: a file a line, or `(archive)member`.
pub(super) fn read_trace(log: &str) -> Vec<String> {
    let file = |line: &str| match line.strip_prefix('(') {
        Some(rest) => rest.split_once(')').map(|(archive, _)| archive.to_owned()),
        None => Some(line.to_owned()),
    };
    log.lines().filter_map(|line| file(line.trim())).filter(|name| name.starts_with('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_rule_with_escapes_and_continued_lines() {
        let text = "a.o : /x/k.cu \\\n    /usr/include/a\\ b.h \\\n    c\\#d.h e$$f.h\n";
        assert_eq!(read_rule(text), ["/x/k.cu", "/usr/include/a b.h", "c#d.h", "e$f.h"]);
        assert!(read_rule("").is_empty());
    }

    #[test]
    fn reads_files_and_archives_from_a_trace() {
        let log = "/usr/lib/crti.o\n(/usr/lib/libgcc.a)_x.o\n/p/libcudart_static.a\nwarning: something\n";
        assert_eq!(read_trace(log), ["/usr/lib/crti.o", "/usr/lib/libgcc.a", "/p/libcudart_static.a"]);
    }

    #[test]
    fn dots_do_not_lead_out() {
        assert_eq!(
            without_dots(Path::new("cuda/bin/..//include/x.h")).unwrap(),
            Path::new("cuda/include/x.h")
        );
        assert_eq!(without_dots(Path::new("source/../../x")), None);
        assert_eq!(
            without_dots(Path::new("/usr/include/../../etc/passwd")).unwrap(),
            Path::new("/etc/passwd")
        );
    }
}
