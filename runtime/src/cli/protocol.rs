//! How two submissions are compared, as typed on a command line.

use clap::Args;

use super::number;
use crate::measure::decision::Protocol;

/// How two submissions are compared.
#[derive(Debug, Clone, Args)]
pub struct ProtocolOptions {
    /// A difference below this many percent is not worth a finding [default: 0.5].
    #[arg(long, value_name = "PERCENT", value_parser = number::decimal, allow_negative_numbers = true)]
    margin: Option<f64>,
    /// Sessions that must agree on a difference [default: 2].
    #[arg(long, value_name = "N", value_parser = number::whole::<usize>, allow_negative_numbers = true)]
    sessions: Option<usize>,
    /// Processes after which a session looks at its data [default: 6,10,16].
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = number::whole::<usize>, allow_negative_numbers = true)]
    looks: Vec<usize>,
    /// A/B blocks of each workload in each process [default: 30, down to 5 where workloads are many].
    #[arg(long, value_name = "N", value_parser = number::whole::<usize>, allow_negative_numbers = true)]
    blocks: Option<usize>,
    /// Samples of a cell [default: 30].
    #[arg(long, value_name = "N", value_parser = number::whole::<usize>, allow_negative_numbers = true)]
    samples: Option<usize>,
    /// Milliseconds that each process warms up [default: 1000].
    #[arg(long, value_name = "MS", value_parser = number::whole::<u64>, allow_negative_numbers = true)]
    warmup: Option<u64>,
}

impl ProtocolOptions {
    /// The protocol: what was not said is as usual for so many workloads.
    pub fn protocol(&self, workloads: usize) -> Protocol {
        let usual = Protocol::for_workloads(workloads);
        let usual = usual.clone().with_margin(self.margin.map_or(usual.margin, |percent| percent / 100.0));
        Protocol {
            sessions: self.sessions.unwrap_or(usual.sessions),
            looks: if self.looks.is_empty() { usual.looks.clone() } else { self.looks.clone() },
            blocks_per_process: self.blocks.unwrap_or(usual.blocks_per_process),
            samples_per_cell: self.samples.unwrap_or(usual.samples_per_cell),
            warmup_ms: self.warmup.unwrap_or(usual.warmup_ms),
            ..usual
        }
    }
}
