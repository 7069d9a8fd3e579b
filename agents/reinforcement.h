#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "agents/pretrained_weights.h"
#include "shardscout/strategy_space.h"

/// Pretraining after imitation: PPO on many problems (Schulman et al. 2017, arXiv 1707.06347, equation 7), one ratio a
/// sub-action. A step draws `samples` strategies from the policy for each of some problems, and makes `passes` gradient
/// steps on them. What counts in a search is the best of what is drawn, so that only the `best_share` with the highest
/// scores teach, by how far they are above the worst of them (risk-seeking policy gradient, Petersen et al. 2021, arXiv
/// 1912.04871, equation 5); the value learns from all, as in imitation.h.
namespace shardscout::agents {

struct ReinforcementConfig {
  std::int64_t steps = 500;
  std::int64_t problems_a_step = 4;
  std::int64_t samples = 64;
  std::int64_t passes = 2;
  double best_share = 0.25;
  double clip_range = 0.2;
  double value_coef = 1;
  double learning_rate = 2e-4;  ///< Falls to 0 as a line.
};

/// A problem to draw strategies for.
struct Exercise {
  std::shared_ptr<const StrategySpace> space;
  /// Value over the best known one's, negative for infeasible strategies; of strategies of the space.
  std::function<std::vector<double>(std::span<const Strategy>)> score;
};

/// Deterministic by seed. exercise: the problem of a draw, any at all. on_step: step, mean score of what was drawn
/// (infeasible ones as 0), and the mean over problems of the best one.
PretrainedWeights Reinforce(const PretrainedWeights& weights, const ReinforcementConfig& config, std::uint64_t seed,
                            const std::function<Exercise(std::int64_t draw)>& exercise,
                            const std::function<void(std::int64_t, double mean, double best)>& on_step);

}  // namespace shardscout::agents
