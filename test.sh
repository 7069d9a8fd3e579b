#!/usr/bin/env bash
# Builds with warnings as errors and runs every test.
#   ./test.sh          all tests, in build-test/
#   ./test.sh --all    and the core under address, undefined-behaviour and thread sanitizers, clang-tidy, a short run of
#                      the fuzz targets, programs that use the installed library, every command of the documents, API pages
#                      by Doxygen, and pages opened in Chromium
set -euo pipefail
cd "$(dirname "$0")"

all=no
for argument in "$@"; do
  case "$argument" in
    --all) all=yes ;;
    *) echo "usage: ./test.sh [--all]" >&2; exit 2 ;;
  esac
done

if [ "$all" = yes ]; then scripts/install_dependencies.sh --all; else scripts/install_dependencies.sh; fi
if [ -z "${SHARDSCOUT_DATA:-}" ] && [ -d ../shared ]; then
  SHARDSCOUT_DATA=$(cd ../shared && pwd)
  export SHARDSCOUT_DATA
fi
jobs=$(nproc)

# What the program does for itself (src/cli/process_settings.h), for the tests that call the agents without it: OpenBLAS
# takes kernels of 2004 on a processor that it does not know, and a search from scratch twice as long.
has() { for flag in "$@"; do grep -qm1 "^flags.* $flag\( \|$\)" /proc/cpuinfo || return 1; done; }
if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ "$(uname -m)" = x86_64 ]; then
  if has avx512f avx512dq avx512bw avx512vl; then
    export OPENBLAS_CORETYPE=SKYLAKEX
  elif has avx2 fma; then
    export OPENBLAS_CORETYPE=HASWELL
  fi
fi

build() { # preset [target]
  echo "== $1: building"
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" ${2:+--target "$2"} -- -k 0
}
run_tests() { # preset
  echo "== $1: testing"
  ctest --preset "$1" -j "$jobs"
}

build test
if [ "$all" = yes ]; then
  export SHARDSCOUT_CALIBRATE_ALL=1 SHARDSCOUT_LIVE_ROUNDS=3 SHARDSCOUT_ALL_VARIANTS=1
  build asan core_tests
  run_tests asan
  if command -v clang++ >/dev/null; then
    build tsan core_tests
    run_tests tsan
    echo "== Fuzzing every parser"
    scripts/fuzz.sh 20000
  else
    echo "== tsan and fuzzing: skipped, no clang++ here"
  fi
  scripts/clang_tidy.sh
  echo "== Programs that use the installed library"
  prefix=$PWD/build-test/prefix
  rm -rf "$prefix" build-test/consumer
  cmake --install build-test --prefix "$prefix" >/dev/null
  cmake -S tests/consumer -B build-test/consumer -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCONSUMER_AGENTS=ON >/dev/null
  cmake --build build-test/consumer
  ctest --test-dir build-test/consumer --output-on-failure
  "$prefix/bin/shardscout" live --nproc 2 -m tiny-dense -c localhost-cpu -n 2 -w prefill-tiny --repeats 1
  "$prefix/bin/shardscout" search --searcher ppo --budget 32 --model llama-3.1-8b --cluster h100-sxm --devices 8 \
    --workload decode-chat --quiet
  echo "== The documents' commands, the slow ones too, and API pages"
  scripts/check_documents.sh --all build-test/shardscout README.md CONTRIBUTING.md docs/*.md
  scripts/api_pages.sh build-test/api
  echo "== Pages in a browser"
  pages=build-test/pages
  rm -rf "$pages" && mkdir -p "$pages"
  build-test/shardscout search --searcher annealing --model deepseek-v3 --cluster h100-sxm --devices 64 \
    --workload serve-chat --quiet --report "$pages/report.html" >/dev/null
  build-test/shardscout compare --suite quick --seeds 2 --budget 100 --searchers annealing,random --quiet \
    --out "$pages/compare" >/dev/null
  scripts/check_pages.sh "$pages/screenshots" "$pages/report.html" "$pages/compare/comparison.html"
fi
run_tests test
