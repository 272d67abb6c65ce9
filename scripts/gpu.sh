#!/usr/bin/env bash
# Runs every test and measurement that needs a GPU, one after another (half an hour), and keeps what they say
# in a dated record. PROOFMARK_SUITE names a test program that was built elsewhere.
set -uo pipefail
cd "$(dirname "$0")/.."
records="${1:-target/gpu}"
mkdir -p "$records"
record="$records/$(date -u +%Y-%m-%dT%H%M%SZ).txt"
suite=(cargo test --release --test suite --)
[ -z "${PROOFMARK_SUITE:-}" ] || suite=("$PROOFMARK_SUITE")
{
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,temperature.gpu,power.draw --format=csv
  "${suite[@]}" gpu:: --ignored --nocapture --test-threads=1
} 2>&1 | tee "$record"
