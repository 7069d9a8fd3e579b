#!/usr/bin/env bash
# Writes API pages of the public headers by Doxygen, and fails where it finds a comment that names what is not there.
#   scripts/api_pages.sh [FOLDER]     FOLDER: default build-api
# Skips, saying so, without doxygen.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build-api}
if ! command -v doxygen >/dev/null; then
  echo "skipped: no doxygen (Debian: apt-get install doxygen)"
  exit 0
fi
mkdir -p "$folder"
version=$(sed -nE 's/^#define SHARDSCOUT_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+)$/\2/p' include/shardscout/version.h | paste -sd.)
(cat docs/Doxyfile; echo "OUTPUT_DIRECTORY = $folder"; echo "PROJECT_NUMBER = $version") | doxygen -
echo "$folder/html/index.html: $(find "$folder/html" -name '*.html' | wc -l) pages"
