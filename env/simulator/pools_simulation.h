#pragma once

#include "shardscout/evaluation.h"
#include "shardscout/plan.h"
#include "shardscout/problem.h"

namespace shardscout::env {

/// EvaluateTwoPools where the workload describes requests: these one by one through both pools.
Evaluation SimulatePools(const Problem& problem, const Pool& prefill, const Pool& decode);

}  // namespace shardscout::env
