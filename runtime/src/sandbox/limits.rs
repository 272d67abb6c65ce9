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
