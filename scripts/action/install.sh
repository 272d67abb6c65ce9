#!/usr/bin/env bash
# Installs the program, unless it is said to be there.
set -euo pipefail
version="${PROOFMARK_VERSION:-}"
if [ "$version" != installed ]; then
  python3 -m pip install --quiet "proofmark${version:+==$version}"
fi
proofmark --version
