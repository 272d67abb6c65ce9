//! How long a plan takes on so many GPUs: a simulation of builders, GPUs and the shared cache.
//!
//! Submissions are built by processors, or by the worker of the GPU where there are none; measured one after the
//! other on each GPU; and read from one cache that gives so many bytes a second to all. Workers die now and then
//! and begin again after a while; what they had finished stays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

/// What one thing costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Costs {
    /// Building and proving one submission, in seconds of one worker.
    pub build_s: f64,
    /// Beginning to measure one: processes, contexts, the reference.
    pub start_s: f64,
    /// Measuring one workload.
    pub workload_s: f64,
    /// What a workload of a submission that hangs costs: its time limit, and new processes.
    pub hung_workload_s: f64,
    /// The share of submissions that hang.
    pub hung_share: f64,
    /// One cached build, in bytes.
    pub entry_bytes: f64,
    /// What the cache gives to all, in bytes a second.
    pub cache_bytes_per_s: f64,
    /// How often a worker dies, in seconds between two deaths.
    pub death_every_s: f64,
    /// How long until another one takes its place.
    pub restart_s: f64,
}

/// What is there to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Machines {
    /// GPUs, each with one worker.
    pub gpus: usize,
    /// Processors that build ahead; 0 where each GPU's worker builds what it measures.
    pub builders: usize,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// What it was made for.
    #[serde(flatten)]
    pub machines: Machines,
    /// From the start to the last result.
    pub makespan_s: f64,
    /// The share of that in which GPUs measure.
    pub gpu_busy: f64,
    /// Seconds in which GPUs wait for builds, over all of them.
    pub build_wait_s: f64,
    /// Seconds in which workers wait for the cache, over all of them.
    pub cache_wait_s: f64,
    /// Bytes that go into the cache and out of it.
    pub cache_bytes: f64,
    /// Workers that died on the way.
    pub deaths: usize,
    /// What sets the time.
    pub bound_by: Bound,
}

/// Costs of which no simulation can be made: a worker dies before it comes to the end of one workload, again and again.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "workers that die every {death_every_s:.1e} s do not come to the end of a workload, which takes {workload_s} s"
)]
pub struct NoEnd {
    /// How often a worker dies.
    pub death_every_s: f64,
    /// Beginning and the longest workload.
    pub workload_s: f64,
}

impl Costs {
    /// Refuses costs with which nothing ever ends.
    pub fn check(&self) -> Result<(), NoEnd> {
        let longest_s =
            if self.hung_share > 0.0 { self.workload_s.max(self.hung_workload_s) } else { self.workload_s };
        // Each costs up to half more.
        let workload_s = self.start_s + 1.5 * longest_s;
        let death_every_s = self.death_every_s;
        if death_every_s > workload_s { Ok(()) } else { Err(NoEnd { death_every_s, workload_s }) }
    }
}

/// What sets the time: the largest of what nothing can be faster than.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The GPUs: more of them help.
    Gpus,
    /// Building: more builders help.
    Builders,
    /// The cache: a faster one helps.
    Cache,
    /// The longest submission: only a shorter limit for calls helps.
    LongestShard,
}

/// One submission on its way.
#[derive(Debug, Clone, Copy)]
struct Load {
    build_s: f64,
    measure_s: f64,
}

/// A moment that sorts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The cache: one reader or writer after the other.
#[derive(Debug, Default)]
struct Cache {
    free_at: f64,
    waited_s: f64,
    bytes: f64,
}

impl Cache {
    /// When so many bytes have moved that are asked for at a moment.
    fn moved(&mut self, at: f64, costs: &Costs) -> f64 {
        let begins = self.free_at.max(at);
        self.waited_s += begins - at;
        self.bytes += costs.entry_bytes;
        self.free_at = begins + costs.entry_bytes / costs.cache_bytes_per_s;
        self.free_at
    }
}

/// Simulates a plan, given as workloads of each submission. The same seed gives the same answer.
pub fn estimate(workloads: &[usize], costs: &Costs, machines: Machines, seed: u64) -> Estimate {
    let mut dice = ChaCha12Rng::seed_from_u64(seed);
    let loads: Vec<Load> = workloads.iter().map(|&count| load(count, costs, &mut dice)).collect();
    let mut cache = Cache::default();
    let built = build_ahead(&loads, costs, machines.builders, &mut cache);
    let mut gpus: BinaryHeap<Reverse<Moment>> = vec![Reverse(Moment(0.0)); machines.gpus.max(1)].into();
    let (mut measured_s, mut build_wait_s, mut makespan_s, mut deaths) = (0.0, 0.0, 0.0_f64, 0_usize);
    for (load, built) in loads.iter().zip(&built) {
        let Some(Reverse(Moment(free))) = gpus.pop() else { break };
        let ready = match built {
            Some(at) => free.max(*at),
            None => cache.moved(free + load.build_s, costs),
        };
        build_wait_s += ready - free;
        // The submission's build and the reference's.
        let fetched = cache.moved(ready, costs);
        let fetched = cache.moved(fetched, costs);
        let lost = deaths_of(load.measure_s, costs, &mut dice);
        deaths = deaths.saturating_add(lost);
        measured_s += load.measure_s;
        let again = count(lost) * (costs.restart_s + costs.start_s);
        let done = fetched + load.measure_s + again;
        makespan_s = makespan_s.max(done);
        gpus.push(Reverse(Moment(done)));
    }
    Estimate {
        machines,
        makespan_s,
        gpu_busy: measured_s / (makespan_s * count(machines.gpus.max(1))),
        build_wait_s,
        cache_wait_s: cache.waited_s,
        cache_bytes: cache.bytes,
        deaths,
        bound_by: bound(&loads, costs, machines, &cache),
    }
}

/// Costs vary by half to both sides: kernels differ.
fn load(workloads: usize, costs: &Costs, dice: &mut ChaCha12Rng) -> Load {
    let build_s = costs.build_s * dice.random_range(0.5..1.5);
    let one_s = if dice.random_bool(costs.hung_share.clamp(0.0, 1.0)) {
        costs.hung_workload_s
    } else {
        costs.workload_s * dice.random_range(0.5..1.5)
    };
    Load { build_s, measure_s: costs.start_s + one_s * count(workloads) }
}

/// When each submission is built and in the cache; `None` where nobody builds ahead.
fn build_ahead(loads: &[Load], costs: &Costs, builders: usize, cache: &mut Cache) -> Vec<Option<f64>> {
    if builders == 0 {
        return vec![None; loads.len()];
    }
    let mut free: BinaryHeap<Reverse<Moment>> = vec![Reverse(Moment(0.0)); builders].into();
    let mut build = |load: &Load| {
        let Reverse(Moment(begins)) = free.pop()?;
        let built = begins + load.build_s;
        free.push(Reverse(Moment(built)));
        // Writing shares the cache's speed; it is short beside building, and not waited for.
        cache.bytes += costs.entry_bytes;
        Some(built + costs.entry_bytes / costs.cache_bytes_per_s)
    };
    loads.iter().map(&mut build).collect()
}

/// Up to so many deaths they are drawn one by one; of more, their sum is all but normal.
const MOST_DRAWN: f64 = 1000.0;

/// How often a worker dies in so many seconds.
fn deaths_of(seconds: f64, costs: &Costs, dice: &mut ChaCha12Rng) -> usize {
    let mut uniform = || dice.random_range(f64::MIN_POSITIVE..1.0_f64);
    let mean = seconds / costs.death_every_s;
    if mean > MOST_DRAWN {
        let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        return whole(mean + mean.sqrt() * normal);
    }
    let (mut at, mut deaths) = (0.0, 0);
    loop {
        at -= costs.death_every_s * uniform().ln();
        if at > seconds {
            return deaths;
        }
        deaths += 1;
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "beyond its ends it is the end")]
fn whole(number: f64) -> usize {
    number.max(0.0) as usize
}

/// The largest of what nothing can be faster than.
fn bound(loads: &[Load], costs: &Costs, machines: Machines, cache: &Cache) -> Bound {
    let sum = |of: fn(&Load) -> f64| loads.iter().map(of).sum::<f64>();
    let (build_s, measure_s) = (sum(|load| load.build_s), sum(|load| load.measure_s));
    let on_gpus = if machines.builders == 0 { build_s + measure_s } else { measure_s };
    let longest = loads.iter().map(|load| load.measure_s).fold(0.0, f64::max);
    let candidates = [
        (on_gpus / count(machines.gpus.max(1)), Bound::Gpus),
        (if machines.builders == 0 { 0.0 } else { build_s / count(machines.builders) }, Bound::Builders),
        (cache.bytes / costs.cache_bytes_per_s, Bound::Cache),
        (longest, Bound::LongestShard),
    ];
    let largest = candidates.into_iter().max_by(|one, other| one.0.total_cmp(&other.0));
    largest.map_or(Bound::Gpus, |(_, bound)| bound)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        build_s: 8.0,
        start_s: 2.0,
        workload_s: 0.5,
        hung_workload_s: 12.0,
        hung_share: 0.0,
        entry_bytes: 1e6,
        cache_bytes_per_s: 1e8,
        death_every_s: 1e9,
        restart_s: 120.0,
    };

    fn of(costs: &Costs, gpus: usize, builders: usize) -> Estimate {
        estimate(&[54; 200], costs, Machines { gpus, builders }, 1)
    }

    #[test]
    fn one_gpu_takes_all_the_work_and_more_gpus_share_it() {
        let one = of(&COSTS, 1, 16);
        // 200 submissions of 29 s on average; nothing else takes time worth naming.
        assert!((one.makespan_s / 5800.0 - 1.0).abs() < 0.1, "{one:?}");
        assert!(one.gpu_busy > 0.98 && one.bound_by == Bound::Gpus, "{one:?}");
        let eight = of(&COSTS, 8, 16);
        let gain = one.makespan_s / eight.makespan_s;
        assert!((7.0..8.01).contains(&gain), "{gain}");
        assert_eq!(one, of(&COSTS, 1, 16), "the same seed gives the same answer");
    }

    #[test]
    fn what_breaks_first_is_named() {
        assert_eq!(of(&COSTS, 64, 2).bound_by, Bound::Builders);
        assert_eq!(of(&Costs { hung_share: 0.05, ..COSTS }, 64, 64).bound_by, Bound::LongestShard);
        assert_eq!(of(&Costs { cache_bytes_per_s: 1e6, ..COSTS }, 64, 64).bound_by, Bound::Cache);
        let alone = of(&COSTS, 8, 0);
        assert!(alone.build_wait_s > 1500.0 && alone.gpu_busy < of(&COSTS, 8, 16).gpu_busy, "{alone:?}");
    }

    #[test]
    fn workers_that_die_cost_time_and_no_result() {
        let dying = of(&Costs { death_every_s: 600.0, ..COSTS }, 8, 16);
        assert!(dying.deaths > 3 && dying.makespan_s > of(&COSTS, 8, 16).makespan_s, "{dying:?}");
    }

    #[test]
    fn many_deaths_are_as_many_as_drawn_one_by_one_and_cost_no_time() {
        let mut dice = ChaCha12Rng::seed_from_u64(1);
        let costs = Costs { death_every_s: 4.0, ..COSTS };
        for seconds in [3_990.0, 4_010.0] {
            let sum: usize = (0..200).map(|_| deaths_of(seconds, &costs, &mut dice)).sum();
            assert!((count(sum) / 200.0 / 1000.0 - 1.0).abs() < 0.02, "{sum}");
        }
        let many = deaths_of(1e15, &costs, &mut dice);
        assert!((count(many) / 2.5e14 - 1.0).abs() < 0.01, "{many}");
    }

    #[test]
    fn costs_with_which_nothing_ever_ends_are_refused() {
        // A workload takes at most 2 s and 0.75 s here, and 2 s and 18 s where some hang.
        let of = |death_every_s, hung_share| Costs { hung_share, death_every_s, ..COSTS }.check();
        assert!(of(2.8, 0.0).is_ok() && of(20.1, 0.1).is_ok());
        for (death_every_s, hung_share) in [(2.7, 0.0), (1e-9, 0.0), (19.9, 0.1), (f64::NAN, 0.0)] {
            assert!(of(death_every_s, hung_share).is_err(), "{death_every_s}");
        }
    }
}
