#pragma once

#include <cstdint>
#include <string>

namespace shardscout::exporters {

/// How torchrun starts one process a device.
struct Torchrun {
  std::string command;  ///< "torchrun --nproc-per-node 8 --nnodes 2 --node-rank 0 --master-addr $HEAD_ADDRESS"
  std::string note;     ///< What the other nodes run; "" on one node.
};

/// As many processes on each node as fill equal nodes.
Torchrun TorchrunOf(std::int64_t world_size, std::int64_t devices_per_node);

}  // namespace shardscout::exporters
