#!/usr/bin/env bash
# Installs what building Shardscout needs on Debian 12 (and what is like it) with apt-get, if anything is missing.
# Says what it does; asks for nothing. Uses sudo only where it is not root.
#   scripts/install_dependencies.sh          what ./quickstart.sh and ./test.sh need
#   scripts/install_dependencies.sh --all    also what ./test.sh --all needs (clang with OpenMP, its fuzzer and
#                                            clang-tidy; mpirun; doxygen; shells and groff, whose tests are skipped without)
set -euo pipefail

packages=(cmake ninja-build g++ libtorch-dev libopenblas0-openmp libeigen3-dev nlohmann-json3-dev libspdlog-dev
  libcli11-dev libyaml-cpp-dev libgloo-dev libprotobuf-dev protobuf-compiler libgtest-dev libgmock-dev libbenchmark-dev
  libvalijson-dev libjs-chart.js)
if [ "${1:-}" = --all ]; then packages+=(clang clang-tidy libclang-rt-dev libomp-dev openmpi-bin chromium
  doxygen dpkg-dev fish groff-base man-db pkg-config zsh); fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "Missing packages: ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "No apt-get here: install their equivalents, then run this again"
  exit 2
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Not root and no sudo: install them as root with"
    echo "  apt-get install --no-install-recommends ${missing[*]}"
    exit 2
  fi
  as_root=(sudo)
fi
echo "Installing them with apt-get (on a bare Debian 12 about 330 MB to download)"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
