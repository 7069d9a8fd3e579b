#!/usr/bin/env bash
# Runs ./test.sh of the last commit in a Debian 13 root (GCC 14, LibTorch 2.6), made with debootstrap. Needs root,
# debootstrap and apt's usual sources; the root is kept for the next run.
#   scripts/test_debian13.sh [FOLDER]     FOLDER: where the root lies, by default /srv/debian13
# SHARDSCOUT_DATA is copied into the root where it is set, so that the tests that need it run there too.
set -euo pipefail
cd "$(dirname "$0")/.."
root=${1:-/srv/debian13}

. scripts/debian_root.sh
make_debian_root trixie "$root"

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
