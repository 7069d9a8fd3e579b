#pragma once

#include <memory>

#include "shardscout/searcher.h"

namespace shardscout::baselines {

/// No settings: the rule is fixed.
struct MegatronConfig {};

template <class V>
void VisitFields(V&, MegatronConfig&) {}

/// `megatron`: the Megatron rule (megatron_rule.h) as a searcher, every look at the evaluator charged. It goes through
/// the rule's candidates, each from its largest batch down, and stops at the first feasible strategy; all that it
/// looked at before is infeasible, so that the best strategy of the search is the rule's answer and its reward is 1.
/// Where nothing is feasible, the best one is the least infeasible of the candidates. Start strategies are evaluated
/// before, as for every searcher, and may be better.
std::unique_ptr<Searcher> MakeMegatron(const MegatronConfig& config);

}  // namespace shardscout::baselines
