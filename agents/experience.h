#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <unordered_set>
#include <vector>

#include "agents/pretrained_policy.h"

namespace shardscout::agents {

/// Which strategies to evaluate next, by a pretrained policy and what the search has seen so far.
///
/// Candidates are a sample of the policy, and the moves (local_moves.h) from the best strategy of each of the best
/// tuples of degrees. A candidate's expected value, a logarithm as the policy's values are, is
///
///     expected = value + residual,    residual = log(reward) - value
///
/// with the residual of the strategy that it is a move from; a sampled one has the mean residual of what was evaluated
/// with its degrees, drawn towards the mean of all by one pseudo-count: where the policy's values err, they err alike
/// for strategies that are alike. (That of all is also what turns values, which know no problem's optimum, into this
/// search's rewards.) An infeasible strategy has one less than the mean. The candidates of a rollout are the best by
/// expectation, less crowding for each that shares its degrees in this rollout.
class Experience {
 public:
  using Known = std::function<bool(const Strategy&)>;

  /// The space must outlive this.
  Experience(const StrategySpace& space, const PretrainedWeights& weights, Known known, std::uint64_t seed);

  void Add(const Strategy& strategy, double reward);
  /// Up to `count` unknown strategies, the most promising first; fewer where no candidate is left.
  std::vector<Strategy> Next(std::size_t count);

 private:
  using Degrees = std::array<std::int64_t, 6>;
  struct Niche {
    Strategy best;
    double best_reward = 0, best_residual = 0;
    double residual_sum = 0;
    std::int64_t evaluated = 0;
    bool expanded = false;
  };
  struct Candidate {
    Strategy strategy;
    Degrees degrees{};
    double value = 0;
    bool moved = false;
    double residual = 0;  ///< Of its parent, where it is a move.
  };
  static Degrees DegreesOf(const Strategy& strategy);
  double MeanResidual() const { return feasible_ > 0 ? residual_sum_ / static_cast<double>(feasible_) : 0; }
  double Expected(const Candidate& candidate) const;
  void Offer(const std::vector<Strategy>& strategies, bool moved, double residual);
  void ExpandBest();

  const StrategySpace& space_;
  PretrainedPolicy policy_;
  Known known_;
  Rng rng_;
  std::vector<Candidate> candidates_;
  std::unordered_set<Strategy, StrategyHash> offered_;
  std::map<Degrees, Niche> niches_;
  double residual_sum_ = 0;
  std::int64_t feasible_ = 0;  ///< Evaluated strategies that the sum is of.
  bool sampled_ = false;
};

}  // namespace shardscout::agents
