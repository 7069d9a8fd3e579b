#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agents/pretrained_weights.h"
#include "shardscout/random.h"
#include "shardscout/strategy_space.h"
#include "strategies/strategy_features.h"

namespace shardscout::agents {

/// Most choices that a policy weighs at one decision (large clusters have tens of thousands of sizes).
inline constexpr std::size_t kMostChoices = 48;

/// The indices into Values(variable), variable = prefix.size(), that a pretrained policy chooses among: the allowed
/// ones; of more than kMostChoices only those that divide the cluster, and from each 2^k and 3 * 2^k the next one up.
/// (Moves from a strategy reach the others.)
std::vector<std::size_t> ProposedChoices(const StrategySpace& space, std::span<const int> prefix);

/// Behind `rows`, the features of a strategy whose first `variable` variables are decided with each of these choices
/// for the next one (indices into `values`).
void AppendChoices(const StrategyFeatures& features, Strategy strategy, int variable,
                   std::span<const std::int64_t> values, std::span<const std::size_t> choices,
                   std::vector<float>& rows);

/// Pretrained weights on one problem. The header is free of torch. The space must outlive this. Not thread safe.
///
/// A variable that the weights have no feature of is left to the space's prior.
class PretrainedPolicy {
 public:
  PretrainedPolicy(const StrategySpace& space, const PretrainedWeights& weights);
  ~PretrainedPolicy();
  PretrainedPolicy(const PretrainedPolicy&) = delete;
  PretrainedPolicy& operator=(const PretrainedPolicy&) = delete;

  struct Proposal {
    Strategy strategy;
    double logprob = 0;  ///< Of the policy.
  };
  /// Draws `count` different strategies without replacement (fewer where the proposed space has no more), as if one by
  /// one from the policy: stochastic beam search (Kool, van Hoof and Welling 2019, arXiv 1903.06059), a beam over the
  /// decision variables of prefixes whose log probabilities are perturbed by Gumbel noise.
  std::vector<Proposal> Sample(std::size_t count, Rng& rng) const;

  /// What the network expects of log(value / optimum). [strategies.size()]
  std::vector<double> Values(std::span<const Strategy> strategies) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout::agents
