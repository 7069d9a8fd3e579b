#pragma once

#include <cstdint>
#include <vector>

#include "env/simulator/simulation.h"
#include "shardscout/program.h"

/// Collectives as the messages that they are made of, on the events of simulation.h: what a referee simulates that has
/// no closed form of a collective. The evaluators price collectives whole (CollectiveTime); this shows that the same
/// events reproduce another simulator's runs.
///
/// The network has dimensions, each of which joins ranks with links of its own; rank = sum of coordinate * product of
/// the inner dimensions' ranks. Every message goes to the next rank of a ring along its dimension: no two of them share
/// a link, which is what "free of congestion" means.
///
///   message of m bytes   latency_s + passes m / bytes_per_s, on the sender's stream of the dimension
///   adding m bytes       3 m / memory_bytes_per_s, on the receiver's: two reads and a write
///
///   reduce_scatter of S over n   n - 1 times: a message of S / n to the next rank, added there; then the next
///                                dimension with S / n
///   all_gather                   outermost dimension first; n - 1 messages of what a rank holds by then, `bytes` of
///   its
///                                own at the beginning
///   all_reduce                   reduce_scatter on all dimensions but the last, both on the last, all_gather back
///   all_to_all of S              each dimension in turn: step i = 1 .. n - 1 passes n - i blocks of S / n on
///
/// Worked example (a test): two ranks, 1 us, 1 GB/s, no memory: an all_reduce of 2,000 bytes is two messages of 1,000,
/// 2 us each: 4 us.
///
/// Source: ASTRA-sim's ring algorithms of one chunk (astra-sim 518bd513, congestion-unaware: passes 1;
/// congestion-aware: a message is stored and forwarded on each of its hops, passes = hops, which are two behind a
/// switch).
namespace shardscout::env {

struct StepDimension {
  std::int64_t ranks = 1;
  double latency_s = 0;  ///< Of a message, all its hops.
  double bytes_per_s = 1;
  double passes = 1;  ///< How often a message is sent whole on its way.
};

struct StepNetwork {
  std::vector<StepDimension> dimensions;  ///< Innermost first.
  double memory_bytes_per_s = 0;          ///< 0: adding takes no time.
};

/// kAllReduce, kReduceScatter, kAllToAll: `bytes` of a rank's buffer; kAllGather: of what a rank contributes.
SimulationGraph CollectiveSteps(const StepNetwork& network, Collective collective, double bytes);

}  // namespace shardscout::env
