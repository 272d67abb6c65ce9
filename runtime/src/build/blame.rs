//! Decides whose fault a failed command is: the submission's or the machine's.
//!
//! The log cannot be trusted: sources print what they like, through `#error`, `#line`, `.print` or a
//! linker warning. So both sides need evidence:
//!
//! * The submission is blamed only where a compiler names an error of the sources. A failure that names
//!   none, such as a killed linker, is the machine's.
//! * A compiler that crashes over the sources does so again: they do not compile.
//! * The machine is blamed against such an error only where a fact outside of the log supports it: a
//!   write to the build folder fails, this process runs under limits that no build fits into, or a compiler that
//!   speaks of memory held most of what it could have. One that asks for more than there is while it holds little
//!   was made to by the sources.

use std::io::Write;
use std::path::Path;

use super::diagnostics;
use crate::sandbox::limits::{named_by, named_in, too_low};
use crate::sandbox::{Bounds, Ending};

/// Whose fault a failure is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blame {
    /// The sources do not compile or link.
    Submission,
    /// The machine could not do it, and why.
    Machine(String),
}

/// What a build writes at the least before it is done: with less than this, any step may fail.
const PROBE_BYTES: usize = 16 << 20;

/// What a command's processes held of memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// The most that one of them held, in bytes.
    pub(super) peak_bytes: u64,
    /// What one of them could have held, in bytes.
    pub(super) room_bytes: u64,
}

/// A compiler that ran out of memory held at least this share of what it could have: it doubles what it holds when it
/// grows, and the doubled did not fit.
const MEMORY_SHARE: u64 = 3;

/// Words of compilers that ran out of memory.
const MEMORY_SIGNS: [&str; 5] = [
    "Cannot allocate memory",
    "Memory allocation failure",
    "virtual memory exhausted",
    "out of memory",
    "std::bad_alloc",
];

/// Words of the system and of compilers about the machine.
const MACHINE_SIGNS: [&str; 18] = [
    "No space left on device",
    "Disk quota exceeded",
    "Cannot allocate memory",
    "Memory allocation failure",
    "virtual memory exhausted",
    "out of memory",
    "std::bad_alloc",
    "Too many open files",
    "Resource temporarily unavailable",
    "File too large",
    "File size limit exceeded",
    "CPU time limit exceeded",
    "Read-only file system",
    "Input/output error",
    "terminated with signal",
    ENDED_BY_SIGNAL,
    "cannot execute",
    "error while loading shared libraries",
];

/// Words of the linker about what it was given.
const LINKING: [&str; 8] = [
    "undefined reference to",
    "multiple definition of",
    "cannot find -l",
    "relocation R_",
    "relocation truncated",
    "nonrepresentable section",
    "hidden symbol",
    "undefined symbol",
];

/// What the system calls the signals of a program that goes wrong by itself, as compilers print it of one
/// that they started: illegal instruction, trap, abort, bus error, arithmetic, invalid memory.
const CRASHES: [&str; 9] = [
    "internal compiler error",
    "died due to signal 4 ",
    "died due to signal 6 ",
    "died due to signal 7 ",
    "died due to signal 8 ",
    "died due to signal 11 ",
    "terminated with signal 6 ",
    "terminated with signal 7 ",
    "terminated with signal 11 ",
];

/// How the compiler's driver says that a signal ended one of its programs, whichever it was, and what it calls those of
/// [`CRASHES`]. Any other says nothing of the sources: a limit, or somebody who ended it.
const ENDED_BY_SIGNAL: &str = " signal terminated program ";
const CRASH_NAMES: [&str; 6] = [
    "Illegal instruction",
    "Trace/breakpoint trap",
    "Aborted",
    "Bus error",
    "Floating point exception",
    "Segmentation fault",
];

/// Decides for a command that failed. `folder` is where it ran, `bounds` what it could use.
pub(super) fn decide(ending: &Ending, log: &str, folder: &Path, memory: Memory, bounds: &Bounds) -> Blame {
    let fact = || cannot_write(folder).or_else(|| too_low().into_iter().next());
    match judge(ending, log, || fact().or_else(|| memory.is_short(log))) {
        Blame::Machine(reason) => Blame::Machine(with_limit(reason, ending, bounds)),
        blame @ Blame::Submission => blame,
    }
}

/// A reason with the limit that it speaks of, if it does: compilers name no sizes, and nobody knows whose limit it is.
fn with_limit(reason: String, ending: &Ending, bounds: &Bounds) -> String {
    let signal = match ending {
        Ending::Signal(signal) => Some(*signal),
        Ending::Code(code @ 129..160) => Some(code - 128),
        Ending::Code(_) | Ending::NotStarted(_) => None,
    };
    match named_in(&reason, bounds).or_else(|| named_by(signal?, bounds)) {
        Some(limit) => format!("{reason}: {limit}"),
        None => reason,
    }
}

impl Memory {
    /// That a compiler ran out of memory, if it says so and held as much.
    fn is_short(self, log: &str) -> Option<String> {
        let signs = |line: &str| MEMORY_SIGNS.iter().any(|sign| line.contains(sign));
        let speaks = log.lines().any(signs) && !log.lines().any(is_error_at_a_place);
        let Self { peak_bytes, room_bytes } = self;
        let mib = |bytes: u64| bytes >> 20;
        (speaks && room_bytes > 0 && peak_bytes >= room_bytes / MEMORY_SHARE).then(|| {
            format!(
                "a compiler ran out of memory: it held {} MiB of {} MiB",
                mib(peak_bytes),
                mib(room_bytes)
            )
        })
    }
}

fn judge(ending: &Ending, log: &str, fact: impl FnOnce() -> Option<String>) -> Blame {
    if let Ending::Signal(signal) = ending {
        return Blame::Machine(format!("it was ended by signal {signal}"));
    }
    if let Some(fact) = fact() {
        let words = log.lines().find(|line| bears_sign(line));
        let words = words.map(|line| format!(": {}", diagnostics::tidy(line).trim())).unwrap_or_default();
        return Blame::Machine(format!("{fact}{words}"));
    }
    if log.lines().any(is_error_of_sources) {
        return Blame::Submission;
    }
    let sign = log.lines().find(|line| bears_sign(line));
    let last = log.lines().rfind(|line| !line.trim().is_empty());
    // A shell reports a program that a signal ended as 128 and the signal; nvcc passes it on.
    match (sign.or(last), ending) {
        (_, Ending::Code(code @ 129..160)) => {
            Blame::Machine(format!("a stage was ended by signal {} (exit status {code})", code - 128))
        }
        (Some(line), _) => Blame::Machine(diagnostics::tidy(line).trim().to_owned()),
        (None, _) => Blame::Machine("it failed without a word".to_owned()),
    }
}

fn bears_sign(line: &str) -> bool {
    MACHINE_SIGNS.iter().any(|sign| line.contains(sign))
}

/// Whether a line is a compiler's error about the sources: at a place in them, or of a tool that reads
/// only what was made of them.
fn is_error_of_sources(line: &str) -> bool {
    if is_error_at_a_place(line) {
        return true;
    }
    if let Some((before, _)) = line.split_once(ENDED_BY_SIGNAL) {
        return CRASH_NAMES.iter().any(|name| before.ends_with(name));
    }
    if CRASHES.iter().any(|crash| line.contains(crash)) {
        return true;
    }
    if bears_sign(line) {
        return false;
    }
    // What `#pragma` asks for, the compiler refuses without a place.
    let front = ["cc1plus: ", "cc1: ", "cudafe++: "].iter().any(|tool| line.starts_with(tool));
    if front && line.contains("error: ") {
        return true;
    }
    let tool = ["ptxas ", "nvlink ", "cicc "].iter().any(|tool| line.starts_with(tool));
    if tool && (line.contains("error") || line.contains("fatal")) && !line.contains("ould not open") {
        return true;
    }
    LINKING.iter().any(|mark| line.contains(mark))
}

/// Whether a line is `k.cu:3:2: error: …`, `k.cu(3): error: …` or `{standard input}:7: Error: …`: whatever the text
/// says, it is at a place.
fn is_error_at_a_place(line: &str) -> bool {
    let marks = [": error", ": fatal error: ", ": catastrophic error", ": Error: "];
    marks.iter().filter_map(|mark| line.find(mark)).any(|at| ends_with_place(&line[..at]))
}

/// Whether a text ends with `:3`, `:3:2`, `(3)` or `, line 3;`.
fn ends_with_place(text: &str) -> bool {
    let digit = |one: char| one.is_ascii_digit();
    if let Some(inside) = text.strip_suffix(')') {
        return inside.rsplit_once('(').is_some_and(|(_, line)| !line.is_empty() && line.chars().all(digit));
    }
    let without = text.trim_end_matches(digit);
    without.len() < text.len() && (without.ends_with(':') || without.ends_with("line "))
}

/// Why the build folder cannot be written, if it cannot.
fn cannot_write(folder: &Path) -> Option<String> {
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::tempfile_in(folder)?;
        let block = vec![0x5A; 1 << 20];
        for _ in 0..PROBE_BYTES / block.len() {
            file.write_all(&block)?;
        }
        Ok(())
    };
    write().err().map(|error| format!("the build folder cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blame(code: i32, log: &str) -> Blame {
        judge(&Ending::Code(code), log, || None)
    }

    #[test]
    fn sources_cannot_pass_their_errors_off_as_trouble_of_the_machine() {
        for log in [
            "k.cu:1:2: error: #error No space left on device\n",
            "k.cu(3): error: static assertion failed with \"Cannot allocate memory\"\n",
            "k.cu:1:2: error: x\n    1 | // No space left on device\n",
            "k.cu:1:2: error: #error g++: internal compiler error: Killed signal terminated program as\n",
            // A name of a file that `#line` gives, with a line break in it.
            "a\ncollect2: fatal error: ld terminated with signal 9 [Killed]:1:2: error: #error x\n",
            // The assembler's `.print`, then a real error.
            "collect2: fatal error: ld terminated with signal 9 [Killed]\n{standard input}:7: Error: .err\n",
            "ld: 0.o: in function `f': undefined reference to `No space left on device'\nld: x: undefined reference to `y'\n",
            "ptxas k.ptx, line 23; error   : Feature 'x' requires PTX ISA .version 8.0\n",
            "ptxas error   : Entry function 'k' uses too much shared data (0x20000 bytes, 0xc000 max)\n",
            "ptxas fatal   : Unresolved extern function 'f'\n",
            "nvlink error   : Undefined reference to 'f' in '0.o'\n",
            "/usr/bin/ld: cannot find -lfoo: No such file or directory\n",
            "cc1plus: fatal error: /no/such/file: No such file or directory\ncompilation terminated.\n",
            "cc1plus: error: attribute 'target' argument 'bogus' is unknown\n",
            "nvcc error   : 'cicc' died due to signal 11 (Invalid memory reference)\n",
            "collect2: fatal error: ld terminated with signal 11 [Segmentation fault]\n",
            "g++: internal compiler error: Segmentation fault signal terminated program cc1plus\n",
            "k.cu:3:2: internal compiler error: in tree_to_shwi, at tree.cc:6\n",
        ] {
            assert_eq!(blame(1, log), Blame::Submission, "{log}");
        }
    }

    #[test]
    fn a_failure_that_names_no_error_of_the_sources_is_the_machines() {
        for log in [
            "k.s: fatal error: error writing to x.s: No space left on device\n",
            "{standard input}: Fatal error: can't write 8 bytes to section .text of 0.o: 'No space left'\n",
            "collect2: fatal error: ld terminated with signal 9 [Killed]\ncompilation terminated.\n",
            "fatbinary fatal   : Could not open output file 'x.fatbin'\n",
            "nvFatbin error: empty input\n",
            "ptxas fatal   : Memory allocation failure\n",
            "cc1plus: out of memory allocating 65536 bytes after a total of 1 bytes\n",
            "sh: 1: Cannot fork\n",
            "nvcc error   : 'cicc' died due to signal 9 (Kill signal)\n",
            "g++: fatal error: Killed signal terminated program cc1plus\n",
            "g++: internal compiler error: File size limit exceeded signal terminated program as\nPlease submit a full \
             bug report, with preprocessed source (by using -freport-bug).\n",
            "g++: internal compiler error: CPU time limit exceeded signal terminated program cc1plus\n",
            "g++: internal compiler error: Terminated signal terminated program as\n",
            "terminate called after throwing an instance of 'std::bad_alloc'\n",
            "",
        ] {
            assert!(matches!(blame(1, log), Blame::Machine(_)), "{log}");
        }
        assert!(matches!(blame(137, ""), Blame::Machine(words) if words.contains("137")));
        assert!(matches!(judge(&Ending::Signal(9), "", || None), Blame::Machine(_)));
    }

    #[test]
    fn a_compiler_that_aborts_for_want_of_memory_is_the_machines_where_it_held_as_much_and_else_the_sources()
    {
        let log = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n\
            nvcc error   : 'cicc' died due to signal 6 \n";
        let of = |peak_bytes, log: &str| {
            let memory = Memory { peak_bytes, room_bytes: 12 << 30 };
            judge(&Ending::Code(6), log, || memory.is_short(log))
        };
        let blamed = of(7 << 30, log);
        assert!(
            matches!(&blamed, Blame::Machine(words) if words.contains("it held 7168 MiB of 12288 MiB")),
            "{blamed:?}"
        );
        assert_eq!(of(200 << 20, log), Blame::Submission, "it asked for what nobody has");
        let crash = "nvcc error   : 'cicc' died due to signal 11 (Invalid memory reference)\n";
        assert_eq!(of(7 << 30, crash), Blame::Submission, "it says nothing of memory");
        assert_eq!(judge(&Ending::Code(6), log, || Memory::default().is_short(log)), Blame::Submission);
        let printed = format!("k.cu(3): error: std::bad_alloc\n{log}");
        assert_eq!(of(7 << 30, &printed), Blame::Submission, "it does not compile besides");
    }

    #[test]
    fn a_fact_outweighs_what_a_half_written_file_makes_compilers_say() {
        let log = "ptxas k.ptx, line 1; fatal   : Missing .version directive\n";
        let full = || Some("the build folder cannot be written".to_owned());
        assert!(matches!(judge(&Ending::Code(1), log, full), Blame::Machine(_)));
    }
}
