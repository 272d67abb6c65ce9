//! Measures `proofmark verify --list` against the least that any look at every byte can cost, and
//! against cuobjdump, side by side in one run.
//!
//! ```text
//! scripts/verify-speed.sh [--cuobjdump PATH] FILE...
//! ```
//!
//! Every command runs as a process of its own, start and exit included, in turn with the others; one round before
//! warms the page cache. What counts is processor time, user and system together, the mean of the rounds: it says the
//! same beside other work. The fastest round by the clock stands behind it. The baseline maps the file and adds up its
//! 64-bit words on as many threads as `verify` uses. cuobjdump is `cuobjdump -all -lelf -lptx`, from the path given or
//! else from `PATH`; where there is none, or where it finds no device code (as in cuFFT, which keeps its containers in
//! `.data`), that column stays empty. The ratios are what to compare between machines; the times are not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use proofmark::proof::visit;

/// Rounds that count.
const ROUNDS: usize = 10;
/// Asks this program to be the baseline: followed by a number of threads and a file.
const BASELINE: &str = "--read-mapped";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.next_if(|argument| argument == BASELINE).is_some() {
        let threads = arguments.next().and_then(|threads| threads.to_str()?.parse().ok());
        let (Some(threads), Some(path)) = (threads, arguments.next()) else { return ExitCode::from(2) };
        return read_mapped(Path::new(&path), threads);
    }
    let named = arguments.next_if(|argument| argument == "--cuobjdump").and_then(|_| arguments.next());
    let cuobjdump = named.map_or_else(|| PathBuf::from("cuobjdump"), PathBuf::from);
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: verify_speed [--cuobjdump PATH] FILE...");
        return ExitCode::from(2);
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores; ms of processor time, the mean of {ROUNDS} rounds; in brackets the fastest by the clock"
    );
    println!("| file | MB | verify --list | plain read | verify / read | cuobjdump |");
    println!("|---|--:|--:|--:|--:|--:|");
    for file in &files {
        if let Err(error) = measure(file, &cuobjdump, cores) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::from(3);
        }
    }
    ExitCode::SUCCESS
}

/// The baseline: every byte of the mapped file, once.
fn read_mapped(path: &Path, threads: usize) -> ExitCode {
    let words = |bytes: &[u8]| {
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
        words.fold(0, u64::wrapping_add)
    };
    let mut sum: u64 = 0;
    let read = visit(path, |specimen| {
        let part = specimen.bytes.len().div_ceil(threads.max(1)).max(1);
        sum = thread::scope(|scope| {
            let crew: Vec<_> =
                specimen.bytes.chunks(part).map(|part| scope.spawn(move || words(part))).collect();
            crew.into_iter().filter_map(|worker| worker.join().ok()).fold(0, u64::wrapping_add)
        });
    });
    println!("{sum:x}");
    if read.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

/// What a command took over all rounds.
#[derive(Clone, Copy)]
struct Taken {
    /// Processor time of all rounds together.
    processor_ms: f64,
    /// The fastest round by the clock; infinite where one failed.
    fastest_ms: f64,
}

impl Taken {
    #[allow(clippy::cast_precision_loss, reason = "a few rounds")]
    fn mean_ms(&self) -> f64 {
        self.processor_ms / ROUNDS as f64
    }
}

fn measure(file: &Path, cuobjdump: &Path, cores: usize) -> Result<(), Box<dyn std::error::Error>> {
    let own = env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("the example lies in no target folder")?;
    let mut verify = Command::new(folder.join("proofmark"));
    verify.args(["verify", "--list"]).arg(file);
    let mut baseline = Command::new(&own);
    baseline.arg(BASELINE).arg(cores.to_string()).arg(file);
    let mut other = Command::new(cuobjdump);
    other.args(["-all", "-lelf", "-lptx"]).arg(file);
    let mut commands = [verify, baseline, other];
    let mut all = [Taken { processor_ms: 0.0, fastest_ms: f64::INFINITY }; 3];
    for round in 0..=ROUNDS {
        for (command, taken) in commands.iter_mut().zip(&mut all) {
            let before = processor_ms()?;
            let elapsed_ms = run(command);
            if round > 0 {
                taken.processor_ms += processor_ms()? - before;
                taken.fastest_ms = taken.fastest_ms.min(elapsed_ms.unwrap_or(f64::INFINITY));
            }
        }
    }
    let [verify, read, other] = all;
    if verify.fastest_ms.is_infinite() {
        return Err(
            format!("build proofmark first: {} did not run", folder.join("proofmark").display()).into()
        );
    }
    #[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
    let size_mb = fs::metadata(file)?.len() as f64 / 1e6;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let shown = |taken: Taken| format!("{:.0} ({:.0})", taken.mean_ms(), taken.fastest_ms);
    let cuobjdump = if other.fastest_ms.is_finite() { shown(other) } else { String::new() };
    println!(
        "| {name} | {size_mb:.1} | {} | {} | {:.2} | {cuobjdump} |",
        shown(verify),
        shown(read),
        verify.processor_ms / read.processor_ms
    );
    Ok(())
}

/// Processor time of all processes that this one waited for, in steps of ten milliseconds.
fn processor_ms() -> Result<f64, Box<dyn std::error::Error>> {
    const TICK_MS: f64 = 10.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Fields 16 and 17 of proc_pid_stat(5); the first two stand before the bracket.
    let (user, system): (f64, f64) = (
        fields.get(13).ok_or("no field of children's time")?.parse()?,
        fields.get(14).ok_or("no field of children's time")?.parse()?,
    );
    Ok((user + system) * TICK_MS)
}

/// Milliseconds from start to exit; nothing when it does not start or fails.
fn run(command: &mut Command) -> Option<f64> {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;
    status.success().then_some(elapsed_ms)
}
