#include "env/analytical/nccl_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "shardscout/error.h"

namespace shardscout::internal {
namespace {

// ---- NCCL 2.30.7, src/graph/tuning.cc; order {LL, LL128, Simple}, seconds and bytes/s ----

constexpr std::size_t Index(Protocol protocol) { return static_cast<std::size_t>(protocol); }

using PerProtocol = std::array<double, kNumProtocols>;

// baseLatencies.
constexpr PerProtocol kRingBase = {6.6e-6, 14e-6, 8.4e-6};
constexpr PerProtocol kTreeBase = {6.8e-6, 14e-6, 8.4e-6};

// hwLatencies less the ring's LL entry (NVLink 0.6 us, NET 2.7 us), which is the tier's own latency_s.
constexpr PerProtocol kFabricRingExtra = {0, 1.3e-6, 2.8e-6};
constexpr PerProtocol kFabricTreeExtra = {0, 0.65e-6, 3.4e-6};
constexpr PerProtocol kNetworkRingExtra = {0, 1.3e-6, 11.3e-6};
constexpr PerProtocol kNetworkTreeExtra = {2.3e-6, 5.8e-6, 11.3e-6};
constexpr double kNvlsLatency = 25e-6;
constexpr double kNetworkNvlsExtra = 15.3e-6;  // NET NVLS 18 us less 2.7 us.

// getNetOverhead, Intel: least step of a ring over several nodes; three times for Simple.
constexpr PerProtocol kNetOverhead = {1e-6, 1e-6, 3e-6};
constexpr double kPlateau = 1.4;

// llMaxBws: one node 141 of 370.8 GB/s (H100; A100 87.7 of 230), two and more nodes 39.0 and 20.4 GB/s (Intel).
constexpr double kLlFabricFraction = 0.38;
constexpr double kLlTwoNodes = 39.0e9;
constexpr double kLlManyNodes = 20.4e9;
constexpr double kLlFraction = 0.5;
constexpr double kLl128Fraction = 0.92;

// Caps of eight channels as fractions of H100's 370.8 GB/s: 36.7 GB/s a channel for LL128 (29.0 for a tree over more
// than two nodes); tree 38.7 (16 channels), 41.4, 36.0.
constexpr double kChannels = 8;
constexpr double kRingLl128Cap = 8 * 36.7 / 370.8;
constexpr double kTreeLl128CapMany = 8 * 29.0 / 370.8;
constexpr double kTreeCapOne = 16 * 38.7 / 370.8;
constexpr double kTreeCapTwo = 8 * 41.4 / 370.8;
constexpr double kTreeCapMany = 8 * 36.0 / 370.8;
constexpr double kTreeBusFraction = 0.92;
constexpr double kTreePatternFraction = 0.85;
constexpr double kTreeAlgFraction = 0.5;
constexpr double kTreeLlFraction = 1 / 3.8;
constexpr double kTreeLl128One = 7.0 / 9.0;
constexpr double kTreeLl128Many = 120.0 / 128.0;

// nvlsEfficiency (Hopper) and (channels - 1) / channels for 16 channels; NVLSTree's bus-to-algorithm ratio in 2.27.
constexpr double kNvlsEfficiency = 0.85 * 15.0 / 16.0;
constexpr double kNvlsTreeFraction = 5.0 / 6.0;

// treeCorrectionFactor, by log2(bytes / 64).
constexpr std::array<std::array<double, 24>, kNumProtocols> kTreeCorrection = {{
    {1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5,
     0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0},
    {1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6,
     0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1.0, 1.0, 1.0},
    {0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5,
     0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9},
}};

// ---- measured, facts 5.3 and the tables named in the header ----

constexpr double kOwnPartSpeed = 2.0;            // Own part, times the fabric's bandwidth.
constexpr double kFabricPeerLatency = 0.25e-6;   // A peer of an all-to-all inside the fabric.
constexpr double kNetworkPeerLatency = 0.53e-6;  // A peer behind a NIC.
constexpr double kAllToAllNetworkLoss = 0.44;    // Fraction lost, over the number of nodes.

double StepLatency(const TierUse& tier, Protocol protocol, bool tree) {
  const PerProtocol& extra =
      tier.network ? (tree ? kNetworkTreeExtra : kNetworkRingExtra) : (tree ? kFabricTreeExtra : kFabricRingExtra);
  return tier.latency_s + extra[Index(protocol)];
}

double CeilRatio(double a, double b) {
  if (b <= 1) return a;
  const double floor = static_cast<double>(static_cast<std::int64_t>(a / b));
  return floor * b < a ? floor + 1 : floor;
}

double CeilLog2(double x) {
  if (x <= 1) return 0;
  const auto floor = static_cast<std::uint64_t>(x);
  const std::uint64_t places = floor + (static_cast<double>(floor) < x ? 1 : 0);
  return static_cast<double>(std::bit_width(places - 1));
}

// bandwidth, pair_bandwidth, distance and steps for `branch` of the tier's places / places_inside.
void ApplyKind(TierKind kind, double wire, std::int64_t places, std::int64_t places_inside, TierUse& use) {
  const double b = use.branch;
  use.bandwidth = wire;
  use.pair_bandwidth = wire;
  use.distance = 1;
  use.steps = b - 1;
  if (kind == TierKind::kSwitch || b <= 1) return;
  const double capacity = static_cast<double>(std::max<std::int64_t>(1, places / places_inside));
  if (kind == TierKind::kFullyConnected) {
    const double links = std::max(1.0, capacity - 1);
    use.bandwidth = wire * std::min(1.0, (b - 1) / links);
    use.pair_bandwidth = wire / links;
    return;
  }
  const int dimensions = TorusDimensions(kind);
  use.pair_bandwidth = wire / (2 * dimensions);
  int filled = 1;
  double size = b;  // Places of the box that holds the group,
  double side = b;  // and of one of its dimensions.
  bool whole = b >= capacity;
  if (dimensions > 1) {
    const double full_side = dimensions == 2 ? std::sqrt(capacity) : std::cbrt(capacity);
    size = full_side;
    while (filled < dimensions && size < b * (1 - 1e-9)) {
      ++filled;
      size *= full_side;
    }
    whole = size <= b * (1 + 1e-9) && full_side >= static_cast<double>(kShortestRing) - 1e-9;
    side = filled == 1 ? b : filled == 2 ? std::sqrt(b) : std::cbrt(b);
  }
  use.bandwidth = wire * filled / dimensions * (whole ? 1.0 : 0.5);
  use.steps = std::min(b - 1, filled * std::ceil(side - 1 - 1e-9));
  use.distance = std::max(1.0, filled * side / 4 * b / (b - 1));
}

double LlMax(double nodes) { return nodes <= 2 ? kLlTwoNodes : kLlManyNodes; }

// Ring over the branch of one tier alone; one device of each domain inside it.
double TierRingTime(const TierUse& tier, Collective collective, double bytes) {
  const double b = tier.branch;
  if (b <= 1) return 0;
  const double a = collective == Collective::kAllReduce ? 2 : 1;
  const double sent = a * (b - 1) / b * bytes;
  double best = std::numeric_limits<double>::infinity();
  for (Protocol p : kProtocols) {
    const double latency = kRingBase[Index(p)] + a * tier.steps * StepLatency(tier, p, tier.network);
    if (latency >= best) continue;
    double wire = tier.bandwidth;
    if (p == Protocol::kLl) wire = tier.network ? std::min(LlMax(b), kLlFraction * wire) : kLlFabricFraction * wire;
    if (p == Protocol::kLl128) wire *= kLl128Fraction;
    best = std::min(best, latency + sent / wire);
  }
  return best;
}

// Tree all_reduce over the branch of one tier alone.
double TierTreeTime(const TierUse& tier, double bytes) {
  const double b = tier.branch;
  if (b <= 1) return 0;
  const double depth = CeilLog2(b);
  double best = std::numeric_limits<double>::infinity();
  for (Protocol p : kProtocols) {
    const double latency = kTreeBase[Index(p)] + 2 * depth * StepLatency(tier, p, true);
    if (latency >= best) continue;
    double wire = kTreeBusFraction * tier.bandwidth * (b <= 2 ? 2 : 1);
    if (p == Protocol::kLl) wire = std::min(wire * kTreeLlFraction, LlMax(b));
    if (p == Protocol::kLl128) wire *= kTreeLl128Many;
    const double algbw = wire * kTreePatternFraction * kTreeAlgFraction * TreeCorrection(p, bytes);
    best = std::min(best, latency + bytes / algbw);
  }
  return best;
}

}  // namespace

int TorusDimensions(TierKind kind) {
  switch (kind) {
    case TierKind::kTorus2d:
      return 2;
    case TierKind::kTorus3d:
      return 3;
    default:
      return 1;
  }
}

bool IsNetworkTier(const ClusterSpec& cluster, int tier) {
  if (tier == 0) return cluster.devices_per_node == 1;
  const NetworkTier& spec = cluster.tiers[static_cast<std::size_t>(tier)];
  const std::int64_t size = spec.size > 0 ? spec.size : cluster.num_devices;
  return size > cluster.devices_per_node;
}

double RailShare(const ClusterSpec& cluster, int tier) {
  const std::int64_t rails = cluster.tiers[static_cast<std::size_t>(tier)].rails;
  if (!IsNetworkTier(cluster, tier) || rails == 0) return 1;
  return static_cast<double>(rails) / static_cast<double>(cluster.devices_per_node);
}

GroupShape ShapeOf(const ClusterSpec& cluster, const GroupSpan& span) {
  GroupShape shape;
  const double inf = std::numeric_limits<double>::infinity();
  shape.n = static_cast<double>(span.size);
  shape.num_tiers = span.outermost_tier + 1;
  SHARDSCOUT_DCHECK(shape.num_tiers <= kMaxNetworkTiers);
  shape.first_network = shape.num_tiers;
  double domains_inside = shape.n;
  double min_inside = 1;
  double max_inside = 1;
  double fabric = inf;
  double network = inf;
  double fabric_hops = 0;
  bool fabric_adds = false;
  bool network_adds = true;
  std::int64_t places_inside = 1;
  for (int t = 0; t < shape.num_tiers; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const NetworkTier& tier = cluster.tiers[i];
    TierUse& use = shape.tiers[i];
    const double domains = static_cast<double>(span.domains[i]);
    const bool is_slice = tier.kind == TierKind::kTorus2d || tier.kind == TierKind::kTorus3d;
    std::int64_t tier_size = tier.size > 0 ? tier.size : cluster.num_devices;
    if (is_slice) tier_size = std::min(tier_size, cluster.num_devices);
    use.network = IsNetworkTier(cluster, t);
    use.latency_s = tier.latency_s;
    use.carriers = min_inside;
    use.inside = static_cast<double>(span.max_members[i]);
    use.branch = t == 0 ? use.inside : CeilRatio(domains_inside, domains);
    double wire = tier.bytes_per_s * tier.achieved_fraction / tier.oversubscription;
    wire *= RailShare(cluster, t);
    ApplyKind(tier.kind, wire, tier_size, places_inside, use);
    const double crossings = domains_inside - domains;
    use.hops = use.steps >= use.branch - 1 ? crossings : crossings * use.steps / (use.branch - 1);
    if (use.network && shape.first_network > t) {
      shape.first_network = t;
      shape.nodes = domains_inside;
      shape.min_per_node = min_inside;
      shape.max_per_node = max_inside;
    }
    if (crossings > 0) {
      const double speed = use.carriers * use.bandwidth;
      if (use.network) {
        network = std::min(network, speed);
        network_adds = network_adds && tier.in_network_reduction;
      } else {
        fabric = std::min(fabric, speed);
        fabric_hops += use.hops;
        fabric_adds = tier.in_network_reduction;
      }
    }
    domains_inside = domains;
    min_inside = static_cast<double>(span.min_members[i]);
    max_inside = use.inside;
    places_inside = tier_size;
  }
  if (shape.first_network == shape.num_tiers) {
    shape.nodes = 1;
    shape.min_per_node = shape.max_per_node = shape.n;
  }
  shape.bus = std::min(fabric, network);
  shape.network = network == inf ? 0 : network;
  shape.fabric = fabric_hops > 0           ? fabric
                 : shape.first_network > 0 ? cluster.tiers[0].bytes_per_s * cluster.tiers[0].achieved_fraction
                                           : inf;
  shape.nvls = fabric_adds;
  shape.network_nvls = network_adds;
  return shape;
}

AlgorithmCost RingCost(const GroupShape& shape, Collective collective, Protocol protocol, double bytes) {
  const std::size_t p = Index(protocol);
  const double a = collective == Collective::kAllReduce ? 2 : 1;
  const bool several_nodes = shape.nodes > 1;
  const double channels = std::min(1.0, 2 * shape.min_per_node / kChannels);
  AlgorithmCost cost;
  for (int t = 0; t < shape.num_tiers; ++t) {
    const TierUse& tier = shape.tiers[static_cast<std::size_t>(t)];
    double step = StepLatency(tier, protocol, tier.network && shape.max_per_node <= 1);
    if (several_nodes && !tier.network) step = std::max(step, kNetOverhead[p]);
    cost.latency_s += a * tier.hops * step;
  }
  cost.latency_s += kRingBase[p];
  if (several_nodes && protocol == Protocol::kSimple && bytes > 0 && bytes >= 64 * shape.n * kChannels * channels) {
    cost.latency_s *= kPlateau;
  }
  double bus = shape.bus;
  if (protocol == Protocol::kLl) {
    bus = several_nodes ? std::min(LlMax(shape.nodes), kLlFraction * bus) : kLlFabricFraction * bus;
  } else if (protocol == Protocol::kLl128) {
    bus *= kLl128Fraction;
    if (several_nodes) bus = std::min(bus, kRingLl128Cap * channels * shape.fabric);
  }
  cost.bytes_per_s = shape.n * bus / (a * (shape.n - 1));
  if (!several_nodes) {
    const double own = shape.n * kOwnPartSpeed * shape.fabric;
    cost.bytes_per_s = cost.bytes_per_s * own / (cost.bytes_per_s + own);
  }
  return cost;
}

AlgorithmCost TreeCost(const GroupShape& shape, Protocol protocol) {
  const std::size_t p = Index(protocol);
  const double channels = std::min(1.0, 2 * shape.min_per_node / kChannels);
  AlgorithmCost cost;
  const double fabric_hops = shape.n - shape.nodes;
  for (int t = 0; t < shape.num_tiers; ++t) {
    const TierUse& tier = shape.tiers[static_cast<std::size_t>(t)];
    const double depth = tier.network      ? CeilLog2(tier.branch)
                         : fabric_hops > 0 ? tier.hops * (shape.max_per_node - 1) / fabric_hops
                                           : 0;
    cost.latency_s += 2 * depth * StepLatency(tier, protocol, true);
  }
  cost.latency_s += kTreeBase[p];
  double wire = 0;
  double ll_max = 0;
  double ll128_cap = 0;
  double ll128_fraction = kTreeLl128Many;
  if (shape.nodes <= 1) {
    wire = std::min(kTreeBusFraction, kTreeCapOne) * shape.fabric;
    ll_max = kLlFabricFraction * shape.fabric;
    ll128_cap = 2 * kRingLl128Cap * shape.fabric;
    ll128_fraction = kTreeLl128One;
  } else {
    const bool two = shape.nodes <= 2;
    wire = std::min(kTreeBusFraction * std::min(shape.fabric, (two ? 2 : 1) * shape.network),
                    (two ? kTreeCapTwo : kTreeCapMany) * channels * shape.fabric);
    ll_max = LlMax(shape.nodes);
    ll128_cap = (two ? kRingLl128Cap : kTreeLl128CapMany) * channels * shape.fabric;
  }
  if (protocol == Protocol::kLl) wire = std::min(wire * kTreeLlFraction, ll_max);
  if (protocol == Protocol::kLl128) wire = std::min(wire * ll128_fraction, ll128_cap);
  cost.bytes_per_s = wire * kTreePatternFraction * kTreeAlgFraction;
  return cost;
}

double TreeCorrection(Protocol protocol, double bytes) {
  const auto& table = kTreeCorrection[Index(protocol)];
  const double x = bytes / 64;
  if (x <= 1) return table.front();
  const auto floor = static_cast<std::uint64_t>(std::min(x, 0x1p40));
  const auto octave = static_cast<std::size_t>(std::bit_width(floor) - 1);
  if (octave + 1 >= table.size()) return table.back();
  const double fraction = x / static_cast<double>(std::uint64_t{1} << octave) - 1;
  return table[octave] + (table[octave + 1] - table[octave]) * fraction;
}

AlgorithmCost NvlsCost(const GroupShape& shape, Collective collective) {
  AlgorithmCost cost;
  if (!shape.nvls) return cost;
  const double reduce = collective == Collective::kAllReduce ? shape.max_per_node / (shape.max_per_node + 1) : 1;
  cost.latency_s = kNvlsLatency;
  cost.bytes_per_s = kNvlsEfficiency * shape.fabric * reduce;
  if (shape.nodes <= 1) return cost;
  if (!shape.network_nvls || collective != Collective::kAllReduce) return {};
  for (int t = shape.first_network; t < shape.num_tiers; ++t) {
    const TierUse& tier = shape.tiers[static_cast<std::size_t>(t)];
    if (tier.branch > 1) cost.latency_s += tier.latency_s + kNetworkNvlsExtra;
  }
  cost.bytes_per_s = std::min(cost.bytes_per_s, shape.network);
  return cost;
}

AlgorithmCost NvlsTreeCost(const GroupShape& shape) {
  AlgorithmCost cost;
  if (!shape.nvls || shape.nodes <= 1 || shape.min_per_node <= 1) return cost;
  cost.latency_s = kNvlsLatency;
  for (int t = shape.first_network; t < shape.num_tiers; ++t) {
    const TierUse& tier = shape.tiers[static_cast<std::size_t>(t)];
    cost.latency_s += 2 * CeilLog2(tier.branch) * StepLatency(tier, Protocol::kSimple, true);
  }
  const double inside = kNvlsEfficiency * shape.fabric * shape.max_per_node / (shape.max_per_node + 1);
  cost.bytes_per_s = std::min(inside, kNvlsTreeFraction * shape.network / (shape.nodes <= 2 ? 1 : 2));
  return cost;
}

double HierarchicalTime(const GroupShape& shape, Collective collective, double bytes) {
  double time = 0;
  int crossed = 0;
  const int outermost = shape.num_tiers - 1;
  const double rounds = collective == Collective::kAllReduce ? 2 : 1;
  for (int t = 0; t <= outermost; ++t) {
    const TierUse& tier = shape.tiers[static_cast<std::size_t>(t)];
    if (tier.branch <= 1) continue;
    ++crossed;
    const double part = bytes / tier.carriers;
    if (t < outermost || collective != Collective::kAllReduce) {
      time += rounds * TierRingTime(tier, Collective::kAllGather, part);
    } else {
      time += std::min(TierRingTime(tier, collective, part), TierTreeTime(tier, part));
    }
  }
  return crossed >= 2 ? time : std::numeric_limits<double>::infinity();
}

double AllToAllTime(const GroupShape& shape, double bytes) {
  const double part = bytes / shape.n;
  const bool several_nodes = shape.nodes > 1;
  double wire_s = 0;
  double latency_s =
      kFabricPeerLatency * (shape.max_per_node - 1) + kNetworkPeerLatency * (shape.n - shape.min_per_node);
  double steps = 0;
  for (int t = 0; t < shape.num_tiers; ++t) {
    const TierUse& tier = shape.tiers[static_cast<std::size_t>(t)];
    if (tier.branch <= 1) continue;
    latency_s += tier.latency_s;
    steps += 1;
    // What leaves the domain inside this tier: to peers of this tier's domain; behind a NIC, to all others.
    const double peers = (tier.network ? shape.n : tier.inside) - tier.carriers;
    const double loss = tier.network ? 1 - kAllToAllNetworkLoss / shape.nodes : 1;
    wire_s = std::max(wire_s, part * peers * tier.distance / (tier.bandwidth * loss));
  }
  const std::size_t simple = Index(Protocol::kSimple);
  if (several_nodes) {
    const double fabric_steps = steps > 1 ? kFabricRingExtra[simple] : 0;
    return kRingBase[simple] + latency_s + fabric_steps + kNetworkRingExtra[simple] + wire_s;
  }
  const double own = part / (kOwnPartSpeed * shape.fabric);
  const double ll = kRingBase[Index(Protocol::kLl)] + latency_s + wire_s / kLlFabricFraction + own;
  return std::min(ll, kRingBase[simple] + latency_s + kFabricRingExtra[simple] + wire_s + own);
}

double SendRecvTime(const GroupShape& shape, double bytes) {
  const TierUse& tier = shape.tiers[static_cast<std::size_t>(shape.num_tiers - 1)];
  const double ll_wire =
      tier.network ? std::min(kLlTwoNodes, kLlFraction * tier.pair_bandwidth) : kLlFabricFraction * tier.pair_bandwidth;
  const double ll = kRingBase[Index(Protocol::kLl)] + StepLatency(tier, Protocol::kLl, tier.network) + bytes / ll_wire;
  const double simple = kRingBase[Index(Protocol::kSimple)] + StepLatency(tier, Protocol::kSimple, tier.network) +
                        bytes / tier.pair_bandwidth;
  return std::min(ll, simple);
}

}  // namespace shardscout::internal
