#pragma once

#include "shardscout/evaluation.h"
#include "shardscout/plan.h"
#include "shardscout/problem.h"
#include "shardscout/workload_spec.h"

/// Disaggregated serving: one pool of instances computes prompts, another one decodes.
///
/// The requests of a `serve` workload (WorkloadSpec::requests) are simulated one by one in both pools, each with its
/// own strategy, replicas and cache (env/simulator/request_simulation.h). A rank of the prefill pool takes prompts up
/// to the step's token budget; the first token comes with the prompt's end. Then the prompt's cache is sent:
///
///   transfer = a send (CollectiveTime) of KV and state bytes / n over the tier that joins the pools, n the devices
///   that hold a
///              request's cache, tp * cp * pp, of the pool where they are fewer
///
/// so that it counts in TPOT (finish - first token over the tokens between), as waiting for room in the second pool
/// does. Memory is of the pool that fills its devices more; every other metric is of the whole deployment.
///
/// Not handled: sends of several requests share no links, and use none of a pool's own; layers with a window are sent
/// whole; layer-wise sends beside the prompt's computation.
namespace shardscout {

/// `problem` is a `serve` problem on a cluster with devices for both pools. SpecError where its workload describes no
/// requests, or a pool's strategy is not valid on the pool's devices.
Evaluation EvaluateTwoPools(const Problem& problem, const Pool& prefill, const Pool& decode);

/// One plan of a plan for prefill and one for decode, each with all of its replicas, for a `serve` workload with
/// requests. The decode pool's devices begin where the prefill pool's end, or at the next node where its instances
/// would otherwise lie across nodes in another way than alone. SpecError where the plans are of different models or
/// kinds of cluster, or not of one pool each.
Plan JoinPools(const Plan& prefill, const Plan& decode, const WorkloadSpec& workload);

}  // namespace shardscout
