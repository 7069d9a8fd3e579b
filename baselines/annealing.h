#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `annealing`: simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983) on the reward.
///
/// A step proposes y = Neighbour(x) to the current state x and goes there if r(y) >= r(x), else with probability
/// exp((r(y) - r(x)) / T), Metropolis's rule. T falls geometrically with the share f of the budget that is spent:
/// T(f) = initial_temperature^(1-f) * final_temperature^f. Rewards are about 1 at the Megatron rule's strategy, and
/// between -1 and 0, graded by the violations, where a strategy is infeasible: the slope that leads back to feasibility
/// is in the reward, so that no separate penalty is needed. Worked example: x of reward 1.0, y of reward 0.9, T 0.1: y
/// is taken with probability exp(-1) = 0.37.
///
/// A chain that has found nothing better than its own best for `patience` steps is begun again: with probability
/// `restart_from_best` at the best strategy found so far, else at a fresh sample. The temperature goes on falling.
///
/// Steps are one after another, so that evaluation takes one core. Known strategies are free, as for every searcher;
/// steps that propose them count for `patience` but not for the temperature.
///
/// Defaults: what experiments/tune_rulers chose on held-out problems at a budget of 1,000.
struct AnnealingConfig {
  double initial_temperature = 0.01;
  double final_temperature = 0.001;
  std::int64_t patience = 100;
  double restart_from_best = 0.5;
};

template <class V>
void VisitFields(V& visit, AnnealingConfig& config) {
  visit("initial_temperature", config.initial_temperature,
        {.doc = "Of the start, in units of reward (the Megatron rule's strategy has 1).", .above = 0});
  visit("final_temperature", config.final_temperature, {.doc = "When the budget is spent.", .above = 0});
  visit("patience", config.patience,
        {.doc = "Steps without a better state than the chain's best before it is begun again.", .min = 1});
  visit("restart_from_best", config.restart_from_best,
        {.doc = "Probability that a chain is begun again at the best strategy found, not at a fresh sample.",
         .min = 0,
         .max = 1});
}

/// Metropolis's rule: the probability of going from reward `current` to `proposed`. `temperature` > 0.
double AcceptanceProbability(double current, double proposed, double temperature);

/// T(f), `spent` = f in [0, 1].
double TemperatureAt(const AnnealingConfig& config, double spent);

std::unique_ptr<Searcher> MakeAnnealing(const AnnealingConfig& config);

}  // namespace shardscout::baselines
