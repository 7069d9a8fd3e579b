#include "baselines/exact/solver.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <queue>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "baselines/exact/branching.h"
#include "env/analytical/analytical_evaluator.h"
#include "shardscout/megatron_rule.h"

namespace shardscout::baselines::exact {
namespace {

/// The deeper first, then the smaller.
auto Position(const Node& n) {
  return std::tuple(-static_cast<int>(n.level), n.shape, n.setting, n.mesh, n.pp, n.microbatches);
}

struct WorseFirst {
  bool operator()(const Node& a, const Node& b) const {
    return a.bound != b.bound ? a.bound < b.bound : Position(a) > Position(b);
  }
};

/// What Megatron's shardings give: to begin with a score that most of the tree does not reach.
std::optional<Candidate> BestOfMegatrons(const StrategySpace& space) {
  constexpr int kMost = 2000;
  const env::AnalyticalEvaluator evaluator(space.problem());
  std::optional<Candidate> best;
  int evaluated = 0;
  ForEachMegatronStrategy(space, [&](const Strategy& strategy) {
    const Evaluation evaluation = evaluator.Evaluate(strategy);
    const double score = evaluation.Feasible() ? ScoreOf(space.problem(), evaluation) : 0;
    if (score > 0 && (!best || score > best->score)) best = Candidate{strategy, evaluation, score};
    return ++evaluated < kMost;
  });
  return best;
}

}  // namespace

Answer Solve(const StrategySpace& space, int threads, int nodes_at_a_time, const KeepGoing& keep_going) {
  const Branching branching(space);
  Answer answer;
  std::priority_queue<Node, std::vector<Node>, WorseFirst> open;
  const auto least_score = [&] { return answer.best ? answer.best->score : 0.0; };

  std::vector<Node> batch;
  std::vector<Expansion> expansions;
  std::vector<std::exception_ptr> failures;
  const auto expand = [&] {
    expansions.assign(batch.size(), {});
    failures.assign(batch.size(), nullptr);
    const double at_least = least_score();
    const auto count = static_cast<std::ptrdiff_t>(batch.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (count > 1)
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(i);
      try {
        expansions[index] = branching.Expand(batch[index], at_least);
      } catch (...) {  // Must not leave the parallel region.
        failures[index] = std::current_exception();
      }
    }
    for (const std::exception_ptr& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
    answer.expanded += count;
    for (const Expansion& expansion : expansions) {
      if (expansion.found && expansion.found->score > least_score()) answer.best = expansion.found;
    }
    for (const Expansion& expansion : expansions) {
      for (const Node& child : expansion.children) {
        if (child.bound > least_score()) open.push(child);
      }
    }
  };

  answer.best = BestOfMegatrons(space);
  batch = branching.Roots();
  expand();
  while (!open.empty() && open.top().bound > least_score()) {
    if (!keep_going(answer.best)) {
      answer.bound_score = open.top().bound;
      return answer;
    }
    batch.clear();
    while (!open.empty() && std::cmp_less(batch.size(), nodes_at_a_time) && open.top().bound > least_score()) {
      batch.push_back(open.top());
      open.pop();
    }
    expand();
  }
  answer.proved = true;
  answer.bound_score = least_score();
  return answer;
}

}  // namespace shardscout::baselines::exact
