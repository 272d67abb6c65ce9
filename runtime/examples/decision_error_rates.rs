//! Prints the error rates of the comparison protocol in synthetic worlds:
//! `cargo run --release --example decision_error_rates [trials]`.

use runtime::bench::decision::Protocol;
use runtime::bench::decision::simulation::{Tally, World};

/// The truths of the table: B slower by this share.
const TRUTHS: [f64; 7] = [-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03];

fn main() {
    let trials = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let standard = World::default();
    let protocol = Protocol::default();
    for session_deviation in [0.0, 0.005, 0.01] {
        let world = World { session_deviation, ..standard.clone() };
        table(&format!("session luck {:.1} %", 100.0 * session_deviation), &protocol, &world, trials);
    }
    table(
        "clock unknown, session luck 0.5 %",
        &protocol,
        &World { clock_is_visible: false, session_deviation: 0.005, ..standard.clone() },
        trials,
    );
    table(
        "one session, session luck 0.5 %",
        &Protocol { sessions: 1, ..protocol.clone() },
        &World { session_deviation: 0.005, ..standard.clone() },
        trials,
    );
    table(
        "54 workloads' protocol on one workload, session luck 0.5 %",
        &Protocol::for_workloads(54),
        &World { session_deviation: 0.005, ..standard },
        trials,
    );
}

fn table(title: &str, protocol: &Protocol, world: &World, trials: u32) {
    println!("{title} ({trials} trials)\n");
    println!("| truth | better | worse | equal | undecided | processes |");
    println!("|--:|--:|--:|--:|--:|--:|");
    for truth in TRUTHS {
        let world = World { truth: truth.ln_1p(), ..world.clone() };
        let tally = Tally::of(protocol, &world, trials, 1);
        let share = |count: u32| 100.0 * f64::from(count) / f64::from(tally.trials);
        println!(
            "| {:+.0} % | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.1} |",
            100.0 * truth,
            share(tally.better),
            share(tally.worse),
            share(tally.equal),
            share(tally.undecided),
            f64::from(u32::try_from(tally.processes).unwrap_or(u32::MAX)) / f64::from(tally.trials),
        );
    }
    println!();
}
