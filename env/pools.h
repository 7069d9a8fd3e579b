#pragma once

#include <cstdint>

#include "shardscout/plan.h"
#include "shardscout/problem.h"

namespace shardscout::env {

/// A pool by itself: its phase of a serve problem on the pool's own devices, batch as the strategy has it, no targets.
Problem PoolProblem(const Problem& problem, const Pool& pool, WorkloadKind kind);

/// SpecError where a strategy is not valid on its pool's devices.
void CheckPool(const Problem& pool_problem, const Strategy& strategy, WorkloadKind kind);

/// A pool and what its own problem's closed form says of it.
struct EvaluatedPool {
  const Pool& pool;
  const Evaluation& alone;
};
/// Replicas, idle devices and the memory of the pool that fills its devices more.
void PutPools(const Problem& problem, const EvaluatedPool& prefill, const EvaluatedPool& decode,
              Evaluation& evaluation);

/// What a request's cache takes from the one pool to the other (include/shardscout/two_pools.h).
double TransferTime(const Problem& problem, const Strategy& prefill, const Strategy& decode,
                    std::int64_t first_decode_device, std::int64_t tokens);

/// Where the second pool's devices begin: after the first pool's, where each of its instances lies in nodes and other
/// parts of the network as it would alone.
std::int64_t FirstDecodeDevice(const ClusterSpec& cluster, const Pool& prefill, const Pool& decode);

/// What both pools need, from the first device to the last.
std::int64_t DevicesOf(const ClusterSpec& cluster, const Pool& prefill, const Pool& decode);

}  // namespace shardscout::env
