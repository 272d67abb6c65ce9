#!/bin/sh
# Flips every bit of every honest build among the prover's fixtures: what stays exact must mean the same.
set -eu
cd "$(dirname "$0")/.."
cargo test --release -p proofmark --test suite -- --ignored --nocapture no_bit_of_any_honest_build
