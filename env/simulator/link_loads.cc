#include "env/simulator/link_loads.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "env/analytical/nccl_model.h"
#include "shardscout/error.h"

namespace shardscout::env {
namespace {

/// Rounding of logarithms of whole numbers.
constexpr double kSlack = 1e-9;

/// 0 where a tier is no ring or torus.
int DimensionsOf(TierKind kind) {
  const bool has_links = kind == TierKind::kRing || internal::TorusDimensions(kind) > 1;
  return has_links ? internal::TorusDimensions(kind) : 0;
}

std::int64_t PlacesOf(const ClusterSpec& cluster, std::size_t tier) {
  const std::int64_t size = cluster.tiers[tier].size;
  return size > 0 ? std::min(size, cluster.num_devices) : cluster.num_devices;
}

/// The dimensions that a group spans.
struct Dimensions {
  int first = 0, last = 0;
};

Dimensions SpannedDimensions(const Group& group, double places_inside, double places, int dimensions) {
  const double side = std::pow(places / places_inside, 1.0 / dimensions);
  const auto dimension = [&](double distance) {
    if (side <= 1 + kSlack || distance < 1) return 0.0;
    return std::log(distance) / std::log(side);
  };
  const double stride = static_cast<double>(group.stride) / places_inside;
  const double end = stride * static_cast<double>(group.size);
  const int first = std::clamp(static_cast<int>(std::floor(dimension(stride) + kSlack)), 0, dimensions - 1);
  const int last = std::clamp(static_cast<int>(std::ceil(dimension(end) - kSlack)) - 1, first, dimensions - 1);
  return {first, last};
}

}  // namespace

std::vector<std::size_t> LinksOfTiers(const ClusterSpec& cluster) {
  std::vector<std::size_t> links;
  for (const NetworkTier& tier : cluster.tiers) {
    links.push_back(std::max<std::size_t>(1, 2 * static_cast<std::size_t>(DimensionsOf(tier.kind))));
  }
  return links;
}

std::vector<double> LinkShares(const ClusterSpec& cluster, const Task& task, const std::vector<GroupSpan>& spans,
                               double duration_s, SendWay way) {
  SHARDSCOUT_CHECK_OP(duration_s, >, 0.0);
  const std::vector<double> wire_bytes = CollectiveWireBytes(cluster, task.collective, task.payload_bytes, spans);
  const std::vector<std::size_t> links = LinksOfTiers(cluster);
  const bool is_send = task.collective == Collective::kSendRecv;
  std::vector<double> shares;
  for (std::size_t tier = 0; tier < links.size(); ++tier) {
    const std::size_t first_link = shares.size();
    shares.resize(first_link + links[tier]);
    if (tier >= wire_bytes.size() || wire_bytes[tier] <= 0) continue;
    const NetworkTier& spec = cluster.tiers[tier];
    const int dimensions = DimensionsOf(spec.kind);
    if (dimensions == 0) {
      const double port = spec.bytes_per_s * internal::RailShare(cluster, static_cast<int>(tier));
      shares[first_link] = std::min(1.0, wire_bytes[tier] / (duration_s * port));
      continue;
    }
    double needed_s = 0;
    for (const GroupSpan& span : spans) {
      const internal::GroupShape shape = internal::ShapeOf(cluster, span);
      if (std::cmp_greater_equal(tier, shape.num_tiers)) continue;
      const internal::TierUse& use = shape.tiers[tier];
      needed_s = std::max(needed_s, wire_bytes[tier] / (is_send ? use.pair_bandwidth : use.bandwidth));
    }
    const double share = std::min(1.0, needed_s / duration_s);
    const double inside = tier == 0 ? 1 : static_cast<double>(PlacesOf(cluster, tier - 1));
    const auto [first, last] =
        SpannedDimensions(task.group, inside, static_cast<double>(PlacesOf(cluster, tier)), dimensions);
    for (int dimension = first; dimension <= (is_send ? first : last); ++dimension) {
      const std::size_t forward = first_link + 2 * static_cast<std::size_t>(dimension);
      if (!is_send || way == SendWay::kForward) shares[forward] = share;
      if (!is_send || way == SendWay::kBack) shares[forward + 1] = share;
    }
  }
  return shares;
}

}  // namespace shardscout::env
