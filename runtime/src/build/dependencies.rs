//! Names every file that a build has read.
//!
//! Of each unit two lists are put together: the host preprocessor's, over the host and the device
//! pass of the source, and the assembler's, which alone knows of `.incbin`. The linker has a list of
//! its own. A file must be of the artifact, of the toolchain, or in a folder that the host compiler
//! searches by itself; any other file is an escape, and the build is refused. What other commands of
//! the build have made is an escape too: a unit depends on nothing that is not listed.
//!
//! Where the sandbox has its mounts, a file that is none of these does not exist, so it cannot be asked
//! for either. Not covered: a file of the host compiler's own folders that was looked for and not found
//! (`__has_include`). If it appears later, only a rebuild notices. And device assembly cannot read files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use proofmark_packager::Digest;

use super::plan::{BuildPlan, HERE, Link, place};
use crate::toolchain::{FileDigests, Kit, Toolchain};

/// Files by label with the SHA-256 of each: `<source>/kernel.cu`, `<cuda>/include/cuda_fp16.h`,
/// `<tvm-ffi>/…`, `<kit>/cutlass/include/…`, `<system>/usr/include/…`.
pub type Dependencies = BTreeMap<String, Digest>;

const SOURCE_LABEL: &str = "<source>/";

/// The packed path that a label names; `None` for a file of the toolchain or the system.
pub fn packed_path(label: &str) -> Option<&str> {
    label.strip_prefix(SOURCE_LABEL)
}

/// Whether a text labels a file of the toolchain, of a kit or of the system, and leads nowhere else.
pub fn is_header_label(label: &str) -> bool {
    let rest = if let Some(kit) = label.strip_prefix("<kit>/") {
        kit.split_once('/').filter(|(name, _)| is_plain(name)).map(|(_, rest)| rest)
    } else {
        ["<cuda>/", "<tvm-ffi>/", "<system>/"].iter().find_map(|root| label.strip_prefix(root))
    };
    rest.is_some_and(|rest| rest.split('/').all(is_plain))
}

fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains('\0')
}

/// Where a file of the toolchain or the system is on this machine, whether or not it is there.
pub fn locate(label: &str, toolchain: &Toolchain, kits: &[Kit]) -> Option<PathBuf> {
    if !is_header_label(label) {
        return None;
    }
    let below = |prefix: &str| label.strip_prefix(prefix).map(Path::new);
    if let Some((name, rest)) = label.strip_prefix("<kit>/").and_then(|rest| rest.split_once('/')) {
        return kits.iter().find(|kit| kit.name.as_str() == name).map(|kit| kit.home.join(rest));
    }
    below("<cuda>/")
        .map(|rest| toolchain.home().join(rest))
        .or_else(|| below("<tvm-ffi>/").map(|rest| toolchain.tvm_ffi.home.join(rest)))
        .or_else(|| below("<system>").map(Path::to_owned))
}

/// What was read, and what should not have been.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Every file, once.
    pub dependencies: Dependencies,
    /// Files that belong to neither artifact nor toolchain, as named by the compilers; sorted.
    pub escapes: Vec<String>,
}

/// Where a named file belongs.
enum Belongs {
    Source(String),
    To {
        label: String,
        path: PathBuf,
    },
    /// Made by the command itself.
    Intermediate,
    Outside,
}

/// Names what the compilers of one unit have read. `digests` remembers what is not packed.
pub(super) fn read_by_unit(
    plan: &BuildPlan,
    folder: &Path,
    index: usize,
    digests: &mut FileDigests,
) -> io::Result<Reads> {
    let list = |ending: &str| -> io::Result<Vec<String>> {
        let path = folder.join(place::OBJECT).join(format!("{index}.{ending}"));
        Ok(read_rule(&String::from_utf8_lossy(&fs::read(path)?)))
    };
    let own = own_names(plan, index);
    let assembled = list("as.d")?.into_iter().filter(|name| !own.contains(name) && !is_assembler_input(name));
    let names = list("d")?.into_iter().chain(assembled);
    collect(plan, names.map(|name| (belongs(plan, folder, &name), name)), digests)
}

/// Names what the linker has read, beside what the build has made.
pub(super) fn read_by_linker(
    plan: &BuildPlan,
    folder: &Path,
    names: &[String],
    digests: &mut FileDigests,
) -> io::Result<Reads> {
    let found = names.iter().map(|name| {
        let inside = [place::OBJECT, place::DRIVER].into_iter().any(|top| {
            Path::new(name).strip_prefix(HERE).is_ok_and(|inside| inside.parent() == Some(Path::new(top)))
        });
        let belongs = match belongs(plan, folder, name) {
            _ if inside => Belongs::Intermediate,
            // The linker finds its own files, and no flag lets a submission name others. But an object can
            // make it print any name: what it could not have read, it has not.
            Belongs::Outside if plan.policy.allows_reading(Path::new(name)) => system(name),
            other => other,
        };
        (belongs, name.clone())
    });
    collect(plan, found, digests)
}

/// What the assembler calls its input beside the file itself: the compiler's name for the text that
/// it compiled. No such file is where the assembler works.
fn own_names(plan: &BuildPlan, index: usize) -> Vec<String> {
    let source = plan.compile[index].source.as_ref();
    let file = source.and_then(|source| source.as_str().rsplit('/').next()).unwrap_or_default();
    vec![format!("{index}.o.cudafe1.cpp"), file.to_owned()]
}

/// The text that the host compiler hands to the assembler: `ccXXXXXX.s`, a name of its own choice.
fn is_assembler_input(name: &str) -> bool {
    let random = name
        .strip_prefix(&format!("{HERE}/{}/cc", place::TEMPORARY))
        .and_then(|rest| rest.strip_suffix(".s"));
    random.is_some_and(|random| random.len() == 6 && random.bytes().all(|one| one.is_ascii_alphanumeric()))
}

fn collect(
    plan: &BuildPlan,
    names: impl Iterator<Item = (Belongs, String)>,
    digests: &mut FileDigests,
) -> io::Result<Reads> {
    let packed = plan.source_digests();
    let mut reads = Reads::default();
    for (belongs, name) in names {
        match belongs {
            Belongs::Source(path) => match packed.get(&path) {
                Some(digest) => {
                    reads.dependencies.insert(format!("{SOURCE_LABEL}{path}"), *digest);
                }
                None => reads.escapes.push(name),
            },
            Belongs::To { label, path } => {
                if let Entry::Vacant(place) = reads.dependencies.entry(label) {
                    place.insert(digests.digest(&path)?);
                }
            }
            Belongs::Intermediate => {}
            Belongs::Outside => reads.escapes.push(name),
        }
    }
    reads.escapes.sort();
    reads.escapes.dedup();
    Ok(reads)
}

fn belongs(plan: &BuildPlan, folder: &Path, name: &str) -> Belongs {
    let path = Path::new(name);
    if let Ok(inside) = path.strip_prefix(HERE).or_else(|_| path.strip_prefix(folder)) {
        return belongs_inside(plan, inside);
    }
    if path.is_absolute() { belongs_to_system(plan, name) } else { belongs_inside(plan, path) }
}

fn belongs_inside(plan: &BuildPlan, inside: &Path) -> Belongs {
    // The system follows a link before it goes up: a path that leaves its first folder leads elsewhere.
    let below = inside.components().skip(1).collect::<PathBuf>();
    let (Some(Component::Normal(top)), Some(rest)) = (inside.components().next(), without_dots(&below))
    else {
        return Belongs::Outside;
    };
    let top = top.to_str().unwrap_or_default();
    match top {
        place::SOURCE => Belongs::Source(rest.display().to_string()),
        place::CUDA | place::TVM_FFI => {
            let target = plan.links.iter().find(|link| link.name == top).map(|link| link.target.join(&rest));
            target.map_or(Belongs::Outside, |path| Belongs::To {
                label: format!("<{top}>/{}", rest.display()),
                path,
            })
        }
        place::KIT => {
            let (name, inside) = rest.to_str().and_then(|rest| rest.split_once('/')).unwrap_or_default();
            let link = plan.links.iter().find(|link| link.name.strip_prefix("kit/") == Some(name));
            link.map_or(Belongs::Outside, |link| Belongs::To {
                label: format!("<kit>/{name}/{inside}"),
                path: link.target.join(inside),
            })
        }
        _ => Belongs::Outside,
    }
}

/// A header must be in one of the host compiler's folders, or in what the plan links to: where a toolkit's folders
/// are links, the compiler names a header by the place that they lead to.
fn belongs_to_system(plan: &BuildPlan, name: &str) -> Belongs {
    let Some(clean) = without_dots(Path::new(name)) else { return Belongs::Outside };
    let real = clean.canonicalize().unwrap_or_else(|_| clean.clone());
    let searched = |path: &Path| plan.system_includes.iter().any(|folder| path.starts_with(folder));
    if searched(&clean) || searched(&real) {
        return system(name);
    }
    let has_headers =
        |link: &&Link| [place::CUDA, place::TVM_FFI].contains(&&*link.name) || link.name.starts_with("kit/");
    let linked = plan.links.iter().filter(has_headers).find_map(|link| {
        let inside = real.strip_prefix(link.target.canonicalize().ok()?).ok()?;
        let root = match link.name.strip_prefix("kit/") {
            Some(kit) => format!("<kit>/{kit}"),
            None => format!("<{}>", link.name),
        };
        Some(format!("{root}/{}", inside.display()))
    });
    linked.map_or(Belongs::Outside, |label| Belongs::To { label, path: real })
}

fn system(name: &str) -> Belongs {
    match without_dots(Path::new(name)) {
        Some(path) => Belongs::To { label: format!("<system>{}", path.display()), path },
        None => Belongs::Outside,
    }
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
    fn only_the_host_compilers_own_text_is_the_assemblers_input() {
        assert!(is_assembler_input("/proc/self/cwd/temporary/ccW4VCuv.s"));
        for name in ["temporary/ccW4VCuv.s", "/proc/self/cwd/temporary/../ccW4VCu.s", "/tmp/ccW4VCuv.s"] {
            assert!(!is_assembler_input(name), "{name}");
        }
    }

    #[test]
    fn a_label_leads_below_its_root_and_nowhere_else() {
        for label in
            ["<cuda>/include/x.h", "<tvm-ffi>/a", "<kit>/cutlass/include/x", "<system>/usr/include/a b.h"]
        {
            assert!(is_header_label(label), "{label}");
        }
        for label in [
            "",
            "<cuda>",
            "<cuda>/",
            "<cuda>/../../etc/passwd",
            "<system>/usr/./x",
            "<system>//etc",
            "<system>etc",
            "<system>/etc/..",
            "<kit>/cutlass",
            "<kit>/../x",
            "<source>/k.cu",
            "/etc/passwd",
            "<cuda>/a\0b",
        ] {
            assert!(!is_header_label(label), "{label}");
        }
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
