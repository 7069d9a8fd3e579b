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
#include "shardscout/error.h"

namespace shardscout::baselines::exact {
namespace {

/// The deeper first, then the smaller.
auto Position(const Node& n) {
  return std::tuple(-static_cast<int>(n.level), n.shape, n.setting, n.mesh, n.pp, n.microbatches);
}

/// Of a front's bounds neither number alone: that end of the front would be searched first, and its other end covers
/// nothing then.
double Promise(const Worth& bound) { return bound.latency_s > 0 ? bound.score / bound.latency_s : bound.score; }

struct WorseFirst {
  bool operator()(const Node& a, const Node& b) const {
    if (Promise(a.bound) != Promise(b.bound)) return Promise(a.bound) < Promise(b.bound);
    if (a.bound.latency_s != b.bound.latency_s) return a.bound.latency_s > b.bound.latency_s;
    return Position(a) > Position(b);
  }
};

/// The open nodes, and what was found below those that were expanded.
class Tree {
 public:
  Tree(const StrategySpace& space, Goal goal, int threads, int nodes_at_a_time)
      : branching_(space, goal), goal_(goal), threads_(threads), nodes_at_a_time_(nodes_at_a_time) {}

  /// Until nothing is open that what was found does not cover, or `keep_going` says no; whether it is the former.
  bool Grow(const std::function<bool()>& keep_going);

  const Staircase& found() const { return found_; }
  double BestOpenScore() const { return open_.empty() ? 0 : open_.top().bound.score; }
  std::int64_t expanded() const { return expanded_; }

 private:
  /// The children of the nodes that are not covered; what they find is added.
  std::vector<Node> Expand(const std::vector<Node>& nodes);
  /// Straight down from the best open node, the best child first.
  void Dive();
  Node Pop();
  void DropCovered();

  const Branching branching_;
  const Goal goal_;
  const int threads_;
  const int nodes_at_a_time_;
  std::priority_queue<Node, std::vector<Node>, WorseFirst> open_;
  Staircase found_;
  std::int64_t expanded_ = 0;
};

std::vector<Node> Tree::Expand(const std::vector<Node>& nodes) {
  std::vector<Expansion> expansions(nodes.size());
  std::vector<std::exception_ptr> failures(nodes.size());
  const auto count = static_cast<std::ptrdiff_t>(nodes.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_) if (count > 1)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::size_t>(i);
    try {
      expansions[index] = branching_.Expand(nodes[index], found_);
    } catch (...) {  // Must not leave the parallel region.
      failures[index] = std::current_exception();
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  expanded_ += count;
  for (const Expansion& expansion : expansions) {
    for (const Candidate& candidate : expansion.found.steps()) found_.Add(candidate);
  }
  std::vector<Node> children;
  for (const Expansion& expansion : expansions) {
    for (const Node& child : expansion.children) {
      if (!found_.Covers(child.bound)) children.push_back(child);
    }
  }
  return children;
}

Node Tree::Pop() {
  const Node node = open_.top();
  open_.pop();
  return node;
}

void Tree::DropCovered() {
  // All that is below the best score is covered at once.
  if (goal_ == Goal::kBest && !open_.empty() && found_.Covers(open_.top().bound)) open_ = {};
  while (!open_.empty() && found_.Covers(open_.top().bound)) open_.pop();
}

void Tree::Dive() {
  for (std::vector<Node> children = Expand({Pop()}); !children.empty(); children = Expand({children.front()})) {
    std::iter_swap(children.begin(), std::max_element(children.begin(), children.end(), WorseFirst()));
    for (std::size_t i = 1; i < children.size(); ++i) open_.push(children[i]);
  }
}

bool Tree::Grow(const std::function<bool()>& keep_going) {
  for (const Node& child : Expand(branching_.Roots())) open_.push(child);
  std::uint64_t batches = 0;
  for (DropCovered(); !open_.empty(); DropCovered()) {
    if (!keep_going()) return false;
    if (found_.steps().empty() || std::has_single_bit(++batches)) Dive();
    std::vector<Node> batch;
    for (DropCovered(); !open_.empty() && std::cmp_less(batch.size(), nodes_at_a_time_); DropCovered()) {
      batch.push_back(Pop());
    }
    for (const Node& child : Expand(batch)) open_.push(child);
  }
  return true;
}

}  // namespace

Answer Solve(const StrategySpace& space, int threads, int nodes_at_a_time, const KeepGoing& keep_going) {
  const auto best_of = [](const Staircase& found) -> std::optional<Candidate> {
    if (found.steps().empty()) return std::nullopt;
    return found.steps().front();
  };
  Tree tree(space, Goal::kBest, threads, nodes_at_a_time);
  const bool proved = tree.Grow([&] { return keep_going(best_of(tree.found()), tree.BestOpenScore()); });
  const std::optional<Candidate> best = best_of(tree.found());
  return {.best = best,
          .bound_score = proved ? (best ? best->worth.score : 0) : tree.BestOpenScore(),
          .proved = proved,
          .expanded = tree.expanded()};
}

FrontAnswer SolveFront(const StrategySpace& space, int threads, int nodes_at_a_time,
                       const std::function<bool()>& keep_going) {
  SHARDSCOUT_CHECK(space.problem().workload().objective != Objective::kLatency);
  Tree tree(space, Goal::kFront, threads, nodes_at_a_time);
  const bool proved = tree.Grow(keep_going);
  return {.front = tree.found().steps(), .proved = proved, .expanded = tree.expanded()};
}

}  // namespace shardscout::baselines::exact
