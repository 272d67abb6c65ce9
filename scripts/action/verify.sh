#!/usr/bin/env bash
# Holds every wheel that the pattern names against the policy, and puts what is in them into the summary.
set -uo pipefail
source "$(dirname "$0")/summary.sh"
shopt -s nullglob
wheels=($PROOFMARK_WHEEL)
if [ "${#wheels[@]}" -eq 0 ]; then
  echo "::error::no file is named by $PROOFMARK_WHEEL"
  exit 2
fi
judged="$(proofmark verify "${wheels[@]}" --policy "$PROOFMARK_POLICY" 2>&1)"
code=$?
summarise "Architectures, held against \`$PROOFMARK_POLICY\`" "$judged"
exit "$code"
