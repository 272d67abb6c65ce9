//! Means of runs over time, with a band of noise: what the same artifact moved from run to run.

use std::collections::BTreeMap;

use super::figures::percent;
use super::sparkline::trend;
use crate::ledger::RunRow;

/// Half of the band where no artifact was measured twice, as a share: what an unchanged artifact moves between
/// two devices of one model in the field's own reports (5 to 9 %).
const USUAL_NOISE: f64 = 0.05;

/// What runs must share to stand in one history: definition, architecture, device and trust.
pub type Place = (String, String, String, String);

/// The runs of one place that have a mean, the oldest first.
#[derive(Debug)]
pub struct History<'a> {
    /// The runs.
    pub runs: Vec<&'a RunRow>,
    /// The largest share by which two runs of one artifact differ from their middle; `None` where none was
    /// measured twice.
    pub seen: Option<f64>,
}

impl<'a> History<'a> {
    /// A history for each place that has more than one run with a mean.
    pub fn of(runs: &'a [RunRow]) -> BTreeMap<Place, Self> {
        let mut places: BTreeMap<Place, Vec<&RunRow>> = BTreeMap::new();
        for run in runs.iter().filter(|run| run.mean_ns.is_some()) {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let place = (run.definition.clone(), text(&run.arch), text(&run.device), run.trust.clone());
            places.entry(place).or_default().push(run);
        }
        places.retain(|_, runs| runs.len() > 1);
        let history = |mut runs: Vec<&'a RunRow>| {
            runs.sort_by(|one, other| one.time.cmp(&other.time));
            let seen = noise(&runs);
            Self { runs, seen }
        };
        places.into_iter().map(|(place, runs)| (place, history(runs))).collect()
    }

    /// The means in microseconds.
    pub fn means_us(&self) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.mean_ns).map(|mean| mean / 1e3).collect()
    }

    /// Half of the band, as a share.
    pub fn half_width(&self) -> f64 {
        self.seen.unwrap_or(USUAL_NOISE)
    }

    /// What the band says, as a phrase.
    pub fn band_words(&self) -> String {
        let half = percent(self.half_width());
        match self.seen {
            Some(_) => format!("±{half}, as far as runs of one artifact lay apart here"),
            None => format!(
                "±{half}, what runs of one artifact are known to differ by; none was measured twice here"
            ),
        }
    }

    /// One line of bars and words for a terminal.
    pub fn line(&self) -> String {
        const MOST: usize = 60;
        let means = self.means_us();
        let latest = &means[means.len().saturating_sub(MOST)..];
        let bars = trend(&latest.iter().copied().map(Some).collect::<Vec<_>>());
        let low = means.iter().copied().fold(f64::INFINITY, f64::min);
        let high = means.iter().copied().fold(0.0, f64::max);
        format!("{bars}  {low:.2} to {high:.2} µs in {} runs; noise {}", means.len(), self.band_words())
    }
}

fn noise(runs: &[&RunRow]) -> Option<f64> {
    let mut of_artifact: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for run in runs {
        if let (Some(artifact), Some(mean)) = (run.artifact, run.mean_ns) {
            of_artifact.entry(artifact).or_default().push(mean);
        }
    }
    let spread = |means: &Vec<f64>| {
        let (low, high) =
            means.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(*one), high.max(*one)));
        (high - low) / (high + low)
    };
    of_artifact.values().filter(|means| means.len() > 1).map(spread).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use proofmark_packager::Digest;

    use super::*;

    fn run(time: &str, artifact: &str, mean_ns: Option<f64>) -> RunRow {
        RunRow {
            run: time.to_owned(),
            time: time.to_owned(),
            definition: "d".to_owned(),
            solution: artifact.to_owned(),
            author: None,
            artifact: Some(Digest::of_bytes(artifact.as_bytes())),
            arch: None,
            device: None,
            workloads: 1,
            passed: 1,
            trust: "hermetic".to_owned(),
            mean_ns,
            origin: "measured".to_owned(),
        }
    }

    #[test]
    fn the_band_is_what_one_artifact_moved_and_the_order_is_that_of_time() {
        let mut runs = vec![run("3", "b", Some(5000.0)), run("1", "a", Some(9900.0)), run("2", "b", None)];
        let place = ("d".to_owned(), String::new(), String::new(), "hermetic".to_owned());
        let histories = History::of(&runs);
        assert_eq!(histories[&place].means_us(), [9.9, 5.0]);
        assert!(histories[&place].line().contains("█▁  5.00 to 9.90 µs in 2 runs; noise ±5.0 %, what runs"));
        runs.push(run("2", "a", Some(10_100.0)));
        let histories = History::of(&runs);
        assert_eq!(histories[&place].means_us(), [9.9, 10.1, 5.0]);
        assert!((histories[&place].half_width() - 0.01).abs() < 1e-9);
        let runs =
            [run("1", "a", Some(1.0)), RunRow { trust: "live".to_owned(), ..run("2", "a", Some(2.0)) }];
        assert!(History::of(&runs).is_empty(), "two kinds of trust are no history");
    }
}
