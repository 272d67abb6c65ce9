# Prints a text and adds it to the summary of the run, fenced by more backticks than it holds in a row.
summarise() {
  printf '%s\n' "$2"
  local fence='```' most
  most="$(printf '%s' "$2" | grep -o '`\+' | awk '{ if (length > most) most = length } END { print most + 0 }')"
  while [ "${#fence}" -le "$most" ]; do fence+='`'; done
  printf '### %s\n\n%s\n%s\n%s\n\n' "$1" "$fence" "$2" "$fence" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
}
