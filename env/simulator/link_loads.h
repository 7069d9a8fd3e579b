#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shardscout/cluster_spec.h"
#include "shardscout/collective_time.h"
#include "shardscout/program.h"

/// What a collective or a send takes of a device's links, for max-min sharing.
///
/// Links of a device, each once out and once in, tier by tier:
///   switch, fully connected    one port: NVLink, or the device's share of the node's NICs and rails
///   ring, torus of D           2 D links, one each way along each dimension: dimension d forward is 2 d, back 2 d + 1
///
/// A port's share is the bytes that the task puts on the tier's wires (CollectiveWireBytes) over its duration and the
/// port's bandwidth. On a ring or torus, ranks `stride` apart lie along dimension floor(log_side(stride)), side the
/// places of one dimension, and a group of `size` spans the dimensions up to that of stride * size - 1. A collective
/// loads both ways of those; a send loads the way it goes, forward to the next stage, back to the first. Their share is
/// what the tier's bandwidth for such a group (nccl_model.h) needs for the bytes, over the duration.
///
/// Worked example: a slice of 4 x 4 x 4. A group of 4, stride 1, loads links 0 and 1 (dimension 0). A send over stride
/// 4 loads link 2 (dimension 1, forward), so that the two never meet; over stride 2 it loads link 0, and they do.
///
/// Not handled: a send of more than one hop takes no links of the devices between.
namespace shardscout::env {

/// Of each tier.
std::vector<std::size_t> LinksOfTiers(const ClusterSpec& cluster);

/// Where a send goes: to the next stage, or back to the first.
enum class SendWay : std::uint8_t { kForward, kBack };

/// Shares in [0, 1] of each link of each tier, in that order. `task` is a collective of `duration_s` > 0; `way` matters
/// where it is a send.
std::vector<double> LinkShares(const ClusterSpec& cluster, const Task& task, const std::vector<GroupSpan>& spans,
                               double duration_s, SendWay way = SendWay::kForward);

}  // namespace shardscout::env
