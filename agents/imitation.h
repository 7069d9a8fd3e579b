#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agents/pretrained_weights.h"
#include "shardscout/strategy_space.h"

/// Pretraining: a network that imitates a teacher on many problems.
///
/// Policy. The teacher's strategies of a problem, weighed by exp((score - 1) / temperature), are a distribution p; the
/// loss is the cross-entropy of p under the policy, which is a sum over decisions:
///
///     - sum over prefixes of p(prefix) * sum over choices of p(choice | prefix) log pi(choice | prefix)
///
/// with the decisions' masks as in a search. Value: the smooth L1 loss of log(score) of whole strategies, infeasible
/// ones set apart (kInfeasibleValue), less the problem's mean error: values are for comparing strategies of one
/// problem, and how near they come to its optimum would have to be guessed. Minimised together by Adam over minibatches
/// of problems, with a learning rate that falls as a cosine.
///
/// Source: imitation of an optimum weighed by value is the self-imitating objective of reward-weighted regression
/// (Peters and Schaal 2007) with the teacher's samples in place of the policy's own.
namespace shardscout::agents {

struct ImitationConfig {
  std::size_t width = 96;
  std::size_t inner_width = 64;
  double temperature = 0.01;  ///< Of scores; a strategy 1 % below the best weighs 1/e of it.
  double value_coef = 1;
  double learning_rate = 2e-3;
  std::int64_t epochs = 20;
  std::int64_t problems_a_step = 4;
};

/// Means over problems.
struct ImitationLoss {
  double policy = 0;  ///< Nats of a whole strategy.
  double value =
      0;  ///< Mean absolute error of log(score) less its mean, over the teacher's feasible strategies above 0.5.
};

/// Gathers lessons, then trains. The header is free of torch.
class Imitation {
 public:
  /// strategy_features: the names that the weights will have.
  Imitation(std::vector<std::string> strategy_features, const ImitationConfig& config);
  ~Imitation();
  Imitation(const Imitation&) = delete;
  Imitation& operator=(const Imitation&) = delete;

  /// One problem. scores: value over the best one's, negative for infeasible strategies. `held_out`: measured, not
  /// learned.
  void Add(const StrategySpace& space, std::span<const Strategy> strategies, std::span<const double> scores,
           bool held_out);

  /// Deterministic by seed. on_epoch: epoch, training loss, loss of what is held out.
  PretrainedWeights Train(
      std::uint64_t seed,
      const std::function<void(std::int64_t, const ImitationLoss&, const ImitationLoss&)>& on_epoch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout::agents
