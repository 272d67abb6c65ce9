//! Kernels and durations by workload, as text, CSV and a document.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, TableStyle};
use proofmark_packager::interop::flashinfer::Workload;
use proofmark_packager::{Arch, Digest};
use serde::{Serialize, Serializer};

use super::figures::{NONE, microseconds};
use crate::measure::Seed;
use crate::profile::{ClockControl, ProfiledWorkload};
use crate::proof::demangle;

/// Digits of a uuid that tell workloads apart on a screen.
const UUID_LENGTH: usize = 8;

/// How kernels came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Launched {
    /// The library's entry point was called.
    Called,
    /// What an entry point in Python launched when it was recorded was launched again, without it.
    AsRecorded,
}

/// What profiling showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileReport {
    /// The solution's name.
    pub solution: String,
    /// The definition's name.
    pub definition: String,
    /// What the code is proven for.
    pub arch: Arch,
    /// The library that ran, or the document that says what Python runs.
    pub library_sha256: Digest,
    /// How its kernels came to run.
    pub launched: Launched,
    /// Nsight Compute's program.
    pub ncu: String,
    /// What was done to the GPU's clocks.
    pub clock_control: ClockControl,
    /// Where inputs came from.
    pub seed: Seed,
    /// The workloads, in order.
    #[serde(serialize_with = "with_fallback")]
    pub workloads: Vec<ProfiledWorkload>,
}

/// A workload's uuid and axes.
pub fn named(workload: &Workload) -> (String, String) {
    let axes: Vec<String> = workload.axes().iter().map(|(name, value)| format!("{name}={value}")).collect();
    (workload.uuid().to_owned(), axes.join(" "))
}

fn with_fallback<S: Serializer>(workloads: &[ProfiledWorkload], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct WithFallback<'a> {
        #[serde(flatten)]
        workload: &'a ProfiledWorkload,
        fallback: Vec<&'a str>,
    }
    let rows =
        workloads.iter().map(|workload| WithFallback { workload, fallback: workload.fallback().collect() });
    serializer.collect_seq(rows)
}

impl ProfileReport {
    /// One row a workload, then what the numbers are.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        let header = ["workload", "axes", "µs", "least", "most", "kernels", "fallback"];
        table.load_style(TableStyle::new()).set_header(header);
        for workload in &self.workloads {
            let ordered = |pick: fn(f64, f64) -> f64| workload.calls_ns.iter().copied().reduce(pick);
            let names = |proven: bool| {
                let its = workload.kernels.iter().filter(|kernel| kernel.proven == proven);
                let named = |name: &str, launches: usize| match launches {
                    1 => demangle(name),
                    _ => format!("{launches} × {}", demangle(name)),
                };
                let all: Vec<String> = its.map(|kernel| named(&kernel.name, kernel.launches)).collect();
                if all.is_empty() { NONE.to_owned() } else { all.join(", ") }
            };
            table.add_row([
                workload.uuid.chars().take(UUID_LENGTH).collect(),
                workload.axes.clone(),
                microseconds(workload.duration_ns),
                microseconds(ordered(f64::min).unwrap_or(f64::NAN)),
                microseconds(ordered(f64::max).unwrap_or(f64::NAN)),
                names(true),
                names(false),
            ]);
        }
        for column in table.column_iter_mut().skip(2).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let (solution, definition, arch) = (&self.solution, &self.definition, self.arch);
        let mut text = format!("{solution} on {definition}, proven for {arch}\n{}\n", table.trim_fmt());
        let falls = self.workloads.iter().filter(|workload| workload.fallback().next().is_some()).count();
        // Writing to a string cannot fail.
        let _ = match falls {
            0 => writeln!(text, "every kernel is of code that was proven"),
            _ => {
                writeln!(text, "{falls} of {} workloads launched kernels that are not", self.workloads.len())
            }
        };
        if self.launched == Launched::AsRecorded {
            text.push_str("launched as recorded, without its Python\n");
        }
        let clocks = match self.clock_control {
            ClockControl::None => "clocks as they were",
            ClockControl::Base => "clocks locked to base",
        };
        let _ = write!(
            text,
            "kernels of a call together, median of its calls, caches flushed before each kernel, {clocks}: no score"
        );
        text
    }

    /// A line a workload and kernel.
    pub fn csv(&self) -> String {
        let mut text = "workload,axes,kernel,launches,duration_ns,proven\n".to_owned();
        let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
        for workload in &self.workloads {
            for kernel in &workload.kernels {
                let (uuid, axes, name) =
                    (quoted(&workload.uuid), quoted(&workload.axes), quoted(&demangle(&kernel.name)));
                let (launches, time, proven) = (kernel.launches, kernel.duration_ns, kernel.proven);
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{uuid},{axes},{name},{launches},{time},{proven}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProfiledKernel;

    fn report() -> ProfileReport {
        let kernel = |name: &str, launches, duration_ns, proven| ProfiledKernel {
            name: name.to_owned(),
            launches,
            duration_ns,
            proven,
        };
        let workload = |uuid: &str, kernels| ProfiledWorkload {
            uuid: uuid.to_owned(),
            axes: "n=4".to_owned(),
            duration_ns: 3712.0,
            calls_ns: vec![3700.0, 3712.0, 4000.0],
            kernels,
        };
        ProfileReport {
            solution: "mine".to_owned(),
            definition: "double".to_owned(),
            arch: "sm_90a".parse().unwrap(),
            library_sha256: Digest::of_bytes(b"library"),
            launched: Launched::Called,
            ncu: "/usr/bin/ncu".to_owned(),
            clock_control: ClockControl::None,
            seed: Seed(1),
            workloads: vec![
                workload("0123456789", vec![kernel("_Z4minePf", 2, 3712.0, true)]),
                workload("b", vec![kernel("_Z4minePf", 1, 10.0, true), kernel("gemm\"x", 1, 3702.0, false)]),
            ],
        }
    }

    #[test]
    fn shows_what_ran_and_what_it_fell_back_to() {
        let text = report().text();
        for expected in [
            "mine on double, proven for sm_90a",
            "01234567",
            "3.71",
            "4.00",
            "2 × mine(float*)",
            "gemm\"x",
            "1 of 2 workloads launched kernels that are not",
            "clocks as they were",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        let mut alone = report();
        alone.workloads.truncate(1);
        assert!(!alone.text().contains("as recorded"));
        alone.launched = Launched::AsRecorded;
        assert!(alone.text().contains("launched as recorded, without its Python"));
        assert!(alone.text().contains("every kernel is of code that was proven"));
    }

    #[test]
    fn writes_a_line_a_kernel_and_names_the_fallback_in_the_document() {
        let csv = report().csv();
        assert_eq!(csv.lines().count(), 4);
        assert!(csv.contains("\"b\",\"n=4\",\"gemm\"\"x\",1,3702,false"), "{csv}");
        let document = serde_json::to_value(report()).unwrap();
        assert_eq!(document["workloads"][1]["fallback"], serde_json::json!(["gemm\"x"]));
        assert_eq!(document["workloads"][0]["fallback"], serde_json::json!([]));
    }
}
