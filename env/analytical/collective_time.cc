// Prices of collectives on each span, the slowest span of all: within a node that was measured by its fitted curves
// (fabric_collective_time.h), elsewhere the fastest algorithm of nccl_model.h.

#include "shardscout/collective_time.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "env/analytical/collective_floor.h"
#include "env/analytical/fabric_collective_time.h"
#include "env/analytical/nccl_model.h"
#include "shardscout/error.h"

namespace shardscout {
namespace {

using internal::AlgorithmCost;
using internal::GroupShape;
using internal::Protocol;

double BestOf(const GroupShape& shape, Collective collective, double bytes) {
  double best = std::numeric_limits<double>::infinity();
  auto consider = [&](const AlgorithmCost& cost) {
    if (cost.bytes_per_s > 0 && cost.latency_s < best) best = std::min(best, cost.Time(bytes));
  };
  for (Protocol p : internal::kProtocols) consider(internal::RingCost(shape, collective, p, bytes));
  consider(internal::NvlsCost(shape, collective));
  // Inside one node a tree is a chain, which is no quicker than the ring.
  if (collective == Collective::kAllReduce && shape.nodes > 1) {
    for (Protocol p : internal::kProtocols) {
      AlgorithmCost tree = internal::TreeCost(shape, p);
      if (tree.latency_s >= best) continue;
      tree.bytes_per_s *= internal::TreeCorrection(p, bytes);
      consider(tree);
    }
    consider(internal::NvlsTreeCost(shape));
  }
  return std::min(best, internal::HierarchicalTime(shape, collective, bytes));
}

/// Whether the measurements of the innermost tier say what a group takes: it lies in one domain, and is no larger than
/// a node, which is what was measured.
bool IsMeasured(const ClusterSpec& cluster, Collective collective, const GroupSpan& span) {
  return cluster.tiers.front().nccl && span.outermost_tier == 0 && span.size <= cluster.devices_per_node &&
         collective != Collective::kSendRecv && collective != Collective::kNone;
}

double MeasuredTime(const ClusterSpec& cluster, Collective collective, double bytes, const GroupSpan& span,
                    const std::optional<EngineAllReduceCurve>& engine) {
  const NetworkTier& tier = cluster.tiers.front();
  const internal::FabricGroup group{.ranks = static_cast<double>(span.size),
                                    .link_bytes_per_s = tier.bytes_per_s / tier.oversubscription,
                                    .adds = tier.in_network_reduction};
  const double nccl_s = internal::FabricCollectiveTime(*tier.nccl, group, collective, bytes);
  if (collective != Collective::kAllReduce || !engine) return nccl_s;
  const auto limit_bytes = static_cast<double>(span.size > 2 ? engine->group_buffer_bytes : engine->buffer_bytes);
  return internal::EngineAllReduceTime(*engine, group, bytes, limit_bytes, nccl_s);
}

double TimeOnSpan(const ClusterSpec& cluster, Collective collective, double bytes, const GroupSpan& span) {
  if (span.size <= 1) return 0;
  if (IsMeasured(cluster, collective, span)) {
    return MeasuredTime(cluster, collective, bytes, span, cluster.tiers.front().engine_all_reduce);
  }
  const GroupShape shape = internal::ShapeOf(cluster, span);
  switch (collective) {
    case Collective::kNone:
      return 0;
    case Collective::kAllReduce:
    case Collective::kAllGather:
    case Collective::kReduceScatter:
      return BestOf(shape, collective, bytes);
    case Collective::kAllToAll:
      return internal::AllToAllTime(shape, bytes);
    case Collective::kSendRecv:
      return internal::SendRecvTime(shape, bytes);
  }
  return 0;
}

}  // namespace

internal::CollectiveFloor internal::FloorOf(const ClusterSpec& cluster, Collective collective, const GroupSpan& span) {
  constexpr double kNoBytes = 1e-6;
  constexpr double kManyBytes = 1e18;
  CollectiveFloor floor{.fixed_s = TimeOnSpan(cluster, collective, kNoBytes, span),
                        .s_per_byte = TimeOnSpan(cluster, collective, kManyBytes, span) / kManyBytes};
  const std::optional<EngineAllReduceCurve>& engine = cluster.tiers.front().engine_all_reduce;
  if (engine && collective == Collective::kAllReduce && IsMeasured(cluster, collective, span)) {
    // A launch that the host bounds costs no more with more bytes.
    EngineAllReduceCurve replayed = *engine;
    replayed.host_s = 0;
    floor.fixed_s = MeasuredTime(cluster, collective, kNoBytes, span, replayed);
    // The engine's kernels take small messages only.
    const double link = cluster.tiers.front().bytes_per_s / cluster.tiers.front().oversubscription;
    const double peers = static_cast<double>(span.size - 1);
    floor.s_per_byte = std::min(floor.s_per_byte, peers / (engine->one_shot_link_fraction * link));
    if (engine->two_shot_base_s > 0) {
      const double part = 1 / static_cast<double>(span.size);
      floor.s_per_byte = std::min(floor.s_per_byte, peers * 2 * part / (engine->two_shot_link_fraction * link));
    }
  }
  return floor;
}

double CollectiveTime(const ClusterSpec& cluster, Collective collective, double payload_bytes,
                      const std::vector<GroupSpan>& spans) {
  if (!(payload_bytes > 0)) return 0;
  double slowest = 0;
  for (const GroupSpan& span : spans) {
    slowest = std::max(slowest, TimeOnSpan(cluster, collective, payload_bytes, span));
  }
  return slowest;
}

double BroadcastTime(const ClusterSpec& cluster, double count, double payload_bytes,
                     const std::vector<GroupSpan>& spans) {
  if (!(payload_bytes > 0)) return 0;
  double slowest_s = 0;
  for (const GroupSpan& span : spans) {
    if (span.size <= 1) continue;
    const GroupShape shape = internal::ShapeOf(cluster, span);
    double best_s = std::numeric_limits<double>::infinity();
    for (Protocol p : internal::kProtocols) {
      AlgorithmCost chain = internal::RingCost(shape, Collective::kAllGather, p, 0);
      chain.bytes_per_s *= (shape.n - 1) / shape.n;
      best_s = std::min(best_s, chain.Time(payload_bytes / count));
    }
    slowest_s = std::max(slowest_s, best_s);
  }
  return count * slowest_s;
}

std::vector<double> CollectiveWireBytes(const ClusterSpec& cluster, Collective collective, double payload_bytes,
                                        const std::vector<GroupSpan>& spans) {
  std::vector<double> bytes(cluster.tiers.size(), 0.0);
  if (!(payload_bytes > 0)) return bytes;
  const GroupSpan* worst = nullptr;
  double slowest = 0;
  for (const GroupSpan& span : spans) {
    const double time = TimeOnSpan(cluster, collective, payload_bytes, span);
    if (time > slowest) {
      slowest = time;
      worst = &span;
    }
  }
  if (worst == nullptr) return bytes;
  const GroupShape shape = internal::ShapeOf(cluster, *worst);
  const double n = shape.n;
  for (int t = 0; t < shape.num_tiers; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const internal::TierUse& tier = shape.tiers[i];
    if (tier.branch <= 1) continue;
    const double ring = payload_bytes / tier.carriers * (tier.branch - 1) / tier.branch;
    switch (collective) {
      case Collective::kNone:
        break;
      case Collective::kAllReduce:
        bytes[i] = 2 * ring;
        break;
      case Collective::kAllGather:
      case Collective::kReduceScatter:
        bytes[i] = ring;
        break;
      case Collective::kAllToAll:
        bytes[i] = payload_bytes * ((tier.network ? n : tier.inside) - tier.carriers) / n;
        break;
      case Collective::kSendRecv:
        if (t + 1 == shape.num_tiers) bytes[i] = payload_bytes;
        break;
    }
  }
  return bytes;
}

}  // namespace shardscout
