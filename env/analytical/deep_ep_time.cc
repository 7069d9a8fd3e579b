#include "env/analytical/deep_ep_time.h"

#include <algorithm>
#include <cmath>

#include "env/analytical/fabric_collective_time.h"
#include "env/analytical/p_norm.h"

namespace shardscout::internal {
namespace {

constexpr double kMostNodes = 4;  // Of a token.
constexpr double kScaleBytes = 4.0 / 128;
constexpr double kLowLatencyHeaderBytes = 16;
constexpr double kMeasuredRanks = 8;
constexpr double kMeasuredTopk = 8;

double MessageBytes(const DeepEpCall& call) { return call.combine ? 2 * call.hidden : call.hidden * (1 + kScaleBytes); }

double Norm(double a, double b, double c, double p) { return PNorm(PNorm(a, b, p), c, p); }

/// Where a token goes.
struct Spread {
  double ranks = 0, nodes = 0;
};
Spread SpreadOf(const DeepEpCall& call) {
  const double most = std::min(kMostNodes, call.nodes);
  const double experts = call.experts * most / call.nodes;
  return {.ranks = DistinctParts(most * call.node_ranks, experts, call.topk),
          .nodes = call.nodes > 1 ? DistinctParts(most, experts, call.topk) : 0};
}

double OffRank(const DeepEpCall& call) { return (call.node_ranks - 1) / call.node_ranks; }
/// Seconds that `bytes` to each node take of the NIC, at a share of its bandwidth; within one node none.
double NicTime(const DeepEpCall& call, double bytes, double share) {
  if (call.nodes == 1) return 0;
  return bytes * (call.nodes - 1) / call.nodes / (share * call.nic_bytes_per_s);
}

}  // namespace

double DistinctParts(double parts, double experts, double topk) {
  double none = 1;
  for (double i = 0; i < topk; ++i) none *= std::max(0.0, 1 - experts / parts / (experts - i));
  return parts * (1 - none);
}

double DeepEpTime(const DeepEpCurve& curve, const DeepEpCall& call) {
  const double bytes = MessageBytes(call);
  const Spread to = SpreadOf(call);
  const double doublings = std::log2(call.nodes);
  const double nic_share = curve.nic_fraction * (call.nodes > kMostNodes ? curve.many_nodes_nic_fraction : 1);
  const double link_s = to.ranks * OffRank(call) * bytes / (curve.link_fraction * call.link_bytes_per_s);
  const double nic_s = NicTime(call, to.nodes * bytes, nic_share);
  const double copy_s = (to.ranks * (curve.message_s + bytes / curve.link_copy_bytes_per_s) +
                         to.nodes * bytes / curve.nic_copy_bytes_per_s + bytes / curve.token_copy_bytes_per_s) /
                        call.sms;
  const double transfer_s = call.tokens * Norm(link_s, nic_s, copy_s, 6);
  const double notify_s = call.nodes > 1 ? curve.notify_s + curve.notify_doubling_s * doublings : 0;
  return curve.base_s + curve.base_s_per_byte * bytes * (1 + to.ranks / kMeasuredRanks) +
         curve.node_doubling_s * doublings + notify_s + transfer_s +
         Fill(curve.fill_ratio * transfer_s, curve.fill_s_per_byte * bytes);
}

double DeepEpLowLatencyTime(const DeepEpLowLatencyCurve& curve, const DeepEpCall& call) {
  const double bytes = MessageBytes(call) + (call.combine ? 0 : kLowLatencyHeaderBytes);
  const double experts_each = std::ceil(call.experts / call.units);
  const double working = std::ceil(call.experts / experts_each);
  const double link_s = call.topk / call.nodes * OffRank(call) * bytes / (curve.link_fraction * call.link_bytes_per_s);
  const double nic_s = NicTime(call, call.topk * bytes, curve.nic_fraction);
  const double columns_bytes = 2 * call.hidden * (call.combine ? call.topk / kMeasuredTopk : 1);
  const double copy_s = (curve.token_s + curve.token_s_per_byte * columns_bytes) / working +
                        call.topk / call.experts * experts_each * (curve.message_s + bytes / curve.copy_bytes_per_s);
  const double nodes_s = call.nodes > 1 ? curve.nodes_s + curve.node_doubling_s * std::log2(call.nodes) : 0;
  return curve.base_s + curve.expert_s * call.experts + curve.base_s_per_byte * bytes + nodes_s +
         call.tokens * Norm(link_s, nic_s, copy_s, 4);
}

double DeepEpRoofline(const DeepEpCall& call, bool low_latency) {
  const double bytes = MessageBytes(call);
  const Spread to = SpreadOf(call);
  const double over_link = low_latency ? call.topk / call.nodes : to.ranks;
  const double over_nic = low_latency ? call.topk : to.nodes;
  return call.tokens *
         std::max(over_link * OffRank(call) * bytes / call.link_bytes_per_s, NicTime(call, over_nic * bytes, 1));
}

}  // namespace shardscout::internal
