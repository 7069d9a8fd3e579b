#pragma once

// How the devices of a node are linked, pair by pair; what topologies of one machine are read to.

#include <cstdint>
#include <string_view>
#include <vector>

namespace shardscout::importers {

/// Beyond any node.
inline constexpr std::size_t kMostDevices = 1024;

/// How near two devices are, nearer first: NVLink, below one bridge, below one CPU, anywhere in the node.
enum class Near : std::uint8_t { kNvlink, kBridge, kNode, kSystem };

struct LinkMatrix {
  std::size_t devices = 0;
  std::vector<Near> near;           ///< [devices * devices]
  std::vector<std::int64_t> links;  ///< NVLinks of the pair, the same.
  std::size_t nics = 0;
  double nic_bytes_per_s = 0;  ///< Of the slowest, one direction; 0: not said.
};

/// NCCL's topology (ClusterTopology says what is taken of it). SpecError with the line for what is no such XML.
LinkMatrix ParseNcclTopology(std::string_view text, std::string_view place);

}  // namespace shardscout::importers
