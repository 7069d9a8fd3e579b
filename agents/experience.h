#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <unordered_set>
#include <vector>

#include "agents/ppo_config.h"
#include "agents/pretrained_policy.h"
#include "agents/residual_model.h"
#include "strategies/strategy_features.h"

namespace shardscout::agents {

/// Which strategies to evaluate next, by a pretrained policy and what the search has seen so far.
///
/// Where the search has a cheaper evaluator (screening.h), its rewards' logarithms take the place of the policy's
/// values: then residuals are what the dear evaluator makes of what the cheap one does not see.
///
/// Candidates are a sample of the policy, and the moves (local_moves.h) from the best strategy of each of the best
/// tuples of degrees. A candidate's expected value, a logarithm as the policy's values are, is
///
///     expected = value + residual,    residual = log(reward) - value
///
/// with the residual that those of the strategies evaluated so far make likely (residual_model.h): where the policy's
/// values err, they err alike for strategies that are alike. (The mean of all residuals is also what turns values,
/// which know no problem's optimum, into this search's rewards.) An infeasible strategy has one less than the mean. The
/// strategies of a rollout are the best by expectation and what exploration adds, one after another, as if those before
/// were known. The first `probes` are others: of the best tuples' best strategies, the same with a larger batch, up to
/// twice and below the next that is known. Where a limit lies is what values err in most, and an expectation that holds
/// a feasible batch for infeasible is never put to the test.
class Experience {
 public:
  using Known = std::function<bool(const Strategy&)>;
  /// Rewards by a cheaper evaluator.
  using Estimate = std::function<std::vector<double>(std::span<const Strategy>)>;

  /// The space must outlive this. estimate: may be empty.
  Experience(const StrategySpace& space, const PretrainedWeights& weights, const ExperienceConfig& config, Known known,
             Estimate estimate, std::uint64_t seed);

  void Add(const Strategy& strategy, double reward);
  /// Up to `count` unknown strategies, the most promising first; fewer where no candidate is left. left: the share of
  /// the budget that is; what exploration adds falls with it, since what is learned late can't be used any more.
  std::vector<Strategy> Next(std::size_t count, double left = 1);

 private:
  using Degrees = std::array<std::int64_t, 6>;
  struct Point {
    Strategy strategy;
    double reward = 0, value = 0;
  };
  struct Niche {
    Strategy best;
    double best_reward = 0, best_residual = 0;
    bool expanded = false;
  };
  struct Candidate {
    Strategy strategy;
    Degrees degrees{};
    double value = 0;
    double residual = 0;  ///< Of its parent, where it is a move.
  };
  static Degrees DegreesOf(const Strategy& strategy);
  double MeanResidual() const { return feasible_ > 0 ? residual_sum_ / static_cast<double>(feasible_) : 0; }
  double ResidualOf(const Point& point) const;
  void Offer(const std::vector<Strategy>& strategies, bool moved, double residual);
  std::vector<Niche*> BestNiches(std::size_t count);
  void ExpandBest();
  std::vector<Strategy> LargerBatches();
  std::vector<double> Values(std::span<const Strategy> strategies) const;
  std::vector<float> Features(std::span<const Strategy> strategies) const;
  double FitResiduals();
  void DropHopeless();

  const StrategySpace& space_;
  const ExperienceConfig config_;
  PretrainedPolicy policy_;
  const StrategyFeatures features_;
  ResidualModel model_;
  Known known_;
  Estimate estimate_;
  Rng rng_;
  std::vector<Point> points_;  ///< Evaluated, in order.
  std::vector<Candidate> candidates_;
  std::unordered_set<Strategy, StrategyHash> offered_;
  std::map<Degrees, Niche> niches_;
  double residual_sum_ = 0;
  std::int64_t feasible_ = 0;  ///< Evaluated strategies that the sum is of.
  bool sampled_ = false;
};

}  // namespace shardscout::agents
