#pragma once

#include "shardscout/evaluation.h"
#include "shardscout/workload_spec.h"

namespace shardscout {

/// The objective's own number and its sense: tokens/s/device (larger is better), or seconds, USD per million tokens, J
/// per token (smaller).
struct ObjectiveValue {
  double value = 0;
  bool larger_is_better = true;
  /// 2: twice as much, or half of it where smaller is better. Both values > 0, of one objective.
  double TimesAsGoodAs(double other) const { return larger_is_better ? value / other : other / value; }
};

/// kLatency: TTFT for prefill, TPOT for decode and serve, the step for training.
ObjectiveValue ObjectiveOf(const Evaluation& evaluation, Objective objective, WorkloadKind kind);

/// The dual reward (docs/cost_model.md, "Reward"). Feasible: value / normaliser, inverted where smaller is better;
/// always > 0. Infeasible: -mean over the violated limits of x / (1 + x), x the relative excess; in [-1, 0).
/// `normaliser` > 0 is the Megatron rule's objective. Example: throughput 300 with normaliser 200 is 1.5; memory 50 %
/// over and the rest kept is -1/3.
double Reward(const Evaluation& evaluation, Objective objective, WorkloadKind kind, double normaliser);

}  // namespace shardscout
