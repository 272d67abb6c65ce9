#!/usr/bin/env bash
# Holds every wheel that the patterns name, one a line, against the policy, and puts what is in them into the summary.
set -uo pipefail
source "$(dirname "$0")/summary.sh"
shopt -s nullglob
wheels=()
while IFS= read -r pattern; do
  if [ -z "$pattern" ]; then continue; fi
  # Names are not split at spaces: nothing separates words here.
  IFS='' found=($pattern)
  if [ "${#found[@]}" -eq 0 ]; then
    echo "::error::no file is named by $pattern"
    exit 2
  fi
  wheels+=("${found[@]}")
done <<<"$PROOFMARK_WHEEL"
judged="$(proofmark verify --policy "$PROOFMARK_POLICY" -- "${wheels[@]}" 2>&1)"
code=$?
summarise "Architectures, held against \`$PROOFMARK_POLICY\`" "$judged"
exit "$code"
