//! Measures `proofmark verify --list` against the least that any look at every byte can cost, and
//! against cuobjdump, side by side in one run.
//!
//! ```text
//! scripts/verify-speed.sh [--cuobjdump PATH] FILE...
//! ```
//!
//! Every command runs as a process of its own, start and exit included, in turn with the others, and
//! counts with its fastest of several rounds; one round before warms the page cache. The baseline maps
//! the file and adds up its 64-bit words, on one thread or on as many as `verify` uses. cuobjdump is
//! `cuobjdump -all -lelf -lptx`, from the path given or else from `PATH`; where there is none, or where
//! it finds no device code (as in cuFFT, which keeps its containers in `.data`), that column stays empty. The ratios are what to compare between machines; the times are not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use proofmark::proof::visit;

/// Rounds that count; the least of them is the one that was disturbed least.
const ROUNDS: usize = 7;
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
    println!("{cores} cores; ms, the fastest of {ROUNDS} rounds");
    println!(
        "| file | MB | verify --list | read, 1 thread | read, {cores} threads | cuobjdump | verify GB/s | verify / read, {cores} threads | cuobjdump / verify |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
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

fn measure(file: &Path, cuobjdump: &Path, cores: usize) -> Result<(), Box<dyn std::error::Error>> {
    let own = env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("the example lies in no target folder")?;
    let mut verify = Command::new(folder.join("proofmark"));
    verify.args(["verify", "--list"]).arg(file);
    let baseline = |threads: usize| {
        let mut command = Command::new(&own);
        command.arg(BASELINE).arg(threads.to_string()).arg(file);
        command
    };
    let mut other = Command::new(cuobjdump);
    other.args(["-all", "-lelf", "-lptx"]).arg(file);
    let mut commands = [verify, baseline(1), baseline(cores), other];
    let mut best = [f64::INFINITY; 4];
    for round in 0..=ROUNDS {
        for (command, best) in commands.iter_mut().zip(&mut best) {
            let elapsed_ms = run(command);
            if round > 0 {
                *best = best.min(elapsed_ms.unwrap_or(f64::INFINITY));
            }
        }
    }
    let [verify_ms, one_ms, all_ms, other_ms] = best;
    if verify_ms.is_infinite() {
        return Err(
            format!("build proofmark first: {} did not run", folder.join("proofmark").display()).into()
        );
    }
    #[allow(clippy::cast_precision_loss, reason = "no file has 2^53 bytes")]
    let size_mb = fs::metadata(file)?.len() as f64 / 1e6;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (shown, ratio) = if other_ms.is_finite() {
        (format!("{other_ms:.1}"), format!("{:.1}", other_ms / verify_ms))
    } else {
        (String::new(), String::new())
    };
    println!(
        "| {name} | {size_mb:.1} | {verify_ms:.1} | {one_ms:.1} | {all_ms:.1} | {shown} | {:.1} | {:.2} | {ratio} |",
        size_mb / verify_ms,
        verify_ms / all_ms,
    );
    Ok(())
}

/// Milliseconds from start to exit; nothing when it does not start or fails.
fn run(command: &mut Command) -> Option<f64> {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;
    status.success().then_some(elapsed_ms)
}
