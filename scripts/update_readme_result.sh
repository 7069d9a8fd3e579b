#!/usr/bin/env bash
# Runs ./quickstart.sh and puts what it printed between the two markers of README.md, so that no figure there is typed by
# hand.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
block=$(mktemp)
trap 'rm -f "$log" "$block"' EXIT
./quickstart.sh | tee "$log"
{
  sed -n '/^model  /,/^plan  /p' "$log"
  echo
  sed -n -e 's/^ *predicted:/predicted:/p' -e '/^wrote /p' -e '/vllm serve /p' "$log"
} | sed -e 's/^/    /' -e 's/ *$//' >"$block"
awk -v block="$block" '
  /<!-- quickstart begins -->/ { print; while ((getline line < block) > 0) print line; skipping = 1; next }
  /<!-- quickstart ends -->/ { skipping = 0 }
  !skipping' README.md >README.md.new
mv README.md.new README.md
