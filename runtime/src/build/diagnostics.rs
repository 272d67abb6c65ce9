//! Reads what the compilers say about the sources.

use std::fmt;

use proofmark_packager::SourcePath;
use serde::{Deserialize, Serialize};

use super::link_log::{Line, Reader};
use super::plan::{HERE, place};
use super::symbols;
use crate::proof::demangle;

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file does not compile.
    Error,
    /// It compiles, with doubts.
    Warning,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// The file: a packed path, or `<cuda>/…`, `<tvm-ffi>/…`, `/usr/…`. `None` where no file is named.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1; only the host compiler gives it.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: None, line: None, column: None, message: message.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            formatter.write_str(file)?;
            match self.line {
                Some(line) => write!(formatter, "({line}): ")?,
                None => formatter.write_str(": ")?,
            }
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, "{severity}: {}", self.message)
    }
}

/// Why a submission did not become a library: a finding, with the log it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Errors first, then warnings, each in the order of the log. At least one error.
    pub messages: Vec<Diagnostic>,
    /// What may help, each once.
    pub hints: Vec<String>,
    /// The log, with paths as the submission writes them.
    pub log: String,
}

impl Diagnostics {
    /// What a failed command said. A failure without a message that we understand is one error
    /// that quotes the last line.
    pub fn of_failure(log: &str) -> Self {
        let (mut messages, warnings): (Vec<_>, Vec<_>) =
            read(log).into_iter().partition(|one| one.severity == Severity::Error);
        if messages.is_empty() {
            let last =
                log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("the compiler said nothing");
            messages.push(Diagnostic::error(last.trim()));
        }
        let mut hints: Vec<String> = messages.iter().filter_map(|one| hint(&one.message)).collect();
        hints.dedup();
        messages.extend(warnings);
        Self { messages, hints, log: without_resources(log) }
    }

    /// A finding of our own about a build that the compilers did not object to.
    pub fn of_finding(findings: Vec<Diagnostic>, hints: Vec<String>, mut log: String) -> Self {
        for finding in &findings {
            log.push_str(&format!("{finding}\n"));
        }
        Self { messages: findings, hints, log: without_resources(&log) }
    }

    /// The finding that a library holds no kernel.
    pub fn of_no_kernel(log: String) -> Self {
        let finding = Diagnostic::error(
            "no kernel was compiled: expected a `__global__` function in one of the .cu sources",
        );
        let hint = "a kernel template is compiled where it is launched, and only .cu files are compiled for \
                    the device";
        Self::of_finding(vec![finding], vec![hint.to_owned()], log)
    }

    /// The errors alone.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.messages.iter().filter(|one| one.severity == Severity::Error)
    }
}

/// A log of a failure without what ptxas reports of the kernels that did compile.
fn without_resources(log: &str) -> String {
    let reports = |line: &&str| !line.starts_with("ptxas info") && !line.contains(" bytes stack frame, ");
    log.lines().filter(reports).flat_map(|line| [line, "\n"]).collect()
}

/// Rewrites a log so that it names files as the submission does, and leaves out what differs from
/// run to run: temporary names and times.
pub fn tidy(log: &str) -> String {
    let sources = format!("{HERE}/{}/", place::SOURCE);
    let cuda = format!("{HERE}/{}/bin/..//", place::CUDA);
    let names = [
        (sources.as_str(), ""),
        (&cuda, "<cuda>/"),
        (&format!("{HERE}/{}/", place::CUDA), "<cuda>/"),
        (&format!("{HERE}/{}/", place::TVM_FFI), "<tvm-ffi>/"),
        (&format!("{HERE}/{}/", place::KIT), "<kit>/"),
        (&format!("{HERE}/{}/ld:", place::HOST), "ld:"),
        (&format!("{HERE}/"), "<build>/"),
    ];
    let mut text = String::with_capacity(log.len());
    for line in log.lines().filter(|line| !line.contains("Compile time = ")) {
        let line = names.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
        text.push_str(&without_process_numbers(&line));
        text.push('\n');
    }
    text
}

/// Calls object files, and what else is named after them, by their sources: `<build>/object/1.o`
/// becomes `b/second.cu`. Mangled names between quotes are written as their authors wrote them.
pub(super) fn name_sources<'a>(log: &str, units: impl Iterator<Item = &'a SourcePath>) -> String {
    let mut text = log.to_owned();
    let units: Vec<_> = units.enumerate().collect();
    // The longest number first: `1.o` ends `11.o`.
    for (index, source) in units.into_iter().rev() {
        text = text.replace(&format!("<build>/{}/{index}.o", place::OBJECT), source.as_str());
        text = text.replace(&format!("{index}.o.cudafe1.cpp"), source.as_str());
    }
    text.lines().flat_map(|line| [demangled(line), "\n".to_owned()]).collect()
}

/// Names the source in what ptxas says against it: it knows the text between the two alone, or nothing.
/// `ptxas <build>/temporary/k.ptx, line 23; error   : …` becomes `ptxas a/k.cu, line 23; error   : …`, where the line
/// is the assembly's, and `ptxas error   : …` becomes `ptxas a/k.cu; error   : …`.
pub(super) fn name_unit(log: &str, source: &SourcePath) -> String {
    let named = |line: &str| {
        let Some((head, message)) = line.strip_prefix(PTXAS).and_then(|rest| rest.split_once(" : ")) else {
            return line.to_owned();
        };
        if !["error", "warning", "fatal"].iter().any(|word| head.contains(word)) {
            return line.to_owned();
        }
        let head = match head.split_once(", line ") {
            Some((_, place)) => format!("{source}, line {place}"),
            None => format!("{source}; {head}"),
        };
        format!("{PTXAS}{head} : {message}")
    };
    log.lines().flat_map(|line| [named(line), "\n".to_owned()]).collect()
}

/// The file that a line of a tool names: `ptxas a/k.cu, line 23; error   ` before its message, nvlink's `… in 'a/k.cu'`
/// in it.
fn file_of_tool(tool: &str, head: &str, message: &str) -> Option<String> {
    let file = if tool == PTXAS {
        let place = head.strip_prefix(PTXAS)?.split_once("; ")?.0;
        place.split_once(", line ").map_or(place, |(file, _)| file)
    } else {
        message.split_once(" in '")?.1.split('\'').next()?
    };
    (!file.is_empty()).then(|| file.to_owned())
}

/// How a line of ptxas begins.
const PTXAS: &str = "ptxas ";

/// Demangles what an error quotes. What ptxas reports of kernels keeps its symbols.
fn demangled(line: &str) -> String {
    if !line.contains("error") && !line.contains("fatal") {
        return line.to_owned();
    }
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("'_Z").or_else(|| rest.find("`_Z")) {
        let (before, quoted) = rest.split_at(at + 1);
        let end = quoted.find('\'').unwrap_or(quoted.len());
        text.push_str(before);
        text.push_str(&demangle(&quoted[..end]));
        rest = &quoted[end..];
    }
    text + rest
}

/// What may help against an error of the linkers.
fn hint(message: &str) -> Option<String> {
    let way = if message.contains("Unresolved extern function") {
        "device code of one file calls another's: include it, or add `-rdc=true` to `[target] nvcc_flags`"
    } else if message.contains("multiple definition of `__tvm_ffi_") {
        "two sources export the same function, and every source is built into one library: move the one of another \
         entry into a sub-folder that no file includes"
    } else if message.contains("multiple definition of") || message.contains("Multiple definition of") {
        "a source that another includes is compiled by itself as well: name it .cuh, or make its functions \
         `static` or `inline`"
    } else if message.starts_with("nvlink: Undefined reference to") {
        "is the source that defines it packed, and is it a `__device__` function of the same signature?"
    } else {
        return None;
    };
    Some(way.to_owned())
}

/// The finding that a library calls what nobody defines; `files` are the sources that call it.
pub(super) fn undefined(symbol: &str, files: &[String]) -> (Diagnostic, String) {
    let written = demangle(symbol);
    let message = format!("undefined symbol `{written}`: no source and no linked library defines it");
    let diagnostic = Diagnostic { file: files.first().cloned(), ..Diagnostic::error(message) };
    (diagnostic, symbols::hint(symbol))
}

/// `tmpxft_00006388_00000000-6_k.ptx` becomes `k.ptx`.
fn without_process_numbers(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("tmpxft_") {
        text.push_str(&rest[..at]);
        rest = &rest[at + "tmpxft_".len()..];
        let digits = |one: char| one.is_ascii_hexdigit() || matches!(one, '_' | '-');
        let end = rest.find(|one| !digits(one)).unwrap_or(rest.len());
        // The last underscore ends the number; behind it the name begins.
        let number = rest[..end].rfind('_').map_or(0, |last| last + 1);
        rest = &rest[number..];
    }
    text + rest
}

/// Reads every message of a tidied log.
pub fn read(log: &str) -> Vec<Diagnostic> {
    let mut linker = Reader::default();
    log.lines()
        .filter_map(|line| match linker.read(line) {
            Line::Message(message) => Some(message),
            Line::Context => None,
            Line::NotLinker => read_line(line),
        })
        .collect()
}

/// The warnings of a tidied log, each once: a header's is repeated for every file that includes it.
pub fn warnings(log: &str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for one in read(log).into_iter().filter(|one| one.severity == Severity::Warning) {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

const MARKS: [(&str, Severity); 6] = [
    (": fatal error: ", Severity::Error),
    (": catastrophic error: ", Severity::Error),
    (": error: ", Severity::Error),
    (": warning: ", Severity::Warning),
    // nvcc: `kernel.cu(3): error #20: …`, `kernel.cu(3): warning #177-D: …`
    (": error #", Severity::Error),
    (": warning #", Severity::Warning),
];

fn read_line(line: &str) -> Option<Diagnostic> {
    if let Some(found) = read_tool_line(line) {
        return Some(found);
    }
    let found =
        MARKS.iter().filter_map(|&(mark, severity)| Some((line.find(mark)?, mark, severity))).min()?;
    let (at, mark, severity) = found;
    let (file, line_number, column) = read_place(&line[..at]);
    let message = line[at + mark.len()..].trim().to_owned();
    Some(Diagnostic { severity, file, line: line_number, column, message })
}

/// `ptxas k.ptx, line 23; error   : …`, `ptxas fatal   : …`, `nvlink error   : …`, `nvcc fatal   : …`.
fn read_tool_line(line: &str) -> Option<Diagnostic> {
    let tool = [PTXAS, "nvlink ", "nvcc ", "fatbinary "].into_iter().find(|tool| line.starts_with(tool))?;
    let (head, message) = line.split_once(" : ").or_else(|| line.split_once(": "))?;
    let severity = if head.contains("error") || head.contains("fatal") {
        Severity::Error
    } else if head.contains("warning") {
        Severity::Warning
    } else {
        return None;
    };
    Some(Diagnostic {
        severity,
        file: file_of_tool(tool, head, message),
        line: None,
        column: None,
        message: format!("{}: {}", tool.trim(), message.trim()),
    })
}

/// `kernel.cu(12)` as nvcc writes it, `kernel.cu:12:7` as g++ does.
fn read_place(text: &str) -> (Option<String>, Option<u32>, Option<u32>) {
    let some = |file: &str| (!file.is_empty()).then(|| file.to_owned());
    if let Some((file, number)) = text.strip_suffix(')').and_then(|text| text.rsplit_once('('))
        && let Ok(line) = number.parse()
    {
        return (some(file), Some(line), None);
    }
    let mut parts = text.rsplitn(3, ':');
    let (last, middle, first) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    match (first, number(middle), number(last)) {
        (Some(file), Some(line), column @ Some(_)) => (some(file), Some(line), column),
        (_, _, Some(line)) => (some(&text[..text.rfind(':').unwrap_or(0)]), Some(line), None),
        _ => (some(text), None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Diagnostic {
        let mut found = read(line);
        assert_eq!(found.len(), 1, "{line}");
        found.remove(0)
    }

    #[test]
    fn reads_the_styles_of_every_stage() {
        let nvcc = one("kernel.cu(12): error: identifier \"y\" is undefined");
        assert_eq!((nvcc.file.as_deref(), nvcc.line), (Some("kernel.cu"), Some(12)));
        assert_eq!(nvcc.to_string(), "kernel.cu(12): error: identifier \"y\" is undefined");
        let host = one("a/b.cuh:3:10: fatal error: nope.h: No such file or directory");
        assert_eq!((host.file.as_deref(), host.line, host.column), (Some("a/b.cuh"), Some(3), Some(10)));
        assert_eq!(host.message, "nope.h: No such file or directory");
        let unit: SourcePath = "a/k.cu".parse().unwrap();
        for said in [
            "ptxas <build>/temporary/k.ptx, line 23; error   : Unknown symbol '%r1'",
            "ptxas error   : Unknown symbol '%r1'",
        ] {
            let ptxas = one(name_unit(said, &unit).trim_end());
            assert_eq!((ptxas.severity, ptxas.file.as_deref()), (Severity::Error, Some("a/k.cu")));
            assert_eq!(ptxas.message, "ptxas: Unknown symbol '%r1'");
        }
        assert_eq!(name_unit("ptxas info    : 24 bytes : x", &unit), "ptxas info    : 24 bytes : x\n");
        let nvlink = one("nvlink error   : Undefined reference to 'f(int)' in 'b.cu'");
        assert_eq!((nvlink.file.as_deref(), nvlink.line), (Some("b.cu"), None));
        let warning = one("kernel.cu(3): warning #177-D: variable \"x\" was declared but never referenced");
        assert_eq!(warning.severity, Severity::Warning);
        assert!(read("ptxas info    : Used 24 registers").is_empty());
    }

    #[test]
    fn a_function_that_two_sources_export_is_told_from_a_source_that_another_includes() {
        let exported = hint("multiple definition of `__tvm_ffi_kernel', first defined in kernel.cu").unwrap();
        assert!(
            exported.contains("export the same function") && exported.contains("sub-folder"),
            "{exported}"
        );
        let other = hint("multiple definition of `start(int*)', first defined in kernel.cu").unwrap();
        assert!(other.contains("another includes") && other.contains(".cuh"), "{other}");
    }

    #[test]
    fn a_failure_without_a_message_quotes_the_last_line() {
        let found = Diagnostics::of_failure("one\nsomething broke\n\n");
        assert_eq!(found.errors().next().unwrap().message, "something broke");
    }

    #[test]
    fn a_tidied_log_names_files_as_the_submission_does() {
        let log = "/proc/self/cwd/source/a/k.cu(1): error: x\n\
                   /proc/self/cwd/cuda/bin/..//include/cuda_fp16.h(2): warning: y\n\
                   ptxas info    : Compile time = 2.759 ms\n\
                   ptxas /proc/self/cwd/temporary/tmpxft_00006388_00000000-6_k.ptx, line 23; error   : z\n";
        assert_eq!(
            tidy(log),
            "a/k.cu(1): error: x\n<cuda>/include/cuda_fp16.h(2): warning: y\n\
             ptxas <build>/temporary/k.ptx, line 23; error   : z\n"
        );
    }
}
