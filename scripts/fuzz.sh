#!/bin/sh
# Fuzzes targets of the prover for SECONDS each, with small honest builds and texts as seeds:
# scripts/fuzz.sh [SECONDS [TARGET...]], 60 seconds and all targets unless told.
# Needs cargo-fuzz 0.13; the stable toolchain suffices. Without a sanitizer: what is fuzzed holds no unsafe code, and
# runs several times as often.
set -eu
cd "$(dirname "$0")/../runtime"
fixtures=../tests/fixtures/proof
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- container cubin payload archive packing command text library
RUSTC_BOOTSTRAP=1 cargo fuzz build --sanitizer none
for target in "$@"; do
  seeds=fuzz/corpus/$target
  mkdir -p "$seeds"
  case $target in
    command) cp fuzz/seeds/command/* "$seeds" ;;
    text) cp fuzz/seeds/text/* "$seeds" ;;
    library) printf '\0' > "$seeds/library"; printf '\1' > "$seeds/object" ;;
    packing)
      cp "$fixtures"/*_13.0.cubin "$seeds"
      tar -C "$fixtures" -cf "$seeds/a.tar" exact_13.0.cubin plain_13.0.cubin
      (cd "$seeds" && python3 -m zipfile -c a.zip a.tar exact_13.0.cubin)
      for tool in gzip bzip2 xz zstd; do
        if command -v $tool > /dev/null; then $tool -c "$seeds/a.tar" > "$seeds/a.tar.$tool"; fi
      done
      ;;
    *) cp "$fixtures"/* "$seeds" ;;
  esac
  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$target" "$seeds" -- -max_total_time="$seconds" -max_len=32768 -timeout=20
done
