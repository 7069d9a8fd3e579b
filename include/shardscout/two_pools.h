#pragma once

#include "shardscout/evaluation.h"
#include "shardscout/plan.h"
#include "shardscout/problem.h"
#include "shardscout/workload_spec.h"

/// Disaggregated serving: one pool of instances computes prompts, another one decodes. When a prompt is computed, which
/// gives the first token, its cache is sent:
///
///   transfer = a send (CollectiveTime) of KV and state bytes / n over the tier that joins the pools, n the devices
///   that hold a request's cache, tp * cp * pp, of the pool where they are fewer
///
/// so that it counts in TPOT (finish - first token over the tokens between), as waiting for room in the second pool
/// does. Memory is of the pool that fills its devices more; every other metric is of the whole deployment.
///
/// A `serve` workload with requests: these are simulated one by one in both pools, each with its own strategy, replicas
/// and cache (env/simulator/request_simulation.h). A rank of the prefill pool takes prompts up to the step's token
/// budget.
///
/// Else in closed form, from what each pool does alone, full (input I, output O tokens):
///
///   prefill's requests/s   its input tokens/s / I
///   decode's requests/s    its output tokens/s / (O - 1)
///   requests/s             the lesser; with a concurrency C at most C / (TTFT + (O - 1) TPOT)
///   TTFT, TPOT             prefill's TTFT; decode's TPOT + transfer / (O - 1)
///   throughput             requests/s * O
///
/// The pool that does more than the other is priced at its own full batch, so that TTFT or TPOT is rather too long.
///
/// Not handled: sends of several requests share no links, and use none of a pool's own; layers with a window are sent
/// whole; layer-wise sends beside the prompt's computation.
namespace shardscout {

/// Requests a second of a pool that has one phase, from its throughput.
double RequestsPerS(const WorkloadSpec& workload, const Metrics& pool, Phase phase);

/// `problem` is a `serve` problem on a cluster with devices for both pools. SpecError where a pool's strategy is not
/// valid on the pool's devices, or there is but one output token.
Evaluation EvaluateTwoPools(const Problem& problem, const Pool& prefill, const Pool& decode);

/// A plan of both pools, each as MakePool leaves it, with what they do together. The decode pool's devices begin where
/// the prefill pool's end, or at the next node where its instances would otherwise lie across nodes in another way than
/// alone.
Plan PlanOfPools(const Problem& problem, Pool prefill, Pool decode);

/// Of a plan of two pools, the one that has this phase, by itself: its phase on as many devices as it has, batch and
/// strategy as they are, with what it does there alone. SpecError where the plan has no pool of that phase.
Plan PlanOfPool(const Plan& plan, Phase phase);

/// What a pool does alone, in closed form; `problem` is that of PlanOfPool.
Evaluation EvaluatePool(const Problem& problem, const Strategy& strategy);

/// One plan of a plan for prefill and one for decode, each with all of its replicas, for a `serve` workload on as many
/// devices as they need. SpecError where the plans are of different models or kinds of cluster, or not of one pool
/// each.
Plan JoinPools(const Plan& prefill, const Plan& decode, const WorkloadSpec& workload);

}  // namespace shardscout
