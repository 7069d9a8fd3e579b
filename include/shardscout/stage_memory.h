#pragma once

#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// Bytes on each device of each pipeline stage, first stage first: the ranks of a stage hold equal parts (the fullest,
/// where an axis does not divide). Evaluation::memory is that of the fullest stage. The strategy must be valid on the
/// problem.
std::vector<MemoryUse> MemoryByStage(const Problem& problem, const Strategy& strategy);

}  // namespace shardscout
