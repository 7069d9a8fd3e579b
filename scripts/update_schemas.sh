#!/usr/bin/env bash
# Writes configs/schemas from the fields that the program lists.
#   scripts/update_schemas.sh PROGRAM    a shardscout built with the agents, whose settings are among them
set -euo pipefail
if [ $# -ne 1 ]; then
  echo "usage: scripts/update_schemas.sh PROGRAM" >&2
  exit 2
fi
program=$(realpath "$1")
cd "$(dirname "$0")/.."
if ! "$program" list searchers | grep '^ppo ' >/dev/null; then
  echo "$program is built without the agents: the schema of search files would lack ppo" >&2
  exit 2
fi
mkdir -p configs/schemas
for kind in model cluster workload search strategy plan suite; do
  "$program" check --print-schema "$kind" >"configs/schemas/$kind.schema.json.new"
  mv "configs/schemas/$kind.schema.json.new" "configs/schemas/$kind.schema.json"
done
