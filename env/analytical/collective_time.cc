// Prices of collectives: the fastest algorithm of env/analytical/nccl_model.h on each span, the slowest span of all.

#include "shardscout/collective_time.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

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

double TimeOnSpan(const ClusterSpec& cluster, Collective collective, double bytes, const GroupSpan& span) {
  if (span.size <= 1) return 0;
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

double CollectiveTime(const ClusterSpec& cluster, Collective collective, double payload_bytes,
                      const std::vector<GroupSpan>& spans) {
  if (!(payload_bytes > 0)) return 0;
  double slowest = 0;
  for (const GroupSpan& span : spans) {
    slowest = std::max(slowest, TimeOnSpan(cluster, collective, payload_bytes, span));
  }
  return slowest;
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
