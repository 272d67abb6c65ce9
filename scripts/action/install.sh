#!/usr/bin/env bash
# Installs the program from the wheel of a release, a file or an address, if it has the checksum that is named;
# never by its bare name, which on PyPI is somebody else's package.
set -euo pipefail
package="${PROOFMARK_PACKAGE:-}"
checksum="${PROOFMARK_CHECKSUM:-}"
refuse() {
  echo "::error::$1"
  exit 2
}
if [ "$package" != installed ]; then
  case "$package" in
    *.whl) ;;
    *) refuse "package is '$package': expected the path or https address of a release's wheel, or 'installed'" ;;
  esac
  [[ "$checksum" =~ ^[0-9a-f]{64}$ ]] ||
    refuse "checksum is '$checksum': expected the 64 digits that SHA256SUMS of the release has for the wheel"
  folder="$(mktemp -d)"
  trap 'rm -rf "$folder"' EXIT
  wheel="$folder/${package##*/}"
  case "$package" in
    https://*) curl --fail --silent --show-error --location --proto =https --output "$wheel" "$package" ;;
    *://*) refuse "package is '$package': expected an https address" ;;
    *) cp -- "$package" "$wheel" ;;
  esac
  found="$(sha256sum <"$wheel")"
  [ "${found%% *}" = "$checksum" ] ||
    refuse "$package has the checksum ${found%% *}: expected $checksum; nothing was installed"
  python3 -m pip install --quiet --no-index --no-deps "$wheel"
  # What is on PATH may be another one.
  installed="$(python3 -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/proofmark"
  [ -x "$installed" ] || installed="$(python3 -m site --user-base)/bin/proofmark"
  "$installed" --version
  [ "$(command -v proofmark)" -ef "$installed" ] ||
    echo "::warning::$(command -v proofmark || echo nothing) is proofmark on PATH: expected $installed"
else
  proofmark --version
fi
