#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `exact`: the best strategy of the whole space under the analytical evaluator, with a proof (baselines/exact/solver.h
/// tells how). It knows that evaluator's formulas and so asks it for little: only improvements are evaluated, so that a
/// search that is ended has a plan; the evaluator confirms each. Draws no random numbers.
struct ExactConfig {
  std::int64_t nodes_at_a_time = 64;
};

template <class V>
void VisitFields(V& visit, ExactConfig& config) {
  visit("nodes_at_a_time", config.nodes_at_a_time,
        {.doc = "Nodes of the tree that are expanded in parallel; no effect on the optimum.", .min = 1, .max = 65536});
}

std::unique_ptr<Searcher> MakeExact(const ExactConfig& config);

}  // namespace shardscout::baselines
