#!/usr/bin/env bash
# Compiles and links what needs LibTorch (agents, workers of live runs) against a LibTorch with CUDA and NCCL, and asks
# the worker for a GPU. Where there is none, the answer has to be a clear error; where there is one, a strategy is proved.
# Build folder: build-cuda/.
#
# Needs a LibTorch 2.x with CUDA. Debian 13 has one in contrib and non-free (about 2.5 GB to download; it takes the place
# of libtorch-dev, so use a machine or a root of its own, such as one made by debootstrap with /proc and /dev mounted):
#   apt-get install --no-install-recommends libtorch-cuda-dev libgloo-cuda-dev libnccl-dev nvidia-cuda-toolkit
# LibTorch's CMake files ask for nvcc, though nothing is compiled by it. cuDNN is fetched from NVIDIA by the package
# nvidia-cudnn, if one agrees to its licence; it is needed to run, not to compile and link.
# Elsewhere: CMAKE_PREFIX_PATH=/path/to/libtorch scripts/check_cuda_build.sh
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-cuda

echo "== Configuring"
cmake --preset test -B "$build" -DSHARDSCOUT_BUILD_TESTS=OFF -DSHARDSCOUT_BUILD_BENCHMARKS=OFF "$@" >/dev/null
if ! ninja -C "$build" -t commands shardscout_live_worker 2>/dev/null | grep -q 'USE_C10D_NCCL'; then
  echo "No workers with NCCL: this LibTorch has no CUDA ($(sed -n 's/^Torch_DIR:PATH=//p' "$build/CMakeCache.txt"))," \
    "or Gloo is missing" >&2
  exit 2
fi

echo "== Building"
cmake --build "$build" --target shardscout_agents shardscout_live_worker shardscout_cli

echo "== The worker's backend"
if ! nm -C "$build/shardscout_live_worker" | grep -q 'U c10d::ProcessGroupNCCL::ProcessGroupNCCL('; then
  echo "The worker does not use c10d's NCCL" >&2
  exit 1
fi
echo "c10d::ProcessGroupNCCL is linked"

echo "== A run on a GPU"
run=("$build/shardscout" live --nproc 1 --device cuda -m tiny-dense -c localhost-cpu -n 1 -w prefill-tiny)
status=0
output=$("${run[@]}" 2>&1) || status=$?
echo "$output"
if [ "$status" -eq 4 ] && grep -q 'LibTorch sees 0 here' <<<"$output"; then
  echo "== No GPU here, and it says so"
elif [ "$status" -ne 0 ]; then
  exit "$status"
fi
