#include "shardscout/reward.h"

#include <initializer_list>

#include "shardscout/error.h"

namespace shardscout {

ObjectiveValue ObjectiveOf(const Evaluation& evaluation, Objective objective, WorkloadKind kind) {
  const Metrics& metrics = evaluation.metrics;
  switch (objective) {
    case Objective::kThroughputPerDevice:
      return {metrics.throughput_per_device, true};
    case Objective::kLatency:
      if (kind == WorkloadKind::kTrain) return {metrics.step_time_s, false};
      return {kind == WorkloadKind::kPrefill ? metrics.ttft_s : metrics.tpot_s, false};
    case Objective::kCostPerMillionTokens:
      return {metrics.cost_usd_per_million_tokens, false};
    case Objective::kEnergyPerToken:
      return {metrics.energy_j_per_token, false};
  }
  SHARDSCOUT_CHECK(false && "unknown objective");
  return {};
}

double Reward(const Evaluation& evaluation, Objective objective, WorkloadKind kind, double normaliser) {
  if (!evaluation.Feasible()) {
    double sum = 0;
    int violated = 0;
    for (const double excess : {evaluation.excess.memory, evaluation.excess.ttft, evaluation.excess.tpot}) {
      if (excess <= 0) continue;
      sum += excess / (1 + excess);
      ++violated;
    }
    return -sum / violated;
  }
  const ObjectiveValue found = ObjectiveOf(evaluation, objective, kind);
  SHARDSCOUT_CHECK_OP(normaliser, >, 0.0);
  SHARDSCOUT_CHECK_OP(found.value, >, 0.0);
  return found.TimesAsGoodAs(normaliser);
}

}  // namespace shardscout
