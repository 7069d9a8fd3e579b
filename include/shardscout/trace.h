#pragma once

#include <string>

#include "shardscout/problem.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// What a strategy's devices do when, as the evaluator `simulator` has it, in Chrome's trace format (opens in Perfetto
/// and chrome://tracing). One process a phase and pipeline stage, with a track for each stream: every task of the
/// program that takes time a complete event, every send between stages a flow. Prefill: one pass of all micro-batches;
/// decode: one token, or a few where there is a pipeline, so that it is full. Times are microseconds from the phase's
/// beginning. Where the workload describes its requests, a process of its own counts those that wait and run, and the
/// blocks of the KV cache that they hold, over the whole run.
std::string SimulatedTrace(const Problem& problem, const Strategy& strategy);

}  // namespace shardscout
