#include "baselines/exact/solver.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <exception>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "baselines/exact/branching.h"

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

}  // namespace

Answer Solve(const StrategySpace& space, int threads, int nodes_at_a_time, const KeepGoing& keep_going) {
  const Branching branching(space);
  Answer answer;
  std::priority_queue<Node, std::vector<Node>, WorseFirst> open;
  const auto least_score = [&] { return answer.best ? answer.best->score : 0.0; };

  std::vector<Node> batch;
  std::vector<Expansion> expansions;
  std::vector<std::exception_ptr> failures;
  // The children of the batch that may be better than what was found.
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
    std::vector<Node> children;
    for (const Expansion& expansion : expansions) {
      for (const Node& child : expansion.children) {
        if (child.bound > least_score()) children.push_back(child);
      }
    }
    return children;
  };
  const auto pop = [&] {
    const Node node = open.top();
    open.pop();
    return node;
  };
  // Straight down, the best child first.
  const auto dive = [&] {
    batch = {pop()};
    for (std::vector<Node> children = expand(); !children.empty(); children = expand()) {
      std::iter_swap(children.begin(), std::max_element(children.begin(), children.end(), WorseFirst()));
      batch = {children.front()};
      for (std::size_t i = 1; i < children.size(); ++i) open.push(children[i]);
    }
  };

  batch = branching.Roots();
  for (const Node& child : expand()) open.push(child);
  std::uint64_t batches = 0;
  while (!open.empty() && open.top().bound > least_score()) {
    if (!keep_going(answer.best)) {
      answer.bound_score = open.top().bound;
      return answer;
    }
    if (!answer.best || std::has_single_bit(++batches)) dive();
    batch.clear();
    while (!open.empty() && std::cmp_less(batch.size(), nodes_at_a_time) && open.top().bound > least_score()) {
      batch.push_back(pop());
    }
    for (const Node& child : expand()) open.push(child);
  }
  answer.proved = true;
  answer.bound_score = least_score();
  return answer;
}

}  // namespace shardscout::baselines::exact
