//! Reads what the linker says: the files that it read, and what is wrong with them.

use super::diagnostics::{Diagnostic, Severity};

/// Whether a line is one of those that `--trace` prints: a file, or `(archive)member`. A message has
/// a colon behind the name of whoever or whatever it is about.
fn traced(line: &str) -> Option<&str> {
    let line = line.trim();
    let path = match line.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.0,
        None => line,
    };
    (path.starts_with('/') && !line.contains(": ") && !line.ends_with(':')).then_some(path)
}

/// The files that the linker read, as it names them.
pub(super) fn files(log: &str) -> Vec<String> {
    log.lines().filter_map(traced).map(str::to_owned).collect()
}

/// The linker's messages, without the list of files that is mixed in.
pub(super) fn messages(log: &str) -> String {
    log.lines().filter(|line| traced(line).is_none()).flat_map(|line| [line, "\n"]).collect()
}

/// Reads messages line by line: a message may need the line before it.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The file of the last `in function` line.
    file: Option<String>,
}

/// What a line was.
pub(super) enum Line {
    Message(Diagnostic),
    /// The linker's, but no message by itself.
    Context,
    NotLinker,
}

impl Reader {
    /// Reads one line of a tidied log, in which objects have the names of their sources.
    pub(super) fn read(&mut self, line: &str) -> Line {
        if let Some(rest) = line.strip_prefix("ld: ") {
            return self.read_own(rest);
        }
        if line.starts_with("collect2: ") {
            return Line::Context;
        }
        let Some((place, message)) = section(line) else { return Line::NotLinker };
        let file = self.file.clone().unwrap_or_else(|| place.to_owned());
        Line::Message(diagnostic(Some(file), message))
    }

    /// Which function the next lines are about, a warning, or an error that names its file.
    fn read_own(&mut self, rest: &str) -> Line {
        if let Some((file, _)) = rest.split_once(": in function `") {
            self.file = Some(file.to_owned());
            return Line::Context;
        }
        if rest.starts_with("NOTE: ") || rest.starts_with("final link failed") {
            return Line::Context;
        }
        if let Some((place, message)) = section(rest) {
            return Line::Message(diagnostic(Some(place.to_owned()), message));
        }
        Line::Message(diagnostic(None, rest))
    }
}

/// `kernel.cu:(.text+0x10): message`
fn section(line: &str) -> Option<(&str, &str)> {
    let (place, rest) = line.split_once(":(.")?;
    let (_, message) = rest.split_once("): ")?;
    Some((place, message))
}

fn diagnostic(file: Option<String>, text: &str) -> Diagnostic {
    let (severity, text) = match text.strip_prefix("warning: ") {
        Some(text) => (Severity::Warning, text),
        None => (Severity::Error, text),
    };
    let message = match text.split_once("; ") {
        // `multiple definition of `f'; other.cu:other.cu:(.text+0x10): first defined here`
        Some((what, where_first)) if where_first.ends_with("): first defined here") => {
            let first = where_first.split(':').next().unwrap_or_default();
            format!("{what}, first defined in {first}")
        }
        _ => text.to_owned(),
    };
    Diagnostic { severity, file, line: None, column: None, message }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostics::read;
    use super::*;

    #[test]
    fn tells_files_from_messages() {
        let log = "/usr/lib/crti.o\n(/usr/lib/libgcc.a)_x.o\n/p/libcudart_static.a\n\
                   /proc/self/cwd/host/ld: warning: x.o: requires executable stack\n\
                   /usr/bin/ld: 0.o: in function `f()':\n0.o:(.text+0x1): undefined reference to `g'\n";
        assert_eq!(files(log), ["/usr/lib/crti.o", "/usr/lib/libgcc.a", "/p/libcudart_static.a"]);
        let said = messages(log);
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(said.starts_with("/proc/self/cwd/host/ld: warning: "), "{said}");
    }

    #[test]
    fn a_message_names_the_source_and_says_where_else() {
        let log = "ld: b/second.cu: in function `f()':\n\
                   second.cu:(.text+0x30): multiple definition of `f()'; first.cu:first.cu:(.text+0x30): first defined here\n\
                   collect2: error: ld returned 1 exit status\n";
        let found = read(log);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].to_string(),
            "b/second.cu: error: multiple definition of `f()', first defined in first.cu"
        );
    }

    #[test]
    fn a_warning_of_the_linker_is_a_warning() {
        let log = "ld: k.cu: in function `z()':\n\
                   k.cu:(.text+0x10): warning: the use of `tmpnam' is dangerous\n\
                   ld: warning: k.cu: missing .note.GNU-stack section implies executable stack\n\
                   ld: NOTE: This behaviour is deprecated\n";
        let found = read(log);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|one| one.severity == Severity::Warning), "{found:?}");
        assert_eq!(found[0].file.as_deref(), Some("k.cu"));
    }
}
