#pragma once

#include <functional>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/strategy_space.h"

namespace shardscout {

/// The Megatron rule (docs/strategy_space.md section 5): cp = etp = 1; pp ascending, then tp ascending over the
/// divisors of the innermost tier that divide the heads; MoE: dp the largest with tp*dp*pp <= devices and tp*dp
/// dividing the expert count, ep = tp*dp; dense: dp = 1. Micro-batches min(pp, batch). Column/row shardings,
/// vocab-sharded embedding and lm_head, residual token_sharded for MoE and prefill, else replicated, all_to_all. Where
/// token sharding is not valid at a batch (it does not divide by tp), the candidate is repaired by
/// StrategySpace::Repair.
///
/// Training: dp the largest that fits and divides the global batch; MoE: ep the largest divisor of the experts that
/// divides tp*dp; micro-batches of one sequence, ZeRO 1, nothing computed again where that fits, else every layer.

/// Candidates in the rule's order, one a tuple of degrees; each lists its batches ascending (training: by
/// memory). Members of the space,
/// without duplicates.
struct MegatronCandidate {
  std::vector<Strategy> by_batch;
};
std::vector<MegatronCandidate> MegatronCandidates(const StrategySpace& space);

/// The rule's answer: the first candidate with a feasible batch, at its largest feasible one; none feasible: the last
/// candidate at its smallest batch. `evaluate` is called on as few strategies as the rule needs and is not charged by
/// anyone.
struct MegatronAnswer {
  Strategy strategy;
  Evaluation evaluation;
  bool feasible = false;
};
MegatronAnswer MegatronRule(const StrategySpace& space, const std::function<Evaluation(const Strategy&)>& evaluate);

/// megatron-tuned's order: the same shardings over all degrees with cp = etp = 1 (pp, tp, dp, ep over all admitted
/// values) and all batches; degrees ordered so that a short prefix already spans them (powers of two before the rest),
/// fixed. Calls `visit` until it returns false.
void ForEachMegatronStrategy(const StrategySpace& space, const std::function<bool(const Strategy&)>& visit);

}  // namespace shardscout
