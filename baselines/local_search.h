#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `local-search`: screens parallel degrees with a few sharding templates, then descends from the best of them by
/// coordinates, as AutoDDL does (arXiv 2301.06813), again and again until the budget ends. After "Local Search is State
/// of the Art for Neural Architecture Search Benchmarks" (White et al., arXiv 2005.02960): the baseline that is hard to
/// beat.
///
/// A round:
/// 1. Screening takes `screen_share` of the budget that is left. It draws sizes (degrees, batch, micro-batches) by the
///    prior of the space (at most 1,024 of them), degrees rounded to powers of two where `round_degrees` says so, and
///    asks for each with the first `num_templates` of ShardingTemplates() (strategies/sharding_templates.h).
/// 2. From each of the `num_starts` best points with different degrees, where no earlier descent has ended, a
///    descent; after each, `num_kicks` descents from the best strategy of the search, moved by `kick_steps` random
///    neighbours. A round without a descent of the first kind has one of the second.
///
/// A descent goes round the groups of moves below in an order drawn afresh, asks for all of a group at once, and takes
/// the best of them where it is better; it ends when no group has one. Every strategy is repaired into the space.
/// - for each decision variable: every allowed value; of sizes with more than 12 allowed values the two neighbours and
///   those nearest to 1/8, 1/4, 1/2, 2/3, 3/2, 2, 4 and 8 times the present one;
/// - for each size, its pairs with the later ones: one times 2, the other divided by 2, and both alike up or down
///   (batch 64 on dp 8 to batch 32 on dp 16; dp 8 and ep 8 to dp 16 and ep 16);
/// - all templates on the present sizes.
///
/// Where the environment has estimates (a cheaper evaluator's rewards), only the `estimated_share` with the highest of
/// what is screened, and of a group of moves, is asked for.
///
/// Known strategies are free, as for every searcher. Infeasible ones are compared by their rewards, which are graded by
/// the violations.
///
/// Defaults: what experiments/tune_rulers chose on held-out problems at a budget of 1,000; `estimated_share` was not
/// among it, and no other value was tried.
struct LocalSearchConfig {
  double screen_share = 0.15;
  std::int64_t num_templates = 4;
  bool round_degrees = true;
  std::int64_t num_starts = 4;
  std::int64_t num_kicks = 0;
  std::int64_t kick_steps = 1;
  double estimated_share = 0.25;
  std::int64_t minibatch_size = 64;
};

template <class V>
void VisitFields(V& visit, LocalSearchConfig& config) {
  visit("screen_share", config.screen_share,
        {.doc = "Share of the budget left that a round's screening takes.", .min = 0, .max = 1});
  visit("num_templates", config.num_templates,
        {.doc = "Sharding templates that sizes are screened with.", .min = 1, .max = 7});
  visit("round_degrees", config.round_degrees, {.doc = "Screen powers of two only, where the space has them."});
  visit("num_starts", config.num_starts,
        {.doc = "Screened points that a round descends from, each of other degrees.", .min = 1, .max = 65536});
  visit("num_kicks", config.num_kicks,
        {.doc = "Descents from the best strategy, moved a little, after each from a screened point.",
         .min = 0,
         .max = 65536});
  visit("kick_steps", config.kick_steps,
        {.doc = "Random neighbours by which the best strategy is moved.", .min = 1, .max = 65536});
  visit("estimated_share", config.estimated_share,
        {.doc = "Share of what is screened, or of a group of moves, that is evaluated: by the estimates, where there "
                "are any.",
         .above = 0,
         .max = 1});
  visit("minibatch_size", config.minibatch_size,
        {.doc = "Screened strategies that are evaluated at a time; no effect on the result.", .min = 1, .max = 256});
}

std::unique_ptr<Searcher> MakeLocalSearch(const LocalSearchConfig& config);

}  // namespace shardscout::baselines
