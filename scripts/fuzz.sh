#!/bin/sh
# Fuzzes every target of the prover for SECONDS each (60 unless told), with small honest builds as seeds.
# Needs cargo-fuzz 0.13; the stable toolchain suffices.
set -eu
cd "$(dirname "$0")/../runtime"
fixtures=../tests/fixtures/proof
for target in container cubin payload archive zip command; do
  seeds=fuzz/corpus/$target
  mkdir -p "$seeds"
  cp "$fixtures"/* "$seeds"
  RUSTC_BOOTSTRAP=1 cargo fuzz run "$target" "$seeds" -- -max_total_time="${1:-60}" -max_len=32768 -timeout=20
done
