#!/usr/bin/env bash
# Makes what a release publishes, with checksums, in a new folder:
#
#   scripts/release.sh OUT [x86_64|aarch64]
#
#   proofmark-VERSION-py3-none-manylinux_2_28_ARCH.whl   pip install ./THIS
#   proofmark-VERSION-ARCH.tar.gz                        the same files without Python
#   SHA256SUMS
#
# Needs Rust, for another architecture its target too (`rustup target add aarch64-unknown-linux-gnu`), g++, git and
# python3 with venv. maturin, cargo-zigbuild and ziglang, which links against glibc
# 2.28 anywhere, come from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
out="$(mkdir -p "$1" && cd "$1" && pwd)"
arch="${2:-x86_64}"
target="$arch-unknown-linux-gnu"
glibc="2.28"
data="target/proofmark.data"
folder="${CARGO_TARGET_DIR:-target}/$target/release"
tools="target/release-tools"
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)"
# One time for every file: what is built twice has the same bytes.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"

if [ ! -x "$tools/bin/maturin" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet maturin==1.16.0 cargo-zigbuild==0.24.1 ziglang==0.17.1
fi
export PATH="$PWD/$tools/bin:$PATH"

# The program itself is built once, by maturin; what Python loads of it goes into the wheel as a file.
cargo zigbuild --locked --release --target "$target.$glibc" -p proofmark-player

# Pages and completions are the program's own words, which a build for this machine says as well.
cargo build --locked -p proofmark
says="${CARGO_TARGET_DIR:-target}/debug/proofmark"
rm -rf "$data"
share="$data/data/share"
mkdir -p "$data/data/lib/proofmark" "$share/man/man1" "$share/bash-completion/completions" \
  "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
install -m 644 "$folder/libproofmark_player.so" "$data/data/lib/proofmark/"
"$says" man --into "$share/man/man1" >/dev/null
"$says" completions bash >"$share/bash-completion/completions/proofmark"
"$says" completions zsh >"$share/zsh/site-functions/_proofmark"
"$says" completions fish >"$share/fish/vendor_completions.d/proofmark.fish"

maturin build --locked --release --zig --target "$target" --compatibility manylinux_2_28 --features buckets \
  --manifest-path runtime/Cargo.toml --out "$out"

# Without Python: the same tree below one folder.
tree="$data/proofmark-$version-$arch"
mkdir -p "$tree/bin"
cp -r "$data/data/lib" "$data/data/share" "$tree/"
install -m 755 "$folder/proofmark" "$tree/bin/"
install -m 644 README.md SECURITY.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$tree/"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
  -C "$data" -cf - "$(basename "$tree")" | gzip -n >"$out/proofmark-$version-$arch.tar.gz"
(cd "$out" && sha256sum -- *.whl *.tar.gz >SHA256SUMS)
cat "$out/SHA256SUMS"
