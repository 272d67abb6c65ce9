//! Kernels and durations by workload: launches told apart by the marks before each call.

use serde::Serialize;

use super::page::KernelRow;
use crate::measure::statistics::median;

/// One kernel in the calls of a workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfiledKernel {
    /// Its name, as linked.
    pub name: String,
    /// How often one call launches it.
    pub launches: usize,
    /// What it takes in one call, all its launches together: the median over the calls, in nanoseconds.
    pub duration_ns: f64,
    /// Whether the library that was proven holds it.
    pub proven: bool,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfiledWorkload {
    /// Its uuid.
    pub uuid: String,
    /// Its axes, such as `batch_size=64`.
    pub axes: String,
    /// What the kernels of a call take together: the median over the calls, in nanoseconds.
    pub duration_ns: f64,
    /// The same of each call.
    pub calls_ns: Vec<f64>,
    /// The kernels, in the order in which a call first launches them.
    pub kernels: Vec<ProfiledKernel>,
}

impl ProfiledWorkload {
    /// Kernels that ran and are not of the library that was proven: what it fell back to.
    pub fn fallback(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().filter(|kernel| !kernel.proven).map(|kernel| kernel.name.as_str())
    }
}

/// Why launches do not tell durations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// More or fewer calls than were made.
    #[error("Nsight Compute lists {found} calls, and {expected} were made")]
    Calls {
        /// In its page.
        found: usize,
        /// As planned.
        expected: usize,
    },
    /// A call without a kernel.
    #[error("a call on workload {workload} launched no kernel that Nsight Compute saw")]
    NoKernel {
        /// The workload.
        workload: String,
    },
}

/// Sorts launches by workload: `workloads` are uuid and axes, in the order of their calls.
pub fn by_workload(
    rows: &[KernelRow],
    is_mark: impl Fn(&str) -> bool,
    workloads: &[(String, String)],
    calls: usize,
    is_proven: impl Fn(&str) -> bool,
) -> Result<Vec<ProfiledWorkload>, ProfileError> {
    let mut all: Vec<Vec<&KernelRow>> = Vec::new();
    for row in rows {
        if is_mark(&row.kernel) {
            all.push(Vec::new());
        } else if let Some(call) = all.last_mut() {
            call.push(row);
        }
    }
    let expected = workloads.len() * calls;
    if all.len() != expected {
        return Err(ProfileError::Calls { found: all.len(), expected });
    }
    let profiled = |((uuid, axes), of): (&(String, String), &[Vec<&KernelRow>])| {
        if of.iter().any(Vec::is_empty) {
            return Err(ProfileError::NoKernel { workload: uuid.clone() });
        }
        let calls_ns: Vec<f64> = of.iter().map(|call| call.iter().map(|row| row.duration_ns).sum()).collect();
        Ok(ProfiledWorkload {
            uuid: uuid.clone(),
            axes: axes.clone(),
            duration_ns: median(&calls_ns).unwrap_or(f64::NAN),
            kernels: kernels(of, &is_proven),
            calls_ns,
        })
    };
    workloads.iter().zip(all.chunks(calls.max(1))).map(profiled).collect()
}

fn kernels(calls: &[Vec<&KernelRow>], is_proven: &impl Fn(&str) -> bool) -> Vec<ProfiledKernel> {
    let mut names: Vec<&str> = Vec::new();
    for row in calls.iter().flatten() {
        if !names.contains(&row.kernel.as_str()) {
            names.push(&row.kernel);
        }
    }
    let kernel = |name: &str| {
        let of = |call: &Vec<&KernelRow>| -> (usize, f64) {
            let its = call.iter().filter(|row| row.kernel == name);
            its.fold((0, 0.0), |(count, time), row| (count + 1, time + row.duration_ns))
        };
        let (launches, times): (Vec<usize>, Vec<f64>) = calls.iter().map(of).unzip();
        ProfiledKernel {
            name: name.to_owned(),
            launches: launches.into_iter().max().unwrap_or(0),
            duration_ns: median(&times).unwrap_or(f64::NAN),
            proven: is_proven(name),
        }
    };
    names.into_iter().map(kernel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(launches: &[(&str, f64)]) -> Vec<KernelRow> {
        launches
            .iter()
            .map(|(kernel, time)| KernelRow { kernel: (*kernel).to_owned(), duration_ns: *time })
            .collect()
    }

    fn workloads(count: usize) -> Vec<(String, String)> {
        (0..count).map(|number| (format!("w{number}"), format!("n={number}"))).collect()
    }

    #[test]
    fn launches_behind_a_mark_are_one_call_and_others_than_the_proven_are_named() {
        let page = rows(&[
            ("before", 1.0),
            ("mark", 9.0),
            ("mine", 10.0),
            ("gemm", 30.0),
            ("mine", 12.0),
            ("mark", 9.0),
            ("mine", 14.0),
            ("gemm", 32.0),
            ("mine", 16.0),
            ("mark", 9.0),
            ("mine", 5.0),
            ("mark", 9.0),
            ("mine", 7.0),
        ]);
        let found =
            by_workload(&page, |name| name == "mark", &workloads(2), 2, |name| name == "mine").unwrap();
        assert_eq!(found[0].calls_ns, [52.0, 62.0]);
        assert!((found[0].duration_ns - 57.0).abs() < 1e-9);
        assert_eq!(found[0].kernels[0].launches, 2);
        assert_eq!(found[0].fallback().collect::<Vec<_>>(), ["gemm"]);
        assert_eq!((found[1].calls_ns.as_slice(), found[1].fallback().count()), (&[5.0, 7.0][..], 0));
    }

    #[test]
    fn calls_that_are_missing_or_launch_nothing_are_errors() {
        let page = rows(&[("mark", 1.0), ("mine", 1.0)]);
        let read = |page: &[KernelRow], calls| {
            by_workload(page, |name| name == "mark", &workloads(1), calls, |_| true)
        };
        assert_eq!(read(&page, 2), Err(ProfileError::Calls { found: 1, expected: 2 }));
        assert_eq!(read(&[], 1), Err(ProfileError::Calls { found: 0, expected: 1 }));
        let empty = rows(&[("mark", 1.0), ("mark", 1.0), ("mine", 1.0)]);
        assert!(matches!(read(&empty, 2), Err(ProfileError::NoKernel { .. })));
    }
}
