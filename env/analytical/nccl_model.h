#pragma once

#include <array>
#include <cstdint>

#include "shardscout/cluster_spec.h"
#include "shardscout/collective_time.h"

/// Latency and bandwidth of NCCL's algorithms on one placement of a group.
///
/// Solves: time = latency_s + bytes / bytes_per_s for ring, tree, NVLS and NVLSTree under each protocol, as NCCL's own
/// tuner does, and for algorithms that go tier by tier or send directly.
///
/// Notation: n ranks; tier i has d_i touched domains, d_{-1} = n; E_i = d_{i-1} - d_i hops of a ring cross tier i (and
/// no outer one); f is the first network tier; N = d_{f-1} domains of the fabric inside it ("nodes"), m the members in
/// the fewest of them, M in the most; a = 2 for all_reduce, else 1. step_i = latency_s of the tier + the protocol's
/// extra. b_i = bytes_per_s * achieved_fraction / oversubscription (* rails / devices_per_node behind NICs, where rails
/// is given) * what the tier's kind leaves. bus = min over crossed tiers of (members of the domain inside that tier) *
/// b_i: each device brings its share of the NICs. F = bus of the fabric tiers only. c = min(8, 2m) / 8 is the share of
/// the channels that cross nodes.
///
///   ring        base + a * sum_i E_i * step_i;                           n / (a (n-1)) * r
///                 r: LL min(llMax, bus/2), LL128 min(.92 bus, .792 c F), Simple bus
///                 one domain: plus S/n at 2 F for the rank's own part; several: steps inside nodes at least the net
///                 overhead of 1 us (Simple 3 us); and there, Simple, S >= 64 n 8c: latency times 1.4 (plateau)
///   tree        base + 2 [(M-1) step_fabric + sum_net ceil(log2 branch_i) * step_i];          .425 * t
///                 t0 = min(.92 min(F, (N = 2 ? 2 : 1) net), cap c F), cap .835 (N = 1), .893 (N = 2), .777
///                 t: LL min(t0/3.8, llMax), LL128 min(t0 * (N = 1 ? 7/9 : 15/16), .792 (N <= 2) or .626 c F), Simple
///                 t0; times NCCL's correction by size
///   NVLS        25 us;                         all_reduce .85 * 15/16 * F * n/(n+1), others .85 * 15/16 * F
///                 SHARP on every tier: 25 us + sum_net (step_i(LL) + 15.3 us); all_reduce min(NVLS of m, net)
///   NVLSTree    25 us + 2 sum_net ceil(log2 branch_i) * step_i(Simple);  min(NVLS of m, 5/6 * net / (N = 2 ? 1 : 2))
///
///   by tiers    all_gather: sum over tiers of a ring over branch_i ranks with S / (carriers of tier i) bytes at b_i,
///               outermost first; reduce_scatter the same backwards; all_reduce both, the outermost tier's part an
///               all_reduce by ring or tree. Not pipelined: it wins where latency rules. Facts 5.5.
///   all_to_all  max over tiers of the bytes that cross the tier / b_i, network tiers at 1 - .44/N of b_i; plus base +
///               step of each tier + .25 us a fabric peer + .53 us a network peer; in the fabric S/n at 2 F; LL only in
///               the fabric. The .44 and .53 us are nccl-tests on 2-32 H100 nodes, facts 5.3 (latencies of 37, 42, 60,
///               98 us on 2, 4, 8, 16 nodes are 32, 40, 57, 91 here); .25 us: 2 to 8 H100, AIConfigurator's table.
///   send_recv   base + step + S / (pair's bandwidth), LL or Simple
///
/// Kinds of tiers, C places of which the group takes b: switch b_i whole; fully connected b_i (b-1)/(C-1), a pair
/// b_i/(C-1); ring b_i where b = C (both directions), else half (a line), a pair half; torus of D dimensions: a group
/// of K^d = b fills d of them, d/D of b_i, half of that where it does not fill them or a side has fewer than four
/// places (no links close the ring); a pair b_i/(2D). An all-to-all crosses D b^(1/D) / 4 links on average. Groups on a
/// torus are contiguous sub-tori: ranks a stride apart are priced as neighbours along another dimension, which holds
/// where the stride fills whole dimensions. A cluster smaller than a torus is a slice of it, and a torus of its own.
///
/// Source: NCCL 2.30.7, src/graph/tuning.cc (ncclTopoTuneModel, ncclTopoGetAlgoTime), for H100 nodes with eight 400
/// Gb/s NICs. A test holds entries of NCCL 2.27.5's own log, as meta-pytorch/autoparallel (nccl_cost_model.py) lists
/// them.
///
/// Departures. (1) NCCL's per-hop latencies are written as latency_s of the tier plus an extra of the protocol; with
/// 0.6 us (NVLink) and 2.7 us (network) they are NCCL's. (2) Its caps by channel are written as fractions of the
/// fabric's bandwidth (H100: 370.8 GB/s), so that they follow other devices. (3) NCCL lets a ring or tree use the
/// rounded speed of its search (384 GB/s with eight NICs); here NVLink's 370.8 GB/s bounds it. (4) NVLS all_reduce: the
/// traffic of a device is S (1 + 1/n) each way, which gives 263 GB/s on 8 H100 (measured 254-267); NCCL's formula
/// gives 338. NVLSTree uses 2.27's latencies and 5/6, which its log shows. (5) The rank's own part is copied by the
/// same kernel: measured on 2, 4 and 8 A100, H100 and B200, the ring's bus bandwidth falls with n as if S/n moved at
/// about twice the fabric's. (6) The tree's correction is interpolated, because the steps of NCCL's table would make
/// a larger message faster. (7) A domain count that is no power of two takes the next larger logarithm, not the lower.
/// (8) The plateau is NCCL's correction of ring all_reduce only, the one collective for which it must choose; rings of
/// all_gather and reduce_scatter run the same steps, so it applies to them too, and all_reduce never costs more than
/// reduce_scatter and all_gather.
///
/// Not handled: PCIe topologies below the tiers given, CollNet chains, PAT, user buffers, the copy engines, and the
/// engines' own one-shot all-reduce kernels.
namespace shardscout::internal {

enum class Protocol : std::uint8_t { kLl, kLl128, kSimple };
inline constexpr int kNumProtocols = 3;
inline constexpr std::array<Protocol, kNumProtocols> kProtocols = {Protocol::kLl, Protocol::kLl128, Protocol::kSimple};

/// 2 and 3 of tori; 1 of every other kind.
int TorusDimensions(TierKind kind);

/// The shortest side of a torus that is closed to a ring: a TPU's cube of 4 x 4 x 4; a smaller slice is a mesh.
inline constexpr std::int64_t kShortestRing = 4;

/// time = latency_s + bytes / bytes_per_s ("algbw"), seconds and bytes/s. bytes_per_s of 0: not applicable.
struct AlgorithmCost {
  double latency_s = 0;
  double bytes_per_s = 0;
  double Time(double bytes) const { return latency_s + bytes / bytes_per_s; }
};

inline constexpr int kMaxNetworkTiers = 8;

/// One tier as a group uses it. Left uninitialised beyond GroupShape::num_tiers.
struct TierUse {
  double bandwidth;       ///< b_i, bytes/s of one device.
  double pair_bandwidth;  ///< Between two devices only: one link where the kind has several.
  double distance;        ///< Mean links that a byte of a direct exchange crosses, as a factor on its bytes.
  double latency_s;
  double hops;      ///< E_i, fewer on a torus (one ring a dimension).
  double branch;    ///< Most domains of the tier inside that one domain of this tier holds (ranks, tier 0).
  double carriers;  ///< Fewest members of a domain of the tier inside (1 on tier 0).
  double inside;    ///< Most members of a domain of this tier.
  double steps;     ///< Ring steps over `branch` places: branch - 1, fewer on a torus.
  bool network;
};

/// A span on a cluster, digested once; no allocation.
struct GroupShape {
  double n = 1;
  double nodes = 1;         ///< N
  double min_per_node = 1;  ///< m
  double max_per_node = 1;  ///< M
  int num_tiers = 0;        ///< Tiers up to the outermost that the group crosses.
  int first_network = 0;    ///< f; num_tiers where the group stays in the fabric.
  double bus = 0;
  double fabric = 0;          ///< F; where a node holds one member, what the innermost tier could carry.
  double network = 0;         ///< Least of carriers * bandwidth over network tiers; 0 without.
  bool nvls = false;          ///< The fabric adds in the switch.
  bool network_nvls = false;  ///< Every network tier does too.
  std::array<TierUse, kMaxNetworkTiers> tiers;
};

/// Is `tier` reached through NICs? An outer tier that is larger than a node, or the only kind of link that nodes of one
/// device have. NVL72 (innermost, 72 devices, nodes of 4) is fabric.
bool IsNetworkTier(const ClusterSpec& cluster, int tier);
/// What a device has of a tier's bytes_per_s: its part of the node's NICs.
double RailShare(const ClusterSpec& cluster, int tier);

GroupShape ShapeOf(const ClusterSpec& cluster, const GroupSpan& span);

/// Ring for all_reduce, all_gather or reduce_scatter. `bytes` only decides the plateau; 0 leaves it out.
AlgorithmCost RingCost(const GroupShape& shape, Collective collective, Protocol protocol, double bytes);

/// Tree all_reduce, without the correction by size; TreeCorrection(protocol, bytes) multiplies its bandwidth.
AlgorithmCost TreeCost(const GroupShape& shape, Protocol protocol);

/// NCCL's treeCorrectionFactor, linear between powers of two; bytes / TreeCorrection rises with bytes.
double TreeCorrection(Protocol protocol, double bytes);

/// NVLS in one fabric domain, or over several with in-network reduction on every tier; bytes_per_s 0 without.
AlgorithmCost NvlsCost(const GroupShape& shape, Collective collective);

/// NVLSTree all_reduce over several nodes; bytes_per_s 0 where not applicable.
AlgorithmCost NvlsTreeCost(const GroupShape& shape);

/// Tier by tier, not pipelined; infinite where the group crosses one tier only.
double HierarchicalTime(const GroupShape& shape, Collective collective, double bytes);

/// Time of an all-to-all of direct sends, and of one send.
double AllToAllTime(const GroupShape& shape, double bytes);
double SendRecvTime(const GroupShape& shape, double bytes);

}  // namespace shardscout::internal
