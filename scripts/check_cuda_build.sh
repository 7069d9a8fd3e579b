#!/usr/bin/env bash
# Compiles and links what needs LibTorch (agents, workers of live runs) against a LibTorch with CUDA and NCCL, and asks
# the worker for a GPU. Where there is none, the answer has to be a clear error; where there is one, a strategy is proved.
# Build folder: build-cuda/.
#
# Needs a LibTorch 2.x with CUDA. Debian 13 has one in contrib and non-free (about 2.5 GB to download; it takes the place
# of libtorch-dev, so use a machine or a root of its own, such as one made by debootstrap with /proc and /dev mounted):
#   apt-get install --no-install-recommends libtorch-cuda-dev libgloo-cuda-dev libnccl-dev nvidia-cuda-toolkit
# LibTorch's CMake files ask for nvcc, though nothing is compiled by it. The package nvidia-cudnn fetches cuDNN from
# NVIDIA if one agrees to its licence; without it a stub takes its place here, since no worker calls it.
# Elsewhere: CMAKE_PREFIX_PATH=/path/to/libtorch scripts/check_cuda_build.sh
set -euo pipefail
cd "$(dirname "$0")/.."
build=$PWD/build-cuda
flags=()

# A library with the names that LibTorch wants of cuDNN, for the linker and the loader.
make_stub() { # libtorch_cuda.so soname
  local stub=$build/stub
  echo "== No $2: a stub in its place"
  mkdir -p "$stub"
  nm -D --undefined-only "$1" | sed -n 's/.* U \(cudnn[A-Za-z0-9_]*\).*/\1/p' | sort -u |
    sed 's/.*/long &(void) { return 0; }/; s/^long cudnnGetVersion.*/long cudnnGetVersion(void) { return 90000; }/' \
      >"$stub/stub.c"
  echo "$2 { global: *; };" >"$stub/stub.map"
  cc -shared -fPIC -Wl,-soname,"$2" -Wl,--version-script="$stub/stub.map" -o "$stub/$2" "$stub/stub.c"
  flags+=("-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath-link,$stub" "-DCMAKE_MODULE_LINKER_FLAGS=-Wl,-rpath-link,$stub")
  export LD_LIBRARY_PATH=$stub${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}
torch_cuda=$(ldconfig -p | awk '$1 ~ /^libtorch_cuda\.so/ { print $NF; exit }')
if [ -n "$torch_cuda" ]; then
  missing=$(ldd "$torch_cuda" | awk '$1 ~ /^libcudnn\.so/ && /not found/ { print $1; exit }')
  if [ -n "$missing" ]; then make_stub "$torch_cuda" "$missing"; fi
fi

echo "== Configuring"
cmake --preset test -B "$build" -DSHARDSCOUT_BUILD_TESTS=OFF -DSHARDSCOUT_BUILD_BENCHMARKS=OFF "${flags[@]}" "$@" >/dev/null
if ! ninja -C "$build" -t commands shardscout_live_worker 2>/dev/null | grep 'USE_C10D_NCCL' >/dev/null; then
  echo "No workers with NCCL: this LibTorch has no CUDA ($(sed -n 's/^Torch_DIR:PATH=//p' "$build/CMakeCache.txt"))," \
    "or Gloo is missing" >&2
  exit 2
fi

echo "== Building"
cmake --build "$build" --target shardscout_agents shardscout_live_worker shardscout_cli

echo "== The worker's backend"
if ! nm -C "$build/shardscout_live_worker" | grep 'U c10d::ProcessGroupNCCL::ProcessGroupNCCL(' >/dev/null; then
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
