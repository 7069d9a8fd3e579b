#!/usr/bin/env bash
# Runs ./test.sh of the last commit in a Debian 13 root (GCC 14, LibTorch 2.6), made with debootstrap. Needs root,
# debootstrap and apt's usual sources; the root is kept for the next run.
#   scripts/test_debian13.sh [FOLDER]     FOLDER: where the root lies, by default /srv/debian13
# SHARDSCOUT_DATA is copied into the root where it is set, so that the tests that need it run there too.
set -euo pipefail
cd "$(dirname "$0")/.."
root=${1:-/srv/debian13}

if [ "$(id -u)" -ne 0 ]; then
  echo "A chroot needs root: run this with sudo" >&2
  exit 2
fi
if ! command -v debootstrap >/dev/null; then
  echo "debootstrap is missing: apt-get install debootstrap" >&2
  exit 2
fi
if [ ! -e "$root/etc/debian_version" ]; then
  mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
  echo "== Making a Debian 13 root in $root"
  debootstrap --variant=minbase trixie "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
    { echo "debootstrap failed, see $root.log" >&2; exit 2; }
  rm -f "$root.log"
fi
# How this host reaches its mirror (proxies, transports), where that is configured.
grep -l Acquire /etc/apt/apt.conf.d/* | xargs -r cp -t "$root/etc/apt/apt.conf.d/"
cp /etc/resolv.conf /etc/hosts "$root/etc/"

mounted=()
unmount() { for folder in "${mounted[@]}"; do umount "$folder"; done; }
trap unmount EXIT
for folder in proc dev; do
  mountpoint -q "$root/$folder" && continue
  mount --bind "/$folder" "$root/$folder"
  mounted+=("$root/$folder")
done

rm -rf "$root/srv/shardscout" "$root/srv/data"
mkdir -p "$root/srv/shardscout"
git archive HEAD | tar -x -C "$root/srv/shardscout"
data=
if [ -n "${SHARDSCOUT_DATA:-}" ]; then
  cp -r "$SHARDSCOUT_DATA" "$root/srv/data"
  data=/srv/data
fi
chroot "$root" env ${data:+SHARDSCOUT_DATA=$data} LC_ALL=C.UTF-8 /srv/shardscout/test.sh
