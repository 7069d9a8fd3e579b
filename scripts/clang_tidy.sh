#!/usr/bin/env bash
# Runs clang-tidy with the checks of .clang-tidy over every source that needs no LibTorch; each finding is an error.
#   scripts/clang_tidy.sh [REGEX]     only files whose path matches, such as src/json
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v clang-tidy >/dev/null || ! command -v run-clang-tidy >/dev/null; then
  echo "== clang-tidy: skipped, it is not installed (scripts/install_dependencies.sh --all)"
  exit 0
fi
echo "== clang-tidy"
cmake --preset tidy >/dev/null
cmake --build build-tidy --target proto_schemas >/dev/null
log=build-tidy/clang-tidy.log
if ! run-clang-tidy -quiet -p build-tidy -j "${TIDY_JOBS:-$(nproc)}" \
  "$PWD/(src|strategies|env|baselines)/.*${1:-}.*\.cc\$" >"$log" 2>&1; then
  sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E ': (error|warning): ' | sort -u || tail -n 20 "$log"
  exit 1
fi
