#!/bin/sh
# Times `proofmark verify --list` beside a plain read of the mapped file and cuobjdump, on any FILE...
# Give the path of a cuobjdump that is not in PATH as: scripts/verify-speed.sh --cuobjdump PATH FILE...
set -eu
manifest=$(dirname "$0")/../Cargo.toml
cargo build --release --quiet --manifest-path "$manifest" -p proofmark --bin proofmark --example verify_speed
exec "$(dirname "$0")/../target/release/examples/verify_speed" "$@"
