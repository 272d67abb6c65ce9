//! Prints the error rates of the comparison protocol in synthetic worlds:
//! `cargo run --release --example decision_error_rates [trials]`.

use std::thread;

use proofmark::measure::decision::Protocol;
use proofmark::measure::decision::simulation::{Tally, World};

/// The truths of the table: B slower by this share.
const TRUTHS: [f64; 7] = [-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03];

fn main() {
    let trials = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let protocol = Protocol::default();
    let lucky = |session_deviation| World { session_deviation, ..World::default() };
    table("no session luck", &protocol, &lucky(0.0), trials);
    table("session luck 0.5 %", &protocol, &lucky(0.005), trials);
    table("session luck 1 %", &protocol, &lucky(0.01), trials);
    let wide = Protocol { margin: 0.01, equivalence: 0.015, ..protocol.clone() };
    table("session luck 1 %, margin 1 %", &wide, &lucky(0.01), trials);
    let single = Protocol { sessions: 1, ..protocol.clone() };
    table("session luck 0.5 %, one session only", &single, &lucky(0.005), trials);
    let unknown = World { clock_is_visible: false, ..lucky(0.005) };
    table("session luck 0.5 %, clock unknown", &protocol, &unknown, trials);
    let short = Protocol::for_workloads(54);
    table("session luck 0.5 %, five blocks as for 54 workloads", &short, &lucky(0.005), trials);
}

fn table(title: &str, protocol: &Protocol, world: &World, trials: u32) {
    println!("{title} ({trials} trials, percent)\n");
    println!("| truth | better | worse | equal | undecided | processes |");
    println!("|--:|--:|--:|--:|--:|--:|");
    let tallies = thread::scope(|scope| {
        let start = |truth: f64| {
            let world = World { truth: truth.ln_1p(), ..world.clone() };
            scope.spawn(move || Tally::of(protocol, &world, trials, 1))
        };
        TRUTHS.map(start).map(|tally| tally.join().expect("a simulation does not panic"))
    });
    for (truth, tally) in TRUTHS.into_iter().zip(tallies) {
        let share = |count: u32| 100.0 * f64::from(count) / f64::from(tally.trials);
        println!(
            "| {:+.0} % | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
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
