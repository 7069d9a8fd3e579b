#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `exhaustive`: every strategy of the space, in lexicographic order. What it says of a space that its budget covers is
/// beyond doubt; the judge of `exact`. Draws no random numbers.
struct ExhaustiveConfig {
  std::int64_t minibatch_size = 256;
};

template <class V>
void VisitFields(V& visit, ExhaustiveConfig& config) {
  visit("minibatch_size", config.minibatch_size,
        {.doc = "Strategies that are evaluated at a time; no effect on the result.", .min = 1, .max = 65536});
}

std::unique_ptr<Searcher> MakeExhaustive(const ExhaustiveConfig& config);

}  // namespace shardscout::baselines
