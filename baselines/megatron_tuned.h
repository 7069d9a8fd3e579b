#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `megatron-tuned`: Megatron's shardings over all degrees with cp = etp = 1 and all batches, in the fixed order of
/// ForEachMegatronStrategy, until the budget ends. What an engineer reaches who tunes the degrees only; the gap to it
/// is what per-operator shardings are worth. Draws no random numbers.
struct MegatronTunedConfig {
  std::int64_t minibatch_size = 64;
};

template <class V>
void VisitFields(V& visit, MegatronTunedConfig& config) {
  visit("minibatch_size", config.minibatch_size,
        {.doc = "Strategies that are evaluated at a time; no effect on the result.", .min = 1, .max = 65536});
}

std::unique_ptr<Searcher> MakeMegatronTuned(const MegatronTunedConfig& config);

}  // namespace shardscout::baselines
