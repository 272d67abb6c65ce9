//! `proofmark fleet estimate`: how long a plan takes on so many GPUs.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, TableStyle};
use serde_json::json;

use super::explain_plan;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::fleet::FleetPlan;
use crate::fleet::estimate::{Bound, Costs, Estimate, Machines, estimate};
use crate::report::figures::percent;

/// Simulate how long a plan takes on so many GPUs, and what sets the time.
///
/// Costs are those of a decode kernel over 54 workloads on an H200, built on two processors, unless said
/// otherwise; each varies by half. Workers that die begin again where they were.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  proofmark fleet estimate plan.jsonl --gpus 1,8
  proofmark fleet estimate --submissions 500 --workloads 54 --gpus 1,8,64
  proofmark fleet estimate --submissions 500 --builders 0        each GPU's worker builds what it measures")]
pub(super) struct EstimateArguments {
    /// The plan: as many shards and workloads.
    plan: Option<PathBuf>,
    /// How many submissions there are, without a plan.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    submissions: u32,
    /// Workloads of each, without a plan.
    #[arg(long, value_name = "N", default_value_t = 54, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workloads: u32,
    /// GPUs; one row for each number.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,64",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    gpus: Vec<u32>,
    /// Processors that build ahead; 0 has each GPU's worker build what it measures.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    builders: u32,
    /// Seconds that a build takes.
    #[arg(long, value_name = "SECONDS", default_value = "7.2", value_parser = positive)]
    build: f64,
    /// Seconds until the first workload of a submission is measured.
    #[arg(long, value_name = "SECONDS", default_value = "2.9", value_parser = positive)]
    start: f64,
    /// Seconds for each workload.
    #[arg(long, value_name = "SECONDS", default_value = "0.4", value_parser = positive)]
    workload: f64,
    /// Percent of the submissions that hang on every workload.
    #[arg(long, value_name = "PERCENT", default_value = "2", value_parser = share)]
    hung: f64,
    /// Seconds that a workload costs which hangs: the limit of a call, and new processes.
    #[arg(long, value_name = "SECONDS", default_value = "13", value_parser = positive)]
    hung_workload: f64,
    /// Megabytes of one cached build.
    #[arg(long, value_name = "MB", default_value = "1.1", value_parser = positive)]
    entry: f64,
    /// Megabytes a second that the cache gives to all.
    #[arg(long, value_name = "MB", default_value = "100", value_parser = positive)]
    cache_speed: f64,
    /// Hours between two deaths of a worker.
    #[arg(long, value_name = "HOURS", default_value = "24", value_parser = positive)]
    death_every: f64,
    /// Seconds until another one takes its place.
    #[arg(long, value_name = "SECONDS", default_value = "125", value_parser = positive)]
    restart: f64,
    /// The seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && (1e-9..1e12).contains(number));
    number.ok_or_else(|| "expected a number above zero".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    number.map(|percent: f64| percent / 100.0).ok_or_else(|| "expected percent, from 0 to 100".to_owned())
}

impl EstimateArguments {
    fn costs(&self) -> Costs {
        Costs {
            build_s: self.build,
            start_s: self.start,
            workload_s: self.workload,
            hung_workload_s: self.hung_workload,
            hung_share: self.hung,
            entry_bytes: self.entry * 1e6,
            cache_bytes_per_s: self.cache_speed * 1e6,
            death_every_s: self.death_every * 3600.0,
            restart_s: self.restart,
        }
    }
}

/// Runs the verb.
pub(super) fn run(arguments: &EstimateArguments, console: &Console) -> Result<ExitCode, Failure> {
    let workloads: Vec<usize> = match &arguments.plan {
        Some(path) => {
            let plan = FleetPlan::read(path).map_err(explain_plan)?;
            plan.shards.iter().map(|shard| shard.label.workloads).collect()
        }
        None => vec![arguments.workloads as usize; arguments.submissions as usize],
    };
    let costs = arguments.costs();
    costs.check().map_err(|error| {
        Failure::request(error)
            .hint("--death-every takes hours between two deaths, --hung 0 leaves out what hangs")
    })?;
    let of = |&gpus: &u32| {
        let machines = Machines { gpus: gpus as usize, builders: arguments.builders as usize };
        estimate(&workloads, &costs, machines, arguments.seed)
    };
    let estimates: Vec<Estimate> = arguments.gpus.iter().map(of).collect();
    console.print(format!(
        "{} submissions, {} workloads in all\n{}",
        workloads.len(),
        workloads.iter().sum::<usize>(),
        table(&estimates)
    ))?;
    let body = json!({
        "submissions": workloads.len(), "workloads": workloads.iter().sum::<usize>(), "costs": costs,
        "seed": arguments.seed, "estimates": estimates,
    });
    console.document("proofmark.fleet-estimate", 1, &body)?;
    Ok(ExitCode::Yes)
}

fn table(estimates: &[Estimate]) -> String {
    let header = [
        "GPUs",
        "builders",
        "time",
        "GPUs busy",
        "wait for builds",
        "wait for the cache",
        "cache",
        "deaths",
        "bound by",
    ];
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for one in estimates {
        table.add_row([
            one.machines.gpus.to_string(),
            one.machines.builders.to_string(),
            duration(one.makespan_s),
            percent(one.gpu_busy),
            duration(one.build_wait_s),
            duration(one.cache_wait_s),
            format!("{:.2} GB", one.cache_bytes / 1e9),
            one.deaths.to_string(),
            bound(one.bound_by).to_owned(),
        ]);
    }
    for index in 0..8 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7200.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Gpus => "GPUs",
        Bound::Builders => "building",
        Bound::Cache => "the cache",
        Bound::LongestShard => "the longest submission",
    }
}
