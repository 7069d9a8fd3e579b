#!/usr/bin/env bash
# Fuzzes every parser with clang's libFuzzer under the address and undefined-behaviour sanitizers, and says how many inputs
# each target ran and how many crashed it. Fails where one did; its input then lies in build-fuzz/crashes/.
#   scripts/fuzz.sh [RUNS]           inputs a target, 20000 unless given
#   scripts/fuzz.sh RUNS results     and writes experiments/results/fuzz.csv
#   FUZZ_TARGETS="plan journal" scripts/fuzz.sh    only these; the rows of the others stay as they are
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-20000}
targets=${FUZZ_TARGETS:-model cluster workload problem search strategy plan journal flags deployment topology}
max_len=16384  # Plans and clusters carry the curves of their devices.
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=5 UBSAN_OPTIONS=print_stacktrace=1

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzzers
build=$PWD/build-fuzz
rm -rf "$build/seeds" && "$build/write_seeds" "$build/seeds"
mkdir -p "$build/crashes" "$build/logs"

fuzz() { # target: one row of the table on stdout
  local corpus=$build/corpus/$1 log=$build/logs/$1.log rc=0 folders=()
  rm -rf "$corpus" && mkdir -p "$corpus"
  if [ -d "configs/$1s" ]; then folders+=("configs/$1s"); fi
  if [ -d "$build/seeds/$1" ]; then folders+=("$build/seeds/$1"); fi
  rm -f "$build/crashes/$1"-*
  "$build/$1_fuzzer" -runs="$runs" -seed=1 -max_len=$max_len -entropic=0 -timeout=20 -rss_limit_mb=4096 -dict="$build/seeds/words.dict" \
    -artifact_prefix="$build/crashes/$1-" -print_final_stats=1 "$corpus" "${folders[@]}" >"$log" 2>&1 || rc=$?
  local executed crashes edges
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  crashes=$(find "$build/crashes" -name "$1-*" ! -name '*-slow-unit-*' | wc -l)
  if [ "$rc" -ne 0 ] && [ "$crashes" -eq 0 ]; then crashes=1; fi
  echo "$1,$runs,${executed:-0},${edges:-0},$crashes"
}
export -f fuzz
export runs max_len build

table=$build/fuzz.csv
{
  echo "target,runs,executed_units,covered_edges,crashes"
  # shellcheck disable=SC2086  # one word a target
  printf '%s\n' $targets | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I{} bash -c 'fuzz {}' | sort
} | tee "$table"
if [ "${2:-}" = results ]; then
  results=experiments/results/fuzz.csv
  {
    head -n 1 "$table"
    { tail -n +2 "$table"; cat "$results" 2>/dev/null || true; } | grep -v '^target,' | sort -t, -u -k1,1 -s
  } >"$results.new"
  mv "$results.new" "$results"
fi
if cut -d, -f5 "$table" | grep -qx '[1-9][0-9]*'; then
  echo "a target crashed: its log is in $build/logs, its input in $build/crashes" >&2
  exit 1
fi
