//! Which flags of nvcc are for its linker alone: where a board compiles and links in two steps, the compiler passes
//! them over.

/// Options with a name of a library, or several between commas.
const LIBRARY: [&str; 2] = ["-l", "--library"];

/// Options with a folder of libraries.
const FOLDER: [&str; 2] = ["-L", "--library-path"];

/// Options with what the linker itself is told.
const LINKER: [&str; 2] = ["-Xlinker", "--linker-options"];

/// Options of nvcc that begin as one with a library's name does.
const COMPILERS: [&str; 6] = ["-lineinfo", "-lib", "-link", "-lto", "-ltoir", "-ldir"];

/// A list of nvcc's flags, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitFlags {
    /// What a compiler reads, as it was written.
    pub compiler: Vec<String>,
    /// What the linker alone reads, as g++ spells it.
    pub linker: Vec<String>,
}

/// Takes a list of nvcc's flags apart; both keep their order.
#[must_use]
pub fn split(flags: &[String]) -> SplitFlags {
    let mut found = SplitFlags::default();
    let mut rest = flags.iter();
    while let Some(flag) = rest.next() {
        match start(flag) {
            None => found.compiler.push(flag.clone()),
            Some((prefix, Some(value))) => found.linker.extend(spelled(prefix, value)),
            Some((prefix, None)) => match rest.next() {
                Some(value) => found.linker.extend(spelled(prefix, value)),
                None => found.linker.push(flag.clone()),
            },
        }
    }
    found
}

/// How g++ spells a flag of the linker, and its value unless that stands behind it.
fn start(flag: &str) -> Option<(&'static str, Option<&str>)> {
    if flag.starts_with("-Wl,") {
        return Some(("", Some(flag)));
    }
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    for (names, prefix) in [(LIBRARY, "-l"), (FOLDER, "-L"), (LINKER, "-Wl,")] {
        if names.contains(&name) {
            return Some((prefix, value));
        }
    }
    if COMPILERS.contains(&name) {
        return None;
    }
    ["-l", "-L"].into_iter().find_map(|prefix| Some((prefix, Some(flag.strip_prefix(prefix)?))))
}

fn spelled(prefix: &str, value: &str) -> Vec<String> {
    // g++ splits what the linker is told itself.
    let parts = if matches!(prefix, "-l" | "-L") { value.split(',').collect() } else { vec![value] };
    parts.into_iter().map(|part| format!("{prefix}{part}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(flags: &str) -> (String, String) {
        let flags: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        let SplitFlags { compiler, linker } = split(&flags);
        (compiler.join(" "), linker.join(" "))
    }

    #[test]
    fn what_only_a_linker_reads_is_told_in_each_spelling() {
        for (flags, compiler, linker) in [
            ("-O3 -lcurand -lineinfo", "-O3 -lineinfo", "-lcurand"),
            ("-l cublas --library=nvrtc,cuda --library rt", "", "-lcublas -lnvrtc -lcuda -lrt"),
            ("-L/opt/lib -L /a,/b --library-path=/c", "", "-L/opt/lib -L/a -L/b -L/c"),
            ("-Xlinker -rpath,/a --linker-options=-z,now -Wl,-s", "", "-Wl,-rpath,/a -Wl,-z,now -Wl,-s"),
            ("-Xcompiler -O2 -Xptxas=-v -lto", "-Xcompiler -O2 -Xptxas=-v -lto", ""),
            ("-O3 -l", "-O3", "-l"),
        ] {
            assert_eq!(split_of(flags), (compiler.to_owned(), linker.to_owned()), "{flags}");
        }
    }
}
