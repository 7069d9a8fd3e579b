#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/cluster_spec.h"

namespace shardscout {

/// Groups of a node's devices that are joined alike.
struct TopologyLevel {
  std::string name;          ///< "nvlink-4", "pcie-bridge", "pcie-cpu", "pcie"
  std::int64_t size = 0;     ///< Devices of a group.
  std::int64_t nvlinks = 0;  ///< Between two of them; 0: PCIe.
  bool operator==(const TopologyLevel&) const = default;
};

/// How devices hang together, as a machine or a site says it: what a cluster file takes from it.
struct ClusterTopology {
  std::string source;                 ///< "nvidia-smi topo -m", "NCCL topology" or "Slurm topology".
  std::int64_t devices_per_node = 0;  ///< 0: the source does not say.
  std::int64_t num_nodes = 1;
  std::vector<TopologyLevel> inner;            ///< Within a node, innermost first.
  std::vector<std::int64_t> nodes_per_switch;  ///< Beyond a node, innermost first: nodes that one switch joins.
  /// The node's devices so that those of each tier are consecutive: CUDA_VISIBLE_DEVICES for ranks in order.
  std::vector<std::int64_t> device_order;
  std::int64_t nics = 0;           ///< Of a node, where the source says their speed.
  double nic_bytes_per_s = 0;      ///< Of each, one direction; 0: not said.
  std::vector<std::string> notes;  ///< What the source says and a cluster here has no word for.
};

/// Text of `nvidia-smi topo -m`, NCCL's topology (the XML that NCCL_TOPO_DUMP_FILE asks for), or Slurm's topology.conf
/// (switches or blocks). SpecError with the place for what is none of these, and where devices form no tree of equal
/// groups.
///
/// Of NCCL's XML: gpu elements in the order of their dev, nvlink elements to another of them or to a switch (which
/// joins all that have links to one), pci elements as bridges, cpu elements as sockets, net elements as NICs with their
/// speed.
///
/// Of nvidia-smi's matrix: NV# is that many NVLinks between a pair; PIX, PXB and PHB are below one host bridge, NODE
/// and SYS beyond it. Worked example: four devices, NV4 between 0 and 2 and between 1 and 3, SYS else, have a tier of 2
/// (NVLink, 4 links) and one of 4 (PCIe), and the order 0, 2, 1, 3.
ClusterTopology ReadClusterTopology(std::string_view text, std::string_view place);

/// `like` gives the device and the network beyond a node; a level that is `like`'s own innermost tier is taken with its
/// measured curves. A link has the speed of the device's generation: NVLink 25 GB/s a link and direction, of Blackwell
/// 50 (NVIDIA's datasheets), PCIe x16 64 GB/s, of A100 and L40S 32. `nodes` > 0 overrides how many there are.
ClusterSpec ClusterOf(const ClusterTopology& topology, const ClusterSpec& like, std::int64_t nodes = 0);

/// As a cluster file.
std::string ToJson(const ClusterSpec& cluster, int indent = 2);

}  // namespace shardscout
