#!/usr/bin/env bash
# Rebuilds every sealed artifact of a folder and compares; the first of the gravest codes is the answer.
set -uo pipefail
source "$(dirname "$0")/summary.sh"
case "${PROOFMARK_COMPARISON:-library}" in
  library | device-code) ;;
  *)
    echo "::error::comparison is '$PROOFMARK_COMPARISON': expected library or device-code"
    exit 2
    ;;
esac
worst=0
said=""
found=0
while IFS= read -r -d '' artifact; do
  found=$((found + 1))
  text="$(proofmark replay --no-measure "$artifact" 2>&1)"
  code=$?
  # What differs is compared once more, by its device code; the build is in the cache.
  if [ "$code" -eq 1 ] && [ "${PROOFMARK_COMPARISON:-library}" = device-code ]; then
    text+=$'\n'"$(proofmark replay --no-measure --cached --device-code-suffices "$artifact" 2>&1)"
    code=$?
  fi
  said+="$artifact: exit code $code"$'\n'"$text"$'\n\n'
  if [ "$code" -gt "$worst" ]; then worst="$code"; fi
done < <(find "$PROOFMARK_SHELF" -name '*.zip' -print0 | sort -z)
if [ "$found" -eq 0 ]; then
  echo "::error::no sealed artifact in $PROOFMARK_SHELF"
  exit 2
fi
summarise "Sealed artifacts, rebuilt" "$said"
exit "$worst"
