#include "src/export/torchrun.h"

#include <algorithm>

namespace shardscout::exporters {

Torchrun TorchrunOf(std::int64_t world_size, std::int64_t devices_per_node) {
  std::int64_t per_node = std::min(devices_per_node, world_size);
  while (world_size % per_node != 0) --per_node;
  const std::int64_t nodes = world_size / per_node;
  Torchrun launch;
  launch.command = "torchrun --nproc-per-node " + std::to_string(per_node) + " --nnodes " + std::to_string(nodes);
  if (nodes == 1) return launch;
  launch.command += " --node-rank 0 --master-addr $HEAD_ADDRESS";
  launch.note = "on node k of 1 to " + std::to_string(nodes - 1) + " the same command with --node-rank k";
  return launch;
}

}  // namespace shardscout::exporters
