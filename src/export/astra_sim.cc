#include "src/export/astra_sim.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "env/analytical/nccl_model.h"

namespace shardscout::exporters {
namespace {

using nlohmann::ordered_json;

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
/// ASTRA-sim takes a collective to use this many dimensions where its node does not say.
constexpr std::size_t kMaxDimensions = 4;

/// The side of a torus of `places`, or 0 where they are no square or cube.
std::int64_t SideOf(std::int64_t places, int dimensions) {
  const auto side = std::llround(std::pow(static_cast<double>(places), 1.0 / dimensions));
  std::int64_t product = 1;
  for (int i = 0; i < dimensions; ++i) product *= side;
  return product == places ? side : 0;
}

/// Adds what `places` of the `capacity` places of a tier are; why that cannot be, or "".
std::string AddTier(const NetworkTier& tier, double wire, std::int64_t places, std::int64_t capacity,
                    std::vector<AstraDimension>& dimensions) {
  const double gib_per_s = wire / kGib;
  const double latency_ns = std::round(tier.latency_s * 1e12) / 1000;
  if (tier.kind == TierKind::kSwitch) {
    dimensions.push_back({"Switch", places, gib_per_s, latency_ns / 2});
    return "";
  }
  if (tier.kind == TierKind::kFullyConnected) {
    const auto links = static_cast<double>(std::max<std::int64_t>(1, capacity - 1));
    dimensions.push_back({"FullyConnected", places, gib_per_s / links, latency_ns});
    return "";
  }
  if (places != capacity) {
    return "a part of " + tier.name + " (" + std::to_string(places) + " of " + std::to_string(capacity) +
           " places) is no closed ring";
  }
  const int sides = internal::TorusDimensions(tier.kind);
  const std::int64_t side = SideOf(places, sides);
  if (side == 0) return std::to_string(places) + " places of " + tier.name + " are no torus of equal sides";
  if (sides > 1 && side < internal::kShortestRing) {
    return "the sides of " + tier.name + ", " + std::to_string(side) + " long, are not closed to rings";
  }
  for (int i = 0; i < sides; ++i) dimensions.push_back({"Ring", side, gib_per_s / (2 * sides), latency_ns});
  return "";
}

std::string Joined(const AstraNetwork& network, const std::function<std::string(const AstraDimension&)>& text) {
  std::string list = "[ ";
  for (std::size_t i = 0; i < network.dimensions.size(); ++i) {
    list += (i == 0 ? "" : ", ") + text(network.dimensions[i]);
  }
  return list + " ]";
}

/// As short as reads back equal.
std::string Number(double value) { return nlohmann::json(value).dump(); }

}  // namespace

AstraNetwork DescribeNetwork(const ClusterSpec& cluster, std::int64_t ranks) {
  if (ranks == 1) return {{}, "one rank has no network"};
  AstraNetwork network;
  std::int64_t inside = 1;  // Devices of a domain of the tier inside.
  for (std::size_t t = 0; t < cluster.tiers.size() && inside < ranks; ++t) {
    const NetworkTier& tier = cluster.tiers[t];
    const std::int64_t size = std::min(tier.size > 0 ? tier.size : cluster.num_devices, cluster.num_devices);
    const std::int64_t reached = std::min(size, ranks);
    if (reached % inside != 0 || ranks % reached != 0) {
      return {{}, std::to_string(ranks) + " ranks do not fill whole domains of the tiers inside " + tier.name};
    }
    const std::int64_t places = reached / inside;
    if (places == 1) continue;
    const double wire = tier.bytes_per_s * tier.achieved_fraction / tier.oversubscription *
                        internal::RailShare(cluster, static_cast<int>(t));
    // A switch or a mesh of links is as large as it was built, a slice of a ring as large as the cluster.
    const bool built = tier.kind == TierKind::kFullyConnected && tier.size > 0;
    const std::int64_t capacity = (built ? tier.size : size) / inside;
    if (std::string why = AddTier(tier, wire, places, capacity, network.dimensions); !why.empty()) {
      return {{}, std::move(why)};
    }
    inside = reached;
  }
  if (network.dimensions.size() > kMaxDimensions) return {{}, "the network has more than four dimensions"};
  return network;
}

std::string NetworkYaml(const AstraNetwork& network) {
  return "topology: " + Joined(network, [](const auto& d) { return d.topology; }) +
         "\nnpus_count: " + Joined(network, [](const auto& d) { return std::to_string(d.npus); }) +
         "\nbandwidth: " + Joined(network, [](const auto& d) { return Number(d.gib_per_s); }) +
         "  # GB/s of 2^30 bytes, a link and direction\nlatency: " +
         Joined(network, [](const auto& d) { return Number(d.latency_ns); }) + "  # ns, a link\n";
}

std::string SystemJson(const AstraNetwork& network, const DeviceSpec& device, DType dtype) {
  ordered_json rings = ordered_json::array(), directs = ordered_json::array();
  for (const AstraDimension& dimension : network.dimensions) {
    rings.push_back(dimension.topology == "FullyConnected" ? "direct" : "ring");
    directs.push_back("direct");
  }
  const ordered_json system = {{"scheduling-policy", "LIFO"},
                               {"endpoint-delay", 1},
                               {"local-reduction-delay", 1},
                               {"active-chunks-per-dimension", 1},
                               {"preferred-dataset-splits", 1},
                               {"all-reduce-implementation", rings},
                               {"all-gather-implementation", rings},
                               {"reduce-scatter-implementation", rings},
                               {"all-to-all-implementation", directs},
                               {"collective-optimization", "localBWAware"},
                               {"local-mem-bw", device.hbm_bytes_per_s / 1e9},
                               {"peak-perf", device.PeakFlopPerS(dtype) / 1e12},
                               {"roofline-enabled", 1}};
  return system.dump(2) + "\n";
}

}  // namespace shardscout::exporters
