//! `proofmark cache`: what was built here, and what of it may stay.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use comfy_table::{Table, TableStyle};
use proofmark_packager::Arch;
use serde::Serialize;
use serde_json::json;

use super::cache_folder::{CacheFolder, explain};
use super::console::Console;
use super::exit_code::ExitCode;
use super::failure::Failure;
use super::line::MachineOptions;
use super::number;
use crate::cache::{Key, LockScope, Store, SweepLimits, Swept};
use crate::path_text;

mod challenge;

/// Look at the build cache, check it, sweep it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark cache list
  proofmark cache verify                      re-hash and prove every entry again
  proofmark cache gc --max-size 2G --max-age 30d
  proofmark cache challenge 3 --remote-cache file:///mnt/builds --cache-signers team
                                              build three of others' builds again, and compare")]
pub struct Arguments {
    #[command(flatten)]
    place: CacheFolder,
    #[command(subcommand)]
    action: CacheAction,
}

#[derive(Debug, Subcommand)]
enum CacheAction {
    /// List every build, checked as it is read.
    List,
    /// Count builds and bytes.
    Stats,
    /// Re-hash every entry, prove it again, and set aside what does not hold.
    Verify,
    /// Remove what dead processes left and what exceeds the limits.
    Gc {
        /// Keep at most this much, such as `500M` or `2G`; the least recently used go first.
        #[arg(long, value_name = "SIZE", value_parser = number::size)]
        max_size: Option<u64>,
        /// Remove what was not used for this long, such as `12h` or `30d`.
        #[arg(long, value_name = "AGE", value_parser = number::age)]
        max_age: Option<Duration>,
    },
    /// Build a random sample of a shared cache again, and compare the bytes.
    ///
    /// Nothing of a sampled build is taken from anywhere. Exit code 0: all of the sample is identical. 1: something
    /// differs, is not proven here or is not believed. 3: something cannot be built here as it was built there, so
    /// that nothing is known of it, or there was nothing to compare.
    Challenge {
        /// How many builds.
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        #[command(flatten)]
        machine: Box<MachineOptions>,
    },
    /// Remove every build.
    Clear,
}

#[derive(Debug, Serialize)]
struct Listed {
    key: Key,
    name: Option<String>,
    definition: Option<String>,
    arch: Option<Arch>,
    size_bytes: Option<usize>,
    #[serde(serialize_with = "path_text::serialize_option")]
    library: Option<PathBuf>,
    fault: Option<String>,
}

/// Runs the verb.
pub fn run(arguments: &Arguments, console: &Console) -> Result<ExitCode, Failure> {
    let store = || arguments.place.look();
    match &arguments.action {
        CacheAction::List => list(&store()?, console),
        CacheAction::Stats => stats(&store()?, console),
        CacheAction::Verify => verify(&store()?, console),
        CacheAction::Gc { max_size, max_age } => {
            let limits = SweepLimits { max_size_bytes: *max_size, max_age: *max_age };
            report_sweep(store()?.sweep(limits, SystemTime::now()).map_err(explain)?, console)
        }
        CacheAction::Challenge { count, machine } => challenge::run(*count as usize, machine, console),
        CacheAction::Clear => report_sweep(store()?.clear(SystemTime::now()).map_err(explain)?, console),
    }
}

fn list(store: &Store, console: &Console) -> Result<ExitCode, Failure> {
    let listed: Vec<_> = store
        .entries()
        .map(|(key, entry)| match entry {
            Ok(entry) => Listed {
                key,
                name: Some(entry.first_built_as.solution),
                definition: Some(entry.first_built_as.definition),
                arch: Some(entry.ingredients.gencode.real_arch),
                size_bytes: Some(entry.library_bytes.len()),
                library: Some(entry.library),
                fault: None,
            },
            Err(fault) => Listed {
                key,
                name: None,
                definition: None,
                arch: None,
                size_bytes: None,
                library: None,
                fault: Some(fault.to_string()),
            },
        })
        .collect();
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(["key", "arch", "bytes", "solution"]);
    for one in &listed {
        table.add_row([
            one.key.to_string()[..12].to_owned(),
            one.arch.map_or_else(|| "damaged".to_owned(), |arch| arch.to_string()),
            one.size_bytes.map_or_else(String::new, |bytes| bytes.to_string()),
            one.name.clone().or_else(|| one.fault.clone()).unwrap_or_default(),
        ]);
    }
    console.print(if listed.is_empty() { "the cache is empty".to_owned() } else { table.to_string() })?;
    console.document(
        "proofmark.cache-list",
        1,
        &json!({ "cache": path_text::text(store.root()), "entries": listed }),
    )?;
    let damaged = listed.iter().any(|one| one.fault.is_some());
    Ok(if damaged { ExitCode::No } else { ExitCode::Yes })
}

fn stats(store: &Store, console: &Console) -> Result<ExitCode, Failure> {
    let (stats, scope) = (store.stats(), store.lock_scope());
    console.print(format!("cache    {}", store.root().display()))?;
    console.print(format!("builds   {} ({} bytes)", stats.entries, stats.entries_bytes))?;
    console.print(format!("objects  {} ({} bytes)", stats.units, stats.units_bytes))?;
    console.print(format!("staging  {} ({} bytes)", stats.staging, stats.staging_bytes))?;
    console.print(match scope {
        LockScope::Machine => "locks    hold between all processes here",
        LockScope::Network => {
            "locks    network file system: perhaps per machine only; builds may run twice, results stay right"
        }
    })?;
    let body = json!({ "cache": path_text::text(store.root()), "stats": stats, "lock_scope": scope });
    console.document("proofmark.cache-stats", 1, &body)?;
    Ok(ExitCode::Yes)
}

fn verify(store: &Store, console: &Console) -> Result<ExitCode, Failure> {
    let damaged = store.repair().map_err(explain)?;
    let checked = store.stats().entries + damaged.len();
    for (key, fault) in &damaged {
        console.print(format!("{key}: set aside: {fault}"))?;
    }
    console.print(format!("{checked} builds checked, {} damaged", damaged.len()))?;
    let faults: Vec<_> =
        damaged.iter().map(|(key, fault)| json!({ "key": key, "fault": fault.to_string() })).collect();
    console.document("proofmark.cache-verify", 1, &json!({ "checked": checked, "damaged": faults }))?;
    Ok(if damaged.is_empty() { ExitCode::Yes } else { ExitCode::No })
}

#[expect(clippy::needless_pass_by_value, reason = "a sweep is reported once")]
fn report_sweep(swept: Swept, console: &Console) -> Result<ExitCode, Failure> {
    console.print(format!(
        "removed {} builds, {} objects and {} left-overs, {} bytes; {} builds stay",
        swept.entries, swept.units, swept.staging, swept.freed_bytes, swept.left.entries,
    ))?;
    console.document("proofmark.cache-sweep", 1, &swept)?;
    Ok(ExitCode::Yes)
}
