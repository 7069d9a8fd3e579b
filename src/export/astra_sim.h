#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/cluster_spec.h"
#include "shardscout/dtype.h"

/// ASTRA-sim's description of a plan's network and devices.
///
/// Units and meanings (astra-sim, common/NetworkParser and system/Sys): bandwidth is of one link in one direction, in
/// GB/s of 2^30 bytes; latency is of one link, in ns. A message crosses two links of a Switch, one between neighbours
/// of a Ring and one of a FullyConnected. local-mem-bw is in GB/s of 10^9 bytes and peak-perf in 10^12 FLOP/s.
///
/// A device has of a tier w = bytes_per_s * achieved_fraction * (its part of the rails) / oversubscription, what the
/// analytical evaluator's collectives have. That is
///   switch             one link of w, latency / 2
///   fully connected    one link of w / (places - 1) to each other place
///   ring               two links of w / 2
///   2D, 3D torus       as many rings of equal sides, 2 links of w / (2 dims) each
///
/// Not handled, with the reason: ranks that do not fill the domains of the tiers inside the last one that they reach;
/// a part of a ring or of a torus, whose ends are not joined; sides of a torus under 4, which are not joined either.
///
/// Worked example: 16 ranks on nodes of 8 with 400 * 2^30 bytes/s and 1.2 us a step, joined by a switch of 50 * 2^30
/// and 5 us: topology [ Switch, Switch ], npus_count [ 8, 2 ], bandwidth [ 400, 50 ], latency [ 600, 2500 ].
namespace shardscout::exporters {

struct AstraDimension {
  std::string topology;  ///< Switch, Ring or FullyConnected.
  std::int64_t npus = 0;
  double gib_per_s = 0;
  double latency_ns = 0;
  bool operator==(const AstraDimension&) const = default;
};

/// Innermost first; their sizes' product is the number of ranks. Empty where `why_not` says why.
struct AstraNetwork {
  std::vector<AstraDimension> dimensions;
  std::string why_not;
};

/// The network of the first `ranks` devices of a cluster.
AstraNetwork DescribeNetwork(const ClusterSpec& cluster, std::int64_t ranks);

std::string NetworkYaml(const AstraNetwork& network);

/// Collectives in one chunk: direct where each device has a link to each other one, else by rings; all-to-all always
/// direct. Compute nodes by the roofline of the peak for `dtype` and the memory's bandwidth.
std::string SystemJson(const AstraNetwork& network, const DeviceSpec& device, DType dtype);

}  // namespace shardscout::exporters
