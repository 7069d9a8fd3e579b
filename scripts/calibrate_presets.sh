#!/usr/bin/env bash
# Fits the curves of every preset whose device was measured, and writes them into configs/clusters/: to DATA, and to what
# was published of Blackwell's kernels.
#   scripts/calibrate_presets.sh DATA [BUILD]     DATA: a folder of tables (docs/calibration.md); BUILD: by default build
# Presets whose device was not measured but has a close relative that was carry a copy of its curves, which a test holds
# equal (tests/env/cluster_presets_test.cc).
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"say where the tables are"}
build=${2:-build}

for file in $(grep -l '"measured_as"' configs/clusters/*.json); do
  "$build/shardscout" calibrate --data "$data,experiments/blackwell_kernels" --cluster "$file" --out "$file" >/dev/null
  echo "$file"
done
