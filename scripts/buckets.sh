#!/usr/bin/env bash
# Tests the shared cache in buckets, which the release has and a usual build has not: builds with the feature,
# fetches moto's S3 server from PyPI into target/, and runs what the suite leaves out. Starts it on the loopback.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="target/buckets-tools"
if [ ! -x "$tools/bin/moto_server" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet 'moto[server]==5.2.5'
fi
export MOTO_SERVER="$PWD/$tools/bin/moto_server"
cargo clippy --locked -p proofmark --features buckets --all-targets -- -D warnings
cargo test --locked -p proofmark --features buckets --lib shared_cache::
cargo test --locked -p proofmark --features buckets --test suite buckets:: -- --ignored
