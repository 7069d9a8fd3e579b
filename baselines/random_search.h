#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `random`: independent draws of StrategySpace::Sample, each new strategy once. The floor that every searcher has to
/// clear.
///
/// Draws that are known already are not asked again (they would be free, but tell nothing). Where most of the space is
/// known, it goes through draws in vain; when a whole round finds nothing new, the round is asked nevertheless, so that
/// the environment sees a searcher at its end and can tell whether the space is exhausted.
struct RandomSearchConfig {
  std::int64_t minibatch_size = 64;
  std::int64_t draws_per_strategy = 16;
};

template <class V>
void VisitFields(V& visit, RandomSearchConfig& config) {
  visit("minibatch_size", config.minibatch_size,
        {.doc = "Strategies that are evaluated at a time.", .min = 1, .max = 65536});
  visit("draws_per_strategy", config.draws_per_strategy,
        {.doc = "Draws for each place in a batch before it goes out short.", .min = 1, .max = 65536});
}

std::unique_ptr<Searcher> MakeRandomSearch(const RandomSearchConfig& config);

}  // namespace shardscout::baselines
