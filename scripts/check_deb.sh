#!/usr/bin/env bash
# Builds the Debian packages and proves them on a bare Debian 12: installed by apt into a root that debootstrap made, the
# program searches there, and a program of someone else's builds against the library, without LibTorch anywhere.
#   scripts/check_deb.sh [BUILD [FOLDER]]     BUILD: a build folder (default build, made if it is not there); FOLDER:
#                                             where the bare root lies (default /srv/debian12), of which a copy is used
# Needs root, debootstrap, dpkg-dev and apt's usual sources.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
bare=${2:-/srv/debian12}

. scripts/debian_root.sh
make_debian_root bookworm "$bare"
if [ ! -f "$build/CMakeCache.txt" ]; then cmake --preset release -B "$build" >/dev/null; fi
echo "== Packages"
cmake --build "$build" --target shardscout_cli shardscout_core shardscout_pages >/dev/null
agents=no
if grep -q "^SHARDSCOUT_BUILD_AGENTS:BOOL=ON" "$build/CMakeCache.txt"; then
  agents=yes
  cmake --build "$build" --target shardscout_agents shardscout_live_worker >/dev/null
fi
rm -rf "$build/packages"
(cd "$build" && cpack -G DEB >/dev/null)
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$build/CMakeCache.txt")
for package in "$build"/packages/*.deb; do
  echo "$(basename "$package"): $(du -h "$package" | cut -f1); $(dpkg-deb -f "$package" Depends)"
done

echo "== A bare Debian 12"
scratch=$(mktemp -d)
root=$scratch/root
clean_up() {
  umount "$root/proc" 2>/dev/null || true
  rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT
cp -a --reflink=auto "$bare" "$root"
mount -t proc proc "$root/proc"
mkdir "$root/packages" "$root/check"
cp "$build"/packages/*.deb "$root/packages/"
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
install() {
  inside apt-get install -y -qq --no-install-recommends "$@" >"$scratch/apt" 2>&1 || { cat "$scratch/apt"; exit 1; }
}
inside apt-get update -qq

echo "== The program alone"
install "/packages/shardscout_${version}_$(dpkg --print-architecture).deb"
search=(shardscout search --searcher annealing --budget 1000 --model deepseek-v3 --cluster h100-sxm --devices 256
  --workload decode-chat --quiet --out /check/plan.json)
inside "${search[@]}"
inside shardscout export /check/plan.json --to vllm --lower --out /check >/dev/null
inside test -s /check/vllm.yaml -a -s /usr/share/man/man1/shardscout.1
inside bash -c 'source /usr/share/bash-completion/completions/shardscout && complete -p shardscout' >/dev/null
if inside shardscout search --searcher ppo --budget 1 --model llama-3.1-8b --cluster h100-sxm --devices 8 \
  --workload decode-chat 2>"$scratch/err"; then
  echo "ppo ran without its package"
  exit 1
fi
cat "$scratch/err"

echo "== A program of someone else's, without LibTorch"
install "/packages/libshardscout-dev_${version}_$(dpkg --print-architecture).deb" g++ cmake ninja-build pkg-config
cp -r tests/consumer "$root/check/consumer"
inside cmake -S /check/consumer -B /check/consumer/build -G Ninja >/dev/null
inside cmake --build /check/consumer/build >/dev/null
inside ctest --test-dir /check/consumer/build --output-on-failure | tail -n 12
if inside dpkg-query -W 'libtorch*' 2>/dev/null | grep -q libtorch; then
  echo "LibTorch is there after all"
  exit 1
fi

if [ "$agents" = yes ]; then
  echo "== With the learning agents"
  install "/packages/shardscout-agents_${version}_$(dpkg --print-architecture).deb" libopenblas0-openmp
  inside "${search[@]/annealing/ppo}"
fi
echo "== Removed again"
inside apt-get purge -y -qq shardscout >/dev/null 2>&1
if inside sh -c 'command -v shardscout || test -d /usr/share/shardscout'; then
  echo "something is left"
  exit 1
fi
echo "all good"
