#!/usr/bin/env bash
# From nothing to a plan on Debian 12: installs the packages that are missing (apt-get), builds build/shardscout, compares
# five searchers and the proved optimum on DeepSeek-V3 decode over 256 H100s, writes plan.json and the vLLM configuration for it.
set -euo pipefail
cd "$(dirname "$0")"

scripts/install_dependencies.sh

echo "== Building build/shardscout"
cmake --preset release >/dev/null
cmake --build --preset release --target shardscout_cli

echo "== Searching: DeepSeek-V3 decode on 256 H100s, 4,000 evaluations each"
build/shardscout compare --searchers megatron,megatron-tuned,random-walk,annealing,ppo,exact \
  --model deepseek-v3 --cluster h100-sxm --devices 256 --workload decode-chat \
  --budget 4000 --seed 1 --out plan.json

echo
echo "== The plan for vLLM, lowered to what vLLM can run"
build/shardscout export plan.json --to vllm --lower
echo
echo "Next: build/shardscout explain plan.json; build/shardscout list; build/shardscout search --help"
