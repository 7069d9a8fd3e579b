#pragma once

#include <cstdint>
#include <vector>

#include "shardscout/cluster_spec.h"
#include "shardscout/program.h"

namespace shardscout {

/// How a group of ranks lies on a cluster's tiers, at its worst placement.
struct GroupSpan {
  std::int64_t size = 1;
  /// For each tier, innermost first: the domains of that tier that the group touches.
  std::vector<std::int64_t> domains;
  /// For each tier: the fewest and the most members in one touched domain.
  std::vector<std::int64_t> min_members;
  std::vector<std::int64_t> max_members;
  /// The innermost tier whose one domain holds the whole group.
  int outermost_tier = 0;
  bool operator==(const GroupSpan&) const = default;
};

/// The spans of all groups of a kind, over all stages and replicas; the slowest placement is the one that a collective
/// costs (a different one may be slowest for another collective, so distinct spans are all kept; there are few). Ranks
/// lie on consecutive devices. `stage_size`: ranks of a stage; `num_stages`: stages * replicas, laid out one after
/// another. Where group.size * group.stride divides stage_size the groups tile the stage, as in a mesh. Else the group
/// is a chain, and begins at every rank of the stage from which it fits; or, with a stride that is a multiple of
/// stage_size, at every rank of the cluster. Ask for the transfers of a pipeline by SpansOf(cluster, {pp, stage},
/// pp * stage, replicas): its outermost tier is that of the slowest hop, and of the way from the last stage back to the
/// first. Sorted, distinct; takes microseconds on any cluster.
///
/// Worked example: nodes of 8, groups of 4 with stride 3 in stages of 12, two stages. Ranks 0, 3, 6, 9 lie 3 and 1 to a
/// node, ranks 2, 5, 8, 11 two and two: two spans, domains {2, 1}, members 1..3 and 2..2.
std::vector<GroupSpan> SpansOf(const ClusterSpec& cluster, const Group& group, std::int64_t stage_size,
                               std::int64_t num_stages);

/// Duration of one collective on the slowest of `spans`: within a node whose tier has measurements (NetworkTier::nccl)
/// by the curves fitted to them, formulas in env/analytical/fabric_collective_time.h; else the fastest of the
/// algorithms that the tiers allow (ring, tree, NVLS, hierarchical), by latency and bandwidth; formulas in
/// env/analytical/nccl_model.h. Payload as in
/// Task::payload_bytes. 0 for a group of one, and for no payload. About 0.1-0.2 us a span; allocates nothing.
double CollectiveTime(const ClusterSpec& cluster, Collective collective, double payload_bytes,
                      const std::vector<GroupSpan>& spans);

/// Duration of `count` broadcasts, one after another, that carry payload_bytes together: each a chain through the ring,
/// of as many hops as an all_gather's, whose bandwidth all of its bytes pass (NCCL's only algorithm for it; source as
/// of nccl_model.h). 0 for a group of one, and for no payload.
double BroadcastTime(const ClusterSpec& cluster, double count, double payload_bytes,
                     const std::vector<GroupSpan>& spans);

/// Bytes that one device sends on the wires of each tier for that collective (the ideal algorithm's, tier by tier), on
/// the slowest span. Behind a NIC all traffic that leaves the tier inside counts.
std::vector<double> CollectiveWireBytes(const ClusterSpec& cluster, Collective collective, double payload_bytes,
                                        const std::vector<GroupSpan>& spans);

/// Duration of a compute task on one device, by the device's curves. Formulas in env/analytical/operator_time.h. 0 for
/// a collective or a view (no kernels, no bytes).
double OperatorTime(const DeviceSpec& device, const Task& task);

}  // namespace shardscout
