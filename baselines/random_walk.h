#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `random-walk`: steps of StrategySpace::Neighbour that are always accepted, as in the metaheuristics of "Learning to
/// Shard" (arXiv 2509.00217). What annealing becomes at an infinite temperature: the gap between the two is what the
/// reward's slope is worth.
///
/// The walk begins at the best start strategy, or at a sample of the space, and every `restart_interval` steps again at
/// a fresh sample. It does not depend on rewards, so that it is walked ahead and evaluated in batches.
///
/// The default interval is what experiments/tune_rulers chose on held-out problems: the more samples in the walk, the
/// better it does.
struct RandomWalkConfig {
  std::int64_t restart_interval = 2;
  std::int64_t minibatch_size = 64;
};

template <class V>
void VisitFields(V& visit, RandomWalkConfig& config) {
  visit("restart_interval", config.restart_interval,
        {.doc = "Steps after which the walk begins again at a fresh sample; 0: never.", .min = 0});
  visit("minibatch_size", config.minibatch_size,
        {.doc = "Steps that are evaluated at a time; no effect on the walk.", .min = 1, .max = 65536});
}

std::unique_ptr<Searcher> MakeRandomWalk(const RandomWalkConfig& config);

}  // namespace shardscout::baselines
