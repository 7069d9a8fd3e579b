#include "env/analytical/fabric_collective_time.h"

#include <algorithm>
#include <cmath>

namespace shardscout::internal {
namespace {

constexpr double kDirectLlLinkFraction = 0.313;  // NCCL's: 141 of 450 GB/s on Hopper, over all channels.

double DirectTime(const FabricCollectiveCurve& curve, const FabricGroup& group, double part) {
  const double link = group.link_bytes_per_s;
  const double peers = group.ranks - 1;
  const double own_s = part / (curve.direct_own_link_ratio * link);
  const double ll_s =
      curve.direct_ll_base_s + curve.direct_ll_peer_s * peers +
      std::max(part / (curve.direct_ll_link_fraction * link), peers * part / (kDirectLlLinkFraction * link)) + own_s;
  const double wire_s = peers * part / (curve.direct_link_fraction * link);
  const double simple_s = curve.direct_base_s + curve.direct_peer_s * peers + wire_s +
                          Fill(curve.direct_fill_ratio * wire_s, curve.direct_fill_s) + own_s;
  return std::min(ll_s, simple_s);
}

}  // namespace

double Fill(double growing_s, double full_s) {
  const double larger = std::max(growing_s, full_s);
  if (growing_s <= 0 || full_s <= 0) return 0;
  const double a = growing_s / larger, b = full_s / larger;
  return larger * a * b / std::cbrt(a * a * a + b * b * b);
}

double FabricCollectiveTime(const FabricCollectiveCurve& curve, const FabricGroup& group, Collective collective,
                            double bytes) {
  const double link = group.link_bytes_per_s;
  const double part = bytes / group.ranks;
  if (collective == Collective::kAllToAll) return DirectTime(curve, group, part);
  const bool all_reduce = collective == Collective::kAllReduce;
  const double steps = (all_reduce ? 2 : 1) * (group.ranks - 1);
  const double own_s = part / (curve.own_link_ratio * link);
  const double channel_s = std::min(part / curve.ll_channel_bytes, 1.0) * curve.ll_channel_s;
  const double ll_s =
      curve.ll_base_s + steps * (curve.ll_step_s + std::max(channel_s, part / (curve.ll_link_fraction * link))) + own_s;
  const double ll128_s =
      curve.ll128_base_s + steps * (curve.ll128_step_s + part / (curve.ll128_link_fraction * link)) + own_s;
  const double wire_s = steps * part / (curve.simple_link_fraction * link);
  const double simple_s = curve.simple_base_s + steps * curve.simple_step_s + wire_s +
                          Fill(curve.fill_ratio * wire_s, curve.fill_s) + own_s;
  double time_s = std::min({ll_s, ll128_s, simple_s});
  if (all_reduce && group.adds && group.ranks > 2) {
    const double switch_s = bytes * (1 + 1 / group.ranks) / (curve.nvls_link_fraction * link);
    time_s = std::min(time_s, curve.nvls_base_s + switch_s + Fill(curve.nvls_fill_ratio * switch_s, curve.nvls_fill_s));
  }
  return time_s;
}

double EngineAllReduceTime(const EngineAllReduceCurve& curve, const FabricGroup& group, double bytes,
                           double limit_bytes, double nccl_s) {
  const double link = group.link_bytes_per_s;
  const double peers = group.ranks - 1;
  double time_s = nccl_s;
  if (bytes < limit_bytes) {
    time_s = std::min(time_s, curve.one_shot_base_s +
                                  peers * (curve.one_shot_peer_s + bytes / (curve.one_shot_link_fraction * link)));
    if (curve.two_shot_base_s > 0) {
      const double part = bytes / group.ranks;
      time_s = std::min(time_s, curve.two_shot_base_s +
                                    peers * (curve.two_shot_peer_s + 2 * part / (curve.two_shot_link_fraction * link)));
    }
  }
  if (curve.copy_link_ratio > 0) time_s += 2 * bytes / (curve.copy_link_ratio * link);
  return std::max(curve.host_s, time_s);
}

double FabricRoofline(const FabricGroup& group, Collective collective, double bytes) {
  const double times = collective == Collective::kAllReduce ? 2 : 1;
  return times * bytes * (group.ranks - 1) / group.ranks / group.link_bytes_per_s;
}

}  // namespace shardscout::internal
