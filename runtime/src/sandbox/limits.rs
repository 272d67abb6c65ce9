//! The layer of limits: what one process may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::policy::Bounds;

/// What a submission's own numbers are held against: less than this, and honest builds fail too.
pub(crate) const LEAST_OPEN_FILES: u64 = 256;

/// Lowers the limits of this process and of all that it starts. `counted_alone` says whether the
/// number of processes is counted for the sandbox alone: elsewhere it would count all of the user's.
pub(super) fn lower(bounds: &Bounds, counted_alone: bool) -> Result<String, String> {
    let Bounds { memory_bytes, file_bytes, processes, open_files, processor_seconds } = *bounds;
    let mut wanted = vec![
        (Resource::As, memory_bytes),
        (Resource::Fsize, file_bytes),
        (Resource::Nofile, open_files),
        (Resource::Cpu, processor_seconds),
        (Resource::Core, 0),
    ];
    if counted_alone {
        wanted.push((Resource::Nproc, processes));
    }
    for (resource, most) in wanted {
        let there = getrlimit(resource);
        let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        let new = Rlimit { current: least(there.current), maximum: least(there.maximum) };
        setrlimit(resource, new).map_err(|error| format!("{resource:?}: {error}"))?;
    }
    let memory = memory_bytes >> 30;
    Ok(format!("{memory} GiB of memory, {} GiB a file, {processes} processes", file_bytes >> 30))
}

/// A limit that a program of the sandbox may have met, as it is known by its words and by its signal. Memory is not
/// among them: what the machine has may be less than any limit.
struct Limit {
    resource: Resource,
    /// What this program asks for.
    own: fn(&Bounds) -> u64,
    /// How many of its units make one of what people are told.
    unit: u64,
    /// What has so many of which unit.
    nouns: [&'static str; 2],
    /// The shell's option that sets it.
    option: &'static str,
    /// What programs and the system say.
    signs: &'static [&'static str],
    /// What ends a program that goes on.
    signal: Option<i32>,
}

const LIMITS: [Limit; 4] = [
    Limit {
        resource: Resource::Fsize,
        own: |bounds| bounds.file_bytes,
        unit: 1 << 20,
        nouns: ["a file of a build", "MiB"],
        option: "ulimit -f",
        signs: &["File too large", "File size limit exceeded"],
        signal: Some(libc::SIGXFSZ),
    },
    Limit {
        resource: Resource::Cpu,
        own: |bounds| bounds.processor_seconds,
        unit: 1,
        nouns: ["a process of a build", "s of processor time"],
        option: "ulimit -t",
        signs: &["CPU time limit exceeded"],
        signal: Some(libc::SIGXCPU),
    },
    Limit {
        resource: Resource::Nofile,
        own: |bounds| bounds.open_files,
        unit: 1,
        nouns: ["a process of a build", "open files"],
        option: "ulimit -n",
        signs: &["Too many open files"],
        signal: None,
    },
    Limit {
        resource: Resource::Nproc,
        own: |bounds| bounds.processes,
        unit: 1,
        nouns: ["a build", "processes and threads"],
        option: "ulimit -u",
        signs: &["Resource temporarily unavailable", "Cannot fork"],
        signal: None,
    },
];

/// The limit whose words or signal stand in a line: how much it is, and whose.
pub(crate) fn named_in(line: &str, bounds: &Bounds) -> Option<String> {
    LIMITS.iter().find(|limit| limit.is_named_in(line)).map(|limit| limit.words(bounds))
}

/// The same of a signal that ended a program.
pub(crate) fn named_by(signal: i32, bounds: &Bounds) -> Option<String> {
    LIMITS.iter().find(|limit| limit.signal == Some(signal)).map(|limit| limit.words(bounds))
}

impl Limit {
    fn is_named_in(&self, line: &str) -> bool {
        let by_signal = |signal: i32| {
            let words =
                [format!("died due to signal {signal} "), format!("terminated with signal {signal} ")];
            words.iter().any(|words| line.contains(words))
        };
        self.signs.iter().any(|sign| line.contains(sign)) || self.signal.is_some_and(by_signal)
    }

    fn words(&self, bounds: &Bounds) -> String {
        let own = (self.own)(bounds);
        let given = getrlimit(self.resource).current.filter(|given| *given < own);
        let [whom, unit] = self.nouns;
        let most = given.unwrap_or(own) / self.unit;
        match given {
            Some(_) => {
                format!("{whom} may take {most} {unit}, as this program was started ({})", self.option)
            }
            None => format!("{whom} may take {most} {unit}, {OWN_LIMIT}"),
        }
    }
}

/// How a limit is called that no option of the machine's raises.
pub(crate) const OWN_LIMIT: &str = "a limit that proofmark sets";

/// How much memory one process can have here at the most: what its limit leaves of what the machine has.
pub(crate) fn memory_room(limit_bytes: u64) -> u64 {
    let system = rustix::system::sysinfo();
    let machine = system.totalram.saturating_mul(u64::from(system.mem_unit));
    let own = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    limit_bytes.min(own).min(machine)
}

/// The limits of the machine that are too low for any build, in words.
pub(crate) fn too_low() -> Vec<String> {
    /// The compilers of an empty kernel use less than this.
    const LEAST_MEMORY_BYTES: u64 = 3 << 30;
    /// A library without kernels is smaller, with its intermediate files.
    const LEAST_FILE_BYTES: u64 = 64 << 20;
    let floors = [
        (Resource::As, LEAST_MEMORY_BYTES, "memory (ulimit -v)"),
        (Resource::Data, LEAST_MEMORY_BYTES, "data (ulimit -d)"),
        (Resource::Fsize, LEAST_FILE_BYTES, "the size of files (ulimit -f)"),
        (Resource::Nofile, LEAST_OPEN_FILES, "open files (ulimit -n)"),
        (Resource::Nproc, 64, "processes (ulimit -u)"),
        (Resource::Cpu, 60, "processor time (ulimit -t)"),
        (Resource::Stack, 1 << 20, "the stack (ulimit -s)"),
    ];
    let low = |(resource, floor, words): (Resource, u64, &str)| {
        let limit = getrlimit(resource).current?;
        (limit < floor).then(|| format!("this process has a limit of {limit} on {words}"))
    };
    floors.into_iter().filter_map(low).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_is_named_with_its_size_and_whose_it_is() {
        let bounds = Bounds { processor_seconds: 7, ..Bounds::of_compilers(Duration::from_secs(60)) };
        let named = |line: &str| named_in(line, &bounds).unwrap_or_else(|| panic!("{line}"));
        for (line, words) in [
            ("as: object/0.o: File too large", "a file of a build may take 1024 MiB"),
            (
                "nvcc error   : 'cicc' died due to signal 25 (File size limit exceeded)",
                "1024 MiB, a limit that",
            ),
            (
                "nvcc error   : 'cicc' died due to signal 24 ",
                "a process of a build may take 7 s of processor time",
            ),
            ("sh: 1: Cannot fork", "a build may take 512 processes and threads"),
        ] {
            assert!(named(line).contains(words), "{line}: {}", named(line));
        }
        assert!(named_by(libc::SIGXFSZ, &bounds).is_some_and(|words| words.ends_with(OWN_LIMIT)));
        assert_eq!(named_by(libc::SIGKILL, &bounds), None);
        for line in ["No space left on device", "nvcc error   : 'cicc' died due to signal 11 ", ""] {
            assert_eq!(named_in(line, &bounds), None, "{line}");
        }
        // Whoever started this program with less is named instead.
        let generous = Bounds { open_files: u64::MAX, ..bounds };
        let words = named_in("Too many open files", &generous).unwrap();
        assert!(words.ends_with("as this program was started (ulimit -n)"), "{words}");
    }
}
